"""What a bank of fewer questions would be worth: its learning curve, by cross-validation on train rows.

A fifth of the train questions is held out; of the rest, banks of 25, 50, 100, ... questions are drawn. Each decides the
held-out questions: by the vote of its K candidates (the first one's answer, where none has a final answer), and by the
one model that is best on it. Every fifth is held out in turn, twice in other fifths, which makes ten draws. Nothing is
chosen by what it is judged by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from jisi_cli.evaluation.batch_support import Neighbours, Scored, neighbours_among, sorted_rows
from jisi_cli.evaluation.batch_votes import NOBODY, first_answered, vote
from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.evaluation.statistics import INTERVAL
from jisi_cli.evaluation.validation import average_of, spread_folds
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Floats, Rows
from jisi_cli.workers import Workers, each_piece

LEAST_QUESTIONS = 20
"""Train questions from which on there is a curve."""
_FIRST_SIZE = 25
_REPEATS = 2
_RESAMPLES = 1000
_BLOCK_NUMBERS = 1 << 22

_LITTLE = 0.01
_OUTLOOK = {
    "help": "more questions still help",
    "little": "twice as many would bring less than a point",
    "unknown": "whether more questions help cannot be told from this",
}

OnProgress = Callable[[int, int], None]
Outlook = Literal["help", "little", "unknown"]


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of averages with its 95 % interval over questions and draws."""

    average: float
    low: float
    high: float

    def interval(self) -> str:
        """Return the interval in points, as in `[-0.52, +1.30]`."""
        return f"[{100 * self.low:+.2f}, {100 * self.high:+.2f}]"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What banks of one size are worth.

    Attributes:
        questions: Their size.
        average: Average of the vote on held-out questions.
        best_single: Average of the model that was best on the bank.
        gain: How much better the vote is.
    """

    questions: int
    average: float
    best_single: float
    gain: Gain


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How the gain grows with the bank.

    Attributes:
        method: What decides the held-out questions.
        settings: Its hyperparameters.
        draws: Banks of each size.
        points: By size.
        last_step: How much better the vote of the largest banks is than that of banks of half their size or more; None
            for a curve of one point.
    """

    method: str
    settings: dict[str, Any]
    draws: int
    points: tuple[CurvePoint, ...]
    last_step: Gain | None

    @property
    def outlook(self) -> Outlook:
        """Whether more questions help: they did in the last step, they brought less than a point, or it is not sure."""
        if self.last_step is None:
            return "unknown"
        if self.last_step.low > 0:
            return "help"
        return "little" if self.last_step.high < _LITTLE else "unknown"

    def in_words(self) -> str | None:
        """Say what the last step brought and whether more questions would help; None for a curve of one point."""
        if self.last_step is None:
            return None
        before, last = self.points[-2].questions, self.points[-1].questions
        points = round(100 * self.last_step.average, 2)
        return (
            f"from {before:,} to {last:,} questions the vote {'lost' if points < 0 else 'gained'} {abs(points):.2f} "
            f"points (interval of the gain {self.last_step.interval()}): {_OUTLOOK[self.outlook]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain data."""
        return {**asdict(self), "more_questions": self.outlook}


def learning_curve(
    bank: BankArrays,
    datasets: Sequence[str],
    finals: AnswerCodes,
    settings: Hyperparameters,
    seed: int,
    on_progress: OnProgress | None = None,
    workers: Workers | None = None,
) -> LearningCurve | None:
    """Return the curve of a bank; None where it has too few questions.

    Args:
        bank: The bank's arrays (N train rows).
        datasets: Dataset of each row (N).
        finals: Final answers of the same rows.
        settings: Hyperparameters of the vote.
        seed: Seed of the folds, the draws and the intervals.
        on_progress: Told of (draws done, draws in all).
        workers: Who decides the held-out questions; None for this process.
    """
    if len(datasets) < LEAST_QUESTIONS:
        return None
    rng = np.random.default_rng(seed)
    draws = list(_draws(datasets, rng))
    sizes = curve_sizes(min(len(rest) for _, rest in draws))
    found = np.full((2, len(sizes), len(draws), len(datasets)), np.nan)
    parts = [(number, part) for number, (held_out, _) in enumerate(draws) for part in _blocks(held_out, bank)]
    pieces = ((part, [draws[number][1][:size] for size in sizes]) for number, part in parts)
    scored = each_piece(workers, _deciding, (bank, datasets, finals, settings), pieces)
    for at, ((number, part), scores) in enumerate(zip(parts, scored, strict=True)):
        found[:, :, number, part] = scores
        if on_progress is not None and (at + 1 == len(parts) or parts[at + 1][0] > number):
            on_progress(number + 1, len(draws))
    voted, single = found
    resampling = _Resampling(len(draws), datasets, rng)
    points = tuple(
        CurvePoint(size, *_averages(voted[at], single[at], datasets), resampling.gain(voted[at] - single[at]))
        for at, size in enumerate(sizes)
    )
    last = resampling.gain(voted[-1] - voted[-2]) if len(sizes) > 1 else None
    return LearningCurve("jisi-vote", settings.to_json(), len(draws), points, last)


def curve_sizes(most: int) -> list[int]:
    """Return the sizes of banks: 25 and its doubles below three quarters of the largest, and the largest."""
    sizes = [_FIRST_SIZE]
    while 2 * sizes[-1] <= 0.75 * most:
        sizes.append(2 * sizes[-1])
    return [*(size for size in sizes if size <= 0.75 * most), most]


def _draws(datasets: Sequence[str], rng: np.random.Generator) -> Iterator[tuple[Rows, Rows]]:
    """Yield held-out rows and the others in random order, of which banks are the first ones."""
    for _ in range(_REPEATS):
        folds = spread_folds(datasets, int(rng.integers(2**32)))
        for fold in sorted(set(folds.tolist())):
            yield np.flatnonzero(folds == fold), rng.permutation(np.flatnonzero(folds != fold))


def _blocks(rows: Rows, bank: BankArrays) -> list[Rows]:
    """Return rows in parts whose arrays are not too large."""
    size = max(1, _BLOCK_NUMBERS // bank.scores.size)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _deciding(
    bank: BankArrays, datasets: Sequence[str], finals: AnswerCodes, settings: Hyperparameters
) -> Callable[[tuple[Rows, Sequence[Rows]]], Floats]:
    """Return what decides held-out rows, in any process."""
    deciding = _Deciding(bank, datasets, finals, settings)
    return lambda given: deciding.scores(*given)


class _Deciding:
    """Decides held-out rows by banks of some of the others."""

    def __init__(
        self, bank: BankArrays, datasets: Sequence[str], finals: AnswerCodes, settings: Hyperparameters
    ) -> None:
        self.settings, self.finals = settings, finals
        self.scored = Scored(bank.scores, bank.present, bank.model_names)
        self.labels = np.where(bank.present, bank.scores, np.nan)
        self.vectors = bank.query_vectors.astype(np.float64)
        self.datasets = np.array(datasets)

    def scores(self, rows: Rows, banks: Sequence[Rows]) -> Floats:
        """Return what the vote and the best single model of each bank score (2, banks, rows), NaN where unknown."""
        similarities = self.vectors[rows] @ self.vectors.T
        order = sorted_rows(similarities)
        finals = self.finals.of(rows)
        found = np.full((2, len(banks), len(rows)), np.nan)
        for at, bank in enumerate(banks):
            taking_part = np.zeros(len(self.labels), dtype=bool)
            taking_part[bank] = True
            near = neighbours_among(self.scored, similarities, order, taking_part, [self.settings])
            single = np.tile(self.best_first(np.flatnonzero(taking_part)), (len(rows), 1))
            for which, models in enumerate((self._voted(near, finals), first_answered(single, finals.answered)[0])):
                found[which, at] = np.where(models == NOBODY, np.nan, self.labels[rows, models])
        return found

    def best_first(self, rows: Rows) -> Rows:
        """Return the models by their mean over datasets on some rows, best first (M,); ties by the mean, then name."""
        groups = [rows[self.datasets[rows] == name] for name in np.unique(self.datasets[rows])]
        means = np.round(np.mean([self.scored.means(group) for group in groups], axis=0), 9)
        found: Rows = np.lexsort((self.scored.by_name, -self.scored.means(rows), -means))
        return found

    def _voted(self, near: Neighbours, finals: AnswerCodes) -> Rows:
        scores = near.scores(self.settings)
        ranking = near.rank(scores, self.settings)
        winners = vote(ranking, scores, finals, self.settings.rounds()).winners
        return np.where(winners == NOBODY, first_answered(ranking, finals.answered)[0], winners)


def _averages(voted: Floats, single: Floats, datasets: Sequence[str]) -> tuple[float, float]:
    both = np.where(np.isnan(voted) | np.isnan(single), np.nan, 1.0)
    return average_of(_over_draws(voted * both), datasets), average_of(_over_draws(single * both), datasets)


def _over_draws(values: Floats) -> Floats:
    """Return the mean over draws of each question (n,), NaN where it has none."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    found: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return found


class _Resampling:
    """Intervals for which both draws and questions are resampled, because the same draw decides many questions.

    Both are drawn with replacement, independently (the pigeonhole bootstrap of Owen, 2007), questions within each
    dataset. All gains are measured on the same resamples.
    """

    def __init__(self, draws: int, datasets: Sequence[str], rng: np.random.Generator) -> None:
        self._datasets = datasets
        self._of_draws = _counts(draws, rng)
        labels = np.array(datasets)
        groups = [np.flatnonzero(labels == name) for name in sorted(set(datasets))]
        self._of_rows = [(rows, _counts(len(rows), rng)) for rows in groups]

    def gain(self, values: Floats) -> Gain:
        """Return the average of differences (draws, n), NaN where unknown, and its interval."""
        known = ~np.isnan(values)
        filled, counted = np.where(known, values, 0.0), known.astype(np.float64)
        means = []
        for rows, of_rows in self._of_rows:
            sums = ((self._of_draws @ filled[:, rows]) * of_rows).sum(axis=1)
            weights = ((self._of_draws @ counted[:, rows]) * of_rows).sum(axis=1)
            means.append(np.divide(sums, weights, out=np.full(_RESAMPLES, np.nan), where=weights > 0))
        whole = np.array([mean for mean in means if not np.isnan(mean).all()])
        average = average_of(_over_draws(values), self._datasets)
        low, high = np.nanpercentile(np.nanmean(whole, axis=0), INTERVAL) if len(whole) else (math.nan, math.nan)
        return Gain(average, float(low), float(high))


def _counts(size: int, rng: np.random.Generator) -> Floats:
    """How often each of `size` things is drawn in each resample (resamples, size)."""
    return rng.multinomial(size, np.full(size, 1 / size), size=_RESAMPLES).astype(np.float64)
