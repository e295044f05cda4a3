"""Every method gives the same bits on every layout, with what it does in a run and with a stop in between."""
import json
import pathlib
import re
import unittest

import files
from layouts import FOUR, GRID, LayoutTest
from support import needs_h5py, newest_checkpoint


class MethodTest(LayoutTest):
    def setUp(self):
        super().setUp()
        self.train(self.full("base"), (1, 1, 1))

    def check(self, method, layouts=FOUR, **sections):
        """Runs of a method on these layouts, straight on and resumed; returns one run's telemetry."""
        lora = sections.pop("lora", {"r": 4, "alpha": 8, "dropout": 0.1, "rank_pattern": {"down_proj": 6}})

        def make(output):
            return self.write_input(f"{output}.yaml", output=output, method=method, model={"path": "base/model"},
                                    lora=lora, **self.keys(**sections))
        self.run_and_resume(make, "adapter/adapter_model.safetensors", layouts)
        return files.read_sets(self.folder / "run-1-1-1" / "run.h5")


@needs_h5py
class MethodBits(MethodTest):
    def test_reflora__with_singular_modules__is_the_same(self):
        run = self.check("reflora", reflora={"warmup": 1, "max_condition": 7})
        self.assertEqual(list(run["reflora/step"]), [2, 3, 4])
        fallback = run["reflora/fallback"][1:]
        self.assertTrue(0 < fallback.sum() < fallback.size, fallback)

    def test_reflora_s__is_the_same(self):
        run = self.check("reflora-s", reflora={"warmup": 1, "interval": 2})
        self.assertEqual(list(run["reflora/step"]), [1, 3])

    def test_beamlora__stopped_between_snapshot_and_event__is_the_same(self):
        self.steps, self.every = 12, 7  # the snapshot for the event of step 8 is taken at step 7
        run = self.check("beamlora", beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertEqual(list(run["beam/events/step"]), [4, 8])
        self.assertTrue((run["beam/pruned"].sum(axis=1) == run["beam/events/pruned"]).all())
        self.assertTrue((run["beam/events/pruned"] > 0).all(), run["beam/events/pruned"])
        self.assertEqual(len(run["beam/pairs/step"]), run["beam/events/pruned"].sum())

    def test_bitfit__trains_norms_alone_and_is_the_same(self):
        def make(output):
            return self.write_input(f"{output}.yaml", output=output, method="bitfit", model={"path": "base/model"},
                                    **self.keys())
        self.run_and_resume(make, "model/model.safetensors", FOUR)
        before = files.read_safetensors(self.folder / "base" / "model" / "model.safetensors")
        after = files.read_safetensors(self.folder / "run-1-1-1" / "model" / "model.safetensors")
        changed = {name for name in before if (before[name] != after[name]).any()}
        self.assertEqual(changed, {name for name in before if name.endswith("norm.weight")})
        trained = json.loads((self.folder / "run-1-1-1" / "eval.json").read_text())
        self.succeed("eval", "run-1-1-1/config.yaml")
        self.assertEqual(json.loads((self.folder / "run-1-1-1" / "eval.json").read_text())["loss"], trained["loss"])

    def test_adalora__is_the_same(self):
        def make(output):
            return self.write_input(f"{output}.yaml", output=output, method="adalora", model={"path": "base/model"},
                                    lora={"alpha": 8, "dropout": 0.1}, adalora={"init_r": 5, "target_r": 3, "tfinal": 1},
                                    **self.keys())
        self.run_and_resume(make, "adapter/adapter_model.safetensors", FOUR)
        checkpoint = files.read_sets(newest_checkpoint(self.folder / "run-1-1-1"))
        self.assertEqual(checkpoint["method/adalora/kept"].sum(), 3 * 7)

    def bottleneck(self, method, **keys):
        """Runs on all layouts; what the run has trained, and that eval finds it again."""
        def make(output):
            return self.write_input(f"{output}.yaml", output=output, method=method, model={"path": "base/model"},
                                    bottleneck={"size": 5, **keys}, **self.keys())
        self.run_and_resume(make, "adapter/bottleneck.safetensors", FOUR)
        run = self.folder / "run-1-1-1"
        trained = json.loads((run / "eval.json").read_text())
        self.succeed("eval", "run-1-1-1/config.yaml", ranks=2)
        self.assertEqual(json.loads((run / "eval.json").read_text())["loss"], trained["loss"])
        self.succeed("eval", "run-1-1-1/config.yaml", "eval.adapter=none")
        self.assertNotEqual(json.loads((run / "eval.json").read_text())["loss"], trained["loss"])
        config = json.loads((run / "adapter" / "bottleneck_config.json").read_text())
        self.assertEqual((config["method"], config["size"]), (method, 5))
        return files.read_safetensors(run / "adapter" / "bottleneck.safetensors")

    def test_adapter__is_the_same(self):
        tensors = self.bottleneck("adapter", activation="gelu")
        self.assertEqual(sorted(tensors), [f"model.layers.0.{branch}.bottleneck.{name}" for branch in ("mlp", "self_attn")
                                           for name in ("down.bias", "down.weight", "up.bias", "up.weight")])
        self.assertTrue(all((tensor != 0).any() for tensor in tensors.values()))

    def test_padapter__is_the_same(self):
        self.assertEqual(len(self.bottleneck("padapter")), 4)

    def test_dora__is_the_same(self):
        self.check("dora")

    def test_pissa__is_the_same(self):
        self.check("pissa", lora={"r": 4, "alpha": 8})

    def test_beamlora_with_reflora_and_loraplus__is_the_same(self):
        self.steps, self.every = 12, 7
        run = self.check("beamlora+reflora+loraplus", reflora={"warmup": 1},
                         beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertTrue((run["beam/events/pruned"] > 0).all())

    def test_lorapro__is_the_same(self):
        self.check("lorapro")

    def test_lorarite__is_the_same(self):
        self.check("lorarite")

    def test_preclora__is_the_same(self):
        self.check("preclora", preclora={"damping": 1e-3})

    def test_dora_on_principal_factors__is_the_same(self):
        self.check("dora+pissa+loraplus")

    def test_beamlora_on_principal_factors_with_loraplus__is_the_same(self):
        self.steps, self.every = 8, 3  # between the snapshot and the event of step 4
        run = self.check("beamlora+pissa+loraplus", beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertEqual(list(run["beam/events/step"]), [4])

    def test_reflora_on_principal_factors_with_loraplus__is_the_same(self):
        run = self.check("reflora+pissa+loraplus", reflora={"warmup": 0})
        self.assertEqual(list(run["reflora/step"]), [1, 2, 3, 4])

    def test_every_method__has_its_bits_compared(self):
        names = re.findall(r"^([a-z-]+): ", self.succeed("methods"), re.MULTILINE)
        self.assertIn("beamlora", names)
        here = pathlib.Path(__file__)
        text = here.read_text() + "".join(here.with_name(name).read_text() for name in ("same_bits.py", "layouts.py"))
        compared = {part for words in re.findall(r'"([a-z+-]+)"', text) for part in words.split("+")}
        self.assertEqual(set(names) - compared, set())

    def test_random_factors__are_the_same(self):
        def make(output):
            return self.write_input(f"{output}.yaml", output=output, method="rslora", model={"path": "base/model"},
                                    lora={"r": 4, "alpha": 8, "init": "random"}, **self.keys())
        self.run_and_resume(make, "adapter/adapter_model.safetensors", FOUR[1:3])

    def test_beamlora_with_reflora__on_every_layout__is_the_same(self):
        self.steps, self.every = 8, 3  # the snapshot for the event of step 4 is taken at step 3
        run = self.check("beamlora+reflora+rslora", GRID, reflora={"warmup": 1, "max_condition": 30},
                         beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertEqual(list(run["beam/events/step"]), [4])
        self.assertEqual(list(run["reflora/step"]), list(range(2, 9)))
        fallback = run["reflora/fallback"][1:]
        self.assertTrue(0 < fallback.sum() < fallback.size, run["reflora/condition"])


@needs_h5py
class LightBits(MethodTest):
    def light(self, method="light", layouts=FOUR, stage=7, **sections):
        """An estimation of 5 steps, a prune, `stage` steps on what is left."""
        self.steps = 5 + stage
        sections = {"light": {"steps": 5, "modules": 0.4, "ranks": 0.4, "neurons": 0.3, "heads": 0.4}} | sections
        sections["train"] = self.keys()["train"] | {"steps": stage}
        sections["checkpoint"] = {"every": self.every, "keep": 9}
        run = self.check(method, layouts, **sections)
        self.assertEqual(list(run["light/step"]), [5])
        self.assertEqual(run["light/head_kept"].sum(), 2 * 5)  # of 8 groups of two heads 8 - 1 - floor(7 * 0.4)
        self.assertEqual(run["light/neuron_kept"].sum(), 2432 - 1 - int(2431 * 0.3))
        return run

    def test_light__stopped_in_the_estimation__is_the_same(self):
        self.every = 3
        self.light()

    def test_light__stopped_after_the_prune__is_the_same(self):
        self.every = 5
        self.light()

    def test_light_with_beamlora_and_reflora__is_the_same(self):
        self.every = 8  # the event of stage step 4 is the run's step 9, its snapshot was taken at step 7
        run = self.light("light+beamlora+reflora+rslora", stage=9, reflora={"warmup": 1, "max_condition": 50},
                         beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertEqual(list(run["reflora/step"]), list(range(7, 15)))
        self.assertEqual(list(run["beam/events/step"]), [9])

    def test_light_with_beamlora__is_the_same(self):
        self.every = 8
        run = self.light("light+beamlora", stage=9,
                         beam={"interval": 4, "keep": 0.6, "end": 12, "temperature": 0.05})
        self.assertEqual(list(run["beam/events/step"]), [9])

    def test_light_with_reflora__is_the_same(self):
        run = self.light("light+reflora", reflora={"warmup": 1})
        self.assertEqual(list(run["reflora/step"]), list(range(7, 13)))

    def test_light_with_loraplus__is_the_same(self):
        self.light("light+loraplus")


if __name__ == "__main__":
    unittest.main()
