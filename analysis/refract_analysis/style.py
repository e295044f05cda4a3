"""How figures look: one style, readable in grey and for colour-blind readers.

Lines differ in colour (Okabe and Ito's, ordered so that neighbours differ in lightness), dash and marker; maps grow
lighter with the value, also in grey: a change of zero is the middle grey.
"""
from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

INK, SOFT, GRID = "#1d2733", "#66717e", "#e3e7ec"
COLORS = ("#0072b2", "#e69f00", "#7b2d43", "#009e73", "#56b4e9", "#d55e00", "#333333", "#cc79a7")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
MARKERS = "osD^vPX*"
WIDTH = 10.0  # inches of a full row of the page

PARAMETERS = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 8, "axes.labelsize": 9, "axes.labelcolor": SOFT,
    "axes.edgecolor": "#b9c1ca", "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.7, "text.color": INK,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelsize": 8, "ytick.labelsize": 8, "xtick.major.size": 3,
    "ytick.major.size": 3, "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6,
    "lines.markersize": 4.5, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "svg.hashsalt": "refract", "svg.fonttype": "path", "path.simplify_threshold": 0.3,
}
CHANGE: Colormap = LinearSegmentedColormap.from_list(
    "refract_change", ["#0b2545", "#2f5f9e", "#8f949b", "#e0b15a", "#fff3c4"])
VALUE: Colormap = matplotlib.colormaps["cividis"].copy()
for _map in (CHANGE, VALUE):
    _map.set_bad("#ffffff", 0.0)


def figure(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure as wide as the page and its axes, always as an array [rows, columns]; free of pyplot's state."""
    with matplotlib.rc_context(PARAMETERS):
        made = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(made)
        return made, made.subplots(rows, columns, squeeze=False, **options)


def line(index: int) -> dict[str, Any]:
    """Colour and dash of the index-th line; all differ up to 32."""
    return {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[(index // 2) % len(DASHES)]}


def marker(index: int) -> str:
    """The index-th marker."""
    return MARKERS[index % len(MARKERS)]


def tint(color: str, share: float) -> tuple[float, ...]:
    """The colour mixed with white; share 1 is the colour itself."""
    return tuple(1 - share * (1 - part) for part in to_rgb(color))


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title above, quantities with units beside the axes."""
    axes.set_title(title, color=INK)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def empty(axes: Axes, words: str) -> None:
    """Says in the axes why nothing is drawn."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=SOFT)
    axes.set_xticks([])
    axes.set_yticks([])


def save(made: Figure, target: Any, kind: str, paper: str = "none") -> None:
    """Writes the figure as "svg" or "png", the same bytes for the same numbers. paper: its background."""
    metadata = {"Date": None, "Creator": "refract-analysis"} if kind == "svg" else {"Software": "refract-analysis"}
    with matplotlib.rc_context(PARAMETERS):
        made.savefig(target, format=kind, metadata=metadata, dpi=144, facecolor=paper)


def svg(made: Figure) -> str:
    """The figure as SVG text to stand in a page."""
    text = io.StringIO()
    save(made, text, "svg")
    whole = text.getvalue()
    return whole[whole.index("<svg"):]


def png(made: Figure) -> str:
    """The figure as a data URI."""
    data = io.BytesIO()
    save(made, data, "png")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
