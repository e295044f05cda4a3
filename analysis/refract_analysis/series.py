"""A table of numbers over iterations, as tests and tools write it, drawn as curves."""
from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import style
from .reader import RunError

MOST_ABOVE_START = 100  # times the first values


def read(path: str | pathlib.Path) -> pd.DataFrame:
    """A CSV file whose first column counts and whose others are one series each."""
    try:
        table = pd.read_csv(path, index_col=0).astype(float)
    except (OSError, ValueError) as error:
        raise RunError(f"no table of numbers in '{path}': {error}") from error
    if table.empty:
        raise RunError(f"'{path}' holds no series")
    return table


def figure(table: pd.DataFrame, ylabel: str = "loss") -> Figure:
    """One curve a column, on a logarithmic axis where all is positive; a curve that goes off leaves the picture."""
    made, axes = style.figure(1, 1, 3.8)
    panel = axes[0, 0]
    finite = table.replace([np.inf, -np.inf], np.nan)
    for index, name in enumerate(table.columns):
        panel.plot(finite.index, finite[name], label=name, **style.line(index))
    if np.nanmin(finite.to_numpy()) > 0:
        panel.set_yscale("log")
        highest = MOST_ABOVE_START * np.nanmax(finite.iloc[0])
        panel.set_ylim(top=min(highest, 2 * np.nanmax(finite.to_numpy())))
    panel.set_xlabel(table.index.name or "iteration")
    panel.set_ylabel(ylabel)
    panel.legend()
    return made
