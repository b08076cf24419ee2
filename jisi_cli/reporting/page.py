"""The shell of a page that is one file: template, style, scripts and charts, and a policy that lets nothing else run.

To make another page, as of one routing decision:

    page = Page(title="One question", lead=("Answered by b.", "…"), charts=(Chart(...),), data={"rows": []})
    path.write_text(render(page), encoding="utf-8")

`lead` is shown first and largest. Each chart is drawn by `charts.draw`, with its table in a <details> below. `data` is
embedded as JSON with id `data`; name the scripts of `assets/` that read it in `scripts`, and they find the element
`#browser` at the end of the page. Scripts must set text by textContent alone. Text given here is escaped here.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from jisi_cli.reporting.charts import Chart, draw


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    Attributes:
        title: Title of the page.
        lead: Sentences that are read first.
        charts: Charts, in order.
        origin: What made the page: names and values.
        data: Plain data for the scripts.
        scripts: Names of files in `assets/`, run in this order after the page's own.
    """

    title: str
    lead: Sequence[str]
    charts: Sequence[Chart]
    origin: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()


def render(page: Page) -> str:
    """Return the page as HTML that needs no network."""
    style = asset("page.css")
    script = "\n".join(asset(name) for name in ("page.js", *page.scripts))
    policy = (
        f"default-src 'none'; style-src '{_fingerprint(style)}'; script-src '{_fingerprint(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return Template(asset("page.html")).substitute(
        policy=policy,
        title=escape(page.title),
        style=style,
        lead="\n".join(f"<p>{escape(sentence)}</p>" for sentence in page.lead),
        charts="\n".join(_section(number, chart) for number, chart in enumerate(page.charts)),
        origin="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in page.origin.items()),
        data=embedded(page.data),
        script=script,
    )


def embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand inside a <script> element, whatever text it holds."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """Return a file of `assets/`."""
    return (files("jisi_cli.reporting") / "assets" / name).read_text(encoding="utf-8")


def _fingerprint(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _section(number: int, chart: Chart) -> str:
    pictures = draw(chart.spec) if chart.spec is not None else {}
    label = f"{escape(chart.title)}; the table below has its figures"
    drawn = "".join(
        f'<div class="{name}" role="img" aria-label="{label}">{svg}</div>' for name, svg in pictures.items()
    )
    return (
        f'<section aria-labelledby="chart-{number}"><h2 id="chart-{number}">{escape(chart.title)}</h2>'
        f'<p class="note">{escape(chart.note)}</p>{drawn}{_table(chart)}</section>'
    )


def _table(chart: Chart) -> str:
    if not chart.rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in chart.header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in chart.rows)
    return (
        '<details><summary>The same as a table</summary><div class="scroll" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )
