"""What the tests of the package share: runs of the program on tiny data, made once per class."""
import json
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "cli")]

try:
    import h5py
    import numpy
    import matplotlib.image
    import pandas
    import yaml
except ImportError as missing:
    print(f"skipped: this Python has no {missing.name} (h5py, matplotlib, pandas and PyYAML are needed)")
    sys.exit(77)

import files
import refract_analysis
from refract_analysis import command
from support import REFRACT, clean_environment

__all__ = ["Case", "append", "command", "files", "h5py", "needs_browser", "numpy", "pandas", "refract_analysis", "yaml", "matplotlib"]
STEPS = 24
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = unittest.skipUnless(BROWSER, "no chromium here to look at the page with")


class Case(unittest.TestCase):
    """A folder per class with base model, data and the finished run `lora`."""

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        files.make_model(cls.folder / "model")
        files.write_rows(cls.folder / "train.jsonl", files.token_rows(60, 5, 40, 61))
        files.write_rows(cls.folder / "eval.jsonl", files.token_rows(12, 5, 40, 61, seed=9))
        cls.train("lora", train={"eval_every": 8})

    @classmethod
    def input(cls, output, model="model", train=None, **keys):
        """Makes an input file; returns its name."""
        whole = {
            "output": output, "method": "lora", "model": {"path": model}, "lora": {"r": 4, "rank_pattern":
                                                                                  {"down_proj": 6}},
            "data": {"train": "train.jsonl", "eval": "eval.jsonl", "format": "tokens", "max_length": 48},
            "train": {"steps": STEPS, "batch_size": 8, "micro_tokens": 64, "learning_rate": 0.01, "warmup_steps": 3,
                      **(train or {})},
            "telemetry": {"ranks_every": 2}, **keys,
        }
        (cls.folder / f"{output}.yaml").write_text(json.dumps(whole))
        return f"{output}.yaml"

    @classmethod
    def start(cls, output, **keys):
        """Starts a run; it is killed at the end of the class at the latest."""
        process = subprocess.Popen([REFRACT, "train", cls.input(output, **keys)], cwd=cls.folder, text=True,
                                   env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        cls.addClassCleanup(process.__exit__, None, None, None)
        cls.addClassCleanup(process.kill)
        return process

    @classmethod
    def train(cls, output, code=0, **keys):
        process = cls.start(output, **keys)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == code, said
        return cls.folder / output

    @classmethod
    def endless(cls, output):
        """A run that goes on until it is stopped, with a row at least."""
        process = cls.start(output, train={"steps": 10 ** 6, "eval_every": 0})
        while not cls.rows(output):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        return process

    @classmethod
    def rows(cls, output):
        try:
            return len(refract_analysis.load(cls.folder / output)[0].steps)
        except refract_analysis.RunError:
            return 0

    def assert_browser_shows(self, page):
        """A headless browser draws the page, which is not blank, and has nothing to say about it."""
        picture = page.with_suffix(".png")
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
             "--v=0", "--window-size=1200,4000", f"--user-data-dir={self.folder}/browser",
             f"--screenshot={picture}", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual([line for line in done.stderr.splitlines() if "CONSOLE" in line], [])
        self.assertTrue(picture.exists(), done.stderr)
        self.assertEqual(struct.unpack(">2I", picture.read_bytes()[16:24]), (1200, 4000))
        shades = matplotlib.image.imread(picture)[..., :3].reshape(-1, 3)
        self.assertGreater((shades.max(axis=1) < 0.9).mean(), 0.01, "the page is blank")

    @classmethod
    def killed(cls, output):
        process = cls.endless(output)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return cls.folder / output

    @classmethod
    def copy(cls, output, name):
        """A copy of a run's telemetry as a run of its own; returns the file."""
        target = cls.folder / name
        target.mkdir()
        (target / "run.h5").write_bytes((cls.folder / output / "run.h5").read_bytes())
        return target / "run.h5"


def append(file, path, rows):
    """Appends rows to a dataset of an HDF5 file."""
    rows = numpy.asarray(rows)
    file[path].resize(len(file[path]) + len(rows), axis=0)
    file[path][-len(rows):] = rows
