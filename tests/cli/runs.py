"""A small training whose outcome tests compare after it was stopped, killed or damaged on the way."""
import files
from support import ProgramTest, newest_checkpoint

RANKS = 2


class RunTest(ProgramTest):
    """Makes a model, data and the undisturbed run `whole`."""

    steps = 10

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.wanted = None

    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "model")
        self.rows = files.write_rows(self.folder / "train.jsonl", files.token_rows(14, 3, 30, 61))
        self.held_out = files.write_rows(self.folder / "eval.jsonl", files.token_rows(60, 3, 30, 61, seed=8))

    def input(self, output, **changes):
        """A LoRA run that evaluates after every second step and saves after every one but the first few."""
        return self.write_input(f"{output}.yaml", **{
            "output": output, "method": "lora", "model": {"path": "model"},
            "lora": {"r": 3, "dropout": 0.1},
            "data": {"train": "train.jsonl", "eval": "eval.jsonl", "format": "tokens", "max_length": 32},
            "train": {"steps": self.steps, "batch_size": 5, "micro_tokens": 32, "learning_rate": 0.01, "log_every": 1,
                      "eval_every": 2},
            "checkpoint": {"every": 2, "keep": 100}, **changes})

    def outcome(self, output):
        """All that must not depend on what happened on the way."""
        run = self.folder / output
        self.assertEqual(list((run / "checkpoints").glob("*.tmp")), [])
        told = {name: value for name, value in files.set_bytes(run / "run.h5").items()
                if not name.startswith("timing/") and not name.endswith("/seconds")}
        return {"newest": newest_checkpoint(run).name,
                "adapter": (run / "adapter" / "adapter_model.safetensors").read_bytes(),
                **told, **files.set_bytes(newest_checkpoint(run))}

    def undisturbed(self):
        """What the run comes to when it is let alone; its folder is `whole`."""
        self.succeed("train", self.input("whole"), ranks=RANKS)
        return self.outcome("whole")

    def assert_finishes_like(self, wanted, output, *arguments):
        """The same command, let alone, ends with the very bits of the undisturbed run; returns what it printed."""
        text = self.succeed("train", f"{output}.yaml", *arguments, ranks=RANKS)
        found = self.outcome(output)
        self.assertEqual(found.keys(), wanted.keys())
        self.assertEqual([name for name in wanted if found[name] != wanted[name]], [])
        return text
