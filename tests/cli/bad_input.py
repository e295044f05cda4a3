"""Wrong input of every kind: the right code on every rank, one plain line that names what is wrong, in seconds, and
nothing half-written."""
import json
import math
import struct
import unittest

import files
from support import ProgramTest

WRITTEN = (".lock", "*.tmp", "checkpoints/*", "adapter", "model", "eval.json")
MODEL = "model/model.safetensors"


class BadInput(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "model", num_hidden_layers=1)
        files.write_rows(self.folder / "train.jsonl", files.token_rows(8, 3, 30, 61))

    def keys(self, changes):
        """The keys of a run that would do, with the changes {"section.key": value}."""
        keys = {"output": "run", "model": {"path": "model"}, "lora": {"r": 3},
                "data": {"train": "train.jsonl", "format": "tokens", "max_length": 32},
                "train": {"steps": 2, "batch_size": 4}}
        for path, value in changes.items():
            section, _, key = path.partition(".")
            if key:
                keys.setdefault(section, {})[key] = value
            else:
                keys[section] = value
        return self.write_input("a.yaml", **keys)

    def refuse(self, code, *texts, ranks=(1, 2), command="train", **changes):
        """The run must be refused: same code on all ranks, texts in one line, nothing written."""
        name = self.keys({path.replace("__", "."): value for path, value in changes.items()})
        self.refuse_input(code, *texts, name=name, ranks=ranks, command=command)

    def refuse_input(self, code, *texts, name, ranks=(1, 2), command="train"):
        for count in ranks:
            if count == 1:
                done = self.refract(command, name)
                found, errors = [done.returncode], done.stderr
            else:
                found, _, errors = self.start(command, name, ranks=count).finish()
            self.assertEqual(found, [code] * count, f"{texts}: {errors}")
            line = self.error_line(errors)
            for text in texts:
                self.assertIn(text, line)
            left = [str(path.relative_to(self.folder)) for pattern in WRITTEN for path in
                    (self.folder / "run").glob(pattern)]
            self.assertEqual(left, [], texts)

    def test_the_run_itself__would_do(self):
        self.succeed("train", self.keys({}))


