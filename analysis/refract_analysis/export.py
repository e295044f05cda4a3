"""Tables as CSV files."""
from __future__ import annotations

import os
import pathlib

import pandas as pd

from . import compare, schema, tables
from .runs import Runs
from .sweeps import Sweep


def write(runs: Runs, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes FOLDER/TABLE.csv for every table that has rows, config.csv and attributes.csv; returns the paths.

    Numbers have all their digits: reading them back gives the same bits.
    """
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    frames = {name: runs.frame(name) for name in schema.TABLES}
    frames |= {"summary": tables.summary(runs.runs), "config": runs.config, "attributes": runs.attributes}
    return _write_all(frames, target)


def write_sweep(sweep: Sweep, score: str, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes FOLDER/runs.csv, settings.csv and paired.csv; returns the paths."""
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    return _write_all({"runs": sweep.frame, "settings": compare.settings(sweep), "paired": compare.paired(sweep, score)},
                      target)


def _write_all(frames: dict[str, pd.DataFrame], target: pathlib.Path) -> list[pathlib.Path]:
    written = []
    for name, frame in frames.items():
        if len(frame):
            frame.to_csv(target / f"{name}.csv", index=False)
            written.append(target / f"{name}.csv")
    return written
