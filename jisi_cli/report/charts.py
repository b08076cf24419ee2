"""Charts: a Vega-Lite specification becomes an SVG when the page is built, so that a page runs no chart script."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jisi_cli.errors import missing_extra

Spec = dict[str, Any]

PALETTE = tuple(f"var(--series-{number})" for number in range(1, 9))
"""Colours that page.css defines for light and dark; they can be told apart by colour-blind readers."""
INK, QUIET, LINE, PAPER = "var(--ink)", "var(--quiet)", "var(--line)", "var(--paper)"

HOVER: Spec = {"description": {"field": "hover", "type": "nominal"}}
"""The encoding of marks that tell what they are when one points at them: the text in the field `hover`."""
_DESCRIBED = re.compile(r'<(\w+) aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="[^"]*"([^>]*)/>')

_NUMBER = re.compile(r"[$+−-]?[\d,.]+( %)?|–|")
"""What a cell holds whose column is aligned at the right."""
_LONG = 50
"""Characters from which on a cell is broken into lines."""

FONT_SIZE = 12
_CHARACTER = 5.8
"""Mean width in pixels of a character of that size."""

_CONFIG: Spec = {
    "background": "transparent",
    # The page names each chart as one image and has its figures in a table.
    "aria": False,
    # Measured in Liberation Sans, which has the widths of Arial and Helvetica: what page.css sets the text in.
    "font": "sans-serif",
    "view": {"stroke": None},
    "point": {"opacity": 1},
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": LINE,
        "domain": False,
        "ticks": False,
        "labelPadding": 8,
        "titlePadding": 10,
        "labelFontSize": FONT_SIZE,
        "titleFontSize": FONT_SIZE,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelSeparation": 12,
        # A number stands under its line at the ends of an axis, too.
        "labelFlush": False,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": QUIET,
        "labelFontSize": FONT_SIZE,
        "titleFontSize": FONT_SIZE,
        "titleFontWeight": "normal",
        "orient": "top",
        "title": None,
        "symbolLimit": 60,
        "labelLimit": 280,
        "columnPadding": 20,
        "rowPadding": 6,
        "offset": 14,
    },
    "header": {"labelColor": INK, "labelFontSize": 13, "labelFontWeight": "bold", "title": None},
    "title": {"color": QUIET, "fontSize": FONT_SIZE, "fontWeight": "normal", "anchor": "start", "offset": 10},
    "text": {"color": INK, "fontSize": FONT_SIZE},
}


@dataclass(frozen=True, slots=True)
class Viewport:
    """Where a chart is drawn.

    Attributes:
        width: All of its width in pixels.
        narrow: Whether it is for a phone.
    """

    width: int
    narrow: bool = False

    @property
    def label_width(self) -> int:
        """Pixels that the names at the left may take."""
        return 118 if self.narrow else min(230, self.width // 3)


WIDE, HALF, MIDDLE, NARROW = Viewport(960), Viewport(456), Viewport(640), Viewport(350, narrow=True)


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart and the same figures as a table.

    Attributes:
        title: What it shows, in a few words.
        note: How to read it, and what is missing from it.
        spec: Makes Vega-Lite, without configuration or data from elsewhere, for a viewport; None where there is nothing
            to draw.
        header: Names of the table's columns.
        rows: The table's cells.
        half: Whether two such charts fit side by side.
        open: Whether the table is shown at once.
    """

    title: str
    note: str
    spec: Callable[[Viewport], Spec] | None
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    half: bool = False
    open: bool = False

    def columns(self) -> list[tuple[str, str]]:
        """Return the name of each column of the table and page.css's class for its cells."""
        cells = list(zip(*self.rows, strict=True)) or [()] * len(self.header)
        return [(name, _kind(column)) for name, column in zip(self.header, cells, strict=True)]


def _kind(cells: Sequence[str]) -> str:
    if all(map(_NUMBER.fullmatch, cells)):
        return "number"
    return "long" if any(len(cell) > _LONG for cell in cells) else ""


def require_charts() -> None:
    """Refuse at once, before any work, where the extra is missing.

    Raises:
        InputError: The extra `report` is not installed.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise missing_extra("a report", "report")


def draw(chart: Chart) -> dict[str, str]:
    """Return the SVGs of a chart by page.css's class, for screens of three widths; text is escaped in them."""
    import vl_convert

    if chart.spec is None:
        return {}
    viewports = {"wide": HALF if chart.half else WIDE, "middle": MIDDLE, "narrow": NARROW}
    drawn = {
        name: str(vl_convert.vegalite_to_svg({**chart.spec(viewport), "config": _CONFIG}, allowed_base_urls=[]))
        for name, viewport in viewports.items()
    }
    # Browsers show a title where one points, without any script; descriptions are escaped as titles must be.
    return {name: _DESCRIBED.sub(r"<\1\3><title>\2</title></\1>", svg) for name, svg in drawn.items()}


def fitted(viewport: Viewport, spec: Spec, *, right: int = 8) -> Spec:
    """Return a chart of one plot whose names, axes and legend share the width with it.

    Args:
        viewport: Where it is drawn.
        spec: The chart.
        right: Pixels that stay free at the right.
    """
    padding = {"left": 0, "right": right, "top": 4, "bottom": 4}
    return {**spec, "width": viewport.width, "autosize": {"type": "fit-x", "contains": "padding"}, "padding": padding}


def names(field: str, viewport: Viewport, order: Sequence[str], bold: str | None = None) -> Spec:
    """Return the axis of names at the left.

    Args:
        field: Where the names are.
        viewport: Where it is drawn.
        order: All names from above to below; plots side by side have rows for the same ones.
        bold: A name that stands out.
    """
    axis: Spec = {
        "grid": True,
        "labelLimit": viewport.label_width,
        "labelColor": INK,
        "labelOverlap": False,
        "title": None,
    }
    if bold is not None:
        # As JSON a name is a string to Vega's expressions, too, whatever it holds.
        axis["labelFontWeight"] = {
            "condition": {"test": f"datum.value == {json.dumps(bold)}", "value": "bold"},
            "value": "normal",
        }
    return {"field": field, "type": "nominal", "scale": {"domain": list(order)}, "axis": axis}


def number(field: str, title: str | None, **axis: Any) -> Spec:  # noqa: ANN401 - Vega-Lite's own options
    """Return an axis of numbers that need not begin at 0."""
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False, "nice": True},
        # Ticks that are named are all meant; a count would thin them.
        "axis": axis if "values" in axis else {"tickCount": 6, **axis},
    }


def columns_of(labels: Sequence[str], viewport: Viewport, names: Sequence[str] = ()) -> int:
    """Return how many columns of a legend fit into the width, beside names at the left."""
    longest, left = (max(map(text_width, texts), default=0.0) for texts in (labels, names))
    return max(1, int((viewport.width - min(left, viewport.label_width)) // (longest + 44)))


def text_width(text: str) -> float:
    """Return about how many pixels a text of the usual size takes."""
    return _CHARACTER * len(text)