class Keys(BadInput):
    def test_keys__unknown_misspelt_mistyped_or_out_of_range(self):
        self.refuse(2, "unknown key 'lora.rr'", "Did you mean 'lora.r'?", lora__rr=3)
        self.refuse(2, "unknown key 'trian'", "'train'", trian={"steps": 3})
        self.refuse(2, "'lora.r' must be an integer", lora__r="many", ranks=[2])
        self.refuse(2, "'lora.r'", lora__r=0, ranks=[2])
        self.refuse(2, "'train.learning_rate'", train__learning_rate=-1, ranks=[2])
        self.refuse(2, "'train.learning_rate'", train__learning_rate=math.nan, ranks=[2])
        self.refuse(2, "'data.shuffle'", data__shuffle="perhaps", ranks=[2])
        self.refuse(2, "'train.schedule'", "linear", train__schedule="quadratic", ranks=[2])
        self.refuse(2, "'train.max_time'", train__max_time="soon", ranks=[2])
        self.refuse(2, "lora.dropout", lora__dropout=1.0, ranks=[2])

    def test_keys_that_are_missing__are_named(self):
        self.refuse(2, "'model.path' is not set", model={})
        self.refuse(2, "'data.train' is not set", data={}, ranks=[2])
        self.refuse(2, "'output'", output=None, ranks=[2])
        self.refuse(2, "'data.eval' is not set", "held-out data", command="eval", ranks=[2])

    def test_contradictions__are_named(self):
        self.refuse(2, "train.micro_tokens", "max_length", train__micro_tokens=16)
        self.refuse(2, "pissa", method="pissa", lora__init="gaussian", ranks=[2])
        self.refuse(2, "lora.init: random", "lora.start", lora__init="random", lora__start="x", ranks=[2])
        self.refuse(2, "'dora' and 'full' cannot be joined", method="dora+full", ranks=[2])
        self.refuse(2, "use_rslora", method="rslora", lora__use_rslora=False, ranks=[2])
        self.refuse(2, "steps", train__steps=0, train__epochs=0, ranks=[2])

    def test_methods__that_cannot_be_joined_or_lack_what_they_need(self):
        for method, text in (("beamlora+dora", "one adapter"), ("beamlora+reflora-s", "within a step"),
                             ("light+pissa", "other factors"), ("full+reflora", "the model itself"),
                             ("dora+reflora", "other factors"), ("lora+lora", "named twice"),
                             ("reflorra", "Did you mean 'reflora'?")):
            self.refuse(2, text, method=method, ranks=[2])
        for interval in (3, 2, 5):
            self.refuse(2, "'beam.interval' must be even and at least 4", "a.yaml", method="beamlora",
                        beam__interval=interval, ranks=[2])
        for key, value in (("beam.keep", 0), ("beam.keep", 1.2), ("beam.end", 0), ("beam.end", -1),
                           ("beam.temperature", 0), ("beam.scope", "layer"), ("beam.gates", "means")):
            self.refuse(2, f"'{key}'", method="beamlora", ranks=[2], **{key.replace(".", "__"): value})
        for key, value in (("reflora.interval", 0), ("reflora.max_condition", 0.5), ("reflora.solver", "qr"),
                           ("reflora.warmup", -1), ("reflora.warmup", 0)):
            self.refuse(2, f"'{key}'", method="reflora", ranks=[2], **{key.replace(".", "__"): value})
        for key, value in (("light.heads", 1), ("light.modules", -0.1), ("light.ranks", 1.5), ("light.steps", 1)):
            self.refuse(2, f"'{key}'", method="light", ranks=[2], **{key.replace(".", "__"): value})
        self.refuse(2, "lora.init: random", method="light", lora__init="random", ranks=[2])
        self.refuse(2, "'preclora.damping'", method="preclora", preclora__damping=-1, ranks=[2])
        self.refuse(2, "'bottleneck.size'", method="adapter", bottleneck__size=0, ranks=[2])
        self.refuse(2, "'bottleneck.activation'", method="padapter", bottleneck__activation="tanh", ranks=[2])
        self.refuse(2, "lora.start", "trains none", method="adapter", lora__start="base", ranks=[2])
        self.refuse(2, "'loraplus.ratio'", method="loraplus", loraplus__ratio=0, ranks=[2])
        for method in ("beamlora", "reflora", "dora", "pissa", "light"):
            self.refuse(2, "lora.r", "33", method=method, lora__r=33, ranks=[2])

    def test_values_that_are_not_built_in__are_refused(self):
        self.refuse(2, "model.init: random", model__init="random", ranks=[2])
        self.refuse(2, "eval.task: glue", command="eval", eval__task="glue", ranks=[2])

    def test_targets__that_match_nothing_or_are_too_large(self):
        self.refuse(2, "rank_pattern", "layers.9", lora__rank_pattern={"layers.9.*": 2})
        self.refuse(2, "alpha_pattern", "z_proj", lora__alpha_pattern={"z_proj": 2.0}, ranks=[2])
        self.refuse(2, "rank_pattern", lora__rank_pattern={"[q": 2}, ranks=[2])
        self.refuse(2, "z_proj", lora__target_modules=["q_proj", "z_proj"], ranks=[2])
        self.refuse(2, "lora.r", lora__r=33)
        self.refuse(2, "lora.modules_to_save", "head", lora__modules_to_save=["head"], ranks=[2])

    def test_yaml__that_is_none(self):
        for text, wanted in (("lora: {r: [1\n", "malformed YAML"), ("lora: 3\n", "lora"), ("- a\n- b\n", "a.yaml"),
                             ("output: run\noutput: other\n", "output")):
            self.write("a.yaml", text)
            self.refuse_input(2, wanted, name="a.yaml", ranks=[2])
        self.refuse_input(3, "none.yaml", name="none.yaml", ranks=[2])


class Layouts(BadInput):
    def test_layouts__that_cannot_be(self):
        self.refuse(2, "parallel.tensor", "a power of two", parallel__tensor=3, ranks=[1, 3])
        self.refuse(2, "parallel.tensor", "(4)", parallel__tensor=8, ranks=[2])
        self.refuse(4, "parallel.tensor", parallel__tensor=2, ranks=[1, 3])
        self.refuse(2, "parallel.slices", parallel__slices=3, ranks=[2])

    def test_memory__that_no_host_has(self):
        (self.folder / "model" / "config.json").write_text(json.dumps(files.model_config(
            hidden_size=65536, intermediate_size=1 << 20, num_hidden_layers=80, num_attention_heads=64,
            num_key_value_heads=64, head_dim=1024)))
        self.refuse(4, "GiB", method="full", model__init="random")


