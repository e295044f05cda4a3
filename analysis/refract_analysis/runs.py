"""Runs as tidy DataFrames: `load(path)` is where an analysis begins."""
from __future__ import annotations

import functools
import math
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import yaml

from . import schema, state
from .reader import Contents, RunError, read

FILE = "run.h5"


class _Frame:
    """An attribute that is the DataFrame of the table of its name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.frame(self.name)


class _Frames:
    """Every table as an attribute; see `schema.TABLES` for the columns."""

    steps, evals, modules, ranks, timing, data = (_Frame() for _ in range(6))
    beam_events, beam_pruned, beam_pairs, reflora = (_Frame() for _ in range(4))
    light_heads, light_neurons, light_modules, light_ranks = (_Frame() for _ in range(4))


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"lora": {"r": 4}} as {"lora.r": 4}; patterns such as lora.rank_pattern stay one value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and not prefix:
            flat |= _flat(value, f"{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class Run(_Frames):
    """One run: `attributes` (provenance), `config` (every key, flat) and a DataFrame per table.

    The numbers are those of the moment of reading; `reload()` reads again.
    """

    def __init__(self, path: pathlib.Path, name: str, tables: tuple[str, ...] = tuple(schema.TABLES)) -> None:
        self.path, self.folder, self.name, self._tables = path, path.parent, name, tables
        self._held = state.holder(self.folder)  # before the rows: see state.of
        self._contents: Contents = read(path, tables)
        self._frames: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        return f"<Run {self.name}: {self.done} of {self.total or '?'} steps, {self.state}>"

    def reload(self) -> Run:
        """The same run, read anew."""
        return Run(self.path, self.name, self._tables)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the file: software_version, git_commit, command_line, config, digests, ..."""
        return self._contents.attributes

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The effective configuration by dotted key."""
        try:
            tree = yaml.safe_load(str(self.attributes.get("config", "")))
        except yaml.YAMLError:
            tree = None
        return _flat(tree) if isinstance(tree, dict) else {}

    @property
    def phases(self) -> list[str]:
        """Names of the phases of a step, as they were written."""
        return self._contents.phases

    def units(self, table: str) -> dict[str, str]:
        """{column: unit} of a table."""
        columns = schema.TABLES[table].columns
        return {column: self._contents.units.get(path, "") for column, path in columns.items()}

    def array(self, table: str, column: str) -> np.ndarray:
        """A column as it stands in the file: [rows, axes...]; empty where the file has none."""
        return self._contents.arrays.get(schema.TABLES[table].columns[column], np.empty(0))

    def frame(self, table: str) -> pd.DataFrame:
        """The tidy DataFrame of a table."""
        if table not in self._frames:
            self._frames[table] = self._long(schema.TABLES[table])
        return self._frames[table]

    def _long(self, table: schema.Table) -> pd.DataFrame:
        arrays = {name: self.array(table.name, name) for name in table.columns}
        shape = max((array.shape for array in arrays.values()), key=len)
        if len(shape) != 1 + len(table.axes):  # nothing of this table in the file
            return pd.DataFrame({name: pd.Series(dtype=float) for name in ("step", *table.axes, *arrays)})
        frame = {}
        for name, array in arrays.items():
            padded = array.reshape(array.shape + (1,) * (len(shape) - array.ndim))
            if padded.size or not shape[0]:
                frame[name] = np.broadcast_to(padded, shape).reshape(-1)
        for at, axis in enumerate(table.axes, start=1):
            index = np.arange(shape[at]).reshape((1,) * at + (-1,) + (1,) * (len(shape) - at - 1))
            frame[axis] = np.broadcast_to(index, shape).reshape(-1)
        whole = pd.DataFrame({name: frame[name] for name in self._order(table) if name in frame})
        return self._finish(table, whole)

    @staticmethod
    def _order(table: schema.Table) -> list[str]:
        first = [name for name in ("step",) if name in table.columns]
        return [*first, *table.axes, *(name for name in table.columns if name not in first)]

    def _finish(self, table: schema.Table, whole: pd.DataFrame) -> pd.DataFrame:
        if table.sparse:
            whole = whole[~whole[list(table.sparse)].isna().all(axis=1)].reset_index(drop=True)
        if "phase" in table.axes and self.phases:
            whole["phase"] = whole["phase"].map(dict(enumerate(self.phases)))
        whole.attrs["units"] = self.units(table.name)
        return whole

    @property
    def done(self) -> int:
        """Updates done."""
        steps = self.array("steps", "step")
        return int(steps[-1]) if len(steps) else 0

    @functools.cached_property
    def total(self) -> int:
        """Steps of the whole run; 0 where neither the file nor the configuration tells."""
        if int(self.attributes.get("total_steps", 0)) > 0:
            return int(self.attributes["total_steps"])
        steps, batch = int(self.config.get("train.steps") or 0), int(self.config.get("train.batch_size") or 0)
        if not steps and batch:
            used = dict(zip(self.array("data", "role"), self.array("data", "used")))
            epochs = float(self.config.get("train.epochs") or 0)
            steps = int(epochs * math.ceil(int(used.get("train", 0)) / batch))
        return steps

    @property
    def state(self) -> str:
        """running, finished, stopped, killed or silent (see `state.MEANING`)."""
        seconds = self.array("steps", "seconds")
        step_seconds = float(np.median(seconds)) if len(seconds) else 0.0
        return state.of(self.folder, self._held, self.done, self.total, step_seconds)

    def throughput(self) -> float:
        """Tokens per second of steps, over the whole run; NaN before the first step."""
        seconds = float(self.array("steps", "seconds").sum())
        return float(self.array("steps", "tokens").sum()) / seconds if seconds > 0 else math.nan


class Runs(_Frames):
    """Many runs: frames have a first column `run`; `problems` lists what was refused, and why."""

    def __init__(self, runs: list[Run], problems: list[str]) -> None:
        self.runs, self.problems = runs, problems

    def __repr__(self) -> str:
        return f"<Runs {', '.join(run.name for run in self.runs)}; {len(self.problems)} refused>"

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, key: int | str) -> Run:
        if isinstance(key, int):
            return self.runs[key]
        return next(run for run in self.runs if run.name == key)

    def frame(self, table: str) -> pd.DataFrame:
        """The table of all runs below each other."""
        parts = []
        for run in self.runs:
            part = run.frame(table).copy()
            part.insert(0, "run", run.name)
            parts.append(part)
        filled = [part for part in parts if len(part)]
        return pd.concat(filled or parts[:1], ignore_index=True)

    @property
    def attributes(self) -> pd.DataFrame:
        """A row per run: provenance without the configuration's text."""
        return pd.DataFrame([{"run": run.name, **{name: value for name, value in run.attributes.items()
                                                  if name != "config"}} for run in self.runs])

    @property
    def config(self) -> pd.DataFrame:
        """A row per run, a column per key."""
        return pd.DataFrame([{"run": run.name, **run.config} for run in self.runs])


