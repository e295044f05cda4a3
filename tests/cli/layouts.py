"""Runs of one input on several layouts, whose every number must be the same."""
import itertools
import json
import shutil

import files
from support import ProgramTest, newest_checkpoint

LAYOUTS = [(ranks, tp) for ranks in (1, 2, 3, 4) for tp in (1, 2, 4) if ranks % tp == 0]
GRID = [(ranks, tp, threads) for (ranks, tp), threads in itertools.product(LAYOUTS, (1, 2))]
FOUR = [(1, 1, 1), (2, 2, 2), (3, 1, 1), (4, 2, 1)]
MODEL = files.model_config(vocab_size=67, hidden_size=48, intermediate_size=2432, num_hidden_layers=1,
                           num_attention_heads=16, num_key_value_heads=8, head_dim=160)


def told(layout):
    return "{} ranks, tp {}, {} threads".format(*layout)


class LayoutTest(ProgramTest):
    """A test case with a small model, data, and runs of `ranks` ranks, `tp` of them tensor-parallel, `threads`."""

    steps, every = 4, 2  # of a run; between checkpoints

    def setUp(self):
        super().setUp()
        (self.folder / "shape").mkdir()
        (self.folder / "shape" / "config.json").write_text(json.dumps(MODEL))
        self.rows = files.write_rows(self.folder / "train.jsonl", files.token_rows(23, 3, 60, 67))
        self.held_out = files.write_rows(self.folder / "eval.jsonl", files.token_rows(9, 3, 60, 67, seed=8))

    def keys(self, **changes):
        """9 samples a step in about five micro-batches, the epoch's last batch a short one."""
        keys = {
            "data": {"train": self.rows, "eval": self.held_out, "format": "tokens", "max_length": 64},
            "train": {"steps": self.steps, "batch_size": 9, "micro_tokens": 64, "learning_rate": 0.01, "log_every": 1,
                      "warmup_steps": 1, "weight_decay": 0.01, "schedule": "cosine"},
            "checkpoint": {"every": self.every},
        }
        return keys | changes

    def full(self, output):
        return self.write_input(f"{output}.yaml", output=output, method="full",
                                model={"path": "shape", "init": "random"}, **self.keys())

    def train(self, name, layout):
        ranks, tp, threads = layout
        return self.succeed("train", name, f"parallel.tensor={tp}", ranks=ranks, timeout=120,
                            OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0")

    def outcome(self, output, exported):
        """All that must not depend on the layout."""
        run = self.folder / output
        self.assertEqual(newest_checkpoint(run).name, f"step-{self.steps:08}.h5")
        told = {name: value for name, value in files.set_bytes(run / "run.h5").items()
                if not name.startswith("timing/") and not name.endswith("/seconds")}
        self.assertEqual(told["steps/loss"][0], (self.steps,))
        return {"eval.json": json.loads((run / "eval.json").read_text())["loss"],
                "export": (run / exported).read_bytes(), **told, **files.set_bytes(newest_checkpoint(run))}

    def assert_same(self, found, wanted, what):
        self.assertEqual(found.keys(), wanted.keys(), what)
        self.assertEqual([name for name in wanted if found[name] != wanted[name]], [], what)

    def run_and_resume(self, make, exported, layouts):
        """Every layout straight on; then half of every run, finished on the next but one layout."""
        wanted = None
        for layout in layouts:
            self.train(make("-".join(map(str, ("run", *layout)))), layout)
            found = self.outcome("-".join(map(str, ("run", *layout))), exported)
            wanted = wanted or found
            self.assert_same(found, wanted, told(layout))
        for i, before in enumerate(layouts):
            after = layouts[(i + 3) % len(layouts)]
            half = self.folder / "half"
            shutil.copytree(self.folder / "-".join(map(str, ("run", *before))), half)
            while newest_checkpoint(half).name > f"step-{self.every:08}.h5":
                newest_checkpoint(half).unlink()
            self.assertIn(f"resuming after step {self.every} of {self.steps}", self.train(make("half"), after))
            self.assert_same(self.outcome("half", exported), wanted, f"{told(before)}, then {told(after)}")
            shutil.rmtree(half)
