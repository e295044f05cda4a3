"""Follows a run in the terminal until it ends."""
from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

import numpy as np

from . import state
from .reader import RunError
from .runs import Run, find

BARS = "▁▂▃▄▅▆▇█"
TABLES = ("steps", "evals", "data")


def sparkline(values: np.ndarray, width: int) -> str:
    """The values as a row of bars, medians where there are more than fit."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    parts = np.array_split(finite, min(width, len(finite)))
    medians = np.array([np.median(part) for part in parts])
    low, high = medians.min(), medians.max()
    scaled = (medians - low) / (high - low) if high > low else np.zeros(len(medians))
    return "".join(BARS[round(float(value) * (len(BARS) - 1))] for value in scaled)


def clock(seconds: float) -> str:
    """H:MM:SS."""
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def recent_rate(run: Run) -> tuple[float, float]:
    """(tokens per second, seconds per step) over the last twentieth of the steps, at least ten."""
    seconds, tokens = run.array("steps", "seconds"), run.array("steps", "tokens")
    last = slice(-max(10, len(seconds) // 20), None)
    spent = float(seconds[last].sum())
    return (float(tokens[last].sum()) / spent, spent / len(seconds[last])) if spent > 0 else (0.0, 0.0)


def line(run: Run) -> str:
    """The newest step, in the words of the program's own log."""
    if not run.done:
        return f"{run.name}: {run.state}, no step so far"
    newest = {name: run.array("steps", name)[-1] for name in ("loss", "grad_norm", "learning_rate")}
    rate, per_step = recent_rate(run)
    text = (f"{run.name}: step {run.done}/{run.total or '?'}  loss {newest['loss']:.4f}  grad "
            f"{newest['grad_norm']:.3f}  lr {newest['learning_rate']:.2e}  tok/s {rate:.0f}")
    if run.total > run.done and run.state == state.RUNNING:
        text += f"  eta {clock(per_step * (run.total - run.done))}"
    if len(run.array("evals", "loss")):
        text += f"  held-out {run.array('evals', 'loss')[-1]:.4f}"
    return text


def view(run: Run, width: int) -> list[str]:
    """The lines of the live view."""
    share = run.done / run.total if run.total else 0.0
    room = max(10, min(60, width - 30))
    full = int(share * room)
    lines = [f"{run.name}   {run.config.get('method', '')}   {run.state}",
             f"[{'█' * full}{'·' * (room - full)}] {share:6.1%}", line(run)]
    for title, table, column in (("loss", "steps", "loss"), ("held-out", "evals", "loss"),
                                 ("lr", "steps", "learning_rate")):
        values = run.array(table, column)
        if len(values):
            lines.append(f"{title:>9} {sparkline(values, room)}  {values[-1]:.4g}")
    quiet = state.silence(run.path)
    if run.state == state.RUNNING and quiet > 60:
        lines.append(f"nothing new for {clock(quiet)}")
    return [one[:width] for one in lines]


def _last_words(run: Run) -> str:
    """What the end of a run that did not finish is, and what run.log says last."""
    text = f"{run.name}: {run.state} after step {run.done} of {run.total or '?'} ({state.MEANING[run.state]})"
    try:
        log = (run.folder / "run.log").read_text(errors="replace").splitlines()
    except OSError:
        log = []
    return text + (f"\n{run.name}: run.log ends with: {log[-1]}" if log and run.state != state.FINISHED else "")


def _wait_for(path: str, out: TextIO, interval: float) -> Run:
    """The run once it has telemetry: a job that is about to start has none."""
    told = ""
    while True:
        try:
            file = find(path)
            if len(file) > 1:
                raise ValueError(f"'{path}' holds {len(file)} runs. Name one of them")
            return Run(file[0], file[0].resolve().parent.name, TABLES)
        except RunError as error:
            if str(error) != told:
                told = str(error)
                print(f"waiting: {told}", file=out, flush=True)
            time.sleep(interval)


def watch(path: str, interval: float = 2.0, out: TextIO | None = None, wait: bool = False) -> str:
    """Shows the run until it ends; returns its state. Plain lines where `out` is not a terminal.

    wait: a run that is not there or not going yet is waited for.
    """
    out = out or sys.stdout
    run = _wait_for(path, out, interval) if wait else Run(find(path)[0], find(path)[0].resolve().parent.name, TABLES)
    shown, height = -1, 0
    while True:
        if out.isatty():
            lines = view(run, shutil.get_terminal_size().columns - 1)
            out.write((f"\x1b[{height}A" if height else "") + "".join(f"\x1b[2K{one}\n" for one in lines) + "\x1b[J")
            height = len(lines)
        elif run.done != shown:
            print(line(run), file=out)
        out.flush()
        shown = run.done
        if run.state != state.RUNNING:
            print(_last_words(run), file=out, flush=True)
            return run.state
        time.sleep(interval)
        run = _reload(run)


def _reload(run: Run) -> Run:
    """The run read anew; the old one when its file is just being replaced."""
    try:
        return run.reload()
    except RunError:
        return run