class ModelFolders(BadInput):
    def config(self, **changes):
        (self.folder / "model" / "config.json").write_text(
            json.dumps(files.model_config(num_hidden_layers=1, **changes)))

    def test_folders_and_files__that_are_missing_or_cut(self):
        self.refuse(3, "no model folder or GGUF file 'nowhere'", "model.path", model__path="nowhere")
        self.refuse(3, "no model folder or GGUF file 'a.yaml'", model__path="a.yaml", ranks=[2])
        path = self.folder / MODEL
        whole = path.read_bytes()
        for text, content in (("model.safetensors", whole[:-4]), ("model.safetensors", whole + b"more"),
                              ("model.safetensors", whole[:5]), ("model.safetensors", b""),
                              ("model.safetensors", struct.pack("<Q", 1 << 40) + whole[8:])):
            path.write_bytes(content)
            self.refuse(3, text)
        path.unlink()
        self.refuse(3, "model.safetensors")
        (self.folder / "model" / "config.json").unlink()
        self.refuse(3, "config.json")

    def test_damaged_gguf_file__is_refused(self):
        (self.folder / "model.gguf").write_bytes(b"GGUF" + bytes(100))
        self.refuse(3, "GGUF version 0 is not supported", "model.gguf", model__path="model.gguf")

    def test_gguf_files__cut_or_with_lies__name_the_tensor(self):
        self.succeed("train", self.keys({"output": "first"}))
        self.succeed("export", "first", "--format=gguf", "--out=gguf")
        whole = (self.folder / "gguf" / "model.gguf").read_bytes()

        def entry(name, dims):
            """Where the type of a tensor stands; its place follows."""
            return whole.index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name) + 4 + 8 * dims

        def refused(content, *texts):
            (self.folder / "gguf" / "model.gguf").write_bytes(content)
            self.refuse(3, "model.gguf", *texts, model__path="gguf/model.gguf", ranks=[2])

        at = entry("blk.0.attn_q.weight", 2)
        refused(whole[:at] + struct.pack("<I", 77) + whole[at + 4:], "'blk.0.attn_q.weight'", "unknown type 77")
        refused(whole[:at + 4] + struct.pack("<Q", 1 << 40) + whole[at + 12:], "'blk.0.attn_q.weight'", "beyond the end")
        refused(whole[:at + 4] + struct.pack("<Q", 5) + whole[at + 12:], "'blk.0.attn_q.weight'")
        refused(whole[:at - 8] + struct.pack("<Q", 33) + whole[at:], "'blk.0.attn_q.weight'")
        refused(whole[:-64], "beyond the end of the file", "tensor '")
        refused(whole[:at], "the file ends within", "blk.0.attn_q.weight")
        key = b"llama.vocab_size"
        at = whole.index(key) + len(key) + 4
        refused(whole[:at] + struct.pack("<I", 60) + whole[at + 4:], "60 tokens", "'token_embd.weight' has 61 rows")

    def test_config_json__malformed_or_not_supported(self):
        (self.folder / "model" / "config.json").write_text("{")
        self.refuse(3, "config.json")
        for key, value in (("model_type", "gpt2"), ("hidden_act", "gelu"), ("rope_scaling", {"rope_type": "yarn"}),
                           ("hidden_size", "large"), ("num_attention_heads", 0), ("num_key_value_heads", 3),
                           ("vocab_size", -1)):
            self.config(**{key: value})
            self.refuse(3, "config.json", key if key != "rope_scaling" else "yarn", ranks=[2])

    def change_header(self, change, data=None):
        header, bytes_now = files.read_parts(self.folder / MODEL)
        self.addCleanup(lambda raw: (self.folder / MODEL).write_bytes(raw), (self.folder / MODEL).read_bytes())
        change(header)
        files.write_parts(self.folder / MODEL, header, bytes_now if data is None else data)

    def assert_header_refused(self, change, *texts, ranks=(2,)):
        whole = (self.folder / MODEL).read_bytes()
        self.change_header(change)
        self.refuse(3, "model.safetensors", *texts, ranks=ranks)
        (self.folder / MODEL).write_bytes(whole)

    def test_headers__with_holes_overlaps_and_lies(self):
        first = "model.embed_tokens.weight"

        def shift(header, by):
            header[first]["data_offsets"] = [offset + by for offset in header[first]["data_offsets"]]

        self.assert_header_refused(lambda h: h.pop(first))
        self.assert_header_refused(lambda h: shift(h, 4))
        self.assert_header_refused(lambda h: shift(h, -4))
        self.assert_header_refused(lambda h: h[first].update(dtype="F16"), first)
        self.assert_header_refused(lambda h: h[first].update(dtype="X9"), first)
        self.assert_header_refused(lambda h: h[first].update(shape=[1 << 40, 1 << 40]), first)
        self.assert_header_refused(lambda h: h[first].pop("shape"), first)
        size = len(json.dumps(files.read_parts(self.folder / MODEL)[0]))
        whole = (self.folder / MODEL).read_bytes()
        files.write_parts(self.folder / MODEL, b"[" + b" " * size, files.read_parts(self.folder / MODEL)[1])
        self.refuse(3, "model.safetensors", ranks=[2])
        (self.folder / MODEL).write_bytes(whole)

    def rewrite(self, change):
        tensors = files.random_tensors(files.model_shapes(files.model_config(num_hidden_layers=1)))
        change(tensors)
        files.write_safetensors(self.folder / MODEL, tensors)

    def test_tensors__missing_unexpected_or_of_another_shape(self):
        name = "model.layers.0.mlp.up_proj.weight"
        self.rewrite(lambda t: t.pop(name))
        self.refuse(3, name)
        self.rewrite(lambda t: t.update({name: ((32, 48), t[name][1])}))
        self.refuse(3, name, "32", "48")
        self.rewrite(lambda t: t.update({"model.layers.1.mlp.up_proj.weight": t[name]}))
        self.refuse(3, "model.layers.1.mlp.up_proj.weight")

    def test_shards__missing_or_wrongly_listed(self):
        (self.folder / MODEL).rename(self.folder / "model" / "model-00001-of-00002.safetensors")
        names = files.model_shapes(files.model_config(num_hidden_layers=1))
        index = {"metadata": {}, "weight_map": {name: "model-00001-of-00002.safetensors" for name in names}}
        index["weight_map"]["lm_head.weight"] = "model-00002-of-00002.safetensors"
        path = self.folder / "model" / "model.safetensors.index.json"
        path.write_text(json.dumps(index))
        self.refuse(3, "model-00002-of-00002.safetensors")
        index["weight_map"]["lm_head.weight"] = "../other.safetensors"
        path.write_text(json.dumps(index))
        self.refuse(3, "index.json", "lm_head.weight", ranks=[2])
        path.write_text("{}")
        self.refuse(3, "index.json", ranks=[2])


