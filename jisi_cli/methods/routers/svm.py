"""`svm`: a support vector machine over query vectors that names the best model.

The SVM router of LLMRouter (github.com/ulab-uiuc/LLMRouter) with its settings: scikit-learn's SVC, a Gaussian kernel,
C = 1, gamma = "scale".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import State, TrainingData, among_all, best_models
from jisi_cli.scoring import Floats

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class SvmSettings:
    """Settings of `svm`.

    Attributes:
        penalty: C, what a wrong train row costs.
    """

    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise InputError(f"svm: penalty is a number above 0, not {self.penalty:g}")


@register_method(
    "svm",
    "a support vector machine names the best model; trained",
    "recorded",
    "LLMRouter, github.com/ulab-uiuc",
    settings=SvmSettings(),
    training_seconds=2,
    departures=(
        "of equally good models of a train question the better on train is taken; the bank's vectors for Longformer's"
    ),
)
class Svm(ScoreRouter[SvmSettings]):
    """Ranks models by the votes of a machine for each pair of them, then by its confidences.

    Of equally good models of a train question the original takes the first in its file.
    """

    reason = "it is likely the best"

    def __init__(self, context: MethodContext, settings: SvmSettings) -> None:
        super().__init__(context, settings)
        # Nothing is drawn.
        self._state = self.learned("svm", _VERSION, settings, lambda _: _train(self.data, settings), seed=0)

    def predict(self, vectors: Floats) -> Floats:
        """Return the votes for each model (n, M)."""
        return among_all(self.data, self._state["classes"], _votes(self._state, vectors))


def _train(data: TrainingData, settings: SvmSettings) -> State:
    from sklearn.svm import SVC

    rows, labels = best_models(data)
    classes = np.unique(labels)
    if len(classes) < 2:
        return {"classes": classes}
    points = data.vectors[rows].astype(np.float64)
    spread = float(points.var())
    gamma = 1.0 / (points.shape[1] * spread) if spread > 0 else 1.0  # what scikit-learn calls "scale"
    found = SVC(C=settings.penalty, kernel="rbf", gamma=gamma).fit(points, labels)
    return {
        "classes": classes,
        "support": np.asarray(found.support_vectors_),
        "weights": np.asarray(found.dual_coef_),
        "offsets": np.asarray(found.intercept_),
        "sizes": np.asarray(found.n_support_),
        "gamma": np.array(gamma),
    }


def _votes(state: State, vectors: Floats) -> Floats:
    """Votes of the machines of all pairs for each class, and less than a vote for how sure they are (n, C)."""
    count = len(state["classes"])
    if count < 2:
        return np.zeros((len(vectors), count))
    support = state["support"]
    distances = (vectors**2).sum(axis=1)[:, np.newaxis] + (support**2).sum(axis=1) - 2 * vectors @ support.T
    kernel = np.exp(-float(state["gamma"]) * distances)
    ends = np.cumsum(state["sizes"])
    parts = [slice(end - size, end) for end, size in zip(ends.tolist(), state["sizes"].tolist(), strict=True)]
    votes, confidences = np.zeros((2, len(vectors), count))
    for place, (first, second) in enumerate(combinations(range(count), 2)):
        mine, other = parts[first], parts[second]
        margin = (
            kernel[:, mine] @ state["weights"][second - 1, mine] + kernel[:, other] @ state["weights"][first, other]
        )
        margin = np.round(margin + state["offsets"][place], _DECIMALS)
        votes[:, first] += (np.sign(margin) + 1) / 2
        votes[:, second] += (1 - np.sign(margin)) / 2
        confidences[:, first] += margin
        confidences[:, second] -= margin
    found: Floats = votes + confidences / (3 * (np.abs(confidences) + 1))
    return found
