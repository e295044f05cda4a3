"""What `run.h5` holds, as tables: the one place that knows paths of datasets.

A table becomes one tidy DataFrame. Its datasets have a row per step (or event, module, ...) along the first axis;
further axes (module, rank, layer, ...) become columns of the long format. A dataset with fewer axes than its
table is repeated along the missing ones.
"""
from __future__ import annotations

from dataclasses import dataclass, field

NAME = "refract/telemetry"
VERSION = 1  # newest version that is understood


@dataclass(frozen=True)
class Table:
    """One DataFrame: column name -> dataset; `rows` is the dataset whose length is the number of whole rows."""

    name: str
    columns: dict[str, str]
    rows: str
    axes: tuple[str, ...] = ()
    sparse: tuple[str, ...] = field(default=())  # rows of the long format where all of these are NaN do not exist


def _table(name: str, group: str, columns: str, axes: tuple[str, ...] = (), sparse: tuple[str, ...] = ()) -> Table:
    names = columns.split()
    return Table(name, {column: f"{group}/{column}" for column in names}, f"{group}/{names[0]}", axes, sparse)


def _light(name: str, part: str, axes: tuple[str, ...], sparse: tuple[str, ...] = ()) -> Table:
    columns = {"step": "/light/step"}
    columns |= {column: f"/light/{part}_{column}" for column in ("score", "kept", "threshold")}
    return Table(name, columns, "/light/step", axes, sparse)


TABLES = {
    table.name: table
    for table in (
        _table("steps", "/steps", "step loss grad_norm learning_rate tokens label_tokens samples seconds"),
        _table("evals", "/evals", "step loss label_tokens correct total"),
        _table("modules", "/modules", "name kind layer d_in d_out r scaling"),
        _table("ranks", "/ranks", "step importance norm_a norm_b", ("module", "rank"),
               ("importance", "norm_a", "norm_b")),
        Table("timing", {"step": "/steps/step", "seconds": "/timing/seconds"}, "/steps/step", ("phase",)),
        _table("beam_events", "/beam/events", "step keep pruned"),
        Table("beam_pruned", {"step": "/beam/events/step", "pruned": "/beam/pruned"}, "/beam/events/step",
              ("module",)),
        _table("beam_pairs", "/beam/pairs", "step module pruned promising score_pruned score_promising"),
        _table("reflora", "/reflora", "step condition norm_a norm_b fallback", ("module",)),
        _light("light_heads", "head", ("layer", "head")),
        _light("light_neurons", "neuron", ("layer", "neuron")),
        _light("light_modules", "module", ("module",)),
        _light("light_ranks", "rank", ("module", "rank"), ("score",)),
        _table("data", "/data", "role rows used truncated tokens_lost skipped_empty skipped_limit"),
    )
}
PHASES = "/timing/phases"
MODULES = "/modules/name"