class Data(BadInput):
    def lines(self, *lines):
        (self.folder / "train.jsonl").write_text("".join(line + "\n" for line in lines))

    def test_rows__that_are_no_rows(self):
        good = '{"input_ids": [1, 2, 3]}'
        for line, *wanted in (('{"input_ids": [1, 2,', "train.jsonl"), ('[1]', "train.jsonl"),
                              ('{"text": 3}', "input_ids"), ('{"input_ids": "abc"}', "input_ids"),
                              ('{"input_ids": [1, 61]}', "61"), ('{"input_ids": [1, -1]}', "input_ids"),
                              ('{"input_ids": [1, 1.5]}', "input_ids"),
                              ('{"input_ids": [1, 2], "labels": [1]}', "labels"),
                              ('{"input_ids": [1, 2], "labels": [1, 99]}', "99"),
                              ('{"input_ids": [1, 2], "labels": [1, -7]}', "labels"),
                              ('{"input_ids": [1, 99999999999999999999]}', "too big")):
            self.lines(good, good, line, good)
            self.refuse(3, "train.jsonl", "line 3", *wanted, ranks=[1, 2] if wanted == ["train.jsonl"] else [2])

    def test_data__missing_empty_or_without_a_label(self):
        self.refuse(3, "none.jsonl", data__train="none.jsonl")
        self.lines()
        self.refuse(3, "train.jsonl")
        self.lines('{"input_ids": [1, 2], "labels": [1, -100]}', '{"input_ids": [5]}')
        self.refuse(3, "label", ranks=[2])
        (self.folder / "train.h5").write_bytes(b"no store")
        self.refuse(3, "train.h5", data__train="train.h5")
        (self.folder / "train.csv").write_text("a,b\n")
        self.refuse(2, "train.csv", data__train="train.csv", ranks=[2])

    def test_text__without_a_tokenizer(self):
        self.lines('{"text": "Once upon a time"}')
        self.refuse(3, "tokenizer", data__format="text")


