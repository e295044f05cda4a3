"""The numbers of a report: summary, data account, configuration, provenance."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .runs import Run

PROVENANCE = ("software_version", "git_commit", "created_utc", "command_line", "base_digest", "data_digest", "ranks",
              "threads", "hosts", "schema", "schema_version")


def _last(array: np.ndarray) -> float:
    return float(array[-1]) if len(array) else np.nan


def summary(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run: state, steps, losses, accuracy, speed. NaN where there is nothing yet."""
    rows = []
    for run in runs:
        evals = run.evals
        best = evals["loss"].idxmin() if evals["loss"].notna().any() else None
        correct, total = (_last(run.array("evals", name)) for name in ("correct", "total"))
        rows.append({
            "run": run.name, "method": run.config.get("method", ""), "state": run.state, "steps": run.done,
            "of": run.total or np.nan, "training loss": _last(run.array("steps", "loss")),
            "held-out loss": _last(run.array("evals", "loss")),
            "best": evals["loss"][best] if best is not None else np.nan,
            "right": correct / total if total else np.nan,
            "tokens": int(run.array("steps", "tokens").sum()), "tok/s": run.throughput(),
            "minutes": float(run.array("steps", "seconds").sum()) / 60,
            "layout": f"{run.attributes.get('ranks', '?')} × {run.attributes.get('threads', '?')}",
        })
    return pd.DataFrame(rows)


def data_account(runs: Sequence[Run]) -> pd.DataFrame:
    """What became of every row of the data sets."""
    parts = []
    for run in runs:
        part = run.data.copy()
        part.insert(0, "run", run.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True).rename(columns=lambda name: name.replace("_", " "))


def provenance(runs: Sequence[Run]) -> pd.DataFrame:
    """Attributes of the files, a column per run."""
    return pd.DataFrame({run.name: {name: str(run.attributes.get(name, "")) for name in PROVENANCE} for run in runs})


def configuration(runs: Sequence[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(keys in which the runs differ, keys that they share), a column per run."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    whole = pd.DataFrame({run.name: {key: told(run.config.get(key)) for key in keys} for run in runs},
                         index=list(keys), dtype=object)
    differs = whole.nunique(axis=1, dropna=False) > 1
    return whole[differs], whole[~differs]


def told(value: Any) -> str:
    """A value of the configuration as an input file has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
