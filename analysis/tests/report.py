"""report: the page's numbers and curves are those of run.h5; it stands alone, and a browser shows it without a word."""
import html.parser
import os
import re
import unittest

from case import Case, append, command, h5py, needs_browser, numpy, refract_analysis
from refract_analysis import curves, methods, phases, ranks, spectra, style, tables

VOID = {"meta", "link", "br", "img", "hr"}


class Page(html.parser.HTMLParser):
    """What a page holds: ids, links, cells of its tables, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.cells, self.words = [], [], [], {}, []
        self.table = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in found.items() if name in ("src", "href", "xlink:href")]
        if tag == "table":
            self.table = self.cells.setdefault(found["id"], [])
        if tag == "td" and "data-value" in found:
            self.table.append(found["data-value"])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


class Report(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.train("other", train={"learning_rate": 0.003})
        cls.page = cls.make("page.html", "lora", "other")

    @classmethod
    def make(cls, name, *runs, code=0):
        """The report's text."""
        arguments = [str(cls.folder / run) for run in runs]
        assert command.main(["report", *arguments, "-o", str(cls.folder / name)]) == code
        return (cls.folder / name).read_text(encoding="utf-8")

    def raw(self, path, run="lora"):
        with h5py.File(self.folder / run / "run.h5", "r") as file:
            return file[path][()]

    def test_numbers_of_the_tables__are_those_of_the_file(self):
        cells = Page(self.page).cells
        evals, seconds, tokens = self.raw("/evals/loss"), self.raw("/steps/seconds"), self.raw("/steps/tokens")
        wanted = [len(seconds), 24, self.raw("/steps/loss")[-1], evals[-1], evals.min(),
                  self.raw("/evals/correct")[-1] / self.raw("/evals/total")[-1], tokens.sum(),
                  tokens.sum() / seconds.sum(), seconds.sum() / 60]
        self.assertEqual([float(cell) for cell in cells["summary"]][:9], [float(value) for value in wanted])
        account = [self.raw(f"/data/{name}")[0] for name in
                   ("rows", "used", "truncated", "tokens_lost", "skipped_empty", "skipped_limit")]
        self.assertEqual([int(cell) for cell in cells["data-account"]][:6], account)

    def test_curves__are_the_rows_of_the_file(self):
        runs = refract_analysis.load(self.folder / "lora", self.folder / "other").runs
        axes = curves.training(runs).axes
        held_out, rate = axes[1].lines[0], axes[2].lines[1]
        self.assertEqual(list(held_out.get_ydata()), list(self.raw("/evals/loss")))
        self.assertEqual(list(held_out.get_xdata()), list(self.raw("/evals/step")))
        self.assertEqual(list(rate.get_ydata()), list(self.raw("/steps/learning_rate", "other")))
        self.assertEqual(list(axes[0].lines[0].get_ydata()), list(self.raw("/steps/loss")))
        rates = curves.throughput(runs).axes[0].lines[0].get_ydata()
        self.assertEqual(list(rates), list(self.raw("/steps/tokens") / self.raw("/steps/seconds")))

    def test_phases__add_up_to_the_step(self):
        run = refract_analysis.load(self.folder / "lora")[0]
        whole, seconds = phases.parts(run), self.raw("/steps/seconds")
        numpy.testing.assert_allclose(whole.sum(axis=1), seconds, rtol=0.02)
        self.assertNotIn("tensor", whole)
        self.assertEqual(list(whole["update"]), list(run.timing.query("phase == 'update'")["seconds"]))

    def test_heat_maps__are_first_last_and_change(self):
        run, values = refract_analysis.load(self.folder / "lora")[0], self.raw("/ranks/importance")
        rows = ranks.order(run)
        self.assertEqual(list(run.modules["kind"].iloc[rows][:4]), ["q_proj", "q_proj", "k_proj", "k_proj"])
        maps = [numpy.ma.filled(one.images[0].get_array(), numpy.nan) for one in ranks.first_last(run).axes[:3]]
        for drawn, wanted in zip(maps, (values[0], values[-1], values[-1] - values[0])):
            numpy.testing.assert_array_equal(drawn, wanted[rows])

    def test_participation_ratio__counts_equal_ranks(self):
        values = numpy.array([[1.0, 1, 1, numpy.nan], [2, 0, 0, 0], [0, 0, 0, 0]])
        numpy.testing.assert_array_equal(ranks.effective(values), [3, 1, numpy.nan])

    def test_maps_in_grey__grow_lighter_with_the_value(self):
        for colors in (style.VALUE, style.CHANGE):
            red, green, blue, _ = colors(numpy.linspace(0, 1, 64)).T
            light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
            self.assertGreater(numpy.diff(light).min(), 0)

    def test_axes__have_names_and_units(self):
        run = refract_analysis.load(self.folder / "lora")[0]
        for axes in (*curves.training([run]).axes, *curves.throughput([run]).axes):
            for text in (axes.get_xlabel(), axes.get_ylabel()):
                self.assertRegex(text, r"\(.+\)|per second")

    def test_page__stands_alone_with_unique_ids_and_closed_tags(self):
        page = Page(self.page)
        self.assertEqual(page.open, [])
        self.assertEqual(len(page.ids), len(set(page.ids)))
        outside = [link for link in page.links if not link.startswith(("#", "data:"))]
        self.assertEqual(outside, [])
        self.assertEqual(re.findall(r"url\((?!#)", self.page), [])
        known = {f"#{name}" for name in page.ids}
        self.assertLessEqual({link for link in page.links if link.startswith("#")}, known)
        self.assertIn("train.learning_rate", page.words)

    def test_config__with_markup__is_shown_not_obeyed(self):
        path = self.copy("lora", "markup")
        with h5py.File(path, "r+") as file:
            file.attrs["command_line"] = "refract <script>alert(1)</script>"
        text = self.make("markup.html", "markup")
        self.assertNotIn("<script", text)
        self.assertIn("&lt;script&gt;", text)

    def test_beam_reflora_and_light__are_drawn_where_there_is_something(self):
        self.assertNotIn("BeamLoRA", self.page)
        path = self.copy("lora", "methods")
        draw, modules = numpy.random.default_rng(3), 14
        with h5py.File(path, "r+") as file:
            for name, rows in (("step", [6, 12]), ("keep", [0.95, 0.97]), ("pruned", [3, 1])):
                append(file, f"/beam/events/{name}", rows)
            append(file, "/beam/pruned", draw.integers(0, 2, (2, modules)))
            for name, rows in (("step", [6, 6, 6, 12]), ("module", [0, 1, 13, 0]), ("pruned", [1, 2, 5, 3]),
                               ("promising", [0, 0, 1, 0]), ("score_pruned", [0.1, 0.2, 0.01, 0.05]),
                               ("score_promising", [0.5, 0.4, 0.3, 0.6])):
                append(file, f"/beam/pairs/{name}", rows)
            append(file, "/reflora/step", range(1, 25))
            for name in ("condition", "norm_a", "norm_b"):
                append(file, f"/reflora/{name}", 1 + draw.random((24, modules)))
            append(file, "/reflora/fallback", draw.integers(0, 2, (24, modules)))
            append(file, "/light/step", [8])
            for part in ("head", "neuron", "module", "rank"):
                for column in ("score", "kept", "threshold"):
                    shape = (1, *file[f"/light/{part}_{column}"].shape[1:])
                    append(file, f"/light/{part}_{column}", draw.integers(0, 2, shape))
        text = self.make("methods.html", "methods")
        for words in ("BeamLoRA events", "4 pairs in 2 events", "RefLoRA conditions", "Structure that Light-PEFT"):
            self.assertIn(words, text)
        run = refract_analysis.load(path)[0]
        self.assertEqual(list(run.beam_pairs["score_promising"]), [0.5, 0.4, 0.3, 0.6])
        self.assertEqual(len(run.reflora), 24 * modules)
        self.assertEqual(len(run.light_heads), 2 * 4)
        scattered = methods.beam(run).axes[2].collections[0].get_offsets()
        self.assertEqual(list(scattered[:, 0]), [0.1, 0.2, 0.01, 0.05])
        self.assertEqual(list(methods.beam(run).axes[0].lines[0].get_ydata()), [0.95, 0.97])

    def test_running_killed_and_refused_runs__share_a_page(self):
        process = self.endless("live")
        self.killed("dead")
        self.copy("lora", "cut").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        text = self.make("mixed.html", "live", "dead", "cut", "lora")
        process.kill()
        for words in ("Left out of this report", "cut short", ">running<", ">killed<", ">finished<"):
            self.assertIn(words, text)

    def test_run_without_a_step__says_so(self):
        path = self.copy("lora", "none")
        with h5py.File(path, "r+") as file:
            for group in ("steps", "evals", "ranks"):
                for name in file[group]:
                    file[group][name].resize(0, axis=0)
            file["/timing/seconds"].resize(0, axis=0)
        self.assertIn("No run has done a step so far", self.make("none.html", "none"))
        self.assertIn("other", self.make("none.html", "none", "other"))

    def test_page_that_cannot_be_written__is_code_6_and_leaves_nothing(self):
        self.assertEqual(command.main(["report", str(self.folder / "lora"), "-o", str(self.folder / "no" / "a.html")]),
                         6)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith(".")], [])

    def test_same_run__gives_the_same_figures(self):
        drawn = [style.svg(curves.training([refract_analysis.load(self.folder / "lora")[0]])) for _ in range(2)]
        self.assertEqual(*drawn)
        self.assertTrue(style.png(curves.training(refract_analysis.load(self.folder / "lora").runs))
                        .startswith("data:image/png;base64,"))

    @staticmethod
    def write_spectrum(path, **changes):
        """A spectrum of three modules of unequal size."""
        rng = numpy.random.default_rng(5)
        with h5py.File(path, "w") as file:
            file.attrs.update({"schema": "refract/spectrum", "schema_version": 1, **changes})
            file["modules/name"] = [b"layers.0.q_proj", b"layers.1.q_proj", b"layers.0.up_proj"]
            file["modules/kind"], file["modules/layer"] = [b"q_proj", b"q_proj", b"up_proj"], [0, 1, 0]
            for part in ("base", "tuned", "update"):
                values = -numpy.sort(-rng.random((3, 16)), axis=1)
                values[0, 12:] = numpy.nan
                if part == "update":
                    values[:, 4:] = 0
                file[f"{part}/singular_values"], file[f"{part}/effective_rank"] = values, 10 * rng.random(3)
            file["tuned/cosine"] = rng.random((3, 10))
        return path

    def test_spectrum__is_drawn_where_there_is_one(self):
        folder = self.copy("lora", "spectral").parent
        self.assertNotIn("Spectrum of the weights", self.make("none.html", "spectral"))
        path = self.write_spectrum(folder / "spectrum.h5")
        self.assertIn("Spectrum of the weights of spectral before and after", self.make("spectral.html", "spectral"))
        found = spectra.load(folder)
        line = spectra.figure(found).axes[0].lines[0]
        numpy.testing.assert_allclose(line.get_ydata(), numpy.nanmedian(found.values["base"], axis=0))
        whole = path.read_bytes()
        path.write_bytes(whole[:len(whole) // 2])
        text = self.make("torn.html", "spectral")
        self.assertIn("is damaged or cut short", text)
        self.assertIn("Time by phase of spectral", text)
        self.write_spectrum(path, schema_version=2)
        self.assertIn("has schema version 2", self.make("newer.html", "spectral"))

    @needs_browser
    def test_browser__shows_it_without_a_word_on_its_console(self):
        self.assert_browser_shows(self.folder / "page.html")


class Tables(Case):
    def test_differing_keys__are_told_apart_from_shared_ones(self):
        self.train("other", lora={"r": 2})
        runs = refract_analysis.load(self.folder / "lora", self.folder / "other").runs
        differ, same = tables.configuration(runs)
        self.assertEqual(sorted(differ.index), ["lora.r", "lora.rank_pattern", "output", "train.eval_every"])
        self.assertEqual(list(differ.loc["lora.r"]), ["4", "2"])
        self.assertEqual(same.loc["train.gradients", "lora"], "null")


if __name__ == "__main__":
    unittest.main()
