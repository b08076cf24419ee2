"""Means by dataset (the paper's Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.report import MethodReport
from jisi_cli.reporting.charts import HOVER, PALETTE, QUIET, Chart, Room, Spec, fitted, names, number
from jisi_cli.reporting.formats import UNKNOWN, listed, percent
from jisi_cli.reporting.headline import BASELINE, BOUND, leading

_SIZES = (50, 170, 110)
_SHAPES = ("circle", "square", "triangle-up")


def profile(reports: Sequence[MethodReport]) -> Chart:
    """Return means by dataset of the leader, the best single model and the bound, among those of all methods."""
    known = [(report.name, report.averages.datasets) for report in reports if report.averages is not None]
    best = leading(reports)
    shown = [name for name in (best.name if best else "", BASELINE, BOUND) if name in dict(known)]
    shown = list(dict.fromkeys(shown))
    datasets = sorted({dataset for _, means in known for dataset in means})
    # One mark may hide others, so it tells the names of all that are in its place.
    equal: dict[tuple[str, str], list[str]] = {}
    for name, means in known:
        for dataset, mean in means.items():
            equal.setdefault((dataset, percent(mean)), []).append(name)
    values = [
        {"method": name, "dataset": dataset, "mean": 100 * mean, "hover": _hover(dataset, percent(mean), equal)}
        for name, means in known
        for dataset, mean in means.items()
    ]

    def spec(room: Room) -> Spec:
        return _spec(values, datasets, shown, room)

    rows = [(name, *(percent(means[d]) if d in means else UNKNOWN for d in datasets)) for name, means in known]
    note = "Mean score by dataset. Grey marks are the other methods; the table has all figures."
    return Chart("Datasets", note, spec if values else None, ("method", *datasets), tuple(rows))


def _hover(dataset: str, mean: str, equal: Mapping[tuple[str, str], list[str]]) -> str:
    return f"{dataset}: {mean} %: {listed(equal[dataset, mean])}"


def _spec(values: list[Spec], datasets: list[str], shown: list[str], room: Room) -> Spec:
    rows = names("dataset", room, datasets)
    rows["axis"]["labelPadding"] = 16  # the largest mark, at the left end of the axis, hides no name
    x = number("mean", "mean score, %", tickCount=5 if room.narrow else 9)
    scale = {"domain": shown, "range": list(PALETTE[: len(shown)])}
    shapes = {"domain": shown, "range": list(_SHAPES[: len(shown)])}
    field = {"field": "method", "type": "nominal", "legend": {"columns": 1 if room.narrow else 3}}
    own = "datum.place >= 0"
    places = {name: place for place, name in enumerate(shown)}
    # Hollow and of different sizes, so that equal means do not hide one another.
    placed = [
        {**value, "place": places[value["method"]], "size": _SIZES[places[value["method"]]]}
        if value["method"] in places
        else {**value, "place": -1}
        for value in values
    ]
    return fitted(
        room,
        {
            "data": {"values": placed},
            "height": {"step": 30},
            "encoding": {"y": rows, "x": x, **HOVER},
            "layer": [
                {
                    "transform": [{"filter": f"!({own})"}],
                    "mark": {"type": "tick", "color": QUIET, "opacity": 0.45, "thickness": 2, "size": 12},
                },
                {
                    "transform": [{"filter": own}],
                    "mark": {"type": "point", "filled": False, "strokeWidth": 2.5},
                    "encoding": {
                        "color": {**field, "scale": scale},
                        "shape": {**field, "scale": shapes},
                        "size": {"field": "size", "type": "quantitative", "scale": None, "legend": None},
                    },
                },
            ],
        },
        right=16,
    )
