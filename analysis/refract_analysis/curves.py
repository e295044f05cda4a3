"""Curves over the steps: loss, held-out loss, learning rate, gradient norm, throughput."""
from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from . import style
from .runs import Run

STEPS = "step (updates done)"
MOST_POINTS = 4000  # more than a page can show; thinned evenly, first and last kept


def smooth(values: pd.Series) -> pd.Series:
    """The running median over a fiftieth of the run."""
    window = max(1, len(values) // 50)
    return values.rolling(2 * window + 1, center=True, min_periods=1).median()


def _thin(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= MOST_POINTS:
        return frame
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, MOST_POINTS).astype(int))]


def _draw(axes: Axes, run: Run, index: int, column: str, smoothed: bool) -> None:
    steps = run.steps
    if smoothed and len(steps) > 20:
        raw = _thin(steps)
        axes.plot(raw["step"], raw[column], color=style.COLORS[index % len(style.COLORS)], alpha=0.22, linewidth=0.8)
        steps = steps.assign(**{column: smooth(steps[column])})
    steps = _thin(steps)
    axes.plot(steps["step"], steps[column], label=run.name, **style.line(index))


def _held_out(axes: Axes, run: Run, index: int) -> None:
    evals = run.evals
    if len(evals):
        axes.plot(evals["step"], evals["loss"], marker=style.marker(index), markeredgecolor="white",
                  markeredgewidth=0.6, label=run.name, **style.line(index))


def scale(axes: Axes) -> None:
    """A logarithmic axis where the values span more than a factor of ten."""
    values = np.concatenate([np.asarray(one.get_ydata(), float) for one in axes.lines] or [np.empty(0)])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def training(runs: Sequence[Run]) -> Figure:
    """Four panels: training loss, held-out loss, learning rate, gradient norm."""
    made, axes = style.figure(2, 2, 5.6)
    with matplotlib.rc_context(style.PARAMETERS):
        for index, run in enumerate(runs):
            _draw(axes[0, 0], run, index, "loss", True)
            _held_out(axes[0, 1], run, index)
            _draw(axes[1, 0], run, index, "learning_rate", False)
            _draw(axes[1, 1], run, index, "grad_norm", True)
        style.label(axes[0, 0], "Training loss", STEPS, "loss (nats per label token)")
        style.label(axes[0, 1], "Held-out loss", STEPS, "loss (nats per label token)")
        style.label(axes[1, 0], "Learning rate", STEPS, "learning rate (1)")
        style.label(axes[1, 1], "Gradient norm before clipping", STEPS, "2-norm (1)")
        for one in axes[0]:
            scale(one)
        axes[1, 0].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        if not any(len(run.evals) for run in runs):
            style.empty(axes[0, 1], "no evaluation so far")
        if sum(run.done > 0 for run in runs) > 1:
            axes[0, 0].legend()
    return made


def _time_unit(seconds: float) -> tuple[float, str]:
    """What to divide seconds by, and the unit's name."""
    return (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")


def throughput(runs: Sequence[Run]) -> Figure:
    """Tokens per second of each step, and the loss against the time spent."""
    made, axes = style.figure(1, 2, 2.9)
    divisor, unit = _time_unit(max(float(run.array("steps", "seconds").sum()) for run in runs))
    with matplotlib.rc_context(style.PARAMETERS):
        for index, run in enumerate(runs):
            steps = run.steps
            rate = steps["tokens"] / steps["seconds"].where(steps["seconds"] > 0)
            frame = _thin(pd.DataFrame({"step": steps["step"], "rate": rate, "smooth": smooth(rate),
                                        "time": steps["seconds"].cumsum() / divisor,
                                        "loss": smooth(steps["loss"])}))
            axes[0, 0].plot(frame["step"], frame["rate"], color=style.COLORS[index % 8], alpha=0.22, linewidth=0.8)
            axes[0, 0].plot(frame["step"], frame["smooth"], label=run.name, **style.line(index))
            axes[0, 1].plot(frame["time"], frame["loss"], label=run.name, **style.line(index))
        axes[0, 0].set_ylim(bottom=0)
        scale(axes[0, 1])
        style.label(axes[0, 0], "Throughput", STEPS, "tokens per second")
        style.label(axes[0, 1], "Loss against time spent in steps", f"time ({unit})", "loss (nats per label token)")
        if sum(run.done > 0 for run in runs) > 1:
            axes[0, 1].legend()
    return made
