"""Tables as CSV files."""
from __future__ import annotations

import os
import pathlib

from . import schema, tables
from .runs import Runs


def write(runs: Runs, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes FOLDER/TABLE.csv for every table that has rows, config.csv and attributes.csv; returns the paths.

    Numbers have all their digits: reading them back gives the same bits.
    """
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    frames = {name: runs.frame(name) for name in schema.TABLES}
    frames |= {"summary": tables.summary(runs.runs), "config": runs.config, "attributes": runs.attributes}
    written = []
    for name, frame in frames.items():
        if len(frame):
            frame.to_csv(target / f"{name}.csv", index=False)
            written.append(target / f"{name}.csv")
    return written
