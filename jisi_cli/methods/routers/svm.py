"""`svm`: a support vector machine over query vectors that names the best model.

The SVM router of LLMRouter (github.com/ulab-uiuc/LLMRouter) with its settings: scikit-learn's SVC, a Gaussian kernel,
C = 1, gamma = "scale".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.ranked import Ranking
from jisi_cli.methods.training import Examples, OnStep, State, Training, among_all, best_models, learned, stacked
from jisi_cli.scoring import Floats

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


class Svm:
    """Ranks models by the votes of a machine for each pair of them, then by its confidences.

    What differs from the original: of equally good models of a train question the better on train at large is the best
    one, where the original takes the first in its file; the bank's vectors stand for Longformer's.

    Args:
        examples: Train rows.
        settings: The penalty.
        training: Where what the training took is noted.
    """

    def __init__(
        self, examples: Examples, settings: SvmSettings | None = None, training: Training | None = None
    ) -> None:
        chosen = settings or SvmSettings()
        self._examples = examples

        def train(on_step: OnStep) -> State:
            return _train(examples, chosen)

        # Nothing is drawn.
        self._state = learned("svm", _VERSION, chosen, 0, examples, train, training=training)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if queries:
            classes = self._state["classes"]
            yield from self._examples.rankings(
                among_all(self._examples, classes, _votes(self._state, stacked(queries)))
            )


def _train(examples: Examples, settings: SvmSettings) -> State:
    from sklearn.svm import SVC

    rows, labels = best_models(examples)
    classes = np.unique(labels)
    if len(classes) < 2:
        return {"classes": classes}
    points = examples.vectors[rows].astype(np.float64)
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
