"""Data-parallel ranks of a node hold the frozen base once, and nothing else changes."""
import unittest

import files
from support import ProgramTest, needs_h5py, newest_checkpoint


@needs_h5py
class SharedBase(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "base")
        files.write_rows(self.folder / "rows.jsonl", files.token_rows(16, 8, 24, files.SIZES["vocab_size"]))

    def train(self, name, ranks, tensor=1, method="lora", init="default", **environment):
        path = self.write_input(
            f"{name}.yaml", output=name, method=method, lora={"r": 3, "alpha": 6, "init": init}, model={"path": "base"},
            train={"steps": 2, "batch_size": 8, "learning_rate": 0.02, "micro_tokens": 32},
            data={"train": "rows.jsonl", "format": "tokens", "max_length": 32}, parallel={"tensor": tensor})
        done = self.refract("train", path, ranks=ranks, **environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done, files.set_bytes(newest_checkpoint(self.folder / name))

    def test_ranks_alike__hold_the_base_once__and_train_the_same_bits(self):
        alone, wanted = self.train("alone", 1)
        self.assertNotIn("held once", alone.stdout)
        for ranks, tensor in ((2, 1), (4, 2), (4, 1)):
            done, found = self.train(f"run-{ranks}-{tensor}", ranks, tensor)
            self.assertIn("held once", done.stdout)
            self.assertEqual(found, wanted)
        done, found = self.train("cut", 2, 2)
        self.assertNotIn("held once", done.stdout)
        self.assertEqual(found, wanted)

    def test_a_base_that_is_moved_or_trained__is_not_shared(self):
        for method, init in (("lora", "random"), ("full", "default")):
            done, _ = self.train(method, 2, method=method, init=init)
            self.assertNotIn("held once", done.stdout)

    def test_no_shared_memory__every_rank_holds_its_own(self):
        _, wanted = self.train("alone", 1)
        done, found = self.train("fault", 2, RF_FAULT="shared.create:1")
        self.assertIn("every rank holds a base of its own", done.stdout + done.stderr)
        self.assertNotIn("held once", done.stdout)
        self.assertEqual(found, wanted)


if __name__ == "__main__":
    unittest.main()
