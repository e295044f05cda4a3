"""The program against what PyTorch, transformers and PEFT compute: logits, losses, gradients and trainings of
../shared/reference, whose README gives the limits, and the pre-trained stories260K.

Each check runs in single and in double precision.
"""
import functools
import json
import unittest

import files
from files import h5py, numpy
from support import REFRACT, REFRACT_F64, SHARED, ProgramTest, needs_h5py, needs_shared, newest_checkpoint

REFERENCE = SHARED / "reference"
STORIES = SHARED / "models" / "stories260K"
TINY = ("llama-gqa", "llama3-rope", "mistral-window", "llama-gqa-sharded")


def in_both_precisions(test):
    """Runs a test with the program and with its twin; the limits are chosen by `self.pick`."""
    @functools.wraps(test)
    def both(self):
        for self.program in filter(None, (REFRACT, REFRACT_F64)):
            self.is_double = self.program == REFRACT_F64
            with self.subTest(program="f64" if self.is_double else "f32"):
                test(self)
    return both


class Golden(ProgramTest):
    def pick(self, single, double):
        return double if self.is_double else single

    def name(self, stem):
        return f"{stem}-{'f64' if self.is_double else 'f32'}"

    def run_program(self, command, stem, ranks=None, **keys):
        """Runs a command on an input of these keys; its run folder is named after `stem`."""
        name = self.name(stem)
        self.succeed(command, self.write_input(f"{name}.yaml", output=name, **keys), program=self.program,
                     ranks=ranks, timeout=120)
        return self.folder / name

    def rows(self, ids, labels):
        """[rows, T] arrays as a file of token rows."""
        rows = [{"input_ids": i.tolist(), "labels": l.tolist()} for i, l in zip(ids, labels)]
        return files.write_rows(self.folder / "rows.jsonl", rows)

    def assert_close(self, found, wanted, limit, what, relative=False):
        found, wanted = (numpy.asarray(x, dtype=float) for x in (found, wanted))
        self.assertEqual(found.shape, wanted.shape, what)
        self.assertTrue(numpy.isfinite(found).all(), what)
        scale = abs(wanted).max() if relative else 1.0
        self.assertLessEqual(abs(found - wanted).max(), limit * scale, what)


def position_order(path):
    """/logits of a file as [samples, T, vocab]."""
    with h5py.File(path, "r") as file:
        sample, position, logits = (file[name][()] for name in ("sample", "position", "logits"))
    found = numpy.full((sample.max() + 1, position.max() + 1, logits.shape[1]), numpy.nan)
    found[sample, position] = logits
    return found


@needs_h5py
@needs_shared("reference/tiny")
class TinyModels(Golden):
    def setUp(self):
        super().setUp()
        self.golden = {name: files.read_safetensors(REFERENCE / "tiny" / name / "golden.safetensors")
                       for name in TINY}

    def data(self, golden, key):
        return {key: self.rows(golden["input_ids"], golden["labels"]), "format": "tokens", "max_length": 64,
                "shuffle": False}

    def check_eval(self, model, config=None, prefix="", **keys):
        golden, folder = self.golden[model], REFERENCE / "tiny" / model
        if config:
            folder = self.folder / self.name(config)
            folder.mkdir()
            (folder / "config.json").write_bytes((REFERENCE / "tiny" / model / config).read_bytes())
            (folder / "model.safetensors").symlink_to(REFERENCE / "tiny" / model / "model.safetensors")
        stem = f"eval-{model}-{prefix}{config}"
        run = self.run_program("eval", stem, model={"path": str(folder)}, data=self.data(golden, "eval"),
                               eval={"logits": f"{self.name(stem)}.h5", **keys})
        logits = position_order(self.folder / f"{self.name(stem)}.h5")
        self.assert_close(logits, golden[f"{prefix}logits"], self.pick(5e-5, 1e-11), f"{stem} logits")
        told = json.loads((run / "eval.json").read_text())
        self.assert_close(told["loss"], golden[f"{prefix}loss"][0], self.pick(3e-6, 1e-11), f"{stem} loss")
        counted = (golden["labels"][:, 1:] != -100).sum()
        self.assertEqual((told["label_tokens"], told["samples"]), (counted, 2))

    @in_both_precisions
    def test_base_models__logits_and_loss(self):
        for model in TINY:
            self.check_eval(model)
        self.check_eval("llama3-rope", config="config_4x.json")

    @in_both_precisions
    def test_adapters__logits_and_loss(self):
        for model in TINY[:3]:
            self.check_eval(model, prefix="lora.", adapter=str(REFERENCE / "tiny" / model / "adapter"))

    def gradients(self, model, method, ranks=None, **keys):
        """{name: array} that train.gradients writes."""
        stem = f"gradients-{method}-{model}-{ranks}"
        path = self.folder / f"{self.name(stem)}.h5"
        self.run_program("train", stem, ranks=ranks, method=method, model={"path": str(REFERENCE / "tiny" / model)},
                         data=self.data(self.golden[model], "train"),
                         train={"steps": 1, "batch_size": 2, "micro_tokens": 64, "gradients": str(path)}, **keys)
        return files.read_sets(path)

    def check_gradients(self, found, wanted, limit, what):
        self.assertEqual(found.keys(), wanted.keys(), what)
        for name, values in wanted.items():
            self.assert_close(found[name], values, limit, f"{what}: {name}", relative=True)

    def wanted(self, model, prefix):
        return {name[len(prefix):]: values for name, values in self.golden[model].items() if name.startswith(prefix)}

    @in_both_precisions
    def test_base_models__every_gradient(self):
        for model in TINY[:3]:
            found = self.gradients(model, "full")
            self.check_gradients(found, self.wanted(model, "grad."), self.pick(2e-5, 1e-7), model)

    @in_both_precisions
    def test_adapters__every_gradient(self):
        for model in TINY[:3]:
            found = self.gradients(model, "lora", ranks=2, lora={"start": str(REFERENCE / "tiny" / model / "adapter")})
            wanted = self.wanted(model, "lora.grad.")
            plain = {f"base_model.model.{name}" if not name.startswith("base_model") else name: values
                     for name, values in found.items()}
            self.check_gradients(plain, wanted, self.pick(2e-5, 1e-11), model)


