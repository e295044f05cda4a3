"""Runs that died, whose files were damaged, or that are called with something else: what is there is used, or
refused in plain words, and never lost."""
import shutil
import signal
import unittest

import files
from runs import RANKS, RunTest
from support import needs_h5py, newest_checkpoint

STAGES = ("checkpoint.create:1", "checkpoint.write:1", "checkpoint.flush:0", "checkpoint.verify:1",
          "checkpoint.rename:0", "telemetry.append:0")


class HalfDone(RunTest):
    """Tests that begin with a run whose newest checkpoints are gone: `half` is at step 4 of 10."""

    def setUp(self):
        super().setUp()
        self.wanted = self.undisturbed()
        self.name = self.input("half")
        self.half = self.folder / "half"
        shutil.copytree(self.folder / "whole", self.half)
        shutil.rmtree(self.half / "adapter")
        for path in (self.half / "checkpoints").glob("step-*.h5"):
            if path.name > "step-00000004.h5":
                path.unlink()

    def state(self):
        """The bytes of all that a run must not lose."""
        return {path.name: path.read_bytes() for path in (self.half / "checkpoints").iterdir()}


@needs_h5py
class Death(HalfDone):
    def test_kill_at_every_stage_of_saving__loses_nothing(self):
        for site in STAGES:
            done = self.refract("train", self.name, ranks=RANKS, RF_FAULT=f"{site}:kill")
            self.assertNotEqual(done.returncode, 0, site)
            self.assertFalse((self.half / "adapter").exists(), site)
        self.assert_finishes_like(self.wanted, "half")

    def test_kill_while_exporting__leaves_no_half_adapter(self):
        for site in ("safetensors.write:0", "safetensors.rename:0"):
            self.assertNotEqual(self.refract("train", self.name, ranks=RANKS, RF_FAULT=f"{site}:kill").returncode, 0)
            self.assertEqual(list((self.half / "adapter").glob("*.safetensors")), [])
        self.assert_finishes_like(self.wanted, "half")
        self.assertEqual({path.name for path in (self.half / "adapter").iterdir()},
                         {path.name for path in (self.folder / "whole" / "adapter").iterdir()})

    def test_failed_writes__are_code_6_and_leave_the_last_state(self):
        before = self.state()
        for site in ("checkpoint.write:1", "checkpoint.rename:0", "telemetry.append:0"):
            codes, _, errors = self.start("train", self.name, ranks=RANKS, RF_FAULT=site).finish()
            self.assertEqual(codes, [6] * RANKS, errors)
            self.error_line(errors)
            self.assertEqual(self.state(), before, site)
        self.assert_finishes_like(self.wanted, "half")

    def test_power_failure_at_any_moment__loses_nothing(self):
        log = self.half / "run.log"
        for word in ("data:", "resuming after", "  loss ", "evaluation"):
            size = log.stat().st_size
            job = self.start("train", self.name, ranks=RANKS)
            job.wait_until(lambda: word in log.read_text()[size:])
            job.send(signal.SIGKILL)
            job.finish()
        self.assert_finishes_like(self.wanted, "half")


