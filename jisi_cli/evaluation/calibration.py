"""Choosing hyperparameters for a bank and its embedder by cross-validation on train rows.

The paper's settings belong to the paper's embedder. The gain that is reported is not that of the
winner on the rows that made it win: for every fold the choice is made on the other folds, and the
scores of those choices are compared with the paper's on the rows they never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.statistics import Difference, paired_difference
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.evaluation.validation import OnProgress, average_of, spread_folds, validate
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.registry import method_info

_N_BASE = (25, 50, 100, 200)
_GAMMA = (0.5, 0.7, 0.85, 0.95)
_WEIGHTS = ((0.5, 0.3, 0.2), (1.0, 0.0, 0.0), (0.4, 0.6, 0.0))
"""(epsilon, sigma, delta): the paper's, the query alone, and responses without token counts."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found.

    Attributes:
        method: The method whose average was raised.
        chosen: The settings with the best cross-validated average.
        average: That average; optimistic, because it was chosen by it.
        paper_average: The cross-validated average of the paper's settings.
        gain: Honest gain of choosing, on rows that the choice never saw.
        tried: Number of settings.
        agreement: Share of folds whose own choice was the chosen one.
    """

    method: str
    chosen: Hyperparameters
    average: float
    paper_average: float
    gain: Difference
    tried: int
    agreement: float

    @property
    def real(self) -> bool:
        """Whether the 95 % interval of the gain lies above zero."""
        return self.gain.low > 0

    def changes(self) -> dict[str, Any]:
        """Return the settings that differ from the paper's."""
        paper = Hyperparameters().to_json()
        return {name: value for name, value in self.chosen.to_json().items() if value != paper[name]}


def grid(paper: Hyperparameters, *, vote: bool) -> list[Hyperparameters]:
    """Return the settings that are tried, the paper's first.

    Args:
        paper: Settings to start from.
        vote: Whether a vote decides: K matters then, and the filter's weights do not.
    """
    found = [paper]
    for n_base, gamma in product(_N_BASE, _GAMMA):
        if vote:
            found += [replace(paper, n_base=n_base, gamma=gamma, k=k) for k in (3, 5)]
        else:
            found += [
                replace(paper, n_base=n_base, gamma=gamma, epsilon=epsilon, sigma=sigma, delta=delta)
                for epsilon, sigma, delta in _WEIGHTS
            ]
    return list(dict.fromkeys(found))


async def calibrate(
    method: str,
    context: MethodContext,
    train: TestSet,
    *,
    seed: int,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Choose settings for a method on a bank's train rows.

    Args:
        method: A method that a replay can score.
        context: The bank's train rows.
        train: The same rows as questions with recorded answers.
        seed: Seed of the folds and of the bootstrap.
        on_progress: Told of every run.
    """
    settings = grid(Hyperparameters(), vote=method_info(method).fixed.get("switch") == "consensus")
    folds = spread_folds(context.datasets, seed)
    scores = await validate(method, settings, context, train, folds, on_progress)
    best = _best(scores, context.datasets)
    honest, choices = _honest(scores, context.datasets, folds)
    gain = paired_difference(honest, scores[0], context.datasets, "paper settings", np.random.default_rng(seed))
    return Calibration(
        method=method,
        chosen=settings[best],
        average=average_of(scores[best], context.datasets),
        paper_average=average_of(scores[0], context.datasets),
        gain=gain,
        tried=len(settings),
        agreement=choices.count(best) / len(choices),
    )


def _honest(
    scores: NDArray[np.float64], datasets: Sequence[str], folds: NDArray[np.intp]
) -> tuple[NDArray[np.float64], list[int]]:
    """Scores of each row under the choice made without its fold (n,), and the choices."""
    honest = np.full(len(folds), np.nan)
    choices = []
    for fold in sorted(set(folds.tolist())):
        inside = folds == fold
        choice = _best(scores[:, ~inside], [name for name, held in zip(datasets, inside, strict=True) if not held])
        honest[inside] = scores[choice, inside]
        choices.append(choice)
    return honest, choices


def _best(scores: NDArray[np.float64], datasets: Sequence[str]) -> int:
    """Place of the best average; the earlier one of equals, so that the paper's settings win ties."""
    values = [average_of(row, datasets) for row in scores]
    return int(np.argmax(values))
