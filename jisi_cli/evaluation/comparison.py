"""From results to the comparison, as plain data, and the sentence about it that is read first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.runner import Timing
from jisi_cli.evaluation.statistics import (
    Averages,
    ConfidenceBin,
    Difference,
    averages,
    calibration_error,
    confidence_bins,
    paired_difference,
)

if TYPE_CHECKING:
    from jisi_cli.evaluation.experiments import Curve
    from jisi_cli.evaluation.learning_curve import LearningCurve
    from jisi_cli.evaluation.test_set import TestSet
    from jisi_cli.grading.grader_set import GraderSet


@dataclass(frozen=True, slots=True)
class MethodReport:
    """One row of the table.

    Attributes:
        name: Name of the method.
        questions: Questions it was run on.
        scored: Of these, with a score.
        unscored: Answered, but not known whether correctly.
        needs_live: Not answered, because the replay lacks a call that the method wanted.
        failed: No model answered; they count as wrong, but for `failed_left_out`.
        averages: Mean scores over the scored questions; None when a question needs live calls, because a
            mean over the others would be of other questions.
        versus: Paired differences to other methods.
        calls: Mean calls per question.
        cost_usd: Mean dollars of all calls per question; None when one is unknown.
        winner_cost_usd: Mean dollars of the call that wrote the answer.
        modes: Share of questions by mode (route, aggregate, consensus, fallback).
        selection: Share of final answers by model, per dataset and in all (`*`): the paper's Fig. 6.
        support_size: Mean size of the support set; None for methods without one.
        seconds: Seconds that training and scoring took.
        failed_left_out: Of the failed ones, those that the means leave out, as `--failed unscored` wants it.
        chosen: Which of its settings the method chose on train rows; None where it chose nothing.
        calibration_error: Expected calibration error of the scored answers that were given with a confidence; None
            for methods that say none.
        reliability: The same answers in bins by confidence.
    """

    name: str
    questions: int
    scored: int
    unscored: int
    needs_live: int
    failed: int
    averages: Averages | None
    versus: tuple[Difference, ...]
    calls: float | None
    cost_usd: float | None
    winner_cost_usd: float | None
    modes: dict[str, float]
    selection: dict[str, dict[str, float]]
    support_size: float | None
    seconds: Timing | None
    failed_left_out: int = 0
    chosen: str | None = None
    calibration_error: float | None = None
    reliability: tuple[ConfidenceBin, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {**asdict(self), "seconds": self.seconds.to_json() if self.seconds else None}


@dataclass(frozen=True)
class Comparison:
    """How methods compare on the same questions.

    Attributes:
        methods: The rows of the table.
        results: For each method by name what it made of each question.
        settings: For each method by name what it ran with; None where it has no settings.
        tests: The questions.
        graders: What graded live answers, with what it cost and what it could not grade.
        made: What is needed to make the comparison again, as plain data.
        curve: What quality costs, where that was asked for.
        learning: What fewer questions of the bank would have been worth, where that was asked for.
    """

    methods: Sequence[MethodReport]
    results: Mapping[str, Sequence[Result]] = field(repr=False)
    settings: Mapping[str, dict[str, Any] | None] = field(repr=False)
    tests: TestSet = field(repr=False)
    graders: GraderSet = field(repr=False)
    made: Mapping[str, Any] = field(repr=False)
    curve: Curve | None = field(default=None, repr=False)
    learning: LearningCurve | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the whole comparison as plain data."""
        rows = [{**row.to_json(), "settings": self.settings[row.name]} for row in self.methods]
        curve = {} if self.curve is None else {"curve": self.curve.to_json()}
        learning = {} if self.learning is None else {"learning_curve": self.learning.to_json()}
        return {"methods": rows, **self.made, **curve, **learning}


def build_report(
    results: Mapping[str, Sequence[Result]],
    versus: Sequence[str],
    rng: np.random.Generator,
    timings: Mapping[str, Timing] | None = None,
) -> list[MethodReport]:
    """Summarise what methods made of the same questions.

    Args:
        results: For each method its results, all in the order of the same questions.
        versus: Methods that every other one is compared with; those without results, or without all of them
            because they need live calls, are left out.
        rng: Source of the bootstrap.
        timings: Seconds per method, where they were measured.
    """
    scores = {name: _scores(rows) for name, rows in results.items()}
    # Every pair is resampled alike, so that an interval does not depend on what else was compared.
    seed = int(rng.integers(2**63))
    # Questions that happen to need no live call are no fair sample of all.
    whole = {name for name, rows in results.items() if not _count(rows, "needs-live")}
    reports = []
    for name, rows in results.items():
        datasets = [row.dataset for row in rows]
        others = [other for other in versus if other in whole and other != name and name in whole]
        differences = tuple(
            paired_difference(scores[name], scores[other], datasets, other, np.random.default_rng(seed))
            for other in others
        )
        reports.append(_method_report(name, rows, scores[name], differences, (timings or {}).get(name)))
    return reports


def _method_report(
    name: str,
    rows: Sequence[Result],
    scores: NDArray[np.float64],
    versus: tuple[Difference, ...],
    seconds: Timing | None,
) -> MethodReport:
    known = ~np.isnan(scores)
    needs_live = _count(rows, "needs-live")
    datasets = [row.dataset for row, is_known in zip(rows, known, strict=True) if is_known]
    answered = [row for row in rows if row.status in ("scored", "unscored")]
    bins = _reliability(rows) if not needs_live else ()
    return MethodReport(
        name=name,
        questions=len(rows),
        scored=_count(rows, "scored"),
        unscored=_count(rows, "unscored"),
        needs_live=needs_live,
        failed=_count(rows, "failed"),
        chosen=seconds.chosen if seconds else None,
        failed_left_out=sum(row.status == "failed" and row.score is None for row in rows),
        averages=averages(scores[known], datasets) if datasets and not needs_live else None,
        versus=versus,
        calls=_mean([row.calls for row in rows]) if not needs_live else None,
        cost_usd=_mean([row.cost_usd for row in rows]) if not needs_live else None,
        winner_cost_usd=_mean([row.winner_cost_usd for row in answered]) if not needs_live else None,
        modes=_shares([row.mode or row.status for row in rows]),
        selection=_selection(answered),
        support_size=_mean([row.support_size for row in rows if row.support_size is not None]),
        seconds=seconds,
        calibration_error=calibration_error(bins),
        reliability=bins,
    )


def _reliability(rows: Sequence[Result]) -> tuple[ConfidenceBin, ...]:
    said = [(row.confidence, row.score) for row in rows if row.confidence is not None and row.score is not None]
    return confidence_bins([confidence for confidence, _ in said], [score for _, score in said])


def _scores(rows: Sequence[Result]) -> NDArray[np.float64]:
    return np.array([math.nan if row.score is None else row.score for row in rows])


def _count(rows: Sequence[Result], status: str) -> int:
    return sum(row.status == status for row in rows)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    # One unknown makes a sum unknown: a mean over the others would flatter.
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _shares(labels: Sequence[str]) -> dict[str, float]:
    return {label: number / len(labels) for label, number in sorted(Counter(labels).items())}


def _selection(rows: Sequence[Result]) -> dict[str, dict[str, float]]:
    chosen: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.model is not None:
            chosen[row.dataset].append(row.model)
            chosen["*"].append(row.model)
    return {name: _shares(models) for name, models in sorted(chosen.items())}


# The sentence that is read first: who wins, or that nobody does and what is cheaper then.

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
