"""What a growing pool brings (the paper's Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.evaluation.experiments import grown
from jisi_cli.evaluation.report import MethodReport
from jisi_cli.reporting.charts import HOVER, PALETTE, Chart, Room, Spec, columns_of, fitted, number
from jisi_cli.reporting.formats import percent

_LABELLED = 16
"""Sizes up to which each has room for its number."""


def growth(reports: Sequence[MethodReport]) -> Chart | None:
    """Return averages by the number of models; None where no pool grew."""
    known = [
        (found[0], found[1], report.averages.average)
        for report in reports
        if (found := grown(report.name)) is not None and report.averages is not None
    ]
    if not known:
        return None
    methods = list(dict.fromkeys(method for method, _, _ in known))
    drawn = methods[: len(PALETTE)]
    values = [
        {
            "method": name,
            "models": size,
            "average": 100 * mean,
            "hover": f"{name} with {size} model{'' if size == 1 else 's'}: {percent(mean)} %",
        }
        for name, size, mean in known
        if name in drawn
    ]
    sizes = sorted({size for _, size, _ in known})
    cells = {(method, size): percent(mean) for method, size, mean in known}

    def spec(room: Room) -> Spec:
        return _spec(values, drawn, sizes, room)

    rows = tuple((str(size), *(cells.get((method, size), "–") for method in methods)) for size in sizes)
    note = "Avg while models are added to the pool one by one, in the order that --grow was given."
    return Chart("Growth", note, spec, ("models", *methods), rows)


def _spec(values: list[Spec], methods: list[str], sizes: list[int], room: Room) -> Spec:
    colour = {
        "field": "method",
        "type": "nominal",
        "scale": {"domain": methods, "range": list(PALETTE[: len(methods)])},
        "legend": {"columns": columns_of(methods, room)},
    }
    x = number(
        "models", "models in the pool", values=sizes, format="d", grid=False, labelOverlap=len(sizes) > _LABELLED
    )
    spec = {
        "data": {"values": values},
        "height": 280,
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2}},
            {
                "mark": {"type": "point", "filled": True, "size": 70},
                "encoding": {"shape": {**colour, "scale": {"domain": methods}}, **HOVER},
            },
        ],
        "encoding": {
            "x": x,
            "y": number("average", "Avg, %"),
            "color": colour,
        },
    }
    return fitted(room, spec, right=20)