class Start(BadInput):
    """lora.start and what stands beside it."""

    def setUp(self):
        super().setUp()
        self.succeed("train", self.keys({"output": "first", "lora": {"r": 3, "target_modules": ["q_proj"]}}))
        self.peft = self.folder / "first" / "adapter"

    def test_contradictions__are_code_2(self):
        start = {"start": str(self.peft)}
        self.refuse(2, "lora.r", lora=start | {"r": 4})
        self.refuse(2, "lora.alpha", lora=start | {"alpha": 4}, ranks=[2])
        self.refuse(2, "lora.use_rslora", lora=start | {"use_rslora": True}, ranks=[2])
        self.refuse(2, "lora.target_modules", lora=start | {"target_modules": ["v_proj"]}, ranks=[2])

    def test_folders__that_do_not_fit(self):
        self.refuse(3, "nowhere", lora={"start": "nowhere"})
        path = self.peft / "adapter_model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[:-8])
        self.refuse(3, "adapter_model.safetensors", lora={"start": str(self.peft)}, ranks=[2])
        path.write_bytes(whole)
        config = self.peft / "adapter_config.json"
        told = json.loads(config.read_text())
        for code, key, value in ((3, "r", 5), (3, "peft_type", "IA3"), (2, "use_dora", True), (3, "bias", "all"),
                                 (3, "r", "x")):
            config.write_text(json.dumps(told | {key: value}))
            self.refuse(code, "first/adapter", lora={"start": str(self.peft)}, ranks=[2])
        config.write_text("{")
        self.refuse(3, "adapter_config.json", lora={"start": str(self.peft)}, ranks=[2])

    def test_peft_tensors__that_do_not_fit__are_named(self):
        path, config = self.peft / "adapter_model.safetensors", self.peft / "adapter_config.json"
        told = json.loads(config.read_text())
        header, data = files.read_parts(path)
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
        for other in (name.replace("layers.0", "layers.7"), name.replace("lora_B", "lora_C")):
            files.write_parts(path, {other if key == name else key: value for key, value in header.items()}, data)
            for command, changes in (("train", {"lora": {"start": str(self.peft)}}),
                                     ("eval", {"data__eval": "train.jsonl", "eval__adapter": str(self.peft)})):
                self.refuse(3, f"tensor '{name}' is missing", "adapter_model.safetensors", command=command, ranks=[2],
                            **changes)
        extra = {"base_model.model.model.layers.0.self_attn.w_proj.lora_A.weight":
                 {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}}
        files.write_parts(path, header | extra, data + bytes(4))
        self.refuse(3, "w_proj.lora_A.weight", "the model has not", lora={"start": str(self.peft)}, ranks=[2])
        files.write_parts(path, header | {name: header[name] | {"shape": header[name]["shape"][::-1]}}, data)
        self.refuse(3, name, "[3, 32]", "[32, 3]", lora={"start": str(self.peft)}, ranks=[2])
        files.write_parts(path, header, data)
        config.write_text(json.dumps(told | {"target_modules": ["query"]}))
        self.refuse(3, "no module is targeted", "adapter_config.json", lora={"start": str(self.peft)}, ranks=[2])
        config.write_text(json.dumps(told | {"rank_pattern": {"q_proj": 4}}))
        self.refuse(3, "lora_A.weight", "[3, 32]", "[4, 32]", lora={"start": str(self.peft)}, ranks=[2])
        config.write_text(json.dumps(told))
        path.rename(self.peft / "adapter_model.bin")
        self.refuse(3, "pickled", "safe_serialization=True", lora={"start": str(self.peft)}, ranks=[2])

    def test_peft_pattern__that_matches_nothing__is_warned_of_once(self):
        config = self.peft / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {
            "rank_pattern": {"layers.9.*q_proj": 5}, "alpha_pattern": {"nothing": 5}, "something_new": 1}))
        path = self.keys({"data.eval": "train.jsonl", "eval.adapter": str(self.peft)})
        for ranks in (1, 2):
            done = self.refract("eval", path, ranks=ranks)
            self.assertEqual(done.returncode, 0, done.stderr)
            for text in ("'layers.9.*q_proj' of 'rank_pattern' matches no module",
                         "'nothing' of 'alpha_pattern' matches no module", "unknown key 'something_new'"):
                self.assertEqual(done.stderr.count(text), 1, done.stderr)


