"""Settings of JiSi's stages and of votes that a calibration tries, and how each of them decides; see `calibration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.batch_methods import METHODS
from jisi_cli.evaluation.held_out import OnProgress, Train, for_each_block
from jisi_cli.evaluation.validation import FOLDS
from jisi_cli.hyperparameters import OWN_DEFAULTS, Hyperparameters
from jisi_cli.scoring import Floats, Rows

_N_BASE = (25, 50, 100, 200)
_GAMMA = (0.5, 0.7, 0.85, 0.95)
_PRIOR = (0.0, 10.0)
_WEIGHTS = ((0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.4, 0.6, 0.0))
"""(epsilon, sigma, delta): the paper's, the query alone, and responses without token counts."""
_ROUNDS = ((3, ""), (3, "2,1"), (5, ""), (5, "3,2"), (5, "2,3"))
"""(k, probe_schedule). Rounds end where all agree, so that once two differ, the others may as well be asked at once."""
_U = (0.5, 0.7, 0.999)


def grid(method: str) -> list[Hyperparameters]:
    """Return the settings that are tried for a method, its defaults first."""
    defaults = OWN_DEFAULTS.get(method, Hyperparameters())
    # What takes a filter or several answers takes longer to try; 25 neighbours are tried where one model answers.
    sizes = _N_BASE if method == "jisi-query" else _N_BASE[1:]
    found = [defaults]
    for prior, n_base, gamma in product(_PRIOR, sizes, _GAMMA):
        found += _near(method, replace(defaults, prior=prior, n_base=n_base, gamma=gamma))
    return list(dict.fromkeys(found))


def _near(method: str, support: Hyperparameters) -> list[Hyperparameters]:
    """Return the settings with one support set; those that share a filter follow one another."""
    if method == "jisi-query":
        return [support]
    if method == "jisi-router":
        return [replace(support, epsilon=e, sigma=s, delta=d) for e, s, d in _WEIGHTS]
    # What share ends a vote at once decides what is left to the aggregator, and so matters to consensus alone.
    shares = _U if method == "jisi-consensus" else (support.u,)
    return [replace(support, k=k, probe_schedule=rounds, u=u) for (k, rounds), u in product(_ROUNDS, shares)]


@dataclass(frozen=True)
class StageRuns:
    """How S settings decided n rows by banks without the row's own fold, and without one of F folds besides.

    Attributes:
        scores: (S, F, n), NaN where unknown.
        calls: (S, F, n).
        own: Own fold of each row (n,).
    """

    scores: Floats
    calls: NDArray[np.uint8]
    own: Rows

    def without(self, fold: int | None) -> tuple[Floats, NDArray[np.uint8]]:
        """Return scores and calls (S, n) by banks that lack each row's own fold, and one more where it is named."""
        left_out = self.own if fold is None else np.full(len(self.own), fold)
        rows = np.arange(len(self.own))
        return self.scores[:, left_out, rows], self.calls[:, left_out, rows]


def run_stages(
    method: str, settings: Sequence[Hyperparameters], train: Train, judged: Rows, on_progress: OnProgress | None
) -> StageRuns:
    """Decide rows under every setting, by every bank that lacks their fold.

    Args:
        method: One of `METHODS`.
        settings: S settings.
        train: The train rows.
        judged: Which of them are decided (n,).
        on_progress: Told of (blocks of questions done, blocks in all).
    """
    shape = (len(settings), FOLDS, len(judged))
    runs = StageRuns(np.full(shape, np.nan), np.zeros(shape, dtype=np.uint8), train.folds[judged])
    decide = METHODS[method]

    def run(places: Rows) -> None:
        for other, block in train.blocks(judged[places], settings):
            for place, setting in enumerate(settings):
                found = decide(block, setting)
                runs.scores[place, other, places] = train.score(judged[places], found.models)
                runs.calls[place, other, places] = np.minimum(found.calls, np.iinfo(np.uint8).max)

    for_each_block(run, train, judged, on_progress)
    return runs
