"""Comparisons repeated over several splits of one bank: means, spread, and intervals over splits and questions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.comparison import MethodReport, build_report
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.runner import Timing
from jisi_cli.evaluation.statistics import Averages, average_difference, averages, repeated_difference

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """What methods made of the test rows of one split, fitted on its train rows.

    Attributes:
        seed: Seed of the split.
        results: For each method by name its results, all in the order of the split's test questions.
        timings: Seconds per method, where they were measured.
        train: Number of train rows; None where only results are known.
        settings: For each method by name what it ran with.
    """

    seed: int
    results: Mapping[str, Sequence[Result]] = field(repr=False)
    timings: Mapping[str, Timing] = field(default_factory=dict, repr=False)
    train: int | None = None
    settings: Mapping[str, dict[str, Any] | None] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> Sequence[Result]:
        """The results of one method, which say what the split's test questions are."""
        return next(iter(self.results.values()), ())

    @property
    def test(self) -> int:
        """Number of test questions."""
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class SplitFigures:
    """One method on one split.

    Attributes:
        seed: Seed of the split.
        average: Its Avg; None where a question needs live calls, or none has a score.
        differences: Its Avg less that of other methods on the same questions.
        calls: Mean calls per question.
        cost_usd: Mean dollars of all calls per question; None when one is unknown.
        calibration_error: Expected calibration error; None for methods that say no confidence.
    """

    seed: int
    average: float | None
    differences: dict[str, float]
    calls: float | None
    cost_usd: float | None
    calibration_error: float | None


@dataclass(frozen=True, slots=True)
class SplitReport:
    """One method over all splits.

    Attributes:
        overall: All splits together: averages are means over splits; intervals count both which questions there are
            and how they were split; counts, shares, costs and the calibration error are of all answers.
        spread: Sample standard deviation of Avg over the splits; None with fewer than two.
        splits: Each split.
    """

    overall: MethodReport
    spread: float | None
    splits: tuple[SplitFigures, ...]

    def worst(self, versus: str) -> tuple[int, float] | None:
        """Return seed and difference of the split on which the method compares worst with another; None for none."""
        found = [(split.differences[versus], split.seed) for split in self.splits if versus in split.differences]
        return (min(found)[1], min(found)[0]) if found else None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        worst = {found.versus: self.worst(found.versus) for found in self.overall.versus}
        return {
            **self.overall.to_json(),
            "spread": self.spread,
            "worst": {name: {"seed": at[0], "difference": at[1]} for name, at in worst.items() if at is not None},
            "splits": [asdict(split) for split in self.splits],
        }


@dataclass(frozen=True)
class SplitComparison:
    """How methods compare over several splits of a bank.

    Attributes:
        methods: The rows of the table.
        splits: What each split brought.
        made: What is needed to make the comparison again, as plain data.
    """

    methods: Sequence[SplitReport]
    splits: Sequence[Split] = field(repr=False)
    made: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the whole comparison as plain data."""
        settings = {name: found for split in self.splits for name, found in split.settings.items()}
        rows = [{**row.to_json(), "settings": settings.get(row.overall.name)} for row in self.methods]
        return {"methods": rows, **self.made}


def summarise(splits: Sequence[Split], versus: Sequence[str], rng: np.random.Generator) -> list[SplitReport]:
    """Summarise what methods made of several splits.

    Args:
        splits: Finished splits, one or more.
        versus: Methods that every other one is compared with, split by split.
        rng: Source of the resamples.
    """
    questions = list(dict.fromkeys((row.dataset, row.index) for split in splits for row in split.rows))
    datasets = [dataset for dataset, _ in questions]
    places = {key: place for place, key in enumerate(questions)}
    scores = {name: _matrix(splits, name, places) for name in pooled_results(splits)}
    # Every pair is resampled alike, so that an interval does not depend on what else was compared.
    seed = int(rng.integers(2**63))
    rows = build_report(pooled_results(splits), (), rng, _timings(splits))
    whole = {row.name for row in rows if row.averages is not None}
    reports = []
    for row in rows:
        others = [name for name in versus if name in whole and name != row.name and row.name in whole]
        differences = tuple(
            repeated_difference(scores[row.name], scores[other], datasets, other, np.random.default_rng(seed))
            for other in others
        )
        by_split = tuple(
            _figures(split, place, row.name, scores, datasets, others) for place, split in enumerate(splits)
        )
        known = [figures.average for figures in by_split if figures.average is not None]
        overall = replace(row, averages=_mean_averages(scores[row.name], datasets, row), versus=differences)
        reports.append(SplitReport(overall, _spread(known), by_split))
    return reports


def pooled_results(splits: Sequence[Split]) -> dict[str, list[Result]]:
    """Return, for each method by name, its results on all splits that it took part in."""
    names = dict.fromkeys(name for split in splits for name in split.results)
    return {name: [row for split in splits for row in split.results.get(name, ())] for name in names}


def _matrix(splits: Sequence[Split], name: str, places: Mapping[tuple[str, str], int]) -> Scores:
    """Scores of a method (S, n): NaN where a question is no test row of a split, or has no score there."""
    scores = np.full((len(splits), len(places)), np.nan)
    for number, split in enumerate(splits):
        for row in split.results.get(name, ()):
            if row.score is not None:
                scores[number, places[row.dataset, row.index]] = row.score
    return scores


def _figures(
    split: Split,
    place: int,
    name: str,
    scores: Mapping[str, Scores],
    datasets: Sequence[str],
    others: Iterable[str],
) -> SplitFigures:
    results = {name: split.results[name]} if name in split.results else {}
    alone = next(iter(build_report(results, (), np.random.default_rng(0))), None)
    ours = scores[name][place]
    found = {other: average_difference(ours - scores[other][place], datasets) for other in others}
    return SplitFigures(
        seed=split.seed,
        average=alone.averages.average if alone is not None and alone.averages is not None else None,
        differences={other: value for other, value in found.items() if not math.isnan(value)},
        calls=alone.calls if alone else None,
        cost_usd=alone.cost_usd if alone else None,
        calibration_error=alone.calibration_error if alone else None,
    )


def _mean_averages(scores: Scores, datasets: Sequence[str], row: MethodReport) -> Averages | None:
    """Return means over splits of what `averages` says of each."""
    if row.averages is None:
        return None
    found = []
    for line in scores:
        known = ~np.isnan(line)
        if known.any():
            found.append(
                averages(line[known], [name for name, is_known in zip(datasets, known, strict=True) if is_known])
            )
    names = sorted({name for one in found for name in one.datasets})
    return Averages(
        {name: _mean([one.datasets[name] for one in found if name in one.datasets]) for name in names},
        _mean([one.average for one in found]),
        _mean([one.weighted for one in found]),
    )


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _timings(splits: Sequence[Split]) -> dict[str, Timing]:
    """Return what each method took on all splits together."""
    names = dict.fromkeys(name for split in splits for name in split.timings)
    return {name: _sum([split.timings[name] for split in splits if name in split.timings]) for name in names}


def _sum(timings: Sequence[Timing]) -> Timing:
    trained = [timing.train for timing in timings]
    chosen = dict.fromkeys(timing.chosen for timing in timings if timing.chosen)
    return Timing(
        plan=math.fsum(timing.plan for timing in timings),
        answer=math.fsum(timing.answer for timing in timings),
        make=math.fsum(timing.make for timing in timings),
        train=None if None in trained else math.fsum(value for value in trained if value is not None),
        train_from_cache=all(timing.train_from_cache for timing in timings),
        chosen="; ".join(chosen) or None,
    )
