"""Heat maps of what each rank of each module is worth, and how that changed."""
from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, Colormap, Normalize
from matplotlib.figure import Figure

from . import style
from .runs import Run

ROW_INCHES, MOST_TICKS = 0.17, 48


def order(run: Run) -> np.ndarray:
    """Rows of /modules sorted by kind (as they first appear), then layer: alike modules stand together."""
    modules = run.modules
    kinds = {kind: at for at, kind in enumerate(dict.fromkeys(modules["kind"]))}
    return np.lexsort((modules["layer"], modules["kind"].map(kinds)))


def name_rows(axes: Axes, modules: pd.DataFrame) -> None:
    """Kind and layer of each row; lines between the kinds; with many rows only some are named."""
    every = -(-len(modules) // MOST_TICKS)
    ticks = np.arange(0, len(modules), every)
    axes.set_yticks(ticks)
    axes.set_yticklabels([f"{modules['kind'].iloc[i]} {modules['layer'].iloc[i]}" for i in ticks], fontsize=7)
    kinds = modules["kind"].to_numpy()
    for at in np.flatnonzero(kinds[1:] != kinds[:-1]):
        axes.axhline(at + 0.5, color="white", linewidth=1.6)
    axes.grid(visible=False)


def _map(axes: Axes, values: np.ndarray, colors: Colormap, norm: Normalize, extent: tuple[float, ...] | None = None):
    return axes.imshow(values, aspect="auto", interpolation="nearest", cmap=colors, norm=norm, extent=extent,
                       origin="upper")


def map_height(run: Run) -> float:
    return float(np.clip(1.3 + ROW_INCHES * len(run.modules), 2.4, 11))


def _edges(steps: np.ndarray) -> np.ndarray:
    """Borders half-way between the steps of the rows."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    inner = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - inner[0]], inner, [2 * steps[-1] - inner[-1]]])


def measure(run: Run) -> str:
    """What importance is in this run."""
    return "gate σ (1)" if "beamlora" in str(run.config.get("method", "")) else "|bᵢ| |aᵢ| s (1)"


def over_time(run: Run) -> Figure:
    """Mean importance of each module's ranks, and the share of it that the top quarter of them holds, by step."""
    made, axes = style.figure(1, 2, map_height(run), sharey=True)
    rows = order(run)
    modules, steps = run.modules.iloc[rows], run.array("ranks", "step")
    values = run.array("ranks", "importance")[:, rows]
    exist = np.isfinite(values)
    mean = np.where(exist.any(axis=2), np.where(exist, values, 0).sum(axis=2) / np.maximum(exist.sum(axis=2), 1), np.nan)
    with matplotlib.rc_context(style.PARAMETERS):
        for one, shown, title, unit in (
                (axes[0, 0], mean, "Mean importance of a module's ranks", measure(run)),
                (axes[0, 1], effective(values), "Ranks that carry it (participation ratio)", "ranks")):
            drawn = one.pcolormesh(_edges(steps), np.arange(len(rows) + 1) - 0.5, shown.T, cmap=style.VALUE,
                                   rasterized=True)
            made.colorbar(drawn, ax=one, label=unit, pad=0.02, fraction=0.05).outline.set_visible(False)
            style.label(one, title, "step (updates done)", "")
            one.set_ylim(len(rows) - 0.5, -0.5)
        name_rows(axes[0, 0], modules)
        axes[0, 1].grid(visible=False)
        for at in np.flatnonzero(np.diff(pd.factorize(modules["kind"])[0])):
            axes[0, 1].axhline(at + 0.5, color="white", linewidth=1.6)
    return made


def effective(values: np.ndarray) -> np.ndarray:
    """(sum x)^2 / sum x^2 over the last axis: how many equal ranks would be as spread out; NaN where all are 0."""
    known = np.where(np.isfinite(values), values, 0)
    squares = (known ** 2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, known.sum(axis=-1) ** 2 / squares, np.nan)


def first_last(run: Run) -> Figure:
    """Importance of each rank of each module at the first and last row of /ranks, and the change between them."""
    made, axes = style.figure(1, 3, map_height(run), sharey=True)
    rows = order(run)
    steps, values = run.array("ranks", "step"), run.array("ranks", "importance")
    first, last = values[0][rows], values[-1][rows]
    both = np.concatenate([first, last])
    shared = Normalize(0, max(float(np.nanmax(both)), 1e-12))
    with matplotlib.rc_context(style.PARAMETERS):
        shown = ((first, f"Step {steps[0]}", style.VALUE, shared), (last, f"Step {steps[-1]}", style.VALUE, shared),
                 (last - first, "Change", style.CHANGE, CenteredNorm()))
        for at, (matrix, title, colors, norm) in enumerate(shown):
            drawn = _map(axes[0, at], matrix, colors, norm)
            style.label(axes[0, at], title, "rank", "")
            name_rows(axes[0, at], run.modules.iloc[rows])
            if at:
                label = measure(run) if at == 1 else f"change of {measure(run)}"
                made.colorbar(drawn, ax=axes[0, at], label=label, pad=0.03, fraction=0.06).outline.set_visible(False)
    return made
