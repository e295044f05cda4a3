"""A real one-node SLURM (jobs/slurm-here.sh) for the tests of a file, and what they ask of it.

ctest sets what tests/cli/support.py reads. A file ends with `cluster.main()`: code 77, with the reason, where SLURM is
not installed or does not start here.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))

from runs import RunTest  # noqa: E402  (the folder of tests/cli has just become known)
from support import REFRACT, clean_environment  # noqa: E402

FOLDER = pathlib.Path(tempfile.gettempdir()) / f"refract-slurm-test-{os.getpid()}"
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch")
ENVIRONMENT = {"SLURM_HERE": str(FOLDER), "SLURM_CONF": str(FOLDER / "slurm.conf")}


def here(*arguments):
    """Calls jobs/slurm-here.sh; returns the finished process."""
    return subprocess.run(["bash", str(ROOT / "jobs" / "slurm-here.sh"), *arguments], capture_output=True, text=True,
                          env=clean_environment(**ENVIRONMENT), timeout=60, check=False)


def main():
    """Runs the tests of the calling file on a SLURM of their own."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=path)]
    if missing:
        print(f"skipped: no SLURM here, {', '.join(missing)} missing (jobs/install.sh slurm)")
        sys.exit(77)
    up = here("up", "--cpus", "4")
    if up.returncode != 0:
        print(f"skipped: SLURM does not start here: {up.stderr.strip()}")
        here("down")
        sys.exit(77)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("the tests took too long"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("the tests were told to stop"))
    signal.alarm(500)  # before ctest kills this process, and nobody takes SLURM down
    try:
        done = unittest.main(module="__main__", exit=False, verbosity=2)
    finally:
        down = here("down")
    sys.exit(0 if done.result.wasSuccessful() and down.returncode == 0 and not FOLDER.exists() else 1)


class SlurmTest(RunTest):
    """A small training as in tests/cli, in a folder from which batch scripts can be submitted."""

    steps = 4000  # some seconds, on a fast machine too
    outcomes = {}  # of undisturbed runs, by their length: all tests have the same input

    def setUp(self):
        super().setUp()
        (self.folder / "jobs").symlink_to(ROOT / "jobs")
        (self.folder / "build").symlink_to(pathlib.Path(REFRACT).parent)

    def input(self, output, **changes):
        """As in tests/cli, but seldom evaluated and saved."""
        name = super().input(output, **changes)
        keys = json.loads((self.folder / name).read_text())
        keys["train"]["eval_every"] = keys["checkpoint"]["every"] = max(self.steps // 3, 2)
        return self.write_input(name, **keys)

    def undisturbed(self):
        """What the run comes to under mpirun when it is let alone."""
        if self.steps not in self.outcomes:
            self.outcomes[self.steps] = super().undisturbed()
        return self.outcomes[self.steps]

    def slurm(self, *command):
        """Runs a SLURM command in the test's folder; returns what it printed."""
        done = subprocess.run(command, cwd=self.folder, env=clean_environment(**ENVIRONMENT), capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
        return done.stdout.strip()

    def submit(self, *arguments):
        """The id of a new job of the script with these arguments; options of sbatch come first."""
        job = self.slurm("sbatch", "--parsable", *map(str, arguments))
        self.addCleanup(subprocess.run, ["scancel", job], env=clean_environment(**ENVIRONMENT), timeout=60,
                        capture_output=True, check=False)
        return job

    def job(self, job):
        """What SLURM knows of a job, as a dictionary."""
        return dict(re.findall(r"(\w+)=(\S*)", self.slurm("scontrol", "-o", "show", "job", job)))

    def said(self, job, name="refract"):
        """What the job has printed so far."""
        path = self.folder / f"{name}-{job}.out"
        return path.read_text() if path.exists() else ""

    def wait_for(self, what, holds, job, timeout=90):
        """Waits until `holds()`."""
        end = time.monotonic() + timeout
        while not holds():
            self.assertLess(time.monotonic(), end, f"no {what}: {self.job(job)} {self.said(job)[-3000:]}")
            time.sleep(0.1)

    def wait_for_steps(self, job, output="run", starts=1):
        """Waits until a step was told after the `starts`-th start."""
        path = self.folder / output / "run.log"
        new = lambda: path.exists() and path.read_text().split("layout: ")[starts:]
        self.wait_for("step", lambda: new() and "  loss " in new()[-1], job)

    def wait_for_state(self, job, *states):
        """Waits until the job is in one of these states; returns what SLURM knows of it."""
        self.wait_for(" or ".join(states), lambda: self.job(job)["JobState"] in states, job)
        return self.job(job)

    def ended(self, job):
        """What SLURM knows of the job once it has ended."""
        return self.wait_for_state(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")

    def ranks_of(self, job):
        """The processes of the job that run the program."""
        pids = []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                inside = f"SLURM_JOB_ID={job}".encode() in path.read_bytes().split(b"\0")
                command = (path.parent / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if inside and command[0].endswith(b"/refract"):
                pids.append(int(path.parent.name))
        return pids
