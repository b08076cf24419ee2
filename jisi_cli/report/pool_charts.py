"""The pool in charts: means by dataset, who wrote the answers, what more models and more questions bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jisi_cli.evaluation.comparison import BASELINE, BOUND, MethodReport, leading
from jisi_cli.evaluation.experiments import grown
from jisi_cli.evaluation.learning_curve import CurvePoint, LearningCurve
from jisi_cli.report.charts import (
    HOVER,
    PALETTE,
    PAPER,
    QUIET,
    Chart,
    Spec,
    Viewport,
    columns_of,
    fitted,
    names,
    number,
)
from jisi_cli.report.page import UNKNOWN, listed, percent, signed

# Means by dataset (the paper's Fig. 2).


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

    def spec(viewport: Viewport) -> Spec:
        return _spec(values, datasets, shown, viewport)

    rows = [(name, *(percent(means[d]) if d in means else UNKNOWN for d in datasets)) for name, means in known]
    note = "Mean score by dataset. Grey marks are the other methods; the table has all figures."
    return Chart("Datasets", note, spec if values else None, ("method", *datasets), tuple(rows))


def _hover(dataset: str, mean: str, equal: Mapping[tuple[str, str], list[str]]) -> str:
    return f"{dataset}: {mean} %: {listed(equal[dataset, mean])}"


def _spec(values: list[Spec], datasets: list[str], shown: list[str], viewport: Viewport) -> Spec:
    rows = names("dataset", viewport, datasets)
    rows["axis"]["labelPadding"] = 16  # the largest mark, at the left end of the axis, hides no name
    x = number("mean", "mean score, %", tickCount=5 if viewport.narrow else 9)
    scale = {"domain": shown, "range": list(PALETTE[: len(shown)])}
    shapes = {"domain": shown, "range": list(_SHAPES[: len(shown)])}
    field = {"field": "method", "type": "nominal", "legend": {"columns": 1 if viewport.narrow else 3}}
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
        viewport,
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


# Shares: who wrote the answers (the paper's Fig. 6), and how they came about.


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

    def spec(viewport: Viewport) -> Spec:
        return _shares_spec(data, parts, viewport)

    rows = tuple((of, name, f"{100 * share:.1f} %") for of, name, share in values)
    return Chart(title, note, spec if data else None, ("of", part, "share"), rows)


def _colour(part: str, parts: list[str]) -> int:
    """Return the place of a colour: a mode has its own on every page."""
    return _MODES.index(part) if set(parts) <= set(_MODES) else parts.index(part)


def _shares_spec(data: list[Spec], parts: list[str], viewport: Viewport) -> Spec:
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
        "legend": {"columns": columns_of(parts, viewport, owners), "symbolType": "square"},
    }
    spec = {
        "data": {"values": data},
        "mark": {"type": "bar", "stroke": PAPER, "strokeWidth": 1, "height": {"band": 0.8}},
        "height": {"step": 28},
        "encoding": {
            "x": x,
            "y": names("of", viewport, owners),
            "color": colour,
            "order": {"field": "place"},
            **HOVER,
        },
    }
    return fitted(viewport, spec, right=20)


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

    def spec(viewport: Viewport) -> Spec:
        return _growth_spec(values, drawn, sizes, viewport)

    rows = tuple((str(size), *(cells.get((method, size), "–") for method in methods)) for size in sizes)
    note = "Avg while models are added to the pool one by one, in the order that --grow was given."
    return Chart("Growth", note, spec, ("models", *methods), rows)


def _growth_spec(values: list[Spec], methods: list[str], sizes: list[int], viewport: Viewport) -> Spec:
    colour = {
        "field": "method",
        "type": "nominal",
        "scale": {"domain": methods, "range": list(PALETTE[: len(methods)])},
        "legend": {"columns": columns_of(methods, viewport)},
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
    return fitted(viewport, spec, right=20)


# What fewer questions of the bank would have been worth: its learning curve.

_VOTE, _SINGLE = "vote", "best single model"
_NAMES = (_VOTE, _SINGLE)


def learning(curve: LearningCurve) -> Chart:
    """Return what banks of each size are worth, by the vote and by the model that is best on the same bank.

    Args:
        curve: The learning curve of the bank.
    """
    sizes = [point.questions for point in curve.points]
    values = [line for point in curve.points for line in _learning_lines(point)]

    def spec(viewport: Viewport) -> Spec:
        return _learning_spec(values, sizes, viewport)

    header = ("questions", "vote", _SINGLE, "gain", "95 % interval")
    rows = tuple(
        (f"{point.questions:,}", percent(point.average), percent(point.best_single), *_gain(point))
        for point in curve.points
    )
    return Chart("Learning curve", _learning_note(curve), spec if len(sizes) > 1 else None, header, rows)


def _learning_note(curve: LearningCurve) -> str:
    settings = curve.settings
    words = (
        f"What a bank of fewer questions would be worth: Avg on held-out train questions, the mean of {curve.draws} "
        f"banks drawn of each size. The vote is of {settings['k']} candidates (n_base={settings['n_base']}, "
        f"gamma={settings['gamma']:g}, prior={settings['prior']:g}); the best single model is the one that is best on "
        "the same bank. The bars are the 95 % interval of the vote's gain over it."
    )
    said = curve.in_words()
    return words if said is None else f"{words} {said[0].upper()}{said[1:]}."


def _learning_lines(point: CurvePoint) -> list[Spec]:
    single, gain = 100 * point.best_single, point.gain
    at = {"questions": point.questions}
    vote = {"low": single + 100 * gain.low, "high": single + 100 * gain.high}
    bank = f"a bank of {point.questions:,} questions"
    return [
        {
            **at,
            **vote,
            "what": _VOTE,
            "average": 100 * point.average,
            "hover": f"{_VOTE}, {bank}: {percent(point.average)} %, gain {' '.join(_gain(point))}",
        },
        {**at, "what": _SINGLE, "average": single, "hover": f"{_SINGLE}, {bank}: {percent(point.best_single)} %"},
    ]


def _gain(point: CurvePoint) -> tuple[str, str]:
    gain = point.gain
    return signed(gain.average), f"{signed(gain.low)} to {signed(gain.high)}"


def _learning_spec(values: list[Spec], sizes: list[int], viewport: Viewport) -> Spec:
    colour = {
        "field": "what",
        "type": "nominal",
        "scale": {"domain": list(_NAMES), "range": list(PALETTE[: len(_NAMES)])},
        "legend": {"columns": columns_of(_NAMES, viewport)},
    }
    # Each size is twice the one before, so that steps are about as wide as each other.
    x = number("questions", "questions in the bank", values=sizes, format=",d", grid=False)
    x["scale"] = {"type": "log", "nice": False}
    y = number("average", "Avg, %")
    interval = {
        "transform": [{"filter": f"datum.what == '{_VOTE}'"}],
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": {"value": PALETTE[0]}},
    }
    shapes = {**colour, "scale": {"domain": list(_NAMES)}}
    points = {
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {"y": y, "shape": shapes, **HOVER},
    }
    line = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y}}
    spec = {"data": {"values": values}, "height": 280, "layer": [interval, line, points]}
    return fitted(viewport, {**spec, "encoding": {"x": x, "color": colour}}, right=20)
