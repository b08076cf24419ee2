"""A page that is one file: a template with style, scripts and charts, and a policy that lets nothing else run.

To make a page:

    page = Page(title="…", subtitle="…", headline="b answers", tiles=(Tile("By how much", "+2.1 points", "…"),),
                charts=(Chart(...),), origin={"seed": "42"})
    with written(path, PAGE) as file:
        file.write(render(page).encode())

Each chart is drawn by `charts.draw`, with its table in a <details> below. `data` is packed into the page by name; a
script of `assets/` that is named in `scripts` reads it with `unpack(name)` and sets text by textContent alone. The
template, `assets/page.html.jinja`, escapes all text.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jisi_cli.report.charts import Chart, draw
from jisi_cli.types import format_dollars

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
    """Return dollars for `QUESTIONS` questions, given those of one."""
    return format_dollars(QUESTIONS * value)


def listed(names: list[str] | tuple[str, ...], limit: int = 6) -> str:
    """Return names with commas; beyond the limit only how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


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
class Card:
    """A text among others that are read side by side.

    Attributes:
        title: Whose it is.
        note: What is to be known of it.
        text: The text.
    """

    title: str
    note: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    Attributes:
        title: Title of the page.
        subtitle: What it is about, on one line.
        headline: The sentence that is read first.
        tiles: What is read next.
        charts: Charts, in order.
        answers: What each model answered; none where none was asked.
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
    answers: Sequence[Card] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()
    browser: bool = False


def render(page: Page) -> str:
    """Return the page as HTML that needs no network; equal pages are equal to the byte."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    style = asset("page.css")
    script = "\n".join(asset(name) for name in ("page.js", *page.scripts))
    policy = (
        f"default-src 'none'; style-src '{_fingerprint(style)}'; script-src '{_fingerprint(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assets = PackageLoader("jisi_cli.report", "assets")
    templates = Environment(loader=assets, autoescape=True, undefined=StrictUndefined)
    return templates.get_template("page.html.jinja").render(
        page=page,
        policy=policy,
        # jisi's own, and what Vega has escaped: nothing else is taken as it is.
        style=Markup(style),
        script=Markup(script),
        drawings=[[(width, Markup(svg)) for width, svg in draw(chart).items()] for chart in page.charts],
        data={name: packed(value) for name, value in page.data.items()},
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
