"""Shares: who wrote the answers (the paper's Fig. 6), and how they came about."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.evaluation.report import MethodReport
from jisi_cli.reporting.charts import HOVER, PALETTE, PAPER, Chart, Room, Spec, columns_of, fitted, names
from jisi_cli.reporting.formats import listed
from jisi_cli.reporting.headline import leading

Share = tuple[str, str, float]
"""Whose share, of what, and how much in [0, 1]."""
_OTHERS = "others"
_MODES = ("route", "aggregate", "consensus", "fallback", "failed", "unscored", "needs-live")


def selection(reports: Sequence[MethodReport]) -> Chart:
    """Return the shares of final answers by model, per dataset, of the leading method."""
    best = leading(reports)
    found = best.selection if best else {}
    ordered = sorted(found, key=lambda of: (of != "*", of))
    values = [("all datasets" if of == "*" else of, part, share) for of in ordered for part, share in found[of].items()]
    name = best.name if best else "no method"
    return _shares("Who answered", f"Whose answer {name} returned, as a share of the questions.", values, "model")


def modes(reports: Sequence[MethodReport]) -> Chart:
    """Return the shares of questions that were routed, aggregated or settled by consensus."""
    plain, live = ([r.name for r in reports if set(r.modes) == {mode}] for mode in ("route", "needs-live"))
    values = [
        (report.name, mode, share)
        for report in reports
        if report.name not in (*plain, *live)
        for mode, share in sorted(report.modes.items(), key=lambda item: _place(item[0]))
    ]
    note = (
        "Route: one model's answer is returned. Aggregate: a model writes a new one from several. Consensus: equal "
        "answers win."
    )
    if plain:
        verb = "routes" if len(plain) == 1 else "route"
        note += f" Not drawn, because they {verb} every question: {listed(plain, 4)}."
    if live:
        verb = "needs" if len(live) == 1 else "need"
        note += f" Not drawn, because they {verb} live calls for every question: {listed(live, 4)}."
    return _shares("Modes", note, values, "mode")


def _place(mode: str) -> int:
    return _MODES.index(mode) if mode in _MODES else len(_MODES)


def _shares(title: str, note: str, values: Sequence[Share], part: str) -> Chart:
    totals: dict[str, float] = {}
    for _, name, share in values:
        totals[name] = totals.get(name, 0.0) + share
    order = list(totals) if part == "mode" else sorted(totals, key=lambda name: (-totals[name], name))
    # As many as there are colours; the table names the others.
    own = order if len(order) <= len(PALETTE) else order[: len(PALETTE) - 1]
    parts = own if len(own) == len(order) else [*own, _OTHERS]
    data = [
        {
            "of": of,
            "part": name if name in own else _OTHERS,
            "share": share,
            "place": order.index(name),
            "hover": f"{of}: {name} {100 * share:.1f} %",
        }
        for of, name, share in values
    ]

    def spec(room: Room) -> Spec:
        return _spec(data, parts, room)

    rows = tuple((of, name, f"{100 * share:.1f} %") for of, name, share in values)
    return Chart(title, note, spec if data else None, ("of", part, "share"), rows)


def _colour(part: str, parts: list[str]) -> int:
    """Return the place of a colour: a mode has its own on every page."""
    return _MODES.index(part) if set(parts) <= set(_MODES) else parts.index(part)


def _spec(data: list[Spec], parts: list[str], room: Room) -> Spec:
    x = {
        "field": "share",
        "type": "quantitative",
        "title": None,
        "stack": "zero",
        "axis": {"format": "%", "values": [0, 0.25, 0.5, 0.75, 1], "labelFlush": False, "labelOverlap": False},
        "scale": {"domain": [0, 1]},
    }
    owners = list(dict.fromkeys(value["of"] for value in data))
    colour = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": parts, "range": [PALETTE[_colour(part, parts)] for part in parts]},
        "legend": {"columns": columns_of(parts, room, owners), "symbolType": "square"},
    }
    spec = {
        "data": {"values": data},
        "mark": {"type": "bar", "stroke": PAPER, "strokeWidth": 1, "height": {"band": 0.8}},
        "height": {"step": 28},
        "encoding": {
            "x": x,
            "y": names("of", room, owners),
            "color": colour,
            "order": {"field": "place"},
            **HOVER,
        },
    }
    return fitted(room, spec, right=20)