@needs_h5py
class Damage(HalfDone):
    def assert_passed_over(self, path, step):
        """The damaged newest file is named; the run goes on from an earlier one, to the same end."""
        text = self.assert_finishes_like(self.wanted, "half")
        warnings = [line for line in (self.half / "run.log").read_text().splitlines()
                    if "warning" in line and path.name in line]
        self.assertTrue(warnings, text)
        self.assertIn(f"resuming after step {step} of 10", text)

    def test_flipped_byte_in_the_newest_checkpoint__is_passed_over(self):
        path = self.half / "checkpoints" / "step-00000004.h5"
        whole = path.read_bytes()
        for at in (len(whole) // 3, len(whole) // 2, len(whole) - 100):
            shutil.copy(self.folder / "whole" / "run.h5", self.half / "run.h5")
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            done = self.refract("inspect", "--verify", path)
            if done.returncode != 0:  # some bytes of the file hold nothing
                break
        self.assertEqual(done.returncode, 3, "no flipped byte was seen")
        self.assert_passed_over(path, 2)

    def test_truncated_newest_checkpoint__is_passed_over(self):
        path = self.half / "checkpoints" / "step-00000004.h5"
        path.write_bytes(path.read_bytes()[:-4000])
        self.assert_passed_over(path, 2)

    def test_empty_and_half_written_checkpoints__are_passed_over(self):
        (self.half / "checkpoints" / "step-00000006.h5").write_bytes(b"")
        (self.half / "checkpoints" / "step-00000008.h5.tmp").write_bytes(b"\x89HDF\r\n\x1a\n half")
        self.assert_passed_over(self.half / "checkpoints" / "step-00000006.h5", 4)

    def test_only_damaged_checkpoints__start_anew(self):
        for path in (self.half / "checkpoints").iterdir():
            path.write_bytes(path.read_bytes()[:1000])
        text = self.assert_finishes_like(self.wanted, "half")
        self.assertNotIn("resuming", text)

    def test_damaged_telemetry__does_not_stop_the_run(self):
        whole = (self.half / "run.h5").read_bytes()
        (self.half / "run.h5").write_bytes(whole[:len(whole) // 2])
        text = self.succeed("train", self.name, ranks=RANKS)
        self.assertIn("resuming after step 4 of 10", text)
        self.assertEqual(files.set_bytes(newest_checkpoint(self.half)),
                         files.set_bytes(newest_checkpoint(self.folder / "whole")))


@needs_h5py
class Refusal(HalfDone):
    def assert_refused(self, *texts, arguments=()):
        before = self.state()
        codes, _, errors = self.start("train", self.name, *arguments, ranks=RANKS).finish()
        self.assertEqual(codes, [7] * RANKS, errors)
        self.error_line(errors)
        for text in texts:
            self.assertIn(text, errors)
        self.assertEqual(self.state(), before)

    def test_other_configuration__is_shown_key_by_key(self):
        self.assert_refused("lora.r", "3", "5", arguments=["lora.r=5"])
        self.assert_refused("train.learning_rate", "train.seed", arguments=["train.learning_rate=0.02", "train.seed=1"])
        self.assert_refused("train.steps", arguments=["train.steps=20"])
        self.assert_refused("parallel.slices", arguments=["parallel.slices=2"])

    def test_keys_that_may_change__are_no_reason(self):
        self.assert_finishes_like(self.wanted, "half", "parallel.tensor=2", "checkpoint.keep=50", "train.log_every=3",
                                  "train.max_time=01:00:00")

    def test_other_data__are_refused(self):
        rows = files.token_rows(14, 3, 30, 61)
        rows[5]["input_ids"][0] ^= 1
        files.write_rows(self.folder / "train.jsonl", rows)
        self.assert_refused("made with other data")

    def test_other_base_weights__are_refused(self):
        path = self.folder / "model" / "model.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-4] ^= 1
        path.write_bytes(raw)
        self.assert_refused("made with another base model")

    def test_folder_in_use__is_refused_and_names_the_holder(self):
        files.write_rows(self.folder / "eval.jsonl", files.token_rows(3000, 3, 30, 61, seed=8))
        log = self.half / "run.log"
        size = log.stat().st_size
        job = self.start("train", self.name, ranks=RANKS)
        self.assertTrue(job.wait_until(lambda: "  loss " in log.read_text()[size:]))
        done = self.refract("train", self.name)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn("half", self.error_line(done.stderr))
        self.assertIn("process ", self.error_line(done.stderr))
        job.send(signal.SIGTERM)
        self.assertEqual(job.finish()[0], [75] * RANKS)

    def test_finished_run__started_again__is_harmless(self):
        self.assert_finishes_like(self.wanted, "half")
        files_before = self.state()
        self.assert_finishes_like(self.wanted, "half")
        self.assert_finishes_like(self.wanted, "half", "parallel.tensor=2")
        self.assertEqual(self.state(), files_before)


if __name__ == "__main__":
    unittest.main()
