"""`model-sat`: does what a model can do fit what a question wants? (Zhang et al. 2025, Model-SAT, arXiv 2502.17282)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.clusters import find_centres, mean_scores, nearest_centre, weigh_nearest
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import ScoreRouter
from jisi_cli.methods.training import State, TrainingData
from jisi_cli.methods.training_loop import Standard
from jisi_cli.scoring import Floats, Rows

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 2
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class ModelSatSettings:
    """Settings of `model-sat`.

    Attributes:
        clusters: Centres of k-means: the tasks in which a capability is measured.
        sharpness: beta of softmax(-beta distance), how much a question wants each of them.
        penalty: Strength of the L2 penalty of the regression.
    """

    clusters: int = 32
    sharpness: float = 20.0
    penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise InputError(f"model-sat: penalty is a number above 0, not {self.penalty:g}")


@register_method(
    "model-sat",
    "regression on the question and each model's capabilities; trained",
    "recorded",
    "Model-SAT, arXiv 2502.17282",
    settings=ModelSatSettings(),
    training_seconds=12,
    departures=(
        "a regression over frozen vectors stands for the encoder of 4 to 7 billion parameters, and clusters of "
        "train rows for the tasks in which capabilities are measured"
    ),
)
class ModelSat(ScoreRouter[ModelSatSettings]):
    """Ranks models by a logistic regression over what the question is and what the model can do.

    A model's capability vector a_m is its mean score in each cluster of train questions; a question wants the
    clusters with weights w(q). The regression reads [q, a_m, w(q) * a_m] and says how likely the model is right.
    What differs from the original: its 4-7 billion parameter encoder, which reads capabilities as text, is
    out of scope, and this regression over frozen vectors stands for it; its capabilities come from 50
    tasks of MMLU, ours from clusters of the train rows, in five folds, so that no row's own score is
    in the capability that it is trained with.
    """

    reason = "its capabilities fit the question best"

    def __init__(self, context: MethodContext, settings: ModelSatSettings) -> None:
        super().__init__(context, settings)
        self._state = self.learned("model-sat", _VERSION, settings, lambda _: _train(self.data, settings, self.seed))

    def predict(self, vectors: Floats) -> Floats:
        """Return the logits of the regression (n, M)."""
        state = self._state
        wants = _wants(vectors, state["centres"], self.settings.sharpness)
        able = state["able"]
        of_models = able @ state["able_weights"] + (wants * state["fit_weights"]) @ able.T
        of_queries = Standard(state["mean"], state["scale"])(vectors) @ state["query_weights"]
        logits: Floats = of_models + of_queries[:, np.newaxis]
        return logits


def _train(data: TrainingData, settings: ModelSatSettings, seed: int) -> State:
    centres = find_centres(data.vectors, settings.clusters, seed)
    labels = nearest_centre(data.vectors, centres)
    standard = Standard.of(data.vectors)
    inputs, wants = standard(data.vectors), _wants(data.vectors.astype(np.float64), centres, settings.sharpness)
    folds = np.random.default_rng(seed).permutation(len(labels)) % _FOLDS
    width, count = inputs.shape[1], len(centres)
    weights = np.zeros(width + 2 * count)
    rows, models = np.nonzero(data.present)
    if len(rows):
        able = _able_without_own_fold(data, labels, count, folds)[folds[rows], models]
        features = np.hstack([inputs[rows], able, wants[rows] * able])
        weights = _regress(features, data.scores[rows, models], settings.penalty)
    return {
        "centres": centres,
        "able": mean_scores(data, labels, count).T,
        "mean": standard.mean,
        "scale": standard.scale,
        "query_weights": weights[:width],
        "able_weights": weights[width : width + count],
        "fit_weights": weights[width + count :],
    }


def _wants(vectors: Floats, centres: Floats, sharpness: float) -> Floats:
    """How much each question wants each cluster (n, C); the weights of a question sum to 1."""
    order, weights = weigh_nearest(vectors, centres, len(centres), sharpness)
    wants = np.zeros(weights.shape)
    np.put_along_axis(wants, order, weights, axis=1)
    return wants


def _able_without_own_fold(data: TrainingData, labels: Rows, count: int, folds: Rows) -> Floats:
    """Capability vectors measured on the other folds (F, M, C); on all rows where there are no others."""
    others = [np.flatnonzero(folds != fold) for fold in range(_FOLDS)]
    return np.stack([mean_scores(data, labels, count, rows if len(rows) else None).T for rows in others])


def _regress(features: Floats, scores: Floats, penalty: float) -> Floats:
    """Return the weights of a logistic regression on soft labels: each row once as right, once as wrong."""
    from sklearn.linear_model import LogisticRegression

    right, wrong = scores > 0, scores < 1
    labels = np.repeat([1, 0], [right.sum(), wrong.sum()])
    if len(set(labels.tolist())) < 2:
        return np.zeros(features.shape[1])
    doubled = np.vstack([features[right], features[wrong]])
    trust = np.concatenate([scores[right], 1.0 - scores[wrong]])
    found = LogisticRegression(C=1.0 / penalty, max_iter=500).fit(doubled, labels, sample_weight=trust)
    return np.asarray(found.coef_[0], dtype=np.float64)
