"""Runs that are told to stop, at any moment and by any rank: code 75 everywhere, and the same command goes on to
the very bits of an undisturbed run."""
import signal
import time
import unittest

import files
from runs import RANKS, RunTest
from support import needs_h5py


@needs_h5py
class Stop(RunTest):
    steps = 60

    def log_has(self, output, word):
        path = self.folder / output / "run.log"
        return path.exists() and word in path.read_text()

    def interrupt(self, name, holds, signals, ranks=None):
        """Starts the run, sends the signals once `holds()`; tells the codes and the errors."""
        job = self.start("train", name, ranks=RANKS)
        self.assertTrue(job.wait_until(holds), "the run ended before it could be stopped")
        for number in signals:
            job.send(number, ranks)
            time.sleep(0.01)
        codes, _, errors = job.finish()
        return codes, errors

    def assert_stopped(self, told, reason="a signal"):
        codes, errors = told
        self.assertEqual(codes, [75] * RANKS, errors)
        lines = [line for line in errors.splitlines() if line.startswith("refract: ")]
        self.assertEqual(len(lines), 1, errors)
        self.assertIn(f"refract: stopped by {reason} ", lines[0])

    def new_step(self, output):
        """True once a step beyond those of earlier starts was told."""
        seen = self.steps_told(output)
        return lambda: self.steps_told(output) > seen

    def steps_told(self, output):
        path = self.folder / output / "run.log"
        return path.read_text().count("  loss ") if path.exists() else 0

    def test_signals_at_every_stage__leave_with_75_and_lose_nothing(self):
        wanted = self.undisturbed()
        name, run = self.input("run"), self.folder / "run"
        self.assert_stopped(self.interrupt(name, (run / "run.log").exists, [signal.SIGTERM]))
        self.assert_stopped(self.interrupt(name, self.new_step("run"), [signal.SIGUSR1], ranks=[1]))
        self.assert_stopped(self.interrupt(name, self.new_step("run"), [signal.SIGINT], ranks=[0]))
        writing = lambda: any((run / "checkpoints").glob("*.tmp"))
        self.assert_stopped(self.interrupt(name, writing, [signal.SIGUSR2]))
        self.assert_stopped(self.interrupt(name, writing, [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]))
        self.assertIn("resuming after step ", self.assert_finishes_like(wanted, "run"))

    def test_signal_while_evaluating__leaves_with_75_and_evaluates_again(self):
        files.write_rows(self.folder / "eval.jsonl", files.token_rows(3000, 3, 30, 61, seed=8))
        type(self).steps = 2
        self.addCleanup(setattr, type(self), "steps", 60)
        wanted = self.undisturbed()
        name = self.input("run")
        self.assert_stopped(self.interrupt(name, lambda: self.log_has("run", "step 2/2"), [signal.SIGUSR1]))
        self.assertFalse((self.folder / "run" / "eval.json").exists())
        self.assert_finishes_like(wanted, "run")

    def test_signal_to_mpirun__reaches_the_ranks(self):
        wanted = self.undisturbed()
        job = self.start("train", self.input("run"), ranks=RANKS, is_bare=True)
        job.wait_until(lambda: self.log_has("run", "  loss "))
        job.process.send_signal(signal.SIGUSR1)
        _, _, errors = job.finish()
        self.assert_stopped(([job.process.returncode] * RANKS, errors))
        self.assert_finishes_like(wanted, "run")

    def test_stop_file__stops_and_is_gone_at_the_next_start(self):
        wanted = self.undisturbed()
        name, stop = self.input("run"), self.folder / "run" / "STOP"
        job = self.start("train", name, ranks=RANKS)
        job.wait_until(lambda: self.log_has("run", "  loss "))
        stop.touch()
        codes, _, errors = job.finish()
        self.assert_stopped((codes, errors), "the STOP file")
        self.assert_finishes_like(wanted, "run")
        self.assertFalse(stop.exists())

    def test_time_limit__stops_before_it_passes(self):
        wanted = self.undisturbed()
        began = time.monotonic()
        codes, _, errors = self.start("train", self.input("run"), "train.max_time=00:00:01", ranks=RANKS).finish()
        self.assert_stopped((codes, errors), "the time limit")
        self.assertLess(time.monotonic() - began, 20)
        self.assert_finishes_like(wanted, "run")


if __name__ == "__main__":
    unittest.main()
