"""A sweep in words, as Markdown, and on one page."""
from __future__ import annotations

import math
import warnings

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import compare, curves, pareto, style
from .page import card, escape, page, picture, table, unique
from .reader import RunError
from .sweeps import Sweep

PERCENT = f"{compare.CONFIDENCE:.0%}"
NOTE = (f"Mean ± standard error over the runs of a setting. Differences are second minus first, of runs with the same seed; "
        f"low to high is the {PERCENT} interval of their mean (Student's t).")


def curves_of(sweep: Sweep) -> Figure | None:
    """Training loss by step of each setting: mean over its seeds, and their range; None without traces."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runs = {run.folder.name: run for run in sweep.runs()}
    except RunError:
        return None
    made, axes = style.figure(1, 1, 3.6)
    names = sweep.settings
    with matplotlib.rc_context(style.PARAMETERS):
        for index, name in enumerate(dict.fromkeys(names)):
            found = [runs[one] for one in sweep.frame.loc[names == name, "id"] if one in runs]
            lines = [pd.Series(curves.smooth(run.steps["loss"]).to_numpy(), index=run.steps["step"]) for run in found]
            if not lines:
                continue
            whole = pd.concat(lines, axis=1)
            axes[0, 0].fill_between(whole.index, whole.min(axis=1), whole.max(axis=1), linewidth=0, alpha=0.15,
                                    color=style.COLORS[index % len(style.COLORS)])
            axes[0, 0].plot(whole.index, whole.mean(axis=1), label=name, **style.line(index))
        style.label(axes[0, 0], "Training loss", curves.STEPS, pareto.NAMES["loss"])
        curves.scale(axes[0, 0])
        axes[0, 0].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return made


def build(sweep: Sweep, score: str) -> str:
    """The page's text."""
    frame, pairs = compare.settings(sweep), compare.paired(sweep, score)
    states = ", ".join(f"{count} {name}" for name, count in sweep.frame["state"].value_counts().items())
    body = "<h2 id=\"settings\">Settings</h2>" + card(table(_shown(frame), "settings") + f"<p class='soft note'>{escape(NOTE)}</p>")
    body += picture(pareto.figure(frame, score), "Score against trained parameters and time",
                    f"Bars: {PERCENT} interval of the mean over seeds. Dotted: settings that no other one beats at that cost.")
    drawn = curves_of(sweep)
    if drawn is not None:
        body += picture(drawn, "Training loss by step",
                        "Lines: mean over the seeds of the running median. Bands: from the least to the largest seed.")
    title = f"Differences in {pareto.NAMES[score]}"
    body += f"<h2 id=\"differences\">{escape(title)}</h2>" + card(table(pairs, "paired"))
    body += "<h2 id=\"runs\">Runs</h2>" + card(table(_runs(sweep), "runs"))
    return page("Refract sweep", f"{sweep.attributes.get('sweep', '')}: {states}", unique(body))


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that hold nothing, and the bounds of the scores that are not compared."""
    kept = [name for name in frame if not name.endswith((" low", " high")) and frame[name].notna().any()]
    return frame[kept]


def _runs(sweep: Sweep) -> pd.DataFrame:
    columns = ["index", "id", "state", *sweep.keys, "accuracy", "eval_loss", "loss", "trained_parameters",
               "step_seconds", "message"]
    frame = sweep.frame[columns]
    return frame[[name for name in columns if name in ("id", "state") or frame[name].replace("", np.nan).notna().any()]]


def _plus_minus(mean: float, error: float, digits: int, scale: float = 1.0) -> str:
    if math.isnan(mean):
        return "–"
    text = f"{scale * mean:.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {scale * error:.{digits}f}"


def settings_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The settings as people read them."""
    told = pd.DataFrame({"setting": frame["setting"],
                         "runs": [f"{row.runs} of {row.of}" if row.runs != row.of else f"{row.runs}"
                                  for row in frame[["runs", "of"]].itertuples()]})
    for score, title, digits, scale in (("accuracy", "right (%)", 1, 100.0), ("eval_loss", "held-out loss", 4, 1.0),
                                        ("loss", "training loss", 4, 1.0)):
        if frame[score].notna().any():
            told[title] = [_plus_minus(mean, error, digits, scale)
                           for mean, error in zip(frame[score], frame[f"{score} se"])]
    told["trained parameters"] = [f"{value:,.0f}" if value == value else "–" for value in frame["trained parameters"]]
    told["seconds"] = [_plus_minus(mean, error, 1) for mean, error in zip(frame["seconds"], frame["seconds se"])]
    return told


def paired_text(pairs: pd.DataFrame) -> pd.DataFrame:
    """The differences as people read them."""
    return pd.DataFrame({
        "second − first": pairs["second"] + " − " + pairs["first"],
        "difference": [f"{value:+.4f}" if value == value else "–" for value in pairs["difference"]],
        f"{PERCENT} interval": [f"{low:+.4f} to {high:+.4f}" if low == low else "–"
                                for low, high in zip(pairs["low"], pairs["high"])],
        "second better": [f"{better} of {seeds}" for better, seeds in zip(pairs["second better"], pairs["seeds"])],
        "verdict": pairs["verdict"]})


def markdown(frame: pd.DataFrame) -> str:
    """A Markdown table: the first column to the left, the rest to the right."""
    lines = ["| " + " | ".join(frame) + " |", "|---|" + "---:|" * (frame.shape[1] - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False)])


def text(sweep: Sweep, score: str) -> str:
    """Both tables as Markdown, with what they show."""
    frame, pairs = compare.settings(sweep), compare.paired(sweep, score)
    parts = [markdown(settings_text(frame))]
    if len(pairs):
        parts.append(f"{pareto.NAMES[score]}, {PERCENT} intervals over seeds:\n\n{markdown(paired_text(pairs))}")
    left = sweep.frame[sweep.frame["state"] != "done"]
    if len(left):
        counts = ", ".join(f"{count} {name}" for name, count in left["state"].value_counts().items())
        parts.append(f"{len(left)} of {len(sweep.frame)} runs are not done: {counts}.")
    return "\n\n".join(parts)
