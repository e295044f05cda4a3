"""`spectrum.h5` of refract spectrum: singular values of the weights before and after training."""
from __future__ import annotations

import pathlib
from dataclasses import dataclass

import h5py
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from . import ranks, style
from .reader import RunError

FILE, NAME, VERSION = "spectrum.h5", "refract/spectrum", 1
PARTS = {"base": "before: W0", "tuned": "after: W0 + ΔW", "update": "change: ΔW"}


@dataclass
class Spectrum:
    """Modules, and by part the singular values [modules, n] and effective ranks; cosines [modules, top]."""

    modules: pd.DataFrame
    values: dict[str, np.ndarray]
    effective: dict[str, np.ndarray]
    cosine: np.ndarray


def _read(path: pathlib.Path) -> Spectrum:
    with h5py.File(path, "r", locking=False) as file:
        schema, version = file.attrs.get("schema"), int(file.attrs.get("schema_version", 0))
        schema = schema.decode() if isinstance(schema, bytes) else schema
        if schema != NAME:
            raise RunError(f"'{path}' is not a spectrum: its schema is {schema!r}, not {NAME!r}")
        if version > VERSION:
            raise RunError(f"'{path}' has schema version {version}, and this refract_analysis reads up to version "
                           f"{VERSION}. Use the one that came with the program that wrote it")
        columns = {name: file["modules"][name][:] for name in ("name", "kind", "layer")}
        modules = pd.DataFrame({name: [one.decode() if isinstance(one, bytes) else one for one in column]
                                for name, column in columns.items()})
        return Spectrum(modules, {part: file[part]["singular_values"][:] for part in PARTS},
                        {part: file[part]["effective_rank"][:] for part in PARTS}, file["tuned"]["cosine"][:])


def load(folder: pathlib.Path) -> Spectrum | None:
    """The spectrum in a run folder, None where there is none. Raises RunError for one that cannot be read."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return _read(path)
    except RunError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise RunError(f"'{path}' is damaged or cut short ({' '.join(str(error).split())}). Make it anew with refract "
                       "spectrum") from None


def _values(axes, spectrum: Spectrum) -> None:
    """Median over the modules, with the range of nine in ten of them."""
    for index, (part, label) in enumerate(PARTS.items()):
        values = spectrum.values[part]
        shown = np.where(values > 0, values, np.nan)[:, np.isfinite(values).any(axis=0)]
        shown = shown[:, np.isfinite(shown).any(axis=0)]
        if not shown.size:
            continue
        place = np.arange(1, shown.shape[1] + 1)
        low, middle, high = np.nanquantile(shown, [0.05, 0.5, 0.95], axis=0)
        axes.fill_between(place, low, high, color=style.COLORS[index], alpha=0.15, linewidth=0)
        axes.plot(place, middle, label=label, **style.line(index))
    axes.set_yscale("log")
    axes.legend()
    style.label(axes, "Singular values", "place, largest first", "singular value (1)")


def figure(spectrum: Spectrum) -> Figure:
    """Singular values before and after, effective rank of each module before and after, and how well the leading
    directions after are known from before.
    """
    height = float(np.clip(1.3 + ranks.ROW_INCHES * len(spectrum.modules), 3.0, 11))
    made, axes = style.figure(1, 3, height)
    kinds = {kind: at for at, kind in enumerate(dict.fromkeys(spectrum.modules["kind"]))}
    rows = np.lexsort((spectrum.modules["layer"], spectrum.modules["kind"].map(kinds)))
    with matplotlib.rc_context(style.PARAMETERS):
        _values(axes[0, 0], spectrum)
        before, after = spectrum.effective["base"], spectrum.effective["tuned"]
        for kind, at in kinds.items():
            mine = (spectrum.modules["kind"] == kind).to_numpy()
            axes[0, 1].scatter(before[mine], after[mine], s=18, marker=style.marker(at), label=kind,
                               color=style.COLORS[at % len(style.COLORS)], edgecolor="white", linewidth=0.3)
        ends = [min(before.min(), after.min()), max(before.max(), after.max())]
        axes[0, 1].plot(ends, ends, color=style.SOFT, linewidth=0.8, linestyle=":")
        axes[0, 1].legend()
        style.label(axes[0, 1], "Effective rank", "before (1)", "after (1)")
        drawn = axes[0, 2].imshow(spectrum.cosine[rows], aspect="auto", interpolation="nearest", cmap=style.VALUE,
                                  norm=Normalize(0, 1))
        ranks.name_rows(axes[0, 2], spectrum.modules.iloc[rows])
        made.colorbar(drawn, ax=axes[0, 2], label="largest |cosine| (1)", pad=0.03).outline.set_visible(False)
        style.label(axes[0, 2], "Directions known from before", "direction after, largest first", "")
    return made
