"""What fewer questions of the bank would have been worth: its learning curve as a chart."""

from __future__ import annotations

from jisi_cli.evaluation.learning_curve import CurvePoint, LearningCurve
from jisi_cli.report.charts import HOVER, PALETTE, Chart, Spec, Viewport, columns_of, fitted, number
from jisi_cli.report.page import percent, signed

_VOTE, _SINGLE = "vote", "best single model"
_NAMES = (_VOTE, _SINGLE)


def learning(curve: LearningCurve) -> Chart:
    """Return what banks of each size are worth, by the vote and by the model that is best on the same bank.

    Args:
        curve: The learning curve of the bank.
    """
    sizes = [point.questions for point in curve.points]
    values = [line for point in curve.points for line in _lines(point)]

    def spec(viewport: Viewport) -> Spec:
        return _spec(values, sizes, viewport)

    header = ("questions", "vote", _SINGLE, "gain", "95 % interval")
    rows = tuple(
        (f"{point.questions:,}", percent(point.average), percent(point.best_single), *_gain(point))
        for point in curve.points
    )
    return Chart("Learning curve", _note(curve), spec if len(sizes) > 1 else None, header, rows)


def _note(curve: LearningCurve) -> str:
    settings = curve.settings
    words = (
        f"What a bank of fewer questions would be worth: Avg on held-out train questions, the mean of {curve.draws} "
        f"banks drawn of each size. The vote is of {settings['k']} candidates (n_base={settings['n_base']}, "
        f"gamma={settings['gamma']:g}, prior={settings['prior']:g}); the best single model is the one that is best on "
        "the same bank. The bars are the 95 % interval of the vote's gain over it."
    )
    said = curve.in_words()
    return words if said is None else f"{words} {said[0].upper()}{said[1:]}."


def _lines(point: CurvePoint) -> list[Spec]:
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


def _spec(values: list[Spec], sizes: list[int], viewport: Viewport) -> Spec:
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
