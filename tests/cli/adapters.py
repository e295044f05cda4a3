"""Adapters as others read them: what a run has trained and what its exported folder holds are one model."""
import json
import unittest

import files
from files import h5py
from support import REFRACT, REFRACT_F64, ProgramTest, needs_h5py


@needs_h5py
class Export(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "base")
        self.rows = files.write_rows(self.folder / "rows.jsonl", files.token_rows(16, 8, 24, files.SIZES["vocab_size"]))

    def input(self, name, method, **lora):
        return self.write_input(
            f"{name}.yaml", output=name, method=method, lora={"r": 3, "alpha": 5, **lora},
            model={"path": "base"}, train={"steps": 6, "batch_size": 4, "learning_rate": 0.02, "micro_tokens": 64},
            data={"train": str(self.rows), "eval": str(self.rows), "format": "tokens", "max_length": 32})

    def logits(self, path, adapter, program):
        out = self.folder / f"{adapter.replace('/', '-')}.h5"
        self.succeed("eval", path, f"eval.adapter={adapter}", f"eval.logits={out}", program=program)
        with h5py.File(out, "r") as file:
            return file["logits"][()]

    def check(self, name, method, program, limit, ranks=None, **lora):
        path = self.input(name, method, **lora)
        self.succeed("train", path, program=program, ranks=ranks)
        trained = self.logits(path, name, program)
        exported = self.logits(path, f"{name}/adapter", program)
        base = self.logits(path, "none", program)
        self.assertGreater(abs(trained - base).max(), 0.05, name)
        self.assertLess(abs(trained - exported).max(), limit, name)
        return json.loads((self.folder / name / "adapter" / "adapter_config.json").read_text())

    def check_all(self, name, method, **lora):
        """The folder holds f32, which limits what double precision can show."""
        config = self.check(f"{name}-f32", method, REFRACT, 1e-4, **lora)
        if REFRACT_F64:
            self.check(f"{name}-f64", method, REFRACT_F64, 5e-6, ranks=2, **lora)
        return config

    def test_dora(self):
        config = self.check_all("dora", "dora", rank_pattern={"down_proj": 5})
        self.assertTrue(config["use_dora"])
        self.assertEqual((config["r"], set(config["rank_pattern"].values())), (3, {5}))

    def test_beamlora__has_its_gates_in_b(self):
        config = self.check_all("beam", "beamlora+loraplus", rank_pattern={"down_proj": 5})
        self.assertEqual((config["r"], config["use_dora"]), (3, False))

    def test_beamlora_on_principal_factors(self):
        self.check_all("beam-pissa", "beamlora+pissa")

    def test_pissa__is_a_difference_of_twice_the_rank(self):
        config = self.check_all("pissa", "pissa", rank_pattern={"down_proj": 5})
        self.assertEqual((config["r"], config["lora_alpha"], config["use_dora"]), (6, 10, False))
        self.assertEqual(set(config["rank_pattern"].values()), {10})

    def test_pissa__of_weights_beyond_the_limit__comes_from_all_ranks_together(self):
        path = self.input("spread", "pissa")
        self.succeed("train", path, "output=alone")
        done = self.refract("train", path, "linalg.distribute_above=1000", ranks=2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("training depends on the number of ranks"), 1, done.stderr)
        losses = [files.read_sets(self.folder / run / "run.h5")["steps/loss"] for run in ("alone", "spread")]
        self.assertLess(abs(losses[0] - losses[1]).max(), 1e-3)
        self.assertLess(losses[1][-1], losses[1][0])

    def test_random_factors__are_a_difference_of_twice_the_rank(self):
        config = self.check_all("random", "rslora+loraplus", init="random")
        self.assertEqual((config["r"], config["use_rslora"]), (6, True))
        self.assertAlmostEqual(config["lora_alpha"], 5 * 2 ** 0.5)

    def test_dora_on_principal_factors(self):
        self.check_all("both", "dora+pissa")


if __name__ == "__main__":
    unittest.main()
