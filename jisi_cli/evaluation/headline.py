"""The sentence about a comparison that is read first: who wins, or that nobody does and what is cheaper then."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jisi_cli.evaluation.comparison import MethodReport
from jisi_cli.evaluation.statistics import Difference

BASELINE = "best-single"
BOUND = "oracle"
UNCLEAR = "no clear difference"
_CHEAPER = 0.9
"""Share of a price from which on another is not worth a word."""
_SHARES = ("half", "a third of", "a quarter of", "a fifth of", "a sixth of", "a seventh of", "an eighth of")
_NEAR = 0.15
"""How far a price may be from one of these shares, in shares."""
_MANY = 6


def competes(name: str) -> bool:
    """Whether a method takes part: an oracle is told what no method can know, the labels or the dataset."""
    return not name.split(" ")[0].endswith(BOUND)


def leading(reports: Sequence[MethodReport]) -> MethodReport | None:
    """Return the method with the best average; of equal ones the cheapest, then the first by name."""
    known = [report for report in reports if report.averages is not None and competes(report.name)]
    return min(known, key=lambda report: (-_average(report), *_price(report)), default=None)


def difference_to(report: MethodReport, versus: str) -> Difference | None:
    """Return how a method compares with another; None where they share no scored question."""
    return next((found for found in report.versus if found.versus == versus and found.questions), None)


def verdict(found: Difference) -> str:
    """Return what an interval says: one that holds 0 shows no clear difference."""
    if found.low <= 0 <= found.high:
        return UNCLEAR
    return "better" if found.low > 0 else "worse"


def headline(reports: Sequence[MethodReport]) -> str:
    """Return the sentence; no method is preferred in it but by score, then by price, then by name."""
    best = leading(reports)
    if best is None:
        return "No method has an average: nothing was scored, or calls are missing from the replay."
    clear = [report for report in reports if competes(report.name) and _clearly(report, "better")]
    single = next((report for report in reports if report.name == BASELINE), None)
    if best in clear or single is None or single.averages is None:
        return f"{best.name} {'wins' if best in clear else 'leads'} with {_percent(best)} %{_level(best, reports)}."
    if clear:
        # It gained most where it matters, though another has a higher average without a clear gain.
        first = min(clear, key=lambda report: (-_average(report), *_price(report)))
        return f"{first.name} clearly beats {_called(single)}; {best.name} has {_percent(best)} %, but not clearly."
    return f"Nobody clearly beats {_called(single)}{_cheaper(single, reports)}."


def _clearly(report: MethodReport, how: str) -> bool:
    found = difference_to(report, BASELINE)
    return found is not None and verdict(found) == how


def _level(best: MethodReport, reports: Sequence[MethodReport]) -> str:
    """Name the methods with exactly the same average."""
    others = [r for r in reports if r is not best and r.averages is not None and competes(r.name)]
    level = sorted((r for r in others if _average(r) == _average(best)), key=_price)
    names = ", ".join(report.name for report in level[:_MANY])
    more = f" and {len(level) - _MANY} more" if len(level) > _MANY else ""
    return f", level with {names}{more}" if level else ""


def _cheaper(single: MethodReport, reports: Sequence[MethodReport]) -> str:
    """Name the cheapest method that is not clearly worse than the best single model, if it is really cheaper."""
    level = [r for r in reports if competes(r.name) and _clearly(r, UNCLEAR) and r.cost_usd is not None]
    cheapest = min(level, key=_price, default=None)
    if cheapest is None or cheapest.cost_usd is None or not single.cost_usd:
        return ""
    share = cheapest.cost_usd / single.cost_usd
    return f"; {cheapest.name} is level with the top at {_share_words(share)} the price" if share <= _CHEAPER else ""


def _share_words(share: float) -> str:
    if not share:
        return "none of"
    parts = round(1 / share)
    if 2 <= parts <= len(_SHARES) + 1 and abs(1 / share - parts) <= _NEAR * parts:
        return _SHARES[parts - 2]
    return f"{100 * share:.2g} % of"


def _called(single: MethodReport) -> str:
    """Return the model that the best single one is, where it is one."""
    models = single.selection.get("*", {})
    return next(iter(models)) if len(models) == 1 else f"the best single model ({BASELINE})"


def _average(report: MethodReport) -> float:
    return report.averages.average if report.averages is not None else -math.inf


def _price(report: MethodReport) -> tuple[float, str]:
    return (math.inf if report.cost_usd is None else report.cost_usd, report.name)


def _percent(report: MethodReport) -> str:
    return f"{100 * _average(report):.2f}"
