"""Reads `run.h5`: of a run that is over, still going, or was killed. What cannot be read is refused in words.

A file that its writer has not closed is read as SWMR readers do, in a process of its own: where such a file has been
cut short, HDF5 waits for the missing part for ever.
"""
from __future__ import annotations

import multiprocessing
import pathlib
from dataclasses import dataclass, field

import h5py
import numpy as np

from . import schema

SIGNATURE = b"\x89HDF\r\n\x1a\n"
FLAGS_AT = 11  # in the superblock: not 0 while a writer has the file open, or after it was killed
PATIENCE = 30.0  # seconds for a file that is not closed


class RunError(ValueError):
    """A run that cannot be read; the text names the file and says what to do."""


@dataclass
class Contents:
    """Attributes, and the datasets of the tables asked for, cut to whole rows."""

    attributes: dict[str, object]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # by path of the dataset
    units: dict[str, str] = field(default_factory=dict)
    phases: list[str] = field(default_factory=list)


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _is_open(path: pathlib.Path) -> bool:
    """Whether the file's writer has not closed it. Raises RunError for what is no HDF5 file."""
    try:
        with open(path, "rb") as file:
            head = file.read(FLAGS_AT + 1)
    except OSError as error:
        raise RunError(f"cannot open '{path}': {error.strerror}") from None
    if not head:
        raise RunError(f"'{path}' is empty (0 bytes). The run was stopped before it wrote anything, or the disk is full")
    if head[:len(SIGNATURE)] != SIGNATURE:
        raise RunError(f"'{path}' is not an HDF5 file")
    return len(head) > FLAGS_AT and head[FLAGS_AT] != 0


def _check_schema(path: pathlib.Path, attributes: dict[str, object]) -> None:
    if attributes.get("schema") != schema.NAME:
        raise RunError(f"'{path}' is not telemetry of a run: its schema is {attributes.get('schema')!r}, "
                       f"not {schema.NAME!r}")
    version = int(attributes.get("schema_version", 0))
    if version > schema.VERSION:
        raise RunError(f"'{path}' has schema version {version}, and this refract_analysis reads up to version "
                       f"{schema.VERSION}. Use the one that came with the program that wrote it")


def _rows(file: h5py.File, table: schema.Table) -> int:
    """Whole rows: the program writes the dataset that counts them last."""
    there = [file[path].shape[0] for path in table.columns.values() if path in file]
    return min(there) if table.rows in file else 0


def _names(dataset: h5py.Dataset) -> np.ndarray:
    return np.array([_text(name) for name in dataset[:]], dtype=object)


def _check_whole(dataset: h5py.Dataset, rows: int, path: pathlib.Path) -> None:
    """The chunk of the last row lies within the file: HDF5 reads zeros from beyond its end without a word."""
    if rows == 0 or not dataset.chunks:
        return
    first = ((rows - 1) // dataset.chunks[0] * dataset.chunks[0],) + (0,) * (dataset.ndim - 1)
    chunk = dataset.id.get_chunk_info_by_coord(first)
    if chunk.byte_offset is not None and chunk.byte_offset + chunk.size > path.stat().st_size:
        raise OSError(f"the rows of {dataset.name} are beyond its end")


def _read_table(file: h5py.File, table: schema.Table, contents: Contents) -> None:
    rows = _rows(file, table)
    for path in table.columns.values():
        if path not in file:
            continue  # an older file of the same version: what was added later is not there
        dataset = file[path]
        contents.units[path] = str(_text(dataset.attrs.get("unit", b"")))
        _check_whole(dataset, rows, pathlib.Path(file.filename))
        values = _names(dataset) if dataset.dtype.kind in "SO" else dataset[:rows]
        known = contents.arrays.get(path)
        contents.arrays[path] = values[:rows] if known is None or len(known) > rows else known


def _read(path: pathlib.Path, tables: tuple[str, ...], is_open: bool) -> Contents:
    with h5py.File(path, "r", libver="latest", swmr=is_open, locking=False) as file:
        contents = Contents({name: _text(value) for name, value in file.attrs.items()})
        _check_schema(path, contents.attributes)
        if schema.TABLES["steps"].rows not in file:
            raise RunError(f"'{path}' is damaged: it has no dataset {schema.TABLES['steps'].rows}")
        for name in tables:
            _read_table(file, schema.TABLES[name], contents)
        if schema.PHASES in file:
            contents.phases = [str(name) for name in _names(file[schema.PHASES])]
        return contents


def _read_or_say(path: pathlib.Path, tables: tuple[str, ...], is_open: bool) -> Contents | str:
    """The contents, or why there are none."""
    try:
        return _read(path, tables, is_open)
    except RunError as error:
        return str(error)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        return _damaged(path, " ".join(str(error).split()))


def _damaged(path: pathlib.Path, reason: str) -> str:
    return (f"'{path}' is damaged or cut short ({reason}). Take an older copy, or run the job again: it goes on from "
            "its newest checkpoint")


def _read_apart(path: pathlib.Path, tables: tuple[str, ...]) -> Contents | str:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    reader = context.Process(target=lambda: theirs.send(_read_or_say(path, tables, True)), daemon=True)
    reader.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            return _damaged(path, f"HDF5 waited {PATIENCE:g} s for parts that are not there")
        return ours.recv()
    except EOFError:
        return _damaged(path, "HDF5 crashed on it")
    finally:
        reader.kill()
        reader.join()
        ours.close()


def read(path: pathlib.Path, tables: tuple[str, ...] = tuple(schema.TABLES)) -> Contents:
    """Reads one file, without a lock, so that its writer is never disturbed. Raises RunError."""
    found = _read_apart(path, tables) if _is_open(path) else _read_or_say(path, tables, False)
    if isinstance(found, str):
        raise RunError(found)
    return found
