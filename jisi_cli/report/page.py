"""The shell of a page that is one file: template, style, scripts, charts, and how numbers are written on it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from jisi_cli.report.charts import Chart, draw

# How numbers are written on a page.


QUESTIONS = 1000
"""Dollars are told for so many questions: those of one are mostly zeros."""
UNKNOWN = "–"


def percent(value: float | None) -> str:
    """Return a share in percent, without the sign."""
    return UNKNOWN if value is None else f"{100 * value:.2f}"


def signed(value: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "−")


def dollars(value: float) -> str:
    """Return dollars for `QUESTIONS` questions, given those of one, with three significant digits."""
    return amount(QUESTIONS * value)


def amount(value: float) -> str:
    """Return dollars with three significant digits, in whole cents from a dollar on."""
    if value == 0:
        return "$0"
    if value >= 1:
        return f"${value:,.2f}"
    digits = 2
    while digits < 12 and value < 10 ** -(digits - 2):
        digits += 1
    return f"${value:.{digits}f}"


def listed(names: list[str] | tuple[str, ...], limit: int = 6) -> str:
    """Return names with commas; behind the limit only how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


# The shell of a page that is one file: template, style, scripts and charts, and a policy that lets nothing else run.
#
# To make a page:
#
#     page = Page(title="…", subtitle="…", headline="b answers", tiles=(Tile("By how much", "+2.1 points", "…"),),
#                 charts=(Chart(...),), origin={"seed": "42"})
#     with written(path, PAGE) as file:
#         file.write(render(page).encode())
#
# Each chart is drawn by `charts.draw`, with its table in a <details> below. `data` is packed into the page by name; a
# script of `assets/` that is named in `scripts` reads it with `unpack(name)` and sets text by textContent alone. Text
# given here is escaped here.


_NUMBER = re.compile(r"[$+−-]?[\d,.]+( %)?|–|")
"""What a cell holds whose column is aligned at the right."""
_LONG = 50
"""Characters from which on a cell is broken into lines."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One answer that is read at a glance.

    Attributes:
        title: What is asked.
        value: The answer, in a word or a number.
        note: What it rests on.
    """

    title: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    Attributes:
        title: Title of the page.
        subtitle: What it is about, on one line.
        headline: The sentence that is read first.
        tiles: What is read next.
        charts: Charts, in order.
        origin: What made the page: names and values.
        data: Plain data for the scripts, by name.
        scripts: Names of files in `assets/`, run in this order after the page's own.
        browser: Whether the scripts show a table of questions.
    """

    title: str
    subtitle: str
    headline: str
    tiles: Sequence[Tile]
    charts: Sequence[Chart]
    origin: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()
    browser: bool = False


def render(page: Page) -> str:
    """Return the page as HTML that needs no network; equal pages are equal to the byte."""
    style = asset("page.css")
    script = "\n".join(asset(name) for name in ("page.js", *page.scripts))
    policy = (
        f"default-src 'none'; style-src '{_fingerprint(style)}'; script-src '{_fingerprint(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    links = [(f"chart-{number}", chart.title) for number, chart in enumerate(page.charts)]
    links += [("browser", "Questions")] if page.browser else []
    return Template(asset("page.html")).substitute(
        policy=policy,
        title=escape(page.title),
        subtitle=escape(page.subtitle),
        headline=escape(page.headline),
        style=style,
        tiles="".join(map(_tile, page.tiles)),
        links="".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in links),
        charts="\n".join(_section(number, chart) for number, chart in enumerate(page.charts)),
        browser='<section id="browser" aria-label="Questions"></section>' if page.browser else "",
        origin="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in page.origin.items()),
        data="\n".join(
            f'<script type="text/plain" id="{escape(name)}">{packed(value)}</script>'
            for name, value in page.data.items()
        ),
        script=script,
    )


def packed(data: object) -> str:
    """Return plain data as base64 of gzipped JSON: small, and without a character that HTML could take for its own."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def asset(name: str) -> str:
    """Return a file of `assets/`."""
    return (files("jisi_cli.report") / "assets" / name).read_text(encoding="utf-8")


def _fingerprint(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tile(tile: Tile) -> str:
    return (
        f'<div class="tile"><h2>{escape(tile.title)}</h2><p class="value">{escape(tile.value)}</p>'
        f"<p>{escape(tile.note)}</p></div>"
    )


def _section(number: int, chart: Chart) -> str:
    label = f"{escape(chart.title)}; the table below has its figures"
    drawn = "".join(
        f'<div class="{name}" role="img" aria-label="{label}">{svg}</div>' for name, svg in draw(chart).items()
    )
    kind = ' class="half"' if chart.half else ""
    return (
        f'<section id="chart-{number}" aria-labelledby="title-{number}"{kind}><h2 id="title-{number}">'
        f'{escape(chart.title)}</h2><p class="note">{escape(chart.note)}</p>{drawn}{_table(chart)}</section>'
    )


def _table(chart: Chart) -> str:
    if not chart.rows:
        return ""
    right = [all(_NUMBER.fullmatch(row[place]) for row in chart.rows) for place in range(len(chart.header))]
    long = [any(len(row[place]) > _LONG for row in chart.rows) for place in range(len(chart.header))]
    kinds = [
        ' class="number"' if is_number else ' class="long"' if is_long else ""
        for is_number, is_long in zip(right, long, strict=True)
    ]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(chart.header, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in chart.rows
    )
    summary = "Table" if chart.open else "The same as a table"
    return (
        f"<details{' open' if chart.open else ''}><summary>{summary}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(chart.title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )
