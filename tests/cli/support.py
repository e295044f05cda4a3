"""Runs the program alone or under mpirun, with the environment ctest gave; says what came of it.

ctest sets REFRACT (the program) and MPIRUN; python3 tests/cli/FILE.py with both set works as well.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest

REFRACT = os.environ.get("REFRACT", "refract")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
LAUNCHERS = ("OMPI_", "PMI", "SLURM_")


def clean_environment(**changes):
    """The environment without traces of another launcher, and with `changes`; OMPI_MCA and the like stay."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCHERS) or name.startswith(("OMPI_MCA_", "OMPI_ALLOW_"))
    }
    return {**kept, **changes}


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

    def refract(self, *arguments, ranks=None, timeout=60, **environment):
        """Runs the program: alone, or on `ranks` ranks under mpirun. Returns the finished process."""
        launch = [] if ranks is None else [MPIRUN, "-q", "-n", str(ranks)]
        return subprocess.run(
            [*launch, REFRACT, *map(str, arguments)],
            cwd=self.folder, env=clean_environment(**environment), timeout=timeout,
            capture_output=True, text=True, check=False,
        )

    def codes(self, *arguments, ranks):
        """The exit code of every rank, as a sorted list."""
        script = '"$@" 2>/dev/null >/dev/null; echo "code $?"'
        done = subprocess.run(
            [MPIRUN, "-q", "-n", str(ranks), "sh", "-c", script, "sh", REFRACT, *map(str, arguments)],
            cwd=self.folder, env=clean_environment(), timeout=60, capture_output=True, text=True, check=True,
        )
        return sorted(int(line.split()[1]) for line in done.stdout.splitlines())

    def succeed(self, *arguments, **options):
        """Runs the program, which must end with code 0; returns what it printed."""
        done = self.refract(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def fail_with(self, code, text, *arguments, **options):
        """Runs the program, which must end with `code` and tell `text` once, as its only error line."""
        done = self.refract(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("refract: error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn(text, errors[0])
        return done