@needs_h5py
@needs_shared("reference/train")
@needs_shared("models/stories260K")
class Trainings(Golden):
    """20 steps on stories260K, each run's losses, norms and final state."""

    def train(self, name, ranks=None, micro=512, **keys):
        trace = json.loads((REFERENCE / "train" / name / "trace.json").read_text())
        batches = files.read_safetensors(REFERENCE / "train" / "batches.safetensors")
        data = {"train": self.rows(*(batches[key].reshape(-1, 64) for key in ("input_ids", "labels"))),
                "format": "tokens", "max_length": 64, "shuffle": False}
        train = {"steps": trace["total"], "batch_size": 4, "learning_rate": trace["lr"], "schedule": "linear",
                 "warmup_steps": trace["warmup"], "weight_decay": trace["weight_decay"], "micro_tokens": micro,
                 "max_grad_norm": trace["clip"], "log_every": 1}
        run = self.run_program("train", name, ranks=ranks, model={"path": str(STORIES)}, data=data, train=train, **keys)
        self.check_log(run, trace)
        self.check_steps(run, trace)
        return run

    def check_log(self, run, trace):
        """The log's lines, as far as their digits go."""
        lines = [line.split() for line in (run / "run.log").read_text().splitlines() if "  loss " in line]
        self.assertEqual(len(lines), trace["total"])
        for line, wanted in zip(lines, trace["steps"]):
            told = {name: float(line[line.index(name) + 1]) for name in ("loss", "grad", "lr")}
            self.assertAlmostEqual(told["loss"], wanted["loss_f64"], delta=6e-5)
            self.assertAlmostEqual(told["grad"], wanted["grad_norm_f64"], delta=6e-4)
            self.assertAlmostEqual(told["lr"], wanted["lr"], delta=6e-3 * trace["lr"])

    def check_steps(self, run, trace):
        """Telemetry, to the reference's limits."""
        sets = files.read_sets(run / "run.h5")
        for path, key, limit in (("loss", "loss_f64", self.pick(5e-6, 1e-10)),
                                 ("grad_norm", "grad_norm_f64", self.pick(5e-6, 1e-10)),
                                 ("learning_rate", "lr", 1e-12), ("label_tokens", "label_tokens", 0)):
            wanted = [step[key] for step in trace["steps"]]
            self.assert_close(sets[f"steps/{path}"], wanted, limit, path, relative=path == "grad_norm")

    def check_adapter(self, run, name, single=1e-5):
        wanted = files.read_safetensors(REFERENCE / "train" / name / "final_f64" / "adapter_model.safetensors")
        found = files.read_safetensors(run / "adapter" / "adapter_model.safetensors")
        self.assertEqual(found.keys(), wanted.keys())
        for tensor, values in wanted.items():
            double = 3e-7 if tensor.endswith("magnitude_vector") else 1e-7
            self.assert_close(found[tensor], values, self.pick(single, double), tensor)

    def start(self, name):
        return {"start": str(REFERENCE / "train" / name / "init")}

    @in_both_precisions
    def test_lora__losses_norms_and_adapter(self):
        self.check_adapter(self.train("lora", lora=self.start("lora")), "lora")

    @in_both_precisions
    def test_lora__in_parallel_micro_batches__is_the_same_training(self):
        run = self.train("lora", ranks=4, micro=64, lora=self.start("lora"), parallel={"tensor": 2})
        self.check_adapter(run, "lora")

    @in_both_precisions
    def test_rslora__losses_norms_and_adapter(self):
        self.check_adapter(self.train("rslora", lora=self.start("rslora")), "rslora")

    @in_both_precisions
    def test_loraplus__losses_norms_and_adapter(self):
        run = self.train("loraplus", method="loraplus", lora=self.start("lora"))
        self.check_adapter(run, "loraplus", single=5e-5)

    @in_both_precisions
    def test_dora__losses_norms_and_adapter(self):
        run = self.train("dora", method="dora", lora=self.start("dora"))
        self.check_adapter(run, "dora")
        config = json.loads((run / "adapter" / "adapter_config.json").read_text())
        self.assertTrue(config["use_dora"])

    @in_both_precisions
    def test_dora__in_parallel_micro_batches__is_the_same_training(self):
        run = self.train("dora", method="dora", ranks=4, micro=64, lora=self.start("dora"), parallel={"tensor": 2})
        self.check_adapter(run, "dora")

    def test_dora__from_plain_factors__takes_its_magnitudes_from_the_base(self):
        self.program, self.is_double = REFRACT, False  # the reference's magnitudes are rounded to single precision
        init, plain = REFERENCE / "train" / "dora" / "init", self.folder / self.name("plain")
        plain.mkdir()
        tensors = files.read_safetensors(init / "adapter_model.safetensors")
        files.write_safetensors(plain / "adapter_model.safetensors",
                                {name: (tensor.shape, tensor.reshape(-1)) for name, tensor in tensors.items()
                                 if "magnitude" not in name})
        config = json.loads((init / "adapter_config.json").read_text())
        (plain / "adapter_config.json").write_text(json.dumps({**config, "use_dora": False}))
        self.check_adapter(self.train("dora", method="dora", lora={"start": str(plain)}), "dora", single=2e-5)

    @in_both_precisions
    def test_lora_clipped_at_times__losses_and_norms(self):
        self.train("lora-clip3", lora=self.start("lora"))

    @in_both_precisions
    def test_full__losses_norms_and_model(self):
        run = self.train("full", method="full")
        wanted = files.read_safetensors(REFERENCE / "train" / "full" / "final_f64.safetensors")
        found = files.read_safetensors(run / "model" / "model.safetensors")
        self.assertEqual(found.keys(), wanted.keys())
        for tensor, values in wanted.items():
            self.assert_close(found[tensor], values, self.pick(1e-5, 1e-7), tensor)


