"""Charts: a Vega-Lite specification becomes an SVG when the page is built, so that a page runs no chart script."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from jisi_cli.errors import InputError

PALETTE = tuple(f"var(--series-{number})" for number in range(1, 9))
"""Colours that page.css defines for light, dark and print; they can be told apart by colour-blind readers."""

_WIDTHS = (("wide", 720), ("narrow", 210))
"""Width of the plotting area in pixels, by the class that page.css shows on wide and on narrow screens."""

_CONFIG: dict[str, Any] = {
    "background": "transparent",
    # Browsers set the text in another font than the one that it is measured in here.
    "padding": {"left": 24, "right": 24, "top": 8, "bottom": 8},
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "point": {"opacity": 1},
    "axis": {
        "labelColor": "var(--quiet)",
        "titleColor": "var(--quiet)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 190,
        "labelOverlap": "greedy",
        "labelSeparation": 12,
    },
    "legend": {"labelColor": "var(--ink)", "titleColor": "var(--quiet)", "labelFontSize": 12, "labelLimit": 220},
    "header": {"labelColor": "var(--ink)", "titleColor": "var(--quiet)"},
    "text": {"color": "var(--ink)"},
}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart and the same figures as a table.

    Attributes:
        title: What it shows, in a few words.
        note: How to read it, and what is missing from it.
        spec: Vega-Lite without a width, a configuration or data from elsewhere; None where there is nothing to draw.
        header: Names of the table's columns.
        rows: The table's cells.
    """

    title: str
    note: str
    spec: dict[str, Any] | None
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def require_charts() -> None:
    """Refuse at once, before any work, where the extra is missing.

    Raises:
        InputError: The extra `report` is not installed.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise InputError('a report needs the extra `report`; install it with: pip install "jisi[report]"')


def draw(spec: dict[str, Any]) -> dict[str, str]:
    """Return the SVG of a chart for a wide and for a narrow screen; text from data is escaped in it."""
    import vl_convert

    drawn = {}
    for name, width in _WIDTHS:
        whole = {**spec, "width": width, "config": _CONFIG}
        drawn[name] = str(vl_convert.vegalite_to_svg(whole, allowed_base_urls=[]))
    return drawn
