"""What a run is doing: going, done, stopped or killed."""
from __future__ import annotations

import os
import pathlib
import re
import socket
import time

RUNNING, FINISHED, STOPPED, KILLED, SILENT = "running", "finished", "stopped", "killed", "silent"
MEANING = {
    RUNNING: "a job holds the run folder",
    FINISHED: "all steps are done",
    STOPPED: "ended before its last step; the same command goes on",
    KILLED: "its process is gone without a farewell; the same command goes on from the newest checkpoint",
    SILENT: "locked from another host, but nothing new was written for long",
}
LOCK = re.compile(r"host=(\S+) pid=(\d+) start=(\d+)")


def _start_of(pid: int) -> int:
    """When a process of this host began (field 22 of /proc/PID/stat), 0 if it cannot be told."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _is_gone(pid: int, start: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    now = _start_of(pid)
    return bool(start and now and now != start)


def silence(path: pathlib.Path) -> float:
    """Seconds since the file was last written."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")


def holder(folder: pathlib.Path) -> str:
    """Who holds the run folder: "" nobody, "here" or "elsewhere" a job of this host or another, "gone" a dead one."""
    try:
        found = LOCK.search((folder / ".lock").read_text(errors="replace"))
    except OSError:
        return ""
    if found is None or found.group(1) != socket.gethostname():
        return "elsewhere"
    return "gone" if _is_gone(int(found.group(2)), int(found.group(3))) else "here"


def of(folder: pathlib.Path, held: str, done: int, total: int, step_seconds: float) -> str:
    """The state of a run whose telemetry has `done` of `total` steps (0: not known).

    held: what `holder` said before the telemetry was read, so that a run that ends in between is still running.
    """
    if held == "gone":
        return KILLED
    if held == "elsewhere" and silence(folder / "run.h5") > max(900.0, 20 * step_seconds):
        return SILENT
    if held:
        return RUNNING
    has_result = (folder / "adapter").is_dir() or (folder / "model").is_dir()
    return FINISHED if done and (done >= total if total else has_result) else STOPPED
