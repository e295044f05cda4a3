"""Light-PEFT from outside: what a prune leaves in checkpoints, folders and evaluations, and what is refused."""
import json
import unittest

import files
from support import ProgramTest, needs_h5py, newest_checkpoint

SHAPE = {"vocab_size": 67, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8}
SCALE = 2.0  # alpha / r


@needs_h5py
class Light(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "model", **SHAPE)
        files.write_rows(self.folder / "train.jsonl", files.token_rows(16, 3, 40, 67))
        files.write_rows(self.folder / "eval.jsonl", files.token_rows(8, 3, 40, 67, seed=8))

    def input(self, name="run", **changes):
        keys = {"output": name, "method": "light", "model": {"path": "model"}, "lora": {"r": 4, "alpha": 4 * SCALE},
                "light": {"steps": 4, "modules": 0.5},
                "data": {"train": "train.jsonl", "eval": "eval.jsonl", "format": "tokens", "max_length": 40},
                "train": {"steps": 4, "batch_size": 8, "learning_rate": 0.01}, "checkpoint": {"every": 3}}
        for key, value in changes.items():
            keys[key] = keys[key] | value if isinstance(value, dict) and key in keys else value
        return self.write_input(f"{name}.yaml", **keys)

    def run_light(self, name="run", **changes):
        """What a run printed, its telemetry and its newest checkpoint's arrays."""
        out = self.succeed("train", self.input(name, **changes))
        run = self.folder / name
        return out, files.read_sets(run / "run.h5"), files.read_sets(newest_checkpoint(run))

    def loss_of(self, folder):
        return json.loads((self.folder / folder / "eval.json").read_text())["loss"]

    def evaluate(self, name, *changes):
        self.succeed("eval", name, "output=scored", *changes)
        return self.loss_of("scored")

    def features(self, state, layer, module):
        """Indices of the features that a module keeps along its cut dimension."""
        numpy = files.numpy
        if module.startswith("mlp"):
            return numpy.flatnonzero(state["pruning/neurons"][layer])
        size = 16 if "q_proj" in module or "o_proj" in module else 8
        groups = numpy.flatnonzero(state["pruning/groups"][layer])
        return numpy.concatenate([numpy.arange(g * size, (g + 1) * size) for g in groups])

    def test_prune__is_told_and_kept_in_the_checkpoint(self):
        out, run, state = self.run_light()
        self.assertIn("prune: 12 of 16 heads, 128 of 192 neurons", out)
        self.assertEqual(run["light/head_kept"].sum(), 2 * state["pruning/groups"].sum())
        self.assertTrue((run["light/neuron_kept"][0] == state["pruning/neurons"]).all())
        self.assertEqual(run["light/rank_kept"].sum(), state["pruning/ranks"].sum())
        kept = run["light/neuron_score"][0][run["light/neuron_kept"][0] == 1]
        self.assertTrue((kept > run["light/neuron_threshold"][0, 0]).all())
        self.assertTrue((run["light/module_score"] > 0).all())
        self.assertEqual(len(run["steps/loss"]), 8)
        self.assertTrue((run["steps/learning_rate"][:4] == run["steps/learning_rate"][4:]).all())
        self.assertFalse([name for name in state if name.startswith("mask/") or "mask" in name])
        before, after = (float(part.split(" MiB")[0]) for part in
                         (out.split("memory per rank before the prune: ")[1], out.split("MiB, after it: ")[1]))
        self.assertLess(after, before)

    def test_adapter__of_a_pruned_run__is_the_trained_one_with_zeros(self):
        _, _, state = self.run_light(lora={"r": 3, "alpha": 3 * SCALE, "rank_pattern": {"down_proj": 5}})
        numpy = files.numpy
        tensors = files.read_safetensors(self.folder / "run" / "adapter" / "adapter_model.safetensors")
        config = json.loads((self.folder / "run" / "adapter" / "adapter_config.json").read_text())
        found = 0
        for i, module in enumerate(files.LINEARS * 2):
            layer = i // 7
            name, key = f"model.layers.{layer}.{module}", f"base_model.model.model.layers.{layer}.{module}"
            if state["pruning/ranks"][layer, i % 7] == 0:
                self.assertNotIn(f"{key}.lora_A.weight", tensors)
                continue
            a, b = (state[f"adapter/{name}/{factor}"] for factor in "AB")
            whole_a, whole_b = (tensors[f"{key}.lora_{factor}.weight"] for factor in "AB")
            kept = self.features(state, layer, module)
            is_row = "o_proj" in module or "down_proj" in module
            update = numpy.zeros((whole_b.shape[0], whole_a.shape[1]))
            where = numpy.ix_(range(len(b)), kept) if is_row else numpy.ix_(kept, range(a.shape[1]))
            update[where] = b.reshape(-1, len(a)).astype(float) @ a
            numpy.testing.assert_allclose(whole_b.astype(float) @ whole_a, update, atol=1e-7)
            r = state["pruning/ranks"][layer, i % 7]
            self.assertEqual(whole_a.shape[0], r)
            scale = config["alpha_pattern"].get(name, config["lora_alpha"]) / config["rank_pattern"].get(name, config["r"])
            alpha = 3 * SCALE / 5 if "down_proj" in module else SCALE
            self.assertAlmostEqual(scale, alpha, 6)
            found += 1
        self.assertEqual(found, (state["pruning/ranks"] > 0).sum())
        self.evaluate("run.yaml", "eval.adapter=run/adapter", "method=lora")

    def test_pruned_folder__of_equal_layers__is_the_model_itself(self):
        out, run, state = self.run_light(light={"neuron_scope": "layer", "rank_scope": "layer"})
        self.assertIn("run/pruned", out)
        config = json.loads((self.folder / "run" / "pruned" / "config.json").read_text())
        self.assertEqual(config["num_key_value_heads"], state["pruning/groups"][0].sum())
        self.assertEqual(config["num_attention_heads"], 2 * config["num_key_value_heads"])
        self.assertEqual(config["head_dim"], 8)
        self.assertEqual(config["intermediate_size"], run["light/neuron_kept"][0, 0].sum())
        loss = self.evaluate("run.yaml", "model.path=run/pruned", "eval.adapter=none", "method=lora")
        self.assertAlmostEqual(loss, self.loss_of("run"), 5)

    def test_pruned_folder__of_unequal_layers__is_not_written(self):
        files.make_model(self.folder / "odd", **(SHAPE | {"intermediate_size": 97}))
        out, _, _ = self.run_light(model={"path": "odd"})
        self.assertIn("no folder of the pruned model", out)
        self.assertFalse((self.folder / "run" / "pruned").exists())

    def test_evaluation__of_checkpoints_of_both_stages__is_that_of_the_run(self):
        self.run_light(train={"eval_every": 3})
        losses = files.read_sets(self.folder / "run" / "run.h5")
        self.assertEqual(list(losses["evals/step"]), [3, 6, 8])
        for step, loss in zip(losses["evals/step"], losses["evals/loss"]):
            found = self.evaluate("run.yaml", f"eval.adapter=run/checkpoints/step-{step:08}.h5")
            self.assertEqual(found, loss)
        self.assertEqual(self.evaluate("run.yaml", "eval.adapter=run"), losses["evals/loss"][-1])

    def test_quantised_base__keeps_blocks_where_they_fit(self):
        out, _, _ = self.run_light(model={"storage": "q8_0"}, parallel={"slices": 1})
        self.assertIn("tensors are held as bf16", out)
        loss = self.loss_of("run")
        newest_checkpoint(self.folder / "run").unlink()
        self.assertIn("resuming after step 6 of 8", self.succeed("train", "run.yaml"))
        self.assertEqual(self.loss_of("run"), loss)

    def test_output_head__trained_beside_the_adapters__goes_on_over_the_prune(self):
        _, run, state = self.run_light(lora={"modules_to_save": ["lm_head"]}, train={"learning_rate": 0.001})
        self.assertEqual(state["model/lm_head.weight"].shape, (67, 64))
        start = files.read_safetensors(self.folder / "model" / "model.safetensors")["lm_head.weight"]
        moved = abs(state["model/lm_head.weight"] - start).max()
        self.assertGreater(moved, 0.0026)  # more than the second stage alone can: its rates add up to 0.0025

    def test_start__from_a_folder__goes_on_over_the_prune(self):
        self.run_light("first", method="lora", light={})
        _, _, state = self.run_light(lora={"start": "first/adapter", "r": 4, "alpha": 4 * SCALE})
        self.assertGreater(state["pruning/ranks"].sum(), 0)
        loss = self.loss_of("run")
        newest_checkpoint(self.folder / "run").unlink()
        self.assertIn("resuming after step 6 of 8", self.succeed("train", "run.yaml"))
        self.assertEqual(self.loss_of("run"), loss)

    def test_factors__are_cut_to_kept_ranks_and_features(self):
        self.run_light("first", method="lora", light={})
        out, run, after = self.run_light(lora={"start": "first/adapter", "r": 4, "alpha": 4 * SCALE},
                                         train={"learning_rate": 0}, checkpoint={"every": 1, "keep": 9})
        before = files.read_sets(self.folder / "run" / "checkpoints" / "step-00000003.h5")
        found = 0
        for i, module in enumerate(files.LINEARS * 2):
            name, ranks = f"adapter/model.layers.{i // 7}.{module}", run["light/rank_kept"][0, i] == 1
            self.assertEqual(ranks.sum(), after["pruning/ranks"].reshape(-1)[i])
            if not ranks.any():
                self.assertNotIn(f"{name}/A", after)
                continue
            a, b = before[f"{name}/A"][ranks], before[f"{name}/B"][:, ranks]
            kept = self.features(after, i // 7, module)
            is_row = "o_proj" in module or "down_proj" in module
            a, b = (a[:, kept], b) if is_row else (a, b[kept])
            self.assertTrue((after[f"{name}/A"] == a).all() and (after[f"{name}/B"].reshape(b.shape) == b).all(), name)
            found += abs(b).max() > 0
        self.assertGreater(found, 0)
        self.assertEqual(out.count("step 8/8"), 1)

    def test_gates__are_made_at_the_prune(self):
        out, run, state = self.run_light(method="light+beamlora+reflora", reflora={"warmup": 1},
                                         train={"steps": 8}, beam={"interval": 4, "keep": 0.6})
        self.assertIn("beamlora: 1 events", out)
        self.assertEqual(list(run["beam/events/step"]), [8])
        self.assertEqual(list(run["reflora/step"]), list(range(6, 13)))
        gates = [name for name in state if name.endswith("/gate")]
        self.assertEqual(len(gates), (state["pruning/ranks"] > 0).sum())
        kept = run["light/module_kept"][0] == 1
        self.assertTrue((run["beam/pruned"][0][~kept] == 0).all())
        self.assertTrue(set(run["beam/pairs/module"]) <= set(files.numpy.flatnonzero(kept)))
        self.assertTrue(files.numpy.isnan(run["reflora/condition"][0][~kept]).all())

    def test_keys_of_the_second_stage__are_checked_before_the_first(self):
        self.fail_with(2, "'beam.interval' must be even", "train",
                       self.input(method="light+beamlora", beam={"interval": 5}))
        self.assertFalse((self.folder / "run" / "checkpoints").exists() and
                         list((self.folder / "run" / "checkpoints").iterdir()))

    def test_shares_of_zero__prune_nothing(self):
        _, _, state = self.run_light(light={"heads": 0, "neurons": 0, "modules": 0, "ranks": 0})
        self.assertTrue((state["pruning/groups"] == 1).all() and (state["pruning/neurons"] == 1).all())
        self.assertTrue((state["pruning/ranks"] == 4).all())

    def test_one_group__is_kept(self):
        files.make_model(self.folder / "one", **(SHAPE | {"num_key_value_heads": 1}))
        out, _, state = self.run_light(model={"path": "one"})
        self.assertIn("every layer keeps its best one", out)
        self.assertTrue((state["pruning/groups"] == 1).all())

    def test_bad_input__is_refused_with_a_hint(self):
        for text, changes in (
                ("'light.steps' must be at least 2", {"light": {"steps": 1}}),
                ("cannot start from lora.init: pissa", {"lora": {"init": "pissa"}}),
                ("'light.heads'", {"light": {"heads": 1.0}}),
                ("'light.ranks'", {"light": {"ranks": -0.1}}),
                ("cannot be joined", {"method": "light+dora"}),
                ("cannot be joined", {"method": "light+preclora"}),
                ("which method 'light' cuts", {"lora": {"modules_to_save": ["down_proj"]}})):
            with self.subTest(text=text):
                self.fail_with(2, text, "train", self.input("bad", **changes))

    def test_other_shares__on_resume__are_a_conflict(self):
        self.run_light()
        self.fail_with(7, "1 key has changed", "train", self.input(light={"heads": 0.5}))


if __name__ == "__main__":
    unittest.main()
