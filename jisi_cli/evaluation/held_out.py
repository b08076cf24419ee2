"""Train rows decided by the others: by banks that lack the row's own fold, and one more fold where something is chosen.

Rows of one fold at a time, several such blocks at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jisi_cli.evaluation.batch_filter import Responses
from jisi_cli.evaluation.batch_methods import Block
from jisi_cli.evaluation.batch_support import Scored, neighbours_among, sorted_rows
from jisi_cli.evaluation.batch_votes import NOBODY
from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.evaluation.validation import FOLDS, spread_folds
from jisi_cli.formats.record import Failed
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Floats, Rows
from jisi_cli.workers import usable_cores

_MOST_JUDGED = 5000
"""Train questions that settings are compared on; of a larger bank a random part."""
_BLOCK_NUMBERS = 1 << 22
_MOST_THREADS = 4

OnProgress = Callable[[int, int], None]


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


def judged_rows(rows: int, seed: int) -> Rows:
    """Return which of so many rows settings are compared on, ascending."""
    if rows <= _MOST_JUDGED:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, _MOST_JUDGED, replace=False))


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
    with ThreadPoolExecutor(min(_MOST_THREADS, usable_cores())) as threads:
        futures = [threads.submit(run, places) for places in blocks]
        try:
            for number, future in enumerate(futures, start=1):
                future.result()
                if on_progress is not None:
                    on_progress(number, len(blocks))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _blocks(folds: Rows, numbers: int) -> Iterator[Rows]:
    """Yield the places of rows of one fold, so many at a time that arrays over the bank are not too large."""
    size = max(1, _BLOCK_NUMBERS // numbers)
    for fold in sorted(set(folds.tolist())):
        places = np.flatnonzero(folds == fold)
        for start in range(0, len(places), size):
            yield places[start : start + size]
