"""The report: one page on one or many runs."""
from __future__ import annotations

import datetime
import os

from . import curves, methods, phases, ranks, spectra, state, tables
from .page import card, escape, fold, page, picture, save, table, unique
from .reader import RunError
from .runs import Run, Runs

MOST_OPEN = 3  # with more runs the parts on single ones are folded


def _problems(runs: Runs) -> str:
    if not runs.problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in runs.problems)
    return card(f"<strong>Left out of this report</strong><ul>{items}</ul>", "warning")


def _overview(runs: Runs) -> str:
    summary = tables.summary(runs.runs)
    told = "; ".join(f"{name}: {state.MEANING[name]}" for name in dict.fromkeys(summary["state"]))
    body = card(table(summary, "summary") + f"<p class='soft note'>{escape(told)}. Best: lowest held-out "
                f"loss. Right: samples all of whose label tokens are the most likely ones. Layout: MPI ranks × threads.</p>")
    if summary["steps"].max() == 0:
        return body + card("<p>No run has done a step so far; there is nothing to draw.</p>")
    body += picture(curves.training(runs.runs), "Losses, learning rate and gradient norm by step",
                    "Thin lines: every step. Thick lines: running median over a fiftieth of the run.")
    return body + picture(curves.throughput(runs.runs), "Throughput by step; loss against time")


def _ranks(run: Run) -> str:
    if not len(run.array("ranks", "step")) or not len(run.modules):
        return ""
    return (picture(ranks.first_last(run), f"Rank importance of {run.name}, first and last",
                    "A row per module, alike modules together; no colour where a rank does not exist. In the change, "
                    "lighter than the middle grey is gain, darker is loss.")
            + picture(ranks.over_time(run), f"Rank importance of {run.name} over time",
                      "Left: mean over a module's ranks. Right: (Σx)² / Σx², the number of equal ranks that would be "
                      "as spread out."))


def _methods(run: Run) -> str:
    body = ""
    if len(run.beam_events):
        body += picture(methods.beam(run), f"BeamLoRA events of {run.name}",
                        f"{len(run.beam_pairs)} pairs in {len(run.beam_events)} events; each pair gives a pruned rank "
                        "the place of a promising one.")
        if len(run.modules) and run.array("beam_pruned", "pruned").ndim == 2:
            body += picture(methods.beam_modules(run), f"Ranks pruned in each module of {run.name}")
    if len(run.array("reflora", "step")):
        body += picture(methods.reflora(run), f"RefLoRA conditions and balance of {run.name}",
                        "Over the adapted modules: median and the range of nine in ten.")
    if len(run.array("light_heads", "step")):
        body += picture(methods.light(run), f"Structure that Light-PEFT kept in {run.name}", "Coloured: kept.")
    return body + _spectrum(run)


def _spectrum(run: Run) -> str:
    """What refract spectrum found, or why it cannot be shown."""
    try:
        found = spectra.load(run.folder)
    except RunError as error:
        return card(escape(error), "warning")
    if found is None or not len(found.modules):
        return ""
    return picture(spectra.figure(found), f"Spectrum of the weights of {run.name} before and after",
                   "Left: median over the adapted modules and the range of nine in ten. Right: of each leading left singular "
                   "vector after training, the largest cosine to any from before; dark is a new direction.")


def _run(run: Run, is_open: bool) -> str:
    body = picture(phases.breakdown(run), f"Time by phase of {run.name}",
                   "Blue: forward and backward by part. Slow single steps may reach beyond the upper border.") \
        if run.done else ""
    body += _ranks(run) + _methods(run)
    return fold(f"{run.name}: time by phase, ranks, method", body, is_open) if body else ""


def _settings(runs: Runs) -> str:
    differ, same = tables.configuration(runs.runs)
    body = "<h2 id=\"data\">Data</h2>" + card(table(tables.data_account(runs.runs), "data-account"))
    body += "<h2 id=\"configuration\">Configuration and provenance</h2>"
    body += card(table(tables.provenance(runs.runs), "provenance", index=True))
    if len(runs) > 1:
        inner = table(differ, "differences", index=True) if len(differ) else "<p>None: the runs have equal keys.</p>"
        body += card("<h3>Keys in which the runs differ</h3>" + inner)
    first = same.iloc[:, :1].rename(columns=lambda _: "value")
    title = "Every key of the run" if len(runs) == 1 else "Keys that all runs share"
    return body + card(fold(f"{title} ({len(first)})", table(first, "config", index=True)))


def build(runs: Runs, title: str = "Refract report") -> str:
    """The page's text."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    parts = "".join(_run(run, len(runs) <= MOST_OPEN) for run in runs)
    single = f"<h2 id=\"runs\">Inside the run{'s' if len(runs) > 1 else ''}</h2>{parts}" if parts else ""
    body = _problems(runs) + "<h2 id=\"overview\">Overview</h2>" + _overview(runs) + single + _settings(runs)
    return page(title, f"{count}, as of {now}", unique(body))


def write(runs: Runs, path: str | os.PathLike[str], title: str = "Refract report") -> None:
    """Writes the page whole or not at all."""
    save(build(runs, title), path)
