"""What single methods tell: BeamLoRA's events and pairs, RefLoRA's conditions, Light-PEFT's structure."""
from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import style
from .ranks import map_height, name_rows, order
from .runs import Run

STEPS = "step (updates done)"


def beam(run: Run) -> Figure:
    """Keep-threshold and ranks pruned by event; the scores of every pair of pruned and promising rank."""
    made, axes = style.figure(1, 3, 3.0)
    events, pairs = run.beam_events, run.beam_pairs
    with matplotlib.rc_context(style.PARAMETERS):
        axes[0, 0].plot(events["step"], events["keep"], marker="o", markeredgecolor="white", **style.line(0))
        width = 0.6 * (np.diff(events["step"]).min() if len(events) > 1 else 1)
        axes[0, 1].bar(events["step"], events["pruned"], width=width, color=style.COLORS[0])
        axes[0, 1].yaxis.set_major_locator(MaxNLocator(integer=True))
        drawn = axes[0, 2].scatter(pairs["score_pruned"], pairs["score_promising"], c=pairs["step"], s=14,
                                   cmap=style.VALUE, edgecolor="white", linewidth=0.3, rasterized=len(pairs) > 2000)
        most = max(1e-12, pairs[["score_pruned", "score_promising"]].max().max() if len(pairs) else 1)
        axes[0, 2].plot([0, most], [0, most], color=style.SOFT, linewidth=0.8, linestyle=":")
        made.colorbar(drawn, ax=axes[0, 2], label=STEPS, pad=0.03).outline.set_visible(False)
        style.label(axes[0, 0], "Keep-threshold", STEPS, "share of the importance kept (1)")
        style.label(axes[0, 1], "Ranks pruned by event", STEPS, "ranks")
        style.label(axes[0, 2], "Pairs", "σ of the pruned rank (1)", "σ of the promising rank (1)")
    return made


def beam_modules(run: Run) -> Figure:
    """Ranks pruned in each module, by event."""
    made, axes = style.figure(1, 1, map_height(run))
    rows, pruned = order(run), run.array("beam_pruned", "pruned")
    with matplotlib.rc_context(style.PARAMETERS):
        drawn = axes[0, 0].imshow(pruned[:, rows].T, aspect="auto", interpolation="nearest", cmap=style.VALUE)
        name_rows(axes[0, 0], run.modules.iloc[rows])
        every = -(-len(pruned) // 24)
        axes[0, 0].set_xticks(range(0, len(pruned), every))
        axes[0, 0].set_xticklabels(run.array("beam_events", "step")[::every])
        made.colorbar(drawn, ax=axes[0, 0], label="ranks", pad=0.02).outline.set_visible(False)
        style.label(axes[0, 0], "Ranks pruned in each module", "step of the event", "")
    return made


def _band(axes, steps: np.ndarray, values: np.ndarray) -> None:
    """Median over the modules, with the range of nine in ten of them."""
    low, middle, high = np.nanquantile(values, [0.05, 0.5, 0.95], axis=1)
    axes.fill_between(steps, low, high, color=style.tint(style.COLORS[0], 0.25), linewidth=0, label="5 to 95 %")
    axes.plot(steps, middle, label="median", **style.line(0))


def reflora(run: Run) -> Figure:
    """Condition of the Gram matrices, balance of the factors, and how often the scalar was used instead."""
    made, axes = style.figure(1, 3, 3.0)
    steps, condition = run.array("reflora", "step"), run.array("reflora", "condition")
    norm_a, norm_b = run.array("reflora", "norm_a"), run.array("reflora", "norm_b")
    with matplotlib.rc_context(style.PARAMETERS):
        _band(axes[0, 0], steps, np.where(condition > 0, condition, np.nan))
        axes[0, 0].plot(steps, np.nanmax(condition, axis=1), label="largest", **style.line(2))
        _band(axes[0, 1], steps, norm_b / np.where(norm_a > 0, norm_a, np.nan))
        axes[0, 2].plot(steps, run.array("reflora", "fallback").mean(axis=1), **style.line(0))
        axes[0, 2].set_ylim(-0.03, 1.03)
        for one in axes[0, :2]:
            one.set_yscale("log")
            one.legend()
        style.label(axes[0, 0], "Condition of the Gram matrices", STEPS, "condition number (1)")
        style.label(axes[0, 1], "Balance of the factors", STEPS, "‖B‖ / ‖A‖ (1)")
        style.label(axes[0, 2], "Modules with the scalar S", STEPS, "share of modules (1)")
    return made


def light(run: Run) -> Figure:
    """What was kept: heads and neurons by layer, ranks by module; dark is kept."""
    made, axes = style.figure(1, 3, max(3.0, map_height(run)))
    rows = order(run)
    kept = {name: run.array(f"light_{name}", "kept")[-1] for name in ("heads", "neurons", "ranks")}
    alive = np.where(run.array("light_modules", "kept")[-1][:, None] > 0, kept["ranks"], 0)[rows]
    colors = ListedColormap(["#e9edf1", style.COLORS[0]])
    with matplotlib.rc_context(style.PARAMETERS):
        for at, (matrix, name) in enumerate(((kept["heads"], "head"), (kept["neurons"], "neuron"), (alive, "rank"))):
            axes[0, at].imshow(matrix > 0, aspect="auto", interpolation="nearest", cmap=colors, vmin=0, vmax=1)
            axes[0, at].grid(visible=False)
            axes[0, at].xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[0, at].yaxis.set_major_locator(MaxNLocator(integer=True))
            style.label(axes[0, at], f"{name.capitalize()}s kept: {matrix.mean():.1%}", name, "layer" if at < 2 else "")
        name_rows(axes[0, 2], run.modules.iloc[rows])
    return made
