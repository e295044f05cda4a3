"""Where the time of a step goes: stacked over the steps, and as means."""
from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .runs import Run

WHOLE, WITHIN = "gradients", ("tensor",)  # forward and backward; counted again within its parts
AFTER = {"reduce": "#e69f00", "update": "#009e73"}
REST = "rest"
BINS = 80


def parts(run: Run) -> pd.DataFrame:
    """Seconds of each step by part, that add up to the step: the parts of forward and backward, what else there is
    of them, reductions, update, and the rest of the step. Index: step; a column per part.
    """
    names, seconds = run.phases, run.array("timing", "seconds")
    steps = run.steps
    if seconds.ndim != 2 or not len(steps) or len(names) != seconds.shape[1]:
        return pd.DataFrame()
    measured = pd.DataFrame(seconds, columns=names, index=steps["step"])
    inner = [name for name in names if name not in (WHOLE, *WITHIN, *AFTER)]
    outer = [name for name in names if name in AFTER]
    found = measured[inner].copy()
    if WHOLE in names:
        found["other gradients"] = (measured[WHOLE] - measured[inner].sum(axis=1)).clip(lower=0)
    found[outer] = measured[outer]
    found[REST] = (steps.set_index("step")["seconds"] - found.sum(axis=1)).clip(lower=0)
    return found


def _colors(columns: pd.Index) -> dict[str, object]:
    """Blues from dark to light for forward and backward, a colour of its own for what follows."""
    inner = [name for name in columns if name not in AFTER and name != REST]
    shades = {name: style.tint("#004c80", 1 - 0.72 * i / max(1, len(inner) - 1)) for i, name in enumerate(inner)}
    return {**shades, **AFTER, REST: "#b9c1ca"}


def _binned(frame: pd.DataFrame) -> pd.DataFrame:
    """At most BINS rows: means over neighbouring steps."""
    group = np.arange(len(frame)) * min(BINS, len(frame)) // len(frame)
    means = frame.groupby(group).mean()
    means.index = pd.Index(pd.Series(frame.index).groupby(group).mean().to_numpy(), name="step")
    return means


def _bars(axes: Axes, frame: pd.DataFrame, colors: dict[str, object]) -> None:
    means = 1000 * frame.mean()
    whole = means.sum()
    axes.barh(range(len(means)), means, color=[colors[name] for name in means.index], height=0.78)
    for at, value in enumerate(means):
        axes.annotate(f"{value:.3g} ms  {value / whole:.1%}", (value, at), xytext=(4, 0), va="center", fontsize=7.5,
                      textcoords="offset points", color=style.INK)
    axes.set_yticks(range(len(means)))
    axes.set_yticklabels(list(means.index))
    axes.set_xlim(0, 1.38 * max(means.max(), 1e-9))
    axes.grid(axis="y", visible=False)


def breakdown(run: Run) -> Figure:
    """Stacked time by phase over the steps; beside it, as its legend, the means."""
    frame = parts(run)
    made, axes = style.figure(1, 2, 3.6, gridspec_kw={"width_ratios": [1.25, 1]})
    with matplotlib.rc_context(style.PARAMETERS):
        stack, bars = axes[0]
        if frame.empty:
            for one in (stack, bars):
                style.empty(one, "no step so far")
            return made
        colors, binned = _colors(frame.columns), 1000 * _binned(frame)
        stack.stackplot(binned.index, binned.to_numpy().T, colors=[colors[name] for name in frame.columns],
                        edgecolor="white", linewidth=0.4)
        stack.margins(x=0)
        # a few slow steps (first ones, a busy node) would flatten all others
        top = np.quantile(binned.sum(axis=1), 0.98)
        stack.set_ylim(0, 1.15 * top)
        _bars(bars, frame, colors)
        style.label(stack, "Time of a step by phase, mean over ranks", "step (updates done)", "time (ms per step)")
        style.label(bars, "Mean of all steps", "time (ms per step)", "")
    return made
