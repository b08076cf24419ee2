"""Choosing hyperparameters for a bank and its embedder by nested cross-validation on train rows.

The paper's settings belong to the paper's embedder. What is chosen is chosen on inner folds and judged on an outer one:
for every outer fold, settings are compared by how they decide the other rows, each by a bank that holds neither its own
fold nor the outer one; the choice then decides the outer fold, by a bank without it. So the gain that is reported owes
nothing to rows that helped to choose. The settings that are recommended at last are chosen in the same way on all rows.

Among settings that are as good as the best as far as the questions can tell, that is within one standard error (Breiman
et al., 1984), the one with the fewest calls is chosen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.batch_filter import Responses
from jisi_cli.evaluation.batch_methods import METHODS, Block, Decide
from jisi_cli.evaluation.batch_support import Scored, neighbours_among, sorted_rows
from jisi_cli.evaluation.batch_votes import NOBODY
from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.evaluation.statistics import Difference, paired_difference
from jisi_cli.evaluation.validation import FOLDS, average_of, spread_folds
from jisi_cli.formats.record import Failed
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.scoring import BankArrays, Floats, Rows

_N_BASE = (25, 50, 100, 200)
_GAMMA = (0.5, 0.7, 0.85, 0.95)
_PRIOR = (0.0, 10.0)
_WEIGHTS = ((0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.4, 0.6, 0.0))
"""(epsilon, sigma, delta): the paper's, the query alone, and responses without token counts."""
_MOST_JUDGED = 5000
"""Train questions that settings are compared on; of a larger bank a random part."""
_BLOCK_NUMBERS = 1 << 22

