"""The paper's experiments as lists of entries, and what quality costs: a curve and its Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.validation import take_models
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.registry import known_method, method_info

# The paper's experiments as lists of entries: ablations, sweeps of settings, a growing pool.


@dataclass(frozen=True, slots=True)
class Variant:
    """One entry of an experiment: a method under changed conditions.

    Attributes:
        label: What the report calls it.
        method: Name of the method.
        context: What it is made from.
        kept_as: What results call it that were kept before it had its label; empty where that is the same.
    """

    label: str
    method: str
    context: MethodContext
    kept_as: str = ""


def ablations(context: MethodContext) -> list[Variant]:
    """Return the mixed router and what is left of it without each of its parts.

    A weight that is taken away is shared out over the others in proportion.
    """
    settings = context.hyperparameters
    without = {
        "jisi-router": settings,
        "without responses (sigma=0)": _reweighted(settings, "sigma"),
        "without token counts (delta=0)": _reweighted(settings, "delta"),
        "without query similarity (epsilon=0)": _reweighted(settings, "epsilon"),
        "without the filter (beta=1)": replace(settings, beta=1.0),
    }
    changed = [
        Variant(label, "jisi-router", replace(context, hyperparameters=setting))
        for label, setting in without.items()
        if setting is not None
    ]
    return [*changed, Variant("without probes (jisi-query)", "jisi-query", context)]


def growing(context: MethodContext, order: Sequence[str], first: int, methods: Sequence[str]) -> list[Variant]:
    """Return each method over the first m models of an order, for m from `first` to all (the paper's Fig. 5).

    Raises:
        InputError: The order names a model twice or one that the bank lacks, or is too short.
    """
    known = context.bank.model_names
    for place, name in enumerate(order):
        if name not in known:
            raise InputError(f"--grow: the bank has no `{name}`{did_you_mean(name, known)}; it has {', '.join(known)}")
        if name in order[:place]:
            raise InputError(f"--grow: `{name}` stands in the order twice")
    if len(order) < first:
        raise InputError(f"--grow: the order has {len(order)} models, --grow-from wants {first} to begin with")
    found = []
    for size in range(first, len(order) + 1):
        models = list(order[:size])
        places = [known.index(name) for name in models]
        smaller = context.on_models(take_models(context.bank, models), places)
        found += [Variant(f"{method}{_GROWN}{size}{_MODELS}", method, smaller.for_method(method)) for method in methods]
    return found


_GROWN, _MODELS = " · ", " models"
_LONGEST_SIZE = 6


def grown(label: str) -> tuple[str, int] | None:
    """Return method and number of models of a label that `growing` made; None for any other label."""
    method, found, rest = label.rpartition(_GROWN)
    size = rest.removesuffix(_MODELS)
    # Labels come from result files, too, and a number of thousands of digits is none of ours.
    is_size = size.isdecimal() and len(size) <= _LONGEST_SIZE
    return (method, int(size)) if found and rest.endswith(_MODELS) and is_size else None


def swept(settings: Hyperparameters, values: Mapping[str, Sequence[Any]]) -> list[tuple[str, Hyperparameters]]:
    """Return every combination of the given values, labelled by what differs.

    Args:
        settings: Settings to start from.
        values: Values by hyperparameter.
    """
    names = list(values)
    found = []
    for combination in product(*values.values()):
        changes = dict(zip(names, combination, strict=True))
        label = " ".join(f"{name}={value}" for name, value in changes.items())
        found.append((label, settings.with_changes(changes, "--sweep")))
    return found


def parse_sweep(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read `gamma=0.8,0.9` and its like.

    Raises:
        InputError: A text is not of that form, or names no hyperparameter.
    """
    kinds = {field.name: type(getattr(Hyperparameters(), field.name)) for field in fields(Hyperparameters)}
    values: dict[str, list[Any]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in kinds or not listed.strip():
            raise InputError(f"--sweep is written NAME=VALUE,VALUE with NAME one of {', '.join(kinds)}; not {text!r}")
        try:
            values[name] = [kinds[name](part.strip()) for part in listed.split(",")]
        except ValueError:
            raise InputError(f"--sweep {name}: the values must be {kinds[name].__name__}, not {listed!r}") from None
    return values


def _reweighted(settings: Hyperparameters, without: str) -> Hyperparameters | None:
    """Take one weight of the filter away; None when nothing would be left."""
    weights = {name: float(getattr(settings, name)) for name in ("epsilon", "sigma", "delta")}
    weights[without] = 0.0
    total = sum(weights.values())
    if total <= 0:
        return None
    return settings.with_changes({name: value / total for name, value in weights.items()}, "ablation")


# What quality costs: points of methods that trade one for the other, the Pareto front, the area under it.


_WEIGHTS = tuple(step / 10 for step in range(11))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One method under one setting.

    Attributes:
        method: The method.
        label: The method with its setting.
        average: Its mean score over datasets.
        cost_usd: Its mean dollars of all calls per question.
        calls: Its mean calls per question; None where they are not known.
        on_front: Whether no other point is as good for less, or better for as much.
    """

    method: str
    label: str
    average: float
    cost_usd: float
    calls: float | None = None
    on_front: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """All points and what can be had for how much.

    Attributes:
        points: By cost, then the better first.
        area: Area under the front of all points, see `area_under`; None without points.
        areas: The same for the points of each method that has several, alone, over the same dollars.
        unpriced: Methods with an entry without an average or without known dollars, which is no point.
    """

    points: tuple[CurvePoint, ...]
    area: float | None
    areas: dict[str, float]
    unpriced: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain data."""
        return asdict(self)


def traded(name: str, context: MethodContext) -> list[Variant]:
    """Return a method at each weight of quality against dollars; a method without such a setting once.

    Args:
        name: A method's name; a setting that stands behind it stays.
        context: What it is made from.
    """
    info, context = method_info(name), context.for_method(name)
    setting, settings = info.trade_off, context.hyperparameters
    if setting and f"{setting}=" not in name:
        return [Variant(f"{name}:{setting}={w:g}", f"{name}:{setting}={w:g}", context) for w in _WEIGHTS]
    if info.takes("price_weight"):
        return [
            Variant(
                f"{name} price_weight={w:g}",
                name,
                replace(context, hyperparameters=replace(settings, price_weight=w)),
            )
            for w in _WEIGHTS
        ]
    return [Variant(name, name, context)]


def build_curve(reports: Sequence[MethodReport]) -> Curve:
    """Return the points of a comparison.

    Args:
        reports: Rows of the table, labelled as `traded` does.
    """
    priced = [(report, report.averages, report.cost_usd) for report in reports]
    points = [
        CurvePoint(_method_of(report.name), report.name, averages.average, cost, report.calls)
        for report, averages, cost in priced
        if averages is not None and cost is not None
    ]
    points.sort(key=lambda point: (point.cost_usd, -point.average, point.label))
    front = {point.label for point in pareto_front(points)}
    marked = tuple(replace(point, on_front=point.label in front) for point in points)
    missing = [_method_of(report.name) for report, averages, cost in priced if averages is None or cost is None]
    unpriced = tuple(dict.fromkeys(missing))
    if not points:
        return Curve((), None, {}, unpriced)
    low, high = points[0].cost_usd, points[-1].cost_usd
    names = list(dict.fromkeys(_method_of(report.name) for report in reports))
    own = {name: [point for point in points if point.method == name] for name in names}
    areas = {name: area_under(found, low, high) for name, found in own.items() if len(found) > 1}
    return Curve(marked, area_under(points, low, high), areas, unpriced)


def pareto_front(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return the points that are better than every cheaper one, by cost; of equal ones the first by label."""
    front: list[CurvePoint] = []
    for point in sorted(points, key=lambda point: (point.cost_usd, -point.average, point.label)):
        if not front or point.average > front[-1].average:
            front.append(point)
    return front


def area_under(points: Sequence[CurvePoint], low: float, high: float) -> float:
    """Return the best average that can be had for a budget, averaged over budgets from `low` to `high` dollars.

    It is the area under the staircase of the Pareto front over the width of the range: what no point is cheap
    enough for counts 0, and nothing is mixed from two points. Of a range without width, the best average.

    Args:
        points: Points of one method or of all.
        low: Smallest budget per question.
        high: Largest budget per question.
    """
    front = [point for point in pareto_front(points) if point.cost_usd <= high]
    if high <= low:
        return max((point.average for point in front), default=0.0)
    ends = [*(point.cost_usd for point in front[1:]), high]
    widths = [max(end, low) - max(point.cost_usd, low) for point, end in zip(front, ends, strict=True)]
    return sum(point.average * width for point, width in zip(front, widths, strict=True)) / (high - low)


def _method_of(label: str) -> str:
    name = label.partition(" ")[0]
    info = known_method(name)  # a file of results may name methods that are not installed here
    return name.partition(":")[0] if info is not None and info.trade_off else label.partition(" price_weight=")[0]
