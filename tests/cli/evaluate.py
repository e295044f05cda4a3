"""refract eval: a run, its checkpoint and its export all score as the training said; the base scores otherwise."""
import json
import unittest

import files
from runs import RANKS, RunTest
from support import needs_h5py, newest_checkpoint


@needs_h5py
class Evaluate(RunTest):
    steps = 4

    def loss(self, *arguments, ranks=RANKS):
        self.succeed("eval", *arguments, "output=scores", ranks=ranks)
        return json.loads((self.folder / "scores" / "eval.json").read_text())["loss"]

    def trained_loss(self, output):
        return json.loads((self.folder / output / "eval.json").read_text())["loss"]

    def test_lora_run__by_any_name__scores_as_trained(self):
        name = self.input("run")
        self.succeed("train", name, ranks=RANKS)
        wanted = self.trained_loss("run")
        checkpoint = newest_checkpoint(self.folder / "run")
        for adapter in ("run", str(checkpoint), "run/adapter"):
            for ranks, tensor in ((1, 1), (2, 2)):
                found = self.loss(name, f"eval.adapter={adapter}", f"parallel.tensor={tensor}", ranks=ranks)
                self.assertEqual(found, wanted, (adapter, ranks))
        self.assertNotEqual(self.loss(name, "eval.adapter=none"), wanted)

    def test_auto__takes_the_newest_state_of_the_output(self):
        name = self.input("run")
        self.succeed("train", name, ranks=1)
        wanted = self.trained_loss("run")
        self.succeed("eval", name, ranks=1)
        self.assertEqual(self.trained_loss("run"), wanted)

    def test_full_run__from_its_checkpoint__scores_as_trained(self):
        name = self.input("run", method="full", model={"path": "model", "init": "random"})
        self.succeed("train", name, ranks=RANKS)
        wanted = self.trained_loss("run")
        for ranks in (1, 2):
            self.assertEqual(self.loss(name, "eval.adapter=run", ranks=ranks), wanted)
        self.assertNotEqual(self.loss(name, "eval.adapter=none"), wanted)
        self.assertEqual(self.loss(name, "model.path=run/model", "model.init=pretrained", "eval.adapter=none"), wanted)

    def test_missing_adapter__is_named(self):
        name = self.input("run")
        files.write_rows(self.folder / "other.jsonl", files.token_rows(3, 3, 9, 61))
        self.fail_with(3, "nowhere", "eval", name, "eval.adapter=nowhere", ranks=2)


if __name__ == "__main__":
    unittest.main()
