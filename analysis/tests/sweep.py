"""sweep: rows, means, intervals and paired differences are those of the runs; the page shows them; the damaged is refused."""
import json
import math
import re
import shutil
import subprocess
import unittest

from case import Case, command, h5py, needs_browser, numpy, pandas, refract_analysis
from refract_analysis import compare, pareto, style, sweep_page
from support import REFRACT, clean_environment

SEEDS = 3


class SweepCase(Case):
    """The sweep `s` of two methods over three seeds, and one run that fails."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = cls.input("unused", train={"steps": 6})
        (cls.folder / "s.yaml").write_text(json.dumps({
            "base": base, "output": "s", "seeds": SEEDS,
            "list": [{"method": "lora"}, {"method": "dora"}, {"method": "lora", "data.train": "gone.jsonl"}]}))
        cls.refract("plan", "s.yaml")
        cls.refract("run", "s/manifest.jsonl", code=3)
        cls.refract("collect", "s/manifest.jsonl")
        cls.sweep = refract_analysis.load_sweep(cls.folder / "s")

    @classmethod
    def refract(cls, *arguments, code=0):
        done = subprocess.run([REFRACT, "sweep", *arguments], cwd=cls.folder, env=clean_environment(), text=True,
                              capture_output=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr


class Sweep(SweepCase):
    def losses(self, method):
        """Held-out losses by seed, from the runs' own telemetry."""
        mine = self.sweep.done[self.sweep.done["method"] == method]
        return {row["train.seed"]: refract_analysis.load(self.folder / "s" / row["folder"])[0].evals["loss"].iloc[-1]
                for _, row in mine.iterrows()}

    def test_frame__has_the_rows_of_the_file(self):
        self.assertEqual(len(self.sweep.frame), 3 * SEEDS)
        self.assertEqual(list(self.sweep.frame["state"]), ["done"] * 2 * SEEDS + ["failed"] * SEEDS)
        with h5py.File(self.folder / "s" / "sweep.h5", "r") as file:
            numpy.testing.assert_array_equal(self.sweep.frame["eval_loss"], file["runs/eval_loss"][:])
            self.assertEqual(list(self.sweep.frame["id"]), [one.decode() for one in file["runs/id"][:]])
        self.assertEqual(self.sweep.units["eval_loss"], "nats per label token")
        self.assertEqual(list(self.sweep.frame["train.seed"]), [1, 2, 3] * 3)
        self.assertTrue(self.sweep.frame["trained_parameters"].iloc[-1:].isna().all())
        self.assertEqual(len(self.sweep.runs()), 2 * SEEDS)

    def test_settings__are_means_and_errors_over_the_seeds(self):
        frame = compare.settings(self.sweep).set_index("setting")
        self.assertEqual([name.partition(" ")[0] for name in frame.index], ["lora", "dora", "lora"])
        for name in frame.index[:2]:
            values = numpy.array(list(self.losses(name.partition(" ")[0]).values()))
            row, error = frame.loc[name], values.std(ddof=1) / math.sqrt(SEEDS)
            self.assertAlmostEqual(row["eval_loss"], values.mean(), places=12)
            self.assertAlmostEqual(row["eval_loss se"], error, places=12)
            self.assertAlmostEqual(row["eval_loss high"] - row["eval_loss"], 4.302652729911275 * error, places=9)
        self.assertEqual((frame["runs"].iloc[2], frame["of"].iloc[2]), (0, SEEDS))
        self.assertGreater(frame["trained parameters"].iloc[1], frame["trained parameters"].iloc[0])  # magnitudes

    def test_paired__differences_are_of_runs_with_the_same_seed(self):
        pairs = compare.paired(self.sweep, "eval_loss")
        lora, dora = self.losses("lora"), self.losses("dora")
        wanted = numpy.array([dora[seed] - lora[seed] for seed in lora])
        row = pairs.iloc[0]
        self.assertAlmostEqual(row["difference"], wanted.mean(), places=12)
        self.assertAlmostEqual(row["se"], wanted.std(ddof=1) / math.sqrt(SEEDS), places=12)
        self.assertEqual((row["seeds"], row["second better"]), (SEEDS, (wanted < 0).sum()))
        self.assertEqual(pairs["seeds"].iloc[1], 0)
        self.assertEqual(pairs["verdict"].iloc[1], "too few seeds")

    def test_page_and_tables__have_these_numbers(self):
        page, csv = self.folder / "s.html", self.folder / "csv"
        self.assertEqual(command.main(["sweep", str(self.folder / "s"), "-o", str(page), "--csv", str(csv), "--png",
                                       str(self.folder / "p.png")]), 0)
        cells = set(re.findall(r'data-value="([^"]+)"', page.read_text()))
        frame = compare.settings(self.sweep)
        for value in [*frame["eval_loss"][:2], *compare.paired(self.sweep, "eval_loss")["difference"][:1],
                      *self.sweep.done["eval_loss"]]:
            self.assertIn(repr(float(value)), cells)
        self.assertNotIn("http://www.w3.org/1999/xhtml\" src", page.read_text())
        back = pandas.read_csv(csv / "runs.csv", float_precision="round_trip")
        self.assertEqual(list(back["eval_loss"].dropna()), list(self.sweep.done["eval_loss"]))
        self.assertTrue((self.folder / "p.png").read_bytes().startswith(b"\x89PNG"))
        self.assertIn("3 of 9 runs are not done: 3 failed", sweep_page.text(self.sweep, "eval_loss"))

    @needs_browser
    def test_browser__shows_it_without_a_word_on_its_console(self):
        page = self.folder / "seen.html"
        page.write_text(sweep_page.build(self.sweep, "eval_loss"))
        self.assert_browser_shows(page)

    def test_vanished_traces__leave_the_tables(self):
        moved = self.folder / "moved"
        moved.mkdir(exist_ok=True)
        shutil.copy(self.folder / "s" / "sweep.h5", moved / "sweep.h5")
        sweep = refract_analysis.load_sweep(moved)
        self.assertIsNone(sweep_page.curves_of(sweep))
        self.assertIn("Differences in held-out loss", sweep_page.build(sweep, "eval_loss"))

    def refused(self, path, *words):
        with self.assertRaises(refract_analysis.RunError) as caught:
            refract_analysis.load_sweep(path)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_damaged_newer_foreign_and_missing__are_refused_in_words(self):
        whole = (self.folder / "s" / "sweep.h5").read_bytes()
        bad = self.folder / "bad.h5"
        self.refused(self.folder / "none.h5", "there is no", "refract sweep collect")
        bad.write_bytes(whole[:len(whole) // 2])
        self.refused(bad, "is damaged or cut short")
        bad.write_bytes(whole)
        with h5py.File(bad, "r+") as file:
            file.attrs["schema_version"] = numpy.int64(2)
        self.refused(bad, "has schema version 2", "up to version 1")
        self.refused(self.folder / "lora" / "run.h5", "is not a sweep", "refract/telemetry")
        self.assertEqual(command.main(["sweep", str(self.folder / "none")]), 3)
        with self.assertRaisesRegex(refract_analysis.RunError, "has a score 'seconds"):
            compare.choose(self.sweep, "seconds of")


class Statistics(unittest.TestCase):
    def test_student__is_that_of_the_tables(self):
        for freedom, wanted in ((1, 12.706204736432095), (2, 4.302652729911275), (4, 2.7764451051977987),
                                (9, 2.2621571627409915), (100, 1.9839715184496334)):
            self.assertAlmostEqual(compare.student(freedom), wanted, places=8)
        self.assertEqual(compare.student(0), math.inf)
        self.assertAlmostEqual(compare.student(4, 0.99), 4.604094871415897, places=8)

    def test_spread__of_one_value_or_none_is_not_known(self):
        self.assertEqual(compare.spread(numpy.array([3.0]))[0], 3)
        self.assertTrue(all(map(math.isnan, compare.spread(numpy.array([3.0]))[1:])))
        self.assertTrue(math.isnan(compare.spread(numpy.array([]))[0]))
        self.assertEqual(compare.spread(numpy.array([2.0, 2.0])), (2, 0, 2, 2))

    def test_front__holds_what_nothing_beats(self):
        cost, value = numpy.array([1.0, 2, 2, 3, math.nan]), numpy.array([5.0, 4, 3, 4, 0])
        self.assertEqual(list(compare.front(cost, value, False)), [True, False, True, False, False])
        self.assertEqual(list(compare.front(cost, value, True)), [True, False, False, False, False])

    def test_paired__of_many_settings_compares_each_with_the_first(self):
        frame = pandas.DataFrame({"state": "done", "lora.r": range(40), "train.seed": 1, "loss": numpy.arange(40.0)})
        many = refract_analysis.Sweep(None, {}, frame, ["lora.r", "train.seed"], {})
        pairs = compare.paired(many, "loss")
        self.assertEqual(set(pairs["first"]), {"r=0"})
        self.assertEqual(list(pairs["difference"]), list(range(1, 40)))

    def test_pareto__without_intervals_is_drawn(self):
        frame = pandas.DataFrame({"setting": ["a", "b"], "loss": [1.0, math.nan], "loss low": math.nan,
                                  "loss high": math.nan, "trained parameters": [10.0, 20], "seconds": [1.0, 2]})
        self.assertIn("<svg", style.svg(pareto.figure(frame, "loss")))


if __name__ == "__main__":
    unittest.main()
