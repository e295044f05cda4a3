"""The score of a sweep's settings against what they cost."""
from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from . import compare, style

MOST_NAMED = 24  # settings in the legend
NAMES = {"accuracy": "held-out samples right (share)", "eval_loss": "held-out loss (nats per label token)",
         "loss": "training loss (nats per label token)"}


def _front(axes: Axes, frame: pd.DataFrame, cost: str, score: str) -> None:
    """Steps through the settings that no other one beats."""
    higher = score in compare.HIGHER_IS_BETTER
    best = frame[compare.front(frame[cost].to_numpy(float), frame[score].to_numpy(float), higher)].sort_values(cost)
    if len(best) > 1:
        axes.step(best[cost], best[score], where="post", color=style.SOFT, linewidth=1.0, linestyle=":", zorder=1,
                  label="no other is cheaper and better")


def _points(axes: Axes, frame: pd.DataFrame, cost: str, score: str) -> None:
    for index in range(len(frame)):
        x, y = frame[cost].iloc[index], frame[score].iloc[index]
        low, high = frame[f"{score} low"].iloc[index], frame[f"{score} high"].iloc[index]
        error = None if not np.isfinite(low) else [[y - low], [high - y]]
        axes.errorbar([x], [y], yerr=error, fmt=style.marker(index), color=style.COLORS[index % len(style.COLORS)],
                      markersize=7, markeredgecolor="white", markeredgewidth=0.8, elinewidth=1.2, capsize=3,
                      label=frame["setting"].iloc[index])


def _scale(axes: Axes, values: pd.Series, of_x: bool) -> None:
    """A logarithmic axis where the values span more than a factor of ten."""
    values = values[np.isfinite(values) & (values > 0)]
    if len(values) and values.max() > 10 * values.min():
        (axes.set_xscale if of_x else axes.set_yscale)("log")
        (axes.xaxis if of_x else axes.yaxis).set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def figure(frame: pd.DataFrame, score: str) -> Figure:
    """Two panels: the score against the trained parameters, and against the time of a run's steps.

    frame: `compare.settings`. Bars: the 95 % interval of the mean over seeds.
    """
    made, axes = style.figure(1, 2, 3.6, sharey=True)
    shown = frame[np.isfinite(frame[score])]
    with matplotlib.rc_context(style.PARAMETERS):
        for one, cost, title, unit in ((axes[0, 0], "trained parameters", "Score against size", "trained parameters (1)"),
                                       (axes[0, 1], "seconds", "Score against time", "time of all steps (s)")):
            _front(one, shown, cost, score)
            _points(one, shown, cost, score)
            _scale(one, shown[cost], True)
            one.margins(0.12)
            style.label(one, title, unit, NAMES[score] if cost != "seconds" else "")
        _scale(axes[0, 0], shown[score], False)
        if len(shown) <= MOST_NAMED:
            axes[0, 1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    return made
