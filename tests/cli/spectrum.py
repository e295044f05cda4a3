"""refract spectrum: what numpy finds in the same weights, on any number of ranks and by either library."""
import unittest

import files
from files import numpy
from support import ProgramTest, needs_h5py

PARTS = ("base", "update", "tuned")


@needs_h5py
class Spectrum(ProgramTest):
    def setUp(self):
        super().setUp()
        files.make_model(self.folder / "base")
        files.write_rows(self.folder / "rows.jsonl", files.token_rows(16, 8, 24, files.SIZES["vocab_size"]))

    def train(self, method, name="run", **sections):
        keys = {"output": name, "method": method, "lora": {"r": 3, "alpha": 6}, "model": {"path": "base"},
                "train": {"steps": 4, "batch_size": 4, "learning_rate": 0.02, "micro_tokens": 64},
                "data": {"train": "rows.jsonl", "format": "tokens", "max_length": 32}}
        for section, values in sections.items():
            keys[section] = {**keys.get(section, {}), **values}
        path = self.write_input(f"{name}.yaml", **keys)
        self.succeed("train", path)
        return path

    def spectrum(self, *arguments, run="run", ranks=None):
        out = self.succeed("spectrum", *arguments, ranks=ranks)
        return out, files.read_sets(self.folder / run / "spectrum.h5")

    def weights(self, run="run", scale=2.0):
        """{module: (W0, dW)} of a LoRA run, by its files."""
        base = files.read_safetensors(self.folder / "base" / "model.safetensors")
        adapter = files.read_safetensors(self.folder / run / "adapter" / "adapter_model.safetensors")
        found = {}
        for name, b in adapter.items():
            if name.endswith("lora_B.weight"):
                a = adapter[name.replace("lora_B", "lora_A")].astype(float)
                module = name.removeprefix("base_model.model.").removesuffix(".lora_B.weight")
                found[module] = (base[module + ".weight"].astype(float), scale * b.astype(float) @ a)
        return found

    def check_against_numpy(self, sets, weights):
        names = [name.decode() for name in sets["modules/name"]]
        self.assertEqual(sorted(names), sorted(weights))
        for i, name in enumerate(names):
            w0, update = weights[name]
            self.assertEqual((sets["modules/d_out"][i], sets["modules/d_in"][i]), w0.shape)
            n, vectors = min(w0.shape), []
            for part, matrix in zip(PARTS, (w0, update, w0 + update)):
                u, wanted, _ = numpy.linalg.svd(matrix, full_matrices=False)
                vectors.append(u)
                values = sets[f"{part}/singular_values"][i]
                self.assertLess(abs(values[:n] - wanted).max(), 1e-6 * max(1, wanted[0]), (name, part))
                self.assertTrue(numpy.isnan(values[n:]).all())
                p = values[:n] / values[:n].sum()
                p = p[p > 0]
                self.assertAlmostEqual(sets[f"{part}/effective_rank"][i], numpy.exp(-(p * numpy.log(p)).sum()), 9)
                energy = numpy.cumsum(values[:n] ** 2)
                self.assertEqual(sets[f"{part}/energy_rank"][i],
                                 1 + int((energy < 0.99 * energy[-1]).sum()), (name, part))
            cosine = abs(vectors[2].T @ vectors[0]).max(axis=1)[:10]
            self.assertLess(abs(sets["tuned/cosine"][i][:len(cosine)] - cosine).max(), 1e-4, name)
            self.assertEqual(sets["tuned/intruders"][i], (sets["tuned/cosine"][i] < 0.6).sum())

    def test_within_a_run__every_k_steps__what_the_command_finds_afterwards(self):
        for method in ("lora", "full"):
            path = self.train(method, method, telemetry={"spectrum_every": 2})
            self.spectrum(path, run=method)
            folder = self.folder / method / "spectra"
            self.assertEqual(sorted(file.name for file in folder.iterdir()), ["step-00000002.h5", "step-00000004.h5"])
            last, early = (files.set_bytes(folder / f"step-0000000{step}.h5") for step in (4, 2))
            self.assertEqual(last, files.set_bytes(self.folder / method / "spectrum.h5"))
            self.assertNotEqual(early["update/singular_values"], last["update/singular_values"])

    def test_within_a_run__continued_by_more_ranks__writes_the_same(self):
        keys = {"telemetry": {"spectrum_every": 1}, "checkpoint": {"every": 2}}
        self.train("full", "whole", **keys)
        path = self.train("full", "half", **keys)
        (self.folder / "half" / "checkpoints" / "step-00000004.h5").unlink()
        for file in (self.folder / "half" / "spectra").iterdir():
            file.unlink()
        self.succeed("train", path, ranks=2)
        for step in (3, 4):
            self.assertEqual(*(files.set_bytes(self.folder / run / "spectra" / f"step-0000000{step}.h5")
                               for run in ("whole", "half")))

    def test_lora_run__by_either_library_on_any_ranks__is_what_numpy_finds(self):
        path = self.train("lora")
        weights = self.weights()
        for ranks, most, solver in ((None, 1 << 20, b"lapack"), (2, 1 << 20, b"lapack"), (None, 32, b"scalapack"),
                                    (2, 32 * 32, b"scalapack"), (4, 32 * 32, b"scalapack")):
            (self.folder / "run" / "spectrum.h5").unlink(missing_ok=True)
            out, sets = self.spectrum("run", f"linalg.distribute_above={most}", ranks=ranks)
            self.check_against_numpy(sets, weights)
            self.assertIn(solver, set(sets["modules/solver"]))
            self.assertEqual(out.count("_proj "), 14)
            self.assertLessEqual(sets["update/energy_rank"].max(), 3)
        self.spectrum(path)  # the input file does as well
        with files.h5py.File(self.folder / "run" / "spectrum.h5", "r") as file:
            self.assertEqual((file.attrs["schema"], file.attrs["schema_version"]), (b"refract/spectrum", 1))
            self.assertIn("lora", file.attrs["config"].decode())
            file.visititems(lambda name, item: self.assertTrue(
                isinstance(item, files.h5py.Group) or {"unit", "description"} <= set(item.attrs), name))
        self.assertEqual(list((self.folder / "run").glob("*.tmp")), [])

    def test_full_run__is_compared_with_its_start(self):
        self.train("full", checkpoint={"every": 4})
        base = files.read_safetensors(self.folder / "base" / "model.safetensors")
        after = files.read_safetensors(self.folder / "run" / "model" / "model.safetensors")
        wanted = {name.removesuffix(".weight"): (base[name].astype(float), after[name].astype(float) - base[name])
                  for name in base if name.endswith("_proj.weight")}
        self.check_against_numpy(self.spectrum("run", ranks=2)[1], wanted)

    def test_peft_folder__says_what_its_run_says(self):
        path = self.train("lora")
        _, run = self.spectrum("run")
        _, folder = self.spectrum(path, "eval.adapter=run/adapter", "output=other", run="other", ranks=2)
        for part in PARTS:
            self.assertLess(numpy.nanmax(abs(run[f"{part}/singular_values"] - folder[f"{part}/singular_values"])), 1e-12)

    def test_moved_base_and_magnitudes__change_what_training_changed(self):
        for method, storage, most in (("pissa", "q8_0", 6), ("beamlora", "bf16", 3), ("dora", "f32", 32)):
            self.train(method, name=method)
            _, sets = self.spectrum(method, f"model.storage={storage}", run=method)
            values = sets["update/singular_values"]
            self.assertTrue((values[:, 0] > 1e-3).all(), method)
            if most < 32:
                self.assertLess(numpy.nanmax(values[:, most:] / values[:, :1]), 1e-6, method)

    def test_nothing_to_compare__is_refused(self):
        self.train("bitfit", name="bitfit")
        self.fail_with(2, "no weight matrix", "spectrum", "bitfit", ranks=2)
        path = self.train("lora")
        self.fail_with(2, "nothing trained", "spectrum", path, "eval.adapter=none", ranks=2)
        self.fail_with(2, "nothing trained", "spectrum", path, "output=elsewhere", ranks=2)
        self.assertFalse((self.folder / "elsewhere").exists())
        self.fail_with(3, "none.yaml", "spectrum", "none.yaml", ranks=2)
        self.fail_with(3, "config.yaml", "spectrum", "base", ranks=2)
        (self.folder / "run" / "spectrum.h5.tmp").mkdir()
        self.fail_with(6, "spectrum.h5", "spectrum", "run", ranks=2)


if __name__ == "__main__":
    unittest.main()
