"""One HTML page that needs nothing but itself: tables and figures as text."""
from __future__ import annotations

import html
import math
import os
import pathlib
import re
import tempfile
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from . import style

CSS = """
:root { --ink: #1d2733; --soft: #66717e; --line: #e3e7ec; --paper: #ffffff; --back: #f4f6f8; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 44px 0 12px; } h3 { font-size: 15px; margin: 24px 0 6px; }
p { margin: 4px 0 12px; max-width: 78ch; } .soft { color: var(--soft); } .note { margin: 10px 0 0; font-size: 13px; max-width: none; }
section.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
               margin: 0 0 18px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: 13px; margin-top: 8px; max-width: 90ch; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: 6px 9px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } tr:last-child > * { border-bottom: 0; }
td.text, th.text { text-align: left; } td:first-child { white-space: nowrap; }
.wide td.text:not(:first-child) { overflow-wrap: anywhere; }
code, td.code { font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size: 12px; }
.warning { border-left: 4px solid #d55e00; } .warning ul { margin: 6px 0 0; padding-left: 20px; }
.state { padding: 1px 8px; border-radius: 9px; border: 1px solid currentColor; white-space: nowrap; font-size: 12px; }
.finished, .done { color: #00694c; } .running { color: #005b91; } .stopped { color: #8a5a00; }
.killed, .silent, .failed, .vanished { color: #a03b00; }
details > summary { cursor: pointer; font-weight: 600; padding: 4px 0; } details > summary:hover { color: var(--accent); }
nav a { color: var(--accent); text-decoration: none; margin-right: 16px; } nav { margin: 12px 0 24px; }
@media print { body { background: none; } section.card { break-inside: avoid; border: 0; padding: 0; } }
"""


def escape(value: Any) -> str:
    """Text for the page."""
    return html.escape(str(value))


def number(value: Any) -> str:
    """A number as people read it; nothing for NaN."""
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        if value == int(value) and abs(value) < 1e15:
            return f"{int(value):,}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) < 1e-3 else f"{value:.4f}"
    return f"{value:,}"


def _cell(column: str, value: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'<td data-value="{value!r}">{number(value)}</td>'
    if column == "state":
        return f'<td class="text"><span class="state {escape(value)}">{escape(value)}</span></td>'
    return f'<td class="text">{escape(value)}</td>'


def table(frame: pd.DataFrame, name: str, index: bool = False) -> str:
    """A table; cells keep the whole number in data-value. index: the first column is the frame's index."""
    texts = {column: not pd.api.types.is_numeric_dtype(frame[column]) for column in frame}
    head = ('<th class="text"></th>' if index else "") + "".join(
        f'<th{" class=text" if texts[column] else ""}>{escape(column)}</th>' for column in frame)
    rows = []
    for key, row in zip(frame.index, frame.itertuples(index=False, name=None)):
        start = f'<td class="text code">{escape(key)}</td>' if index else ""
        rows.append("<tr>" + start + "".join(_cell(column, value) for column, value in zip(frame, row)) + "</tr>")
    kind = ' class="wide"' if index else ""
    return f'<table id="{escape(name)}"{kind}><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def picture(made: Figure, title: str, caption: str = "") -> str:
    """A figure with what it shows for those who cannot see it."""
    drawn = style.svg(made).replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return card(f"<figure>{drawn}{below}</figure>")


def card(inner: str, kind: str = "") -> str:
    """A box on the page."""
    return f'<section class="card {kind}">{inner}</section>'


def fold(title: str, inner: str, is_open: bool = False) -> str:
    """What opens on a click."""
    return f'<details{" open" if is_open else ""}><summary>{escape(title)}</summary>{inner}</details>'


def page(title: str, subtitle: str, body: str) -> str:
    """The whole document."""
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{CSS}</style></head>\n'
            f'<body><main><h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p>{body}</main></body></html>\n')


def unique(body: str) -> str:
    """Ids within the figures are made unique: all figures share one page."""
    count = 0

    def rename(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        text = found.group(0)
        for name in set(re.findall(r'\bid="([^"]+)"', text)):
            new = f"f{count}-{name}"
            text = text.replace(f'id="{name}"', f'id="{new}"').replace(f'#{name}"', f'#{new}"')
            text = text.replace(f"#{name})", f"#{new})")
        return text

    return re.sub(r"<svg.*?</svg>", rename, body, flags=re.DOTALL)


def save(text: str, path: str | os.PathLike[str]) -> None:
    """Writes a page whole or not at all."""
    target = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent or ".", prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
