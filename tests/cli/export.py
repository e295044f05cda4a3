"""refract export: every format is read back, computes what was trained, and is there whole or not at all."""
import json
import re
import resource
import subprocess
import unittest

import files
from files import h5py, numpy
from support import REFRACT, SHARED, ProgramTest, clean_environment, needs_h5py, needs_shared, newest_checkpoint

METHODS = {
    "lora": {}, "rslora": {}, "dora": {}, "pissa": {}, "beamlora": {}, "reflora": {"lora": {"init": "random"}, "reflora": {"warmup": 0}},
    "beamlora+reflora": {}, "adalora": {"lora": {"r": 12}, "adalora": {"target_r": 3}}, "lorapro": {}, "lorarite": {}, "preclora": {},
    "loraplus": {"lora": {"rank_pattern": {"down_proj": 5}, "alpha_pattern": {"layers.0.*up_proj": 9},
                          "modules_to_save": ["lm_head"]}},
}


@needs_h5py
class ExportTest(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "base")
        self.rows = files.write_rows(self.folder / "rows.jsonl", files.token_rows(16, 8, 24, files.SIZES["vocab_size"]))

    def train(self, method, name="run", ranks=None, **sections):
        keys = {"output": name, "method": method, "lora": {"r": 3, "alpha": 5}, "model": {"path": "base"},
                "train": {"steps": 6, "batch_size": 4, "learning_rate": 0.02, "micro_tokens": 64},
                "data": {"train": "rows.jsonl", "eval": "rows.jsonl", "format": "tokens", "max_length": 32}}
        for section, values in sections.items():
            keys[section] = {**keys.get(section, {}), **values}
        path = self.write_input(f"{name}.yaml", **keys)
        self.succeed("train", path, ranks=ranks)
        return path

    def export(self, source, form, out, *arguments, **options):
        """Exports; returns the largest relative difference that was told."""
        text = self.succeed("export", source, f"--format={form}", f"--out={out}", *arguments, **options)
        told = re.search(r"largest difference of a logit (\S+), relative (\S+)", text)
        self.assertTrue(told, text)
        readme = (self.folder / out / "README.md").read_text()
        self.assertIn(f"relative to the largest logit {told[2]}", readme)
        self.assertEqual(list(self.folder.glob("*.tmp")) + list(self.folder.glob("*.old")), [])
        return float(told[2])

    def logits(self, *arguments):
        self.succeed("eval", *arguments, f"eval.logits={self.folder / 'logits.h5'}", "output=scores")
        with h5py.File(self.folder / "logits.h5", "r") as file:
            return file["logits"][()]

    def bytes_of(self, folder):
        return {str(path.relative_to(self.folder / folder)): path.read_bytes()
                for path in (self.folder / folder).rglob("*") if path.is_file()}

    def loss(self, *arguments):
        self.succeed("eval", *arguments, "output=scores")
        return json.loads((self.folder / "scores" / "eval.json").read_text())["loss"]


