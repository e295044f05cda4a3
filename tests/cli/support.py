"""Runs the program alone or under mpirun, with the environment ctest gave; says what came of it.

ctest sets REFRACT (the program), REFRACT_F64 (its double-precision twin, if built), MPIRUN and RF_SHARED;
python3 tests/cli/FILE.py with them set works as well.
"""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import files

REFRACT = os.environ.get("REFRACT", "refract")
REFRACT_F64 = os.environ.get("REFRACT_F64")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
SHARED = pathlib.Path(os.environ.get("RF_SHARED") or "../shared").resolve()
LAUNCHERS = ("OMPI_", "PMI", "SLURM_")

needs_h5py = unittest.skipUnless(files.h5py, "this Python has no h5py")


def needs_shared(name):
    """Skips a test or class where these data are not at hand."""
    return unittest.skipUnless((SHARED / name).exists(), f"no {name} in {SHARED} (RF_SHARED)")


def clean_environment(**changes):
    """The environment without traces of another launcher, and with `changes`; OMPI_MCA and the like stay."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCHERS) or name.startswith(("OMPI_MCA_", "OMPI_ALLOW_"))
    }
    return {**kept, **changes}


class Job:
    """A started job of `ranks` ranks, each of whose process and exit code is known (unless it is bare)."""

    SCRIPT = '"$@" & echo $! > job/pid.$OMPI_COMM_WORLD_RANK; wait $!; echo $? > job/code.$OMPI_COMM_WORLD_RANK'

    def __init__(self, folder, arguments, ranks, environment, is_bare=False):
        self.folder, self.ranks = folder / "job", ranks
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            path.unlink()
        shell = [] if is_bare else ["sh", "-c", self.SCRIPT, "sh"]
        command = [MPIRUN, "-q", "-n", str(ranks), *shell, REFRACT, *map(str, arguments)]
        self.process = subprocess.Popen(command, cwd=folder, env=clean_environment(**environment), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def numbers(self, kind):
        """The pids or codes that are known by now, by rank."""
        texts = {path.name.split(".")[1]: path.read_text() for path in self.folder.glob(f"{kind}.*")}
        return {int(rank): int(text) for rank, text in texts.items() if text.strip()}

    def wait_until(self, holds, timeout=60):
        """Waits until `holds()`, or the job is over; tells whether it holds."""
        end = time.monotonic() + timeout
        while not holds():
            if self.process.poll() is not None or time.monotonic() > end:
                return holds()
            time.sleep(0.002)
        return True

    def send(self, number, ranks=None):
        """Sends a signal to the program on these ranks, or on all."""
        self.wait_until(lambda: len(self.numbers("pid")) == self.ranks)
        for rank, pid in self.numbers("pid").items():
            if ranks is None or rank in ranks:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def finish(self, timeout=60):
        """Waits for the end; returns the codes by rank, what was printed, and the errors."""
        try:
            out, errors = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            out, errors = self.process.communicate(timeout=20)
            raise AssertionError(f"a rank hangs; it said: {out[-2000:]}{errors[-2000:]}") from None
        return [self.numbers("code").get(rank) for rank in range(self.ranks)], out, errors


class ProgramTest(unittest.TestCase):
    """A test case with a folder of its own and ways to run the program in it."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def write(self, name, text):
        """Makes a file in the test's folder; returns its name."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def write_input(self, name, **keys):
        """Makes an input file of these keys (JSON is YAML); returns its name."""
        return self.write(name, json.dumps(keys))

    def refract(self, *arguments, ranks=None, timeout=60, program=REFRACT, **environment):
        """Runs the program: alone, or on `ranks` ranks under mpirun. Returns the finished process."""
        launch = [] if ranks is None else [MPIRUN, "-q", "-n", str(ranks)]
        return subprocess.run(
            [*launch, program, *map(str, arguments)],
            cwd=self.folder, env=clean_environment(**environment), timeout=timeout,
            capture_output=True, text=True, check=False,
        )

    def start(self, *arguments, ranks, is_bare=False, **environment):
        """Starts the program on `ranks` ranks and lets it run; bare: as a child of mpirun itself."""
        job = Job(self.folder, arguments, ranks, environment, is_bare)
        self.addCleanup(job.process.wait, 60)
        return job

    def codes(self, *arguments, ranks):
        """The exit code of every rank, as a sorted list."""
        return sorted(self.start(*arguments, ranks=ranks).finish()[0])

    def succeed(self, *arguments, **options):
        """Runs the program, which must end with code 0; returns what it printed."""
        done = self.refract(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def error_line(self, stderr):
        """The one line that tells the error."""
        errors = [line for line in stderr.splitlines() if line.startswith("refract: error: ")]
        self.assertEqual(len(errors), 1, stderr)
        return errors[0]

    def fail_with(self, code, text, *arguments, **options):
        """Runs the program, which must end with `code` and tell `text` once, as its only error line."""
        done = self.refract(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(text, self.error_line(done.stderr))
        return done

    def all_fail_with(self, code, text, *arguments, ranks, timeout=30, **environment):
        """Every one of `ranks` ranks must end with `code` in time; `text` is told once."""
        codes, _, errors = self.start(*arguments, ranks=ranks, **environment).finish(timeout)
        self.assertEqual(codes, [code] * ranks, errors)
        self.assertIn(text, self.error_line(errors))


def newest_checkpoint(run):
    """The path of a run folder's newest checkpoint."""
    return max((run / "checkpoints").glob("step-*.h5"))