def find(path: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The telemetry files that a path means: itself, that of the run folder, those of all run folders below."""
    place = pathlib.Path(path)
    if place.is_file():
        return [place]
    if (place / FILE).exists():
        return [place / FILE]
    below = sorted(place.rglob(FILE)) if place.is_dir() else []
    if not below:
        what = "there is no such folder" if not place.exists() else f"it holds no {FILE}, nor does a folder below"
        raise RunError(f"no run in '{place}': {what}. Name the folder that is `output` of a run")
    return below


def _names(paths: list[pathlib.Path]) -> list[str]:
    """Short names that tell the runs apart: the folders' paths without what all share."""
    folders = [path.resolve().parent for path in paths]
    shared = pathlib.Path(os.path.commonpath([folder.parent for folder in folders])) if folders else None
    names = [str(folder.relative_to(shared)) for folder in folders]
    return [name if path.name == FILE else f"{name}/{path.name}" for name, path in zip(names, paths)]


def load(*paths: str | os.PathLike[str], tables: tuple[str, ...] = tuple(schema.TABLES)) -> Runs:
    """Reads one or many runs: run folders, folders of run folders, or files.

    A run that cannot be read is left out with a warning and stands in `problems`; RunError when none is left.
    """
    found: dict[pathlib.Path, None] = {}
    runs, problems = [], []
    for path in paths:
        try:
            found |= dict.fromkeys(find(path))
        except RunError as error:
            problems.append(str(error))
    for path in found:
        try:
            runs.append(Run(path, path.parent.name, tables))
        except RunError as error:
            problems.append(str(error))
    for run, name in zip(runs, _names([run.path for run in runs])):
        run.name = name
    if not runs:
        raise RunError("\n".join(problems) or "no run was named")
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return Runs(runs, problems)