class Formats(ExportTest):
    def test_every_method__as_peft_and_merged__computes_what_was_trained(self):
        for method, sections in METHODS.items():
            with self.subTest(method=method):
                name = method.replace("+", "-")
                path = self.train(method, name, **sections)
                wanted = self.logits(path, f"eval.adapter={name}")
                base = self.logits(path, "eval.adapter=none")
                self.assertGreater(abs(wanted - base).max(), 0.005)
                self.assertLess(self.export(name, "peft", f"{name}-peft"), 1e-5)
                self.assertLess(self.export(name, "merged", f"{name}-merged"), 1e-5)
                adapter = self.logits(path, f"eval.adapter={name}-peft")
                merged = self.logits(path, "eval.adapter=none", f"model.path={name}-merged")
                for found in (adapter, merged):
                    self.assertLess(abs(found - wanted).max(), 2e-5 * max(1, abs(wanted).max()))
                self.assertAlmostEqual(self.loss(path, f"eval.adapter={name}-peft"), self.loss(path, f"eval.adapter={name}"), 5)

    def test_same_bytes__on_every_layout__from_run_checkpoint_or_input(self):
        path = self.train("beamlora", ranks=2)
        for form in ("peft", "merged"):
            self.export("run", form, f"{form}-1")
            wanted = self.bytes_of(f"{form}-1")
            checkpoint = newest_checkpoint(self.folder / "run").relative_to(self.folder)
            for i, (source, ranks, tensor) in enumerate(((path, 2, 1), (path, 2, 2), ("run", 4, 2), (checkpoint, 4, 4))):
                self.export(source, form, f"{form}-again-{i}", f"parallel.tensor={tensor}", ranks=ranks)
                self.assertEqual(self.bytes_of(f"{form}-again-{i}"), wanted, (form, ranks, tensor))

    def test_full__merged_is_the_trained_model__peft_is_refused(self):
        path = self.train("full")
        self.assertLess(self.export("run", "merged", "whole"), 1e-6)
        trained = files.read_safetensors(self.folder / "run" / "model" / "model.safetensors")
        found = files.read_safetensors(self.folder / "whole" / "model.safetensors")
        self.assertEqual({name: value.tobytes() for name, value in found.items()},
                         {name: value.tobytes() for name, value in trained.items()})
        self.fail_with(2, "method 'full' trains the base model's own tensors", "export", "run", "--format=peft", "--out=x")
        self.fail_with(2, "no earlier export", "export", path, "--format=merged", "--out=base", "--force")
        self.assertFalse((self.folder / "x").exists())

    def test_merged__has_the_types_asked_for__and_the_side_files(self):
        self.train("lora")
        (self.folder / "base" / "generation_config.json").write_text('{"eos_token_id": 3}')
        base = files.read_parts(self.folder / "base" / "model.safetensors")[0]
        for dtype, name, limit in (("f32", "float32", 1e-5), ("bf16", "bfloat16", 0.05), ("f16", "float16", 0.01)):
            told = self.export("run", "merged", dtype, f"--dtype={dtype}")
            self.assertLess(told, limit)
            self.assertEqual(told > 1e-5, dtype != "f32")
            config = json.loads((self.folder / dtype / "config.json").read_text())
            self.assertEqual(config["torch_dtype"], name)
            header = files.read_parts(self.folder / dtype / "model.safetensors")[0]
            self.assertEqual({entry["dtype"] for key, entry in header.items() if key != "__metadata__"}, {dtype.upper()})
            self.assertEqual({key: entry["shape"] for key, entry in header.items() if key != "__metadata__"},
                             {key: entry["shape"] for key, entry in base.items() if key != "__metadata__"})
            self.assertTrue((self.folder / dtype / "generation_config.json").exists())
        self.fail_with(2, "--dtype q8", "export", "run", "--format=merged", "--out=x", "--dtype=q8")

    def test_saved_embedding_of_a_tied_model__is_its_head_too(self):
        files.make_model(self.folder / "tied", tie_word_embeddings=True)
        path = self.train("lora", model={"path": "tied"}, lora={"modules_to_save": ["embed_tokens"]})
        self.assertLess(self.export("run", "peft", "adapter"), 1e-5)
        config = json.loads((self.folder / "adapter" / "adapter_config.json").read_text())
        self.assertTrue(config["ensure_weight_tying"])
        tensors = files.read_safetensors(self.folder / "adapter" / "adapter_model.safetensors")
        embedding, head = (tensors[f"base_model.model.{name}.weight"] for name in ("model.embed_tokens", "lm_head"))
        self.assertEqual(embedding.tobytes(), head.tobytes())
        self.assertLess(self.export(path, "merged", "merged"), 1e-5)
        self.assertNotIn("lm_head.weight", files.read_safetensors(self.folder / "merged" / "model.safetensors"))

    def test_merged_quantised_base__is_f32(self):
        self.train("lora", model={"storage": "q8_0"})
        self.assertLess(self.export("run", "merged", "out"), 1e-5)

    def test_merged__is_w_plus_s_b_a(self):
        self.train("lora")
        self.export("run", "merged", "merged")
        self.export("run", "peft", "peft")
        base, merged = (files.read_safetensors(self.folder / name / "model.safetensors") for name in ("base", "merged"))
        adapter = files.read_safetensors(self.folder / "peft" / "adapter_model.safetensors")
        for name, wanted in base.items():
            stem = "base_model.model." + name.removesuffix(".weight")
            if f"{stem}.lora_A.weight" in adapter:
                wanted = wanted + 5 / 3 * (adapter[f"{stem}.lora_B.weight"].astype(float)
                                           @ adapter[f"{stem}.lora_A.weight"])
            self.assertLess(abs(merged[name] - wanted).max(), 1e-6, name)

    def test_started_from_a_folder__exports_what_it_has_become(self):
        self.train("lora", "first", lora={"r": 2, "alpha": 7, "target_modules": ["q_proj", "up_proj"]})
        path = self.train("lora", "second", lora={"start": "first/adapter", "r": 2, "alpha": 7})
        wanted = self.logits(path, "eval.adapter=second/adapter")
        self.assertLess(self.export(path, "merged", "merged", "eval.adapter=second/adapter"), 1e-5)
        self.assertLess(abs(self.logits(path, "eval.adapter=none", "model.path=merged") - wanted).max(), 1e-4)
        self.assertLess(self.export(path, "peft", "again", "eval.adapter=second/adapter"), 1e-6)
        names = [files.read_safetensors(self.folder / name / "adapter_model.safetensors")
                 for name in ("again", "second/adapter")]
        self.assertEqual({k: v.tobytes() for k, v in names[0].items()}, {k: v.tobytes() for k, v in names[1].items()})
        self.assertLess(self.export("second", "peft", "by-run"), 1e-6)

    def test_without_eval_data__a_fixed_sequence_is_compared(self):
        path = self.train("lora")
        text = self.succeed("export", path, "--format=peft", "--out=a", "data.eval=null")
        self.assertIn("compared on a fixed sequence of tokens", text)
        done = self.refract("export", path, "--format=peft", "--out=b", "data.eval=gone.jsonl")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("data.eval is not there", done.stderr)