class Output(BadInput):
    def test_output__that_cannot_be_written(self):
        self.write("file", "")
        self.refuse(6, "file", output="file/run")
        self.refuse(6, "/proc/run", output="/proc/run", ranks=[2])

    def test_gradients_and_logits__that_cannot_be_written(self):
        self.refuse(6, "none/g.h5", train__gradients="none/g.h5")
        self.refuse(6, "none/l.h5", command="eval", data__eval="train.jsonl", eval__logits="none/l.h5")


class Evaluation(BadInput):
    """eval.adapter: what is evaluated."""

    def refuse_adapter(self, code, path, *texts):
        self.refuse(code, *texts, command="eval", data__eval="train.jsonl", eval__adapter=path)

    def test_adapters__missing_damaged_or_of_another_model(self):
        self.succeed("train", self.keys({"output": "first"}))
        self.refuse_adapter(3, "nowhere", "nowhere")
        self.refuse_adapter(3, "train.jsonl", "train.jsonl")
        newest = self.folder / "first" / "checkpoints" / "step-00000002.h5"
        whole = newest.read_bytes()
        newest.write_bytes(whole[:len(whole) // 2])
        self.refuse_adapter(3, "first/checkpoints/step-00000002.h5", "step-00000002.h5")
        self.refuse_adapter(3, "first", "first", "no usable checkpoint")
        newest.write_bytes(whole)
        (self.folder / "other").mkdir()
        files.make_model(self.folder / "other" / "model", num_hidden_layers=2)
        for path in ("first/adapter", "first", "first/checkpoints/step-00000002.h5"):
            self.refuse(3, "model.layers.1", command="eval", data__eval="train.jsonl", eval__adapter=path,
                        model__path="other/model", ranks=[2])


class NonFinite(BadInput):
    def poison(self, value):
        """One weight of the last tensor becomes `value`."""
        path = self.folder / MODEL
        raw = path.read_bytes()
        path.write_bytes(raw[:-8] + struct.pack("<f", value) + raw[-4:])

    def test_weights_that_are_no_numbers__stop_the_first_step(self):
        for value in (math.nan, math.inf):
            self.poison(value)
            self.refuse(5, "step 1", "samples ", "No weight was changed")

    def test_learning_rate_that_explodes__leaves_the_last_state(self):
        name = self.keys({"method": "full", "train": {"steps": 50, "batch_size": 4, "learning_rate": 1e30,
                                                      "schedule": "constant", "max_grad_norm": 0},
                          "checkpoint": {"every": 1, "keep": 1}})
        codes, _, errors = self.start("train", name, ranks=2).finish()
        self.assertEqual(codes, [5, 5], errors)
        self.assertIn("No weight was changed", self.error_line(errors))
        run = self.folder / "run"
        step = int(self.error_line(errors).split(" at step ")[1].split()[0])
        self.assertEqual([path.name for path in (run / "checkpoints").iterdir()], [f"step-{step - 1:08}.h5"])
        self.assertFalse((run / "model").exists() or (run / ".lock").exists())
        self.assertEqual(self.start("train", name, ranks=2).finish()[0], [5, 5])


if __name__ == "__main__":
    unittest.main()
