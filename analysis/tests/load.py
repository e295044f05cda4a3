"""load: frames hold what run.h5 holds, of finished, running, killed and empty runs; the damaged are refused in words."""
import array
import unittest
import warnings

from case import STEPS, Case, command, files, h5py, numpy, pandas, refract_analysis
from refract_analysis import reader, schema


class Load(Case):
    def raw(self, path):
        with h5py.File(self.folder / "lora" / "run.h5", "r") as file:
            return file[path][()]

    def refused(self, path, *words):
        with self.assertRaises(refract_analysis.RunError) as caught:
            refract_analysis.load(path)
        for word in (str(path), *words):
            self.assertIn(word, str(caught.exception))

    def test_finished_run__frames_are_the_datasets(self):
        run = refract_analysis.load(self.folder / "lora")[0]
        for table in ("steps", "evals", "modules", "data"):
            frame = run.frame(table)
            for column, path in schema.TABLES[table].columns.items():
                wanted = self.raw(path)
                wanted = [text.decode() for text in wanted] if wanted.dtype.kind == "S" else list(wanted)
                self.assertEqual(list(frame[column]), wanted, path)
        self.assertEqual((run.done, run.total, run.state), (STEPS, STEPS, "finished"))
        self.assertEqual(run.config["lora.rank_pattern"], {"down_proj": 6})
        self.assertEqual(run.units("steps")["loss"], "nats per label token")
        self.assertEqual(run.attributes["schema"], "refract/telemetry")

    def test_ranks__in_long_format__has_a_row_for_every_rank_there_is(self):
        run, whole = refract_analysis.load(self.folder / "lora")[0], self.raw("/ranks/importance")
        ranks = run.ranks
        self.assertEqual(len(ranks), numpy.isfinite(whole).sum())
        self.assertEqual(sorted(ranks.groupby("module").size() // len(whole)), [4] * 12 + [6] * 2)
        steps = list(self.raw("/ranks/step"))
        for row in ranks.sample(50, random_state=1).itertuples():
            self.assertEqual(row.importance, whole[steps.index(row.step), row.module, row.rank])

    def test_timing__names_its_phases(self):
        run, whole = refract_analysis.load(self.folder / "lora")[0], self.raw("/timing/seconds")
        update = run.timing[run.timing["phase"] == "update"]
        at = [name.decode() for name in self.raw("/timing/phases")].index("update")
        self.assertEqual(list(update["seconds"]), list(whole[:, at]))
        self.assertEqual(list(update["step"]), list(range(1, STEPS + 1)))

    def test_many_runs__stand_below_each_other_under_their_names(self):
        self.train("other")
        runs = refract_analysis.load(self.folder / "lora", self.folder / "other", self.folder / "lora")
        self.assertEqual([run.name for run in runs], ["lora", "other"])
        self.assertEqual(dict(runs.steps.groupby("run").size()), {"lora": STEPS, "other": STEPS})
        self.assertEqual(list(runs.config["train.eval_every"]), [8, 0])

    def test_stopped_and_resumed__every_step_stands_once(self):
        process = self.endless("resumed")
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75)
        stopped = refract_analysis.load(self.folder / "resumed")[0]
        self.assertEqual(stopped.state, "stopped")
        self.endless("resumed").kill()
        steps = refract_analysis.load(self.folder / "resumed")[0].steps["step"]
        self.assertEqual(list(steps), list(range(1, len(steps) + 1)))

    def test_live_run__is_read_while_it_grows_then_killed_and_cut(self):
        process = self.endless("live")
        first = refract_analysis.load(self.folder / "live")[0]
        self.assertEqual(first.state, "running")
        while self.rows("live") < first.done + 3:
            self.assertIsNone(process.poll())
        process.kill()
        process.communicate()
        killed = refract_analysis.load(self.folder / "live")[0]
        self.assertEqual(killed.state, "killed")
        self.assertGreaterEqual(killed.done, first.done + 3)
        self.assertEqual(list(killed.steps["loss"][:first.done]), list(first.steps["loss"]))
        self.assertEqual(killed.steps["loss"].isna().sum() + (killed.steps["loss"] == 0).sum(), 0)
        whole = (self.folder / "live" / "run.h5").read_bytes()
        reader.PATIENCE, before = 1.0, reader.PATIENCE
        self.addCleanup(setattr, reader, "PATIENCE", before)
        for name, cut in (("one", 1), ("half", len(whole) // 2)):
            path = self.copy("live", f"live-{name}")
            path.write_bytes(whole[:-cut])
            self.refused(path.parent, "is damaged or cut short", "goes on from its newest checkpoint")

    def test_damaged_files__are_refused_and_the_rest_goes_on(self):
        whole = (self.folder / "lora" / "run.h5").read_bytes()
        damaged = {"cut": (whole[:-1], "is damaged or cut short"), "empty": (b"", "is empty (0 bytes)"),
                   "text": (b"step,loss\n1,2\n", "is not an HDF5 file"),
                   "torn": (whole[:100] + bytes(4000) + whole[4100:], "is damaged or cut short")}
        for name, (data, words) in damaged.items():
            path = self.copy("lora", f"damaged-{name}")
            path.write_bytes(data)
            self.refused(path, words)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            runs = refract_analysis.load(self.folder / "damaged-cut", self.folder / "lora", self.folder / "gone")
        self.assertEqual([run.name for run in runs], ["lora"])
        self.assertEqual(len(caught), 2)
        self.assertIn("there is no such folder", runs.problems[0])
        self.assertIn("cut short", runs.problems[1])

    def test_newer_schema__is_refused_and_says_what_to_use(self):
        path = self.copy("lora", "newer")
        with h5py.File(path, "r+") as file:
            file.attrs["schema_version"] = numpy.int64(2)
        self.refused(path, "has schema version 2", "up to version 1")
        with h5py.File(path, "r+") as file:
            file.attrs["schema"] = "refract/checkpoint"
        self.refused(path, "is not telemetry of a run", "refract/checkpoint")

    def test_older_file_without_later_columns__is_read(self):
        path = self.copy("lora", "older")
        with h5py.File(path, "r+") as file:
            del file["/steps/samples"], file["/light"], file["/data"]
        run = refract_analysis.load(path)[0]
        self.assertNotIn("samples", run.steps)
        self.assertEqual((len(run.steps), len(run.light_heads), len(run.data)), (STEPS, 0, 0))
        with h5py.File(path, "r+") as file:
            del file["/steps/step"]
        self.refused(path, "it has no dataset /steps/step")

    def test_run_that_failed_in_its_first_step__is_empty(self):
        model = files.make_model(self.folder / "broken")
        tensors = files.random_tensors(files.model_shapes(files.model_config()))
        for name, (shape, _) in tensors.items():
            if len(shape) == 1:  # norms whose numbers overflow
                tensors[name] = (shape, array.array("f", [3e38] * shape[0]))
        files.write_safetensors(model / "model.safetensors", tensors)
        folder = self.train("empty", code=5, model="broken")
        run = refract_analysis.load(folder)[0]
        self.assertEqual((run.done, len(run.ranks), run.state), (0, 0, "stopped"))
        self.assertEqual(len(run.modules), 14)


class Export(Case):
    def test_csv_read_back__is_bit_for_bit_the_frame(self):
        self.assertEqual(command.main(["export", str(self.folder / "lora"), "--csv", str(self.folder / "csv")]), 0)
        run = refract_analysis.load(self.folder / "lora")
        for table in ("steps", "evals", "ranks", "timing"):
            back = pandas.read_csv(self.folder / "csv" / f"{table}.csv", float_precision="round_trip")
            pandas.testing.assert_frame_equal(back, run.frame(table), check_exact=True)
        self.assertFalse((self.folder / "csv" / "beam_events.csv").exists())

    def test_nothing_to_read__is_code_3_and_nothing_to_write_to_code_6(self):
        self.assertEqual(command.main(["export", str(self.folder / "none"), "--csv", str(self.folder / "no")]), 3)
        self.assertFalse((self.folder / "no").exists())
        blocked = str(self.folder / "train.jsonl" / "csv")
        self.assertEqual(command.main(["export", str(self.folder / "lora"), "--csv", blocked]), 6)


if __name__ == "__main__":
    unittest.main()