_MOST_THREADS = 4

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes:
        method: The method whose average was raised.
        chosen: The settings that are recommended.
        default: The settings that they are compared with.
        average: Their cross-validated average; optimistic, because they were chosen by it.
        calls: Their calls per question.
        paper_average: The cross-validated average of the defaults, which are the paper's where it has the method.
        paper_calls: Their calls per question.
        gain: Honest gain of choosing, on rows that the choice never saw.
        gain_calls: Calls per question of these choices.
        tried: Number of settings.
        agreement: Share of outer folds whose own choice was the chosen one.
    """

    method: str
    chosen: Hyperparameters | CascadeSettings
    default: Hyperparameters | CascadeSettings
    average: float
    calls: float
    paper_average: float
    paper_calls: float
    gain: Difference
    gain_calls: float
    tried: int
    agreement: float

    @property
    def real(self) -> bool:
        """Whether the 95 % interval of the gain lies above zero."""
        return self.gain.low > 0

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        defaults = asdict(self.default)
        return {name: value for name, value in asdict(self.chosen).items() if value != defaults[name]}


def grid(method: str) -> list[Hyperparameters]:
    """Return the settings that are tried for a method, its defaults first.

    What is chosen holds for every method of the bank but the cascade, so for a vote only the support set is varied: how
    many candidates vote, and when they stop, would change or break what the other methods do.
    """
    paper = Hyperparameters()
    found = [paper if method in ("jisi-router", "jisi-query") else replace(paper, switch="consensus")]
    # What takes a filter or several answers takes longer to try; 25 neighbours are tried where one model answers.
    sizes = _N_BASE if method == "jisi-query" else _N_BASE[1:]
    for prior, n_base, gamma in product(_PRIOR, sizes, _GAMMA):
        near = replace(found[0], prior=prior, n_base=n_base, gamma=gamma)
        weights = _WEIGHTS if method == "jisi-router" else _WEIGHTS[:1]
        found += [replace(near, epsilon=e, sigma=s, delta=d) for e, s, d in weights]
    return list(dict.fromkeys(found))


def calibrate(method: str, train: Train, *, seed: int, on_progress: OnProgress | None = None) -> Calibration:
    """Choose settings for a method on a bank's train rows.

    Args:
        method: One of `METHODS`.
        train: The rows.
        seed: Of the bootstrap, and of the rows that are judged where there are very many.
        on_progress: Told of (blocks of questions done, blocks in all).
    """
    settings = grid(method)
    judged = judged_rows(len(train.folds), seed)
    runs = _decide_all(METHODS[method], settings, train, judged, on_progress)
    own, labels = train.folds[judged], [train.datasets[row] for row in judged.tolist()]
    best = runs.choose(own, np.ones(len(own), dtype=bool), labels)
    honest, honest_calls, choices = np.full(len(own), np.nan), np.zeros(len(own)), []
    for fold in sorted(set(own.tolist())):
        outer = own == fold
        choices.append(runs.choose(np.full(len(own), fold), ~outer, labels))
        honest[outer], honest_calls[outer] = runs.scores[choices[-1], fold, outer], runs.calls[choices[-1], fold, outer]
    scores, calls = runs.under(own)
    gain = paired_difference(honest, scores[0], labels, "paper settings", np.random.default_rng(seed))
    return Calibration(
        method=method,
        chosen=settings[best],
        default=settings[0],
        average=average_of(scores[best], labels),
        calls=float(calls[best].mean()),
        paper_average=average_of(scores[0], labels),
        paper_calls=float(calls[0].mean()),
        gain=gain,
        gain_calls=float(honest_calls.mean()),
        tried=len(settings),
        agreement=choices.count(best) / len(choices),
    )


@dataclass(frozen=True)
class _Runs:
    """How S settings decided n rows by banks without the row's own fold, and without one of F folds besides.

    Attributes:
        scores: (S, F, n), NaN where unknown.
        calls: (S, F, n).
    """

    scores: Floats
    calls: NDArray[np.uint8]

    def under(self, left_out: Rows) -> tuple[Floats, NDArray[np.uint8]]:
        """Return scores and calls (S, n) by banks without one fold, named for each row (n,), besides its own."""
        rows = np.arange(self.scores.shape[2])
        return self.scores[:, left_out, rows], self.calls[:, left_out, rows]

    def choose(self, left_out: Rows, among: NDArray[np.bool_], datasets: Sequence[str]) -> int:
        """Choose a setting by some of the rows."""
        scores, calls = self.under(left_out)
        labels = np.array(datasets)[among]
        return choose(scores[:, among], calls[:, among].mean(axis=1), labels.tolist())


def choose(scores: Floats, calls: Floats, datasets: Sequence[str]) -> int:
    """Choose the setting with the fewest calls of those within one standard error of the best average.

    Of equally many calls, to one decimal, the best average wins, then the earlier setting: the paper's win ties.

    Args:
        scores: Scores (S, n), NaN where unknown.
        calls: Mean calls per question (S,).
        datasets: Dataset of each question (n,).
    """
    averages = np.array([average_of(row, datasets) for row in scores])
    best = int(np.argmax(averages))
    if not math.isfinite(averages[best]):
        return 0
    within = averages[best] - averages <= _standard_errors(scores[best] - scores, datasets)
    order = np.lexsort((np.arange(len(averages)), -averages, np.round(calls, 1)))
    return int(next(place for place in order.tolist() if within[place]))


def _standard_errors(differences: Floats, datasets: Sequence[str]) -> Floats:
    """Return the standard error of each average of paired differences (S,); see `average_of`."""
    labels = np.array(datasets)
    variances, counted = np.zeros(len(differences)), np.zeros(len(differences))
    for name in sorted(set(datasets)):
        values = differences[:, labels == name]
        known = ~np.isnan(values)
        count = known.sum(axis=1)
        mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1)
        squares = np.where(known, (values - mean[:, np.newaxis]) ** 2, 0.0).sum(axis=1)
        variances += squares / np.maximum(count * (count - 1), 1)
        counted += count > 0
    found: Floats = np.sqrt(variances) / np.maximum(counted, 1)
    return found


def judged_rows(rows: int, seed: int) -> Rows:
    """Return which of so many rows settings are compared on, ascending."""
    if rows <= _MOST_JUDGED:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, _MOST_JUDGED, replace=False))


def _decide_all(
    decide: Decide,
    settings: Sequence[Hyperparameters],
    train: Train,
    judged: Rows,
    on_progress: OnProgress | None,
) -> _Runs:
    """Decide rows under every setting, by every bank that lacks their fold."""
    shape = (len(settings), FOLDS, len(judged))
    runs = _Runs(np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8))

    def run(places: Rows) -> None:
        for other, block in train.blocks(judged[places], settings):
            for place, setting in enumerate(settings):
                found = decide(block, setting)
                runs.scores[place, other, places] = train.score(judged[places], found.models)
                runs.calls[place, other, places] = np.minimum(found.calls, np.iinfo(np.uint8).max)

    for_each_block(run, train, judged, on_progress)
    return runs


def for_each_block(run: Callable[[Rows], None], train: Train, judged: Rows, on_progress: OnProgress | None) -> None:
    """Run something for rows of one fold at a time, several at the same time.

    NumPy works on arrays without Python's lock. What is run writes to places of its rows alone.

    Args:
        run: Takes places among the judged rows.
        train: The train rows.
        judged: Which of them are judged (n,).
        on_progress: Told of (blocks done, blocks in all).
    """
    blocks = list(_blocks(train.folds[judged], train.bank.scores.size))
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        futures = [threads.submit(run, places) for places in blocks]
        try:
            for number, future in enumerate(futures, start=1):
                future.result()
                if on_progress is not None:
                    on_progress(number, len(blocks))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


class Train:
    """Train rows, decided by the others.

    Args:
        bank: The bank's arrays (N rows).
        datasets: Dataset of each row (N).
        finals: Final answers recorded for the same rows.
        seed: Seed of the folds.
        failed: What a question counts to which no model has a response.

    Raises:
        InputError: There is one row, which leaves none to decide it by.
    """

    def __init__(
        self, bank: BankArrays, datasets: Sequence[str], finals: AnswerCodes, seed: int, failed: Failed = "wrong"
    ) -> None:
        self.bank, self.datasets, self.finals = bank, datasets, finals
        self.folds = spread_folds(datasets, seed)
        self.labels = np.where(bank.present, bank.scores, np.nan)
        self.silent = 0.0 if failed == "wrong" else math.nan
        self._scored = Scored(bank.scores, bank.present, bank.model_names)
        self._vectors = bank.query_vectors.astype(np.float64)

    def blocks(self, rows: Rows, settings: Sequence[Hyperparameters]) -> Iterator[tuple[int, Block]]:
        """Yield rows of one fold with their neighbours in the other folds, and in the others without each of these."""
        own = int(self.folds[rows[0]])
        similarities = self._vectors[rows] @ self._vectors.T
        order, finals = sorted_rows(similarities), self.finals.of(rows)
        responses = Responses(self.bank, rows, finals.answered)
        for other in range(FOLDS):
            rest = (self.folds != own) & (self.folds != other)
            if rest.any():
                near = neighbours_among(self._scored, similarities, order, rest, settings)
                yield other, Block(near, finals, responses)

    def score(self, rows: Rows, models: Rows) -> Floats:
        """Return the scores of the models that answer rows (n,), NaN where unknown."""
        found: Floats = np.where(models == NOBODY, self.silent, self.labels[rows, models])
        return found


def _blocks(folds: Rows, numbers: int) -> Iterator[Rows]:
    """Yield the places of rows of one fold, so many at a time that arrays over the bank are not too large."""
    size = max(1, _BLOCK_NUMBERS // numbers)
    for fold in sorted(set(folds.tolist())):
        places = np.flatnonzero(folds == fold)
        for start in range(0, len(places), size):
            yield places[start : start + size]