class Pruned(ExportTest):
    light = {"steps": 3, "heads": 0.3, "neurons": 0.3, "modules": 0.3, "ranks": 0.3}

    def test_pruned__where_layers_are_equal(self):
        self.train("light", light={**self.light, "neuron_scope": "layer", "heads": 0})
        self.assertLess(self.export("run", "pruned", "small"), 1e-5)
        config = json.loads((self.folder / "small" / "config.json").read_text())
        self.assertLess(config["intermediate_size"], files.SIZES["intermediate_size"])
        self.export("run", "peft", "whole")
        self.assertIn("was pruned", (self.folder / "whole" / "README.md").read_text())
        self.fail_with(2, "--format pruned", "export", "run", "--format=merged", "--out=x", ranks=2)

    def test_pruned__is_refused_where_they_are_not__or_nothing_was(self):
        self.train("light", light={**self.light, "neuron_scope": "global"})
        self.fail_with(2, "--format peft", "export", "run", "--format=pruned", "--out=x")
        self.train("lora", "lora")
        self.fail_with(2, "nothing was pruned", "export", "lora", "--format=pruned", "--out=x")
        self.assertEqual(list(self.folder.glob("x*")), [])


class Gguf(ExportTest):
    """Heads of q and k stand in another order there: what the reader brings back shows it."""

    def test_every_method__as_gguf__computes_what_was_trained(self):
        for method in ("lora", "dora", "pissa", "beamlora", "full"):
            path = self.train(method, method)
            self.assertLess(self.export(method, "gguf", f"{method}-gguf"), 1e-5)
            wanted = self.logits(path, f"eval.adapter={method}")
            found = self.logits(path, "eval.adapter=none", f"model.path={method}-gguf/model.gguf")
            self.assertLess(abs(found - wanted).max(), 2e-5 * max(1, abs(wanted).max()))

    def test_types__and_what_the_file_says(self):
        self.train("lora")
        for dtype, limit in (("f32", 1e-5), ("bf16", 0.05), ("f16", 0.01), ("q8_0", 0.1)):
            told = self.export("run", "gguf", dtype, f"--dtype={dtype}")
            self.assertLess(told, limit)
            self.assertEqual(told > 1e-5, dtype != "f32")
            text = self.succeed("inspect", f"{dtype}/model.gguf", "--verify")
            self.assertRegex(text, rf"blk.1.ffn_gate.weight +{dtype.upper()} +\[48, 32\]")
            self.assertRegex(text, r"blk.1.attn_norm.weight +F32 +\[32\]")
            self.assertRegex(text, r"llama.attention.head_count_kv +4")
        self.assertRegex(text, r"blk.1.ffn_down.weight +F16")  # rows of 48 do not fill blocks of 32

    def test_from_a_gguf_base__its_metadata_stay(self):
        self.train("lora")
        self.export("run", "gguf", "first")
        path = self.train("lora", "second", model={"path": "first/model.gguf"})
        self.assertLess(self.export("second", "gguf", "again"), 1e-5)
        self.assertLess(self.export("second", "merged", "merged"), 1e-5)
        lines = [[line for line in self.succeed("inspect", f"{name}/model.gguf").splitlines()[1:]]
                 for name in ("first", "again")]
        self.assertEqual(sorted(lines[0]), sorted(lines[1]))
        self.assertLess(self.export(path, "gguf-adapter", "adapter", "eval.adapter=second"), 1e-5)

    def test_stretched_frequencies_and_windows_go_along(self):
        rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}
        files.make_model(self.folder / "stretched", rope_scaling=rope, rope_theta=500000.0)
        files.make_model(self.folder / "linear", rope_scaling={"rope_type": "linear", "factor": 2.0})
        files.make_model(self.folder / "window", model_type="mistral", sliding_window=5)
        for base in ("stretched", "linear", "window"):
            self.train("lora", base + "-run", model={"path": base})
            self.assertLess(self.export(base + "-run", "gguf", base + "-gguf"), 1e-5, base)

    def test_adapter__with_unequal_ranks_and_scales__computes_what_was_trained(self):
        for method, lora in (("lora", {"rank_pattern": {"down_proj": 1, "q_proj": 5}, "alpha_pattern": {"k_proj": 2}}),
                             ("rslora", {"rank_pattern": {"up_proj": 4}}), ("beamlora", {}), ("pissa", {})):
            path = self.train(method, method, lora=lora)
            self.assertLess(self.export(method, "gguf-adapter", f"{method}-out"), 1e-5)
            wanted = self.logits(path, f"eval.adapter={method}")
            found = self.logits(path, f"eval.adapter={method}-out/adapter.gguf")
            self.assertLess(abs(found - wanted).max(), 2e-5 * max(1, abs(wanted).max()))
        text = self.succeed("inspect", "lora-out/adapter.gguf")
        self.assertRegex(text, r"adapter.lora.alpha +5\n")
        self.assertRegex(text, r"blk.0.ffn_down.weight.lora_b +F32 +\[32, 1\]")
        self.assertRegex(text, r"blk.1.attn_q.weight.lora_a +F32 +\[5, 32\]")

    def test_adapter__is_a_start_for_training(self):
        self.train("lora", "first")
        self.export("first", "gguf-adapter", "out")
        path = self.train("lora", "second", lora={"start": "out/adapter.gguf", "r": 3, "alpha": 5}, train={"steps": 2})
        self.assertLess(self.export("second", "peft", "peft"), 1e-5)
        self.assertNotEqual(self.loss(path, "eval.adapter=second"), self.loss(path, "eval.adapter=first"))

    def test_adapter__of_what_it_cannot_hold__is_refused(self):
        for method, sections, text in (("dora", {}, "magnitudes"), ("full", {}, "--format merged"),
                                       ("lora", {"lora": {"modules_to_save": ["lm_head"]}}, "lm_head.weight")):
            self.train(method, method, **sections)
            self.all_fail_with(2, text, "export", method, "--format=gguf-adapter", "--out=x", ranks=2)
        self.assertEqual(list(self.folder.glob("x*")), [])

    def test_same_bytes__on_every_layout(self):
        self.train("lora")
        for form in ("gguf", "gguf-adapter"):
            self.export("run", form, f"{form}-1")
            for ranks, tensor in ((2, 1), (2, 2), (4, 2)):
                out = f"{form}-{ranks}-{tensor}"
                self.export("run", form, out, f"parallel.tensor={tensor}", ranks=ranks)
                self.assertEqual(self.bytes_of(out), self.bytes_of(f"{form}-1"), out)

    def test_tokeniser__that_has_no_name_there__is_refused(self):
        self.train("lora")
        (self.folder / "base" / "tokenizer.json").write_text(json.dumps(
            {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
             "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}))
        self.fail_with(2, "tokeniser cannot be written", "export", "run", "--format=gguf", "--out=x", ranks=2)
        self.assertEqual(list(self.folder.glob("x*")), [])


@needs_h5py
@needs_shared("models/stories260K")
class RealModel(ExportTest):
    def test_gguf__has_the_tokeniser_too(self):
        model = SHARED / "models" / "stories260K"
        (self.folder / "text.txt").write_text("Once upon a time, Lily saw a big dog. \"Hello!\" she said.\n" * 9)
        path = self.train("lora", model={"path": str(model)},
                          data={"train": "text.txt", "eval": "text.txt", "format": "text"})
        self.assertLess(self.export("run", "gguf", "out"), 1e-5)
        wanted = self.loss(path, "eval.adapter=none")
        text = [self.succeed("prepare", path, "--show", "1", f"model.path={name}", "output=tokens")
                for name in (model, "out/model.gguf")]
        self.assertEqual(*(re.findall("digest .*", told) for told in text))
        self.assertNotEqual(self.loss(path, "eval.adapter=none", "model.path=out/model.gguf"), wanted)

    def test_tokeniser_named_as_a_file__goes_along_too(self):
        model = SHARED / "models" / "stories260K"
        self.train("lora", model={"path": str(model), "tokenizer": str(model / "tokenizer.json")})
        self.export("run", "merged", "merged")
        self.assertEqual((self.folder / "merged" / "tokenizer.json").read_bytes(), (model / "tokenizer.json").read_bytes())
        self.export("run", "gguf", "gguf")
        self.assertRegex(self.succeed("inspect", "gguf/model.gguf"), r"tokenizer.ggml.tokens +512 string")


class Inspect(ExportTest):
    def test_folders_and_files__say_what_they_are(self):
        self.train("rslora")
        text = self.succeed("inspect", "run/adapter", "--verify", ranks=2)
        self.assertEqual(text.count("run/adapter: PEFT adapter (LORA), 28 tensors"), 1)
        self.assertRegex(text, r"use_rslora +true")
        self.assertRegex(text, r"layers.1.mlp.up_proj.lora_A.weight +F32 +\[3, 32\]")
        self.assertIn("verified: ", text)
        self.export("run", "gguf-adapter", "gguf")
        self.assertIn("verified: ", self.succeed("inspect", "gguf/adapter.gguf", "--verify"))
        path = self.folder / "run" / "adapter" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:-4])
        self.fail_with(3, "adapter_model.safetensors", "inspect", "run/adapter", "--verify", ranks=2)
        (self.folder / "run" / "adapter" / "adapter_config.json").write_text("[1]")
        self.fail_with(3, "adapter_config.json", "inspect", "run/adapter")
        whole = (self.folder / "gguf" / "adapter.gguf").read_bytes()
        for old, new, text in ((b"adapter.type", b"adapter.kind", "key 'adapter.type' is missing"),
                               (b"lora_a", b"lora_x", "is no factor of a linear layer"), (b"attn_q", b"attn_x", "attn_x")):
            (self.folder / "gguf" / "adapter.gguf").write_bytes(whole.replace(old, new, 1))
            self.fail_with(3, text, "eval", "run.yaml", "eval.adapter=gguf/adapter.gguf", ranks=2)


class Failures(ExportTest):
    def setUp(self):
        super().setUp()
        self.path = self.train("lora")

    def assert_nothing(self):
        self.assertEqual(list(self.folder.glob("out*")), [])

    def test_usage(self):
        self.assertIn("--force", self.succeed("export", "--help"))
        self.fail_with(2, "both needed", "export", "run", "--format=peft", ranks=2)
        self.fail_with(2, "--format onnx is unknown", "export", "run", "--format=onnx", "--out=out")
        self.fail_with(2, "nothing trained", "export", "run", "--format=peft", "--out=out", "eval.adapter=none")
        self.fail_with(3, "nowhere", "export", "nowhere", "--format=peft", "--out=out")
        self.assert_nothing()

    def test_existing_folder__is_refused__and_replaced_by_force_where_it_is_an_export(self):
        self.export("run", "peft", "out")
        before = self.bytes_of("out")
        self.fail_with(2, "'out' is there already", "export", "run", "--format=merged", "--out=out", ranks=2)
        self.assertEqual(self.bytes_of("out"), before)
        self.export("run", "merged", "out/", "--force")
        self.assertFalse((self.folder / "out" / "adapter_config.json").exists())
        self.assertTrue((self.folder / "out" / "model.safetensors").exists())

    def test_failed_write__leaves_nothing_and_the_older_export(self):
        for site in ("file.write", "file.publish", "safetensors.write", "safetensors.rename", "export.publish"):
            for form in ("peft", "merged"):
                self.all_fail_with(6, "cannot write", "export", "run", f"--format={form}", "--out=out", ranks=2,
                                   RF_FAULT=f"{site}:0")
                self.assert_nothing()
        for form in ("gguf", "gguf-adapter"):
            self.all_fail_with(6, "cannot write", "export", "run", f"--format={form}", "--out=out", ranks=2,
                               RF_FAULT="gguf.write:0")
            self.assert_nothing()
        self.export("run", "peft", "out")
        before = self.bytes_of("out")
        self.all_fail_with(6, "cannot write", "export", "run", "--format=merged", "--out=out", "--force", ranks=2,
                           RF_FAULT="export.publish:0")
        self.assertEqual(self.bytes_of("out"), before)

    def test_no_space__is_code_6_and_leaves_nothing(self):
        for form in ("merged", "gguf"):
            done = subprocess.run([REFRACT, "export", "run", f"--format={form}", "--out=out"], cwd=self.folder,
                                  env=clean_environment(), capture_output=True, text=True, check=False, timeout=60,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)))
            self.assertEqual(done.returncode, 6, done.stderr)
            self.assertIn("cannot write", self.error_line(done.stderr))
            self.assert_nothing()

    def test_other_base__is_code_7(self):
        files.make_model(self.folder / "other", seed=2)
        self.fail_with(7, "another base model", "export", "run", "--format=peft", "--out=out", "model.path=other")
        self.assert_nothing()


if __name__ == "__main__":
    unittest.main()