@needs_h5py
@needs_shared("models/stories260K")
class Stories(Golden):
    def setUp(self):
        super().setUp()
        self.golden = json.loads((STORIES / "golden.json").read_text())

    def evaluate(self, stem, rows, **keys):
        path = files.write_rows(self.folder / f"{stem}.jsonl", rows)
        run = self.run_program("eval", stem, model={"path": str(STORIES)},
                               data={"eval": path, "format": "tokens", "max_length": 512}, **keys)
        return json.loads((run / "eval.json").read_text())

    @in_both_precisions
    def test_prompt__last_logits(self):
        path = f"{self.name('prompt')}.h5"
        self.evaluate("prompt", [{"input_ids": self.golden["prompt_ids"]}], eval={"logits": path})
        found = position_order(self.folder / path)[0, -1]
        self.assert_close(found, self.golden["prompt_last_logits"], self.pick(5e-5, 2e-6), "last logits")

    @in_both_precisions
    def test_greedy_text__is_the_most_likely_at_every_position(self):
        ids = self.golden["greedy_ids_from_bos"]
        told = self.evaluate("greedy", [{"input_ids": ids}])
        self.assertEqual((told["correct"], told["label_tokens"]), (1, len(ids) - 1))
        other = ids[:100] + [(ids[100] + 1) % 512] + ids[101:]
        self.assertEqual(self.evaluate("other", [{"input_ids": other}])["correct"], 0)

    def stories(self, count):
        """The first stories as rows of tokens without the final EOS, which the golden values do not count."""
        text = (SHARED / "data" / "text" / "tinystories.txt").read_text(encoding="utf-8")
        rows = [{"text": story.strip()} for story in text.split("<|endoftext|>")[:count]]
        self.run_program("prepare", "stories", model={"path": str(STORIES)},
                         data={"train": files.write_rows(self.folder / "stories.jsonl", rows), "format": "text"})
        store = files.read_sets(self.folder / self.name("stories") / "train.h5")
        return [{"input_ids": store["ids"][begin:end - 1].tolist()}
                for begin, end in zip(store["offset"], store["offset"][1:])]

    @needs_shared("data/text")
    @in_both_precisions
    def test_forty_stories__cost_what_they_did_in_double_precision(self):
        told = self.evaluate("nll", self.stories(len(self.golden["tinystories_2MiB_first40"])))
        self.assertEqual(told["label_tokens"], 12571)
        self.assertAlmostEqual(told["loss"], self.golden["tinystories_2MiB_first40_mean_nll_per_token"], delta=1e-6)


if __name__ == "__main__":
    unittest.main()
