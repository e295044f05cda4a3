"""watch: plain lines in a pipe, a live view in a terminal; it ends when the run does."""
import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
import unittest

from case import HERE, STEPS, Case, numpy, refract_analysis
from refract_analysis import watch


class Watch(Case):
    def command(self, *arguments, **options):
        return subprocess.Popen([sys.executable, "-B", "-m", "refract_analysis", "watch", *arguments],
                                env={**os.environ, "PYTHONPATH": str(HERE.parent)}, **options)

    def test_finished_run__is_told_once(self):
        out = io.StringIO()
        self.assertEqual(watch.watch(str(self.folder / "lora"), 0.1, out), "finished")
        first, last = out.getvalue().splitlines()
        run = refract_analysis.load(self.folder / "lora")[0]
        self.assertIn(f"step {STEPS}/{STEPS}  loss {run.steps['loss'].iloc[-1]:.4f}", first)
        self.assertIn(f"held-out {run.evals['loss'].iloc[-1]:.4f}", first)
        self.assertEqual(last, f"lora: finished after step {STEPS} of {STEPS} (all steps are done)")

    def test_running_run__is_followed_until_it_is_stopped(self):
        process = self.endless("live")
        watcher = self.command(str(self.folder / "live"), "--interval", "0.1", stdout=subprocess.PIPE, text=True)
        lines = [watcher.stdout.readline() for _ in range(3)]
        process.terminate()
        rest = watcher.communicate(timeout=30)[0].splitlines()
        self.assertEqual(watcher.returncode, 0)
        steps = [int(re.search(r"step (\d+)/1000000", line).group(1)) for line in lines]
        self.assertEqual(steps, sorted(set(steps)))
        self.assertIn("eta", lines[0])
        self.assertTrue(any(line.startswith("live: stopped after step") for line in rest), rest)

    def test_killed_run__is_told(self):
        self.killed("dead")
        out = io.StringIO()
        self.assertEqual(watch.watch(str(self.folder / "dead"), 0.1, out), "killed")
        self.assertIn("run.log ends with: ", out.getvalue())

    def test_run_that_has_not_begun__is_waited_for(self):
        out = io.StringIO()
        waiter = threading.Thread(target=watch.watch, args=(str(self.folder / "late"), 0.1, out, True))
        waiter.start()
        time.sleep(0.3)
        self.train("late")
        waiter.join(30)
        self.assertFalse(waiter.is_alive())
        self.assertTrue(out.getvalue().startswith("waiting: no run in"))
        self.assertIn("late: finished after step", out.getvalue())

    @staticmethod
    def read(terminal):
        """What comes next; nothing when the other side is closed."""
        try:
            return os.read(terminal, 4096)
        except OSError:
            return b""

    def test_in_a_terminal__the_view_is_drawn_in_place(self):
        ours, theirs = pty.openpty()
        process = self.endless("shown")
        watcher = self.command(str(self.folder / "shown"), "--interval", "0.1", stdout=theirs)
        os.close(theirs)
        data, asked = b"", False
        while part := self.read(ours):
            data += part
            if not asked and b"\x1b[5A" in data:  # drawn a second time, over the five lines of the first
                asked = True
                process.terminate()
        os.close(ours)
        self.assertEqual(watcher.wait(30), 0)
        text = data.decode()
        self.assertRegex(text, "loss [▁▂▃▄▅▆▇█]+")
        self.assertIn("stopped", text)

    def test_unknown_run__is_code_3(self):
        watcher = self.command(str(self.folder / "none"), stderr=subprocess.PIPE, text=True)
        self.assertIn("there is no such folder", watcher.communicate(timeout=30)[1])
        self.assertEqual(watcher.returncode, 3)

    def test_sparkline__spans_least_to_most(self):
        self.assertEqual(watch.sparkline(numpy.array([1.0, 2, 3, numpy.nan]), 10), "▁▅█")
        self.assertEqual(watch.sparkline(numpy.arange(1000.0), 4), "▁▃▆█")
        self.assertEqual(watch.sparkline(numpy.array([]), 4), "")
        self.assertEqual(watch.sparkline(numpy.array([5.0, 5]), 4), "▁▁")

    def test_clock__rounds_to_seconds(self):
        self.assertEqual([watch.clock(x) for x in (0.4, 61, 3599.6, 360000)], ["0:00:00", "0:01:01", "1:00:00",
                                                                            "100:00:00"])


if __name__ == "__main__":
    unittest.main()
