"""Sweeps: `sweep.h5` as one DataFrame with a row per run."""
from __future__ import annotations

import functools
import os
import pathlib
from typing import Any

import h5py
import numpy as np
import pandas as pd

from .reader import RunError
from .runs import Runs, load

FILE, NAME, VERSION = "sweep.h5", "refract/sweep", 1
SEED = "train.seed"
NO_VALUE = -1  # whole numbers that are not known


class Sweep:
    """A sweep: `frame` (a row per run: what it sets and what came of it), `keys` that it sets, `units` of columns."""

    def __init__(self, path: pathlib.Path, attributes: dict[str, Any], frame: pd.DataFrame, keys: list[str],
                 units: dict[str, str]) -> None:
        self.path, self.attributes, self.frame, self.keys, self.units = path, attributes, frame, keys, units

    def __repr__(self) -> str:
        return f"<Sweep {self.path}: {len(self.done)} of {len(self.frame)} runs done>"

    @property
    def done(self) -> pd.DataFrame:
        """The rows of the runs that are done."""
        return self.frame[self.frame["state"] == "done"]

    @property
    def setting_keys(self) -> list[str]:
        """The keys that tell settings apart: all but the seed, and those that have one value."""
        return [key for key in self.keys if key != SEED and self.frame[key].nunique(dropna=False) > 1]

    @functools.cached_property
    def settings(self) -> pd.Series:
        """A name for what each run tries, the same for all seeds: "lora", or "lora r=8" with more keys."""
        keys = self.setting_keys
        if not keys:
            return pd.Series("all runs", index=self.frame.index)
        return self.frame.apply(lambda row: " ".join(
            _told(row[key]) if key == "method" else f"{key.rpartition('.')[2]}={_told(row[key])}"
            for key in keys if row[key] != ""), axis=1)

    def runs(self) -> Runs:
        """The telemetry of the runs that are done; what cannot be read stands in `problems`."""
        return load(*(self.path.parent / folder for folder in self.done["folder"]))


def _told(value: Any) -> str:
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _column(dataset: h5py.Dataset) -> pd.Series:
    """Text as text, whole numbers that are not known as NaN."""
    if dataset.dtype.kind in "SO":
        return pd.Series([_text(value) for value in dataset[:]], dtype=object)
    values = dataset[:]
    if values.dtype.kind in "iu" and (values == NO_VALUE).any():
        return pd.Series(np.where(values == NO_VALUE, np.nan, values))
    return pd.Series(values)


def _numbers(column: pd.Series) -> pd.Series:
    """Values of a key as numbers where all are."""
    numbers = pd.to_numeric(column, errors="coerce")
    return column if numbers.isna().any() else numbers


def _check(path: pathlib.Path, attributes: dict[str, Any]) -> None:
    if attributes.get("schema") != NAME:
        raise RunError(f"'{path}' is not a sweep: its schema is {attributes.get('schema')!r}, not {NAME!r}. "
                       "refract sweep collect MANIFEST makes one")
    if int(attributes.get("schema_version", 0)) > VERSION:
        raise RunError(f"'{path}' has schema version {attributes['schema_version']}, and this refract_analysis reads up "
                       f"to version {VERSION}. Use the one that came with the program that wrote it")


def _read(path: pathlib.Path) -> Sweep:
    with h5py.File(path, "r", locking=False) as file:
        attributes = {name: _text(value) for name, value in file.attrs.items()}
        _check(path, attributes)
        columns = {name: _column(dataset) for name, dataset in file["runs"].items()}
        units = {name: str(_text(dataset.attrs.get("unit", b""))) for name, dataset in file["runs"].items()}
        keys = list(file["keys"]) if "keys" in file else []
        keys.sort(key=lambda key: (key == SEED, key != "method", key))
        columns |= {key: _numbers(_column(file["keys"][key])) for key in keys}
    frame = pd.DataFrame(columns)
    total = frame["eval_total"].where(frame["eval_total"] > 0)
    frame["accuracy"] = frame["eval_correct"] / total
    units["accuracy"] = "share of samples"
    first = ["index", "id", "state", *keys]
    return Sweep(path, attributes, frame[first + [name for name in frame if name not in first]], keys, units)


def load_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Reads a `sweep.h5`, or that of a sweep's folder. Raises RunError."""
    place = pathlib.Path(path)
    if place.is_dir():
        place = place / FILE
    if not place.exists():
        raise RunError(f"there is no '{place}'. refract sweep collect MANIFEST makes it")
    try:
        return _read(place)
    except RunError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise RunError(f"'{place}' is damaged or cut short ({' '.join(str(error).split())}). Make it anew with refract "
                       "sweep collect MANIFEST") from None
