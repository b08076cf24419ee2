"""`embedllm` and `embedllm-knn`: who is right on what, factorised or from near questions (Zhuang et al. 2025)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.cross_validation import Choices, Learn, Rank, averages_of, is_better, note_choice
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import Router, ScoreRouter
from jisi_cli.methods.training import OnStep, State, TrainingData, stacked
from jisi_cli.methods.training_loop import LoopSettings, Standard, first_weights, hold_out, masked_mean, minimise
from jisi_cli.scoring import Floats, Rows, coarse_block

if TYPE_CHECKING:
    import torch

    from jisi_cli.methods.context import MethodContext
    from jisi_cli.methods.training_loop import Parameters

_SOURCE = "EmbedLLM, arXiv 2410.02223"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class EmbedLlmSettings:
    """Settings of `embedllm`.

    Attributes:
        width: Length of a model's vector.
        noise: Standard deviation of what is added to a query vector in training. The paper's 0.05 on unit vectors of
            768 coordinates, which deviate by 0.036, is 1.4 of their deviation; ours are standardised.
        rate: Step size (the paper has 1e-4).
        decay: Weight decay.
        pairs: Pairs of a question and a model in a step.
        epochs: Passes over the pairs.
        steps: Steps at least.
        vectors: `standard` gives each coordinate mean 0 and variance 1 first; `raw` takes vectors as they are.
        stop: `early` ends where a tenth of the train rows is best; `late` learns from all of them to the last step.
    """

    width: int = 232
    noise: float = 1.4
    rate: float = 1e-3
    decay: float = 1e-5
    pairs: int = 2048
    epochs: int = 50
    steps: int = 300
    vectors: str = "standard"
    stop: str = "early"

    def __post_init__(self) -> None:
        for name, choices in (("vectors", ("standard", "raw")), ("stop", ("early", "late"))):
            if getattr(self, name) not in choices:
                raise InputError(f"embedllm: {name} is {' or '.join(choices)}, not {getattr(self, name)!r}")

    @classmethod
    def original(cls) -> EmbedLlmSettings:
        """Return the settings of the released code."""
        return cls(noise=0.05, rate=1e-4, steps=1, vectors="raw", stop="late")


@register_method(
    "embedllm",
    "matrix factorisation of who is right; settings ours or the original's, whichever is better on train",
    "recorded",
    _SOURCE,
    settings=Choices(EmbedLlmSettings(), EmbedLlmSettings.original()),
    training_seconds=20,
    departures=(
        "ours (original=no) standardises vectors, adds noise of 1.4, goes down by AdamW in shuffled steps of 1e-3, "
        "at least 300, and stops early by a tenth of train; the released code's settings (original=yes) are raw "
        "vectors, noise of 0.05, Adam in steps of 1e-4 in one order, and 50 passes over all rows; by default "
        "cross-validation on train rows chooses. In both: scores between 0 and 1 are soft labels, and a step takes "
        "questions with all their models, which share their noise"
    ),
)
class EmbedLlm(ScoreRouter[EmbedLlmSettings]):
    """Ranks models by logit 1 - logit 0 of W_c (p_m * (W_q q + b)), trained by cross-entropy.

    What differs from the original even in its own settings: a score between 0 and 1 is a soft label, where the original
    cuts it to 0; a step takes some questions with all their models instead of loose pairs, and these share their noise.
    What differs besides in ours: query vectors are standardised first, so that the noise means the same whatever the
    embedder; the step size is ten times the original's with a floor under the number of steps, because 50 passes over
    a bank of thousands are too few of the original's steps; rows are shuffled, and decay is AdamW's; and training ends
    where a tenth of the train rows is best.

    Args:
        context: What the method is made from.
        choices: Of the training; of several, our own first and the original's last, whichever does better on train rows
            by cross-validation.
    """

    reason = "its vector fits the question best"

    def __init__(self, context: MethodContext, choices: Sequence[EmbedLlmSettings]) -> None:
        super().__init__(context, choices[0])
        data, seed = self.data, self.seed

        def train(on_step: OnStep) -> State:
            if len(choices) == 1:
                return _train(data, choices[0], seed, on_step)
            averages = averages_of(data, [_learner(settings, seed) for settings in choices], seed)
            return {**averages, **_train(data, choices[is_better(averages)], seed, on_step)}

        self._state = self.learned("embedllm", _VERSION, tuple(choices), train)
        if len(choices) > 1:
            self.settings = choices[is_better(self._state)]
            note_choice(self._state, context.training)

    def predict(self, vectors: Floats) -> Floats:
        """Return logit 1 - logit 0 of each model (n, M)."""
        return _predicted(self._state, vectors)


def _predicted(state: State, vectors: Floats) -> Floats:
    """Logit 1 - logit 0 of each model (n, M)."""
    inner = Standard(state["mean"], state["scale"])(vectors) @ state["query_map"].T + state["query_bias"]
    predicted: Floats = inner @ (state["models"] * (state["out"][1] - state["out"][0])).T
    return predicted


def _learner(settings: EmbedLlmSettings, seed: int) -> Learn:
    def learn(rows: TrainingData) -> Rank:
        state = _train(rows, settings, seed, lambda done, total: None)
        return lambda vectors: list(rows.rankings(_predicted(state, vectors)))

    return learn


def _train(data: TrainingData, settings: EmbedLlmSettings, seed: int, on_step: OnStep) -> State:
    import torch

    count, width = data.vectors.shape
    late = settings.stop == "late"
    train, held_out = (np.arange(count), np.arange(0)) if late else hold_out(count, seed)
    raw = Standard(np.zeros(width), np.ones(width))
    standard = raw if settings.vectors == "raw" else Standard.of(data.vectors[train])
    inputs = torch.tensor(standard(data.vectors), dtype=torch.float32)
    scores = torch.tensor(data.scores, dtype=torch.float32)
    present = torch.tensor(data.present, dtype=torch.float32)

    def loss(p: Parameters, rows: torch.Tensor, draws: torch.Generator | None) -> torch.Tensor:
        queries = inputs[rows]
        if draws is not None:
            queries = queries + settings.noise * torch.randn(queries.shape, generator=draws)
        inner = queries @ p["query_map"].T + p["query_bias"]
        logits = torch.einsum("nk,mk,ck->nmc", inner, p["models"], p["out"])
        chances = torch.log_softmax(logits, dim=2)
        labels = scores[rows]
        return masked_mean(-labels * chances[:, :, 1] - (1 - labels) * chances[:, :, 0], present[rows])

    rng = np.random.default_rng(seed)
    models = len(data.models)
    start = {
        "query_map": first_weights(rng, settings.width, width),
        "query_bias": np.zeros(settings.width),
        "models": rng.normal(size=(models, settings.width)),
        "out": first_weights(rng, 2, settings.width),
    }
    if late:
        # As torch begins a linear layer.
        for name, fan in (("query_map", width), ("query_bias", width), ("out", settings.width)):
            start[name] = rng.uniform(-1, 1, size=start[name].shape) / np.sqrt(fan)
    batch = max(1, settings.pairs // models)
    usual = not late
    how = LoopSettings(
        settings.rate, settings.decay, batch, settings.epochs, settings.steps, shuffled=usual, decoupled=usual
    )
    return {
        **minimise(loss, start, train, held_out, how, seed, on_step),
        "mean": standard.mean,
        "scale": standard.scale,
    }


@dataclass(frozen=True, slots=True)
class EmbedLlmKnnSettings:
    """Settings of `embedllm-knn`.

    Attributes:
        neighbours: Questions that are looked at.
    """

    neighbours: int = 131


@register_method(
    "embedllm-knn",
    "mean score on the nearest 131",
    "recorded",
    _SOURCE,
    settings=EmbedLlmKnnSettings(),
    departures="questions as near as the 131st count, too; a model without an answer there has its train mean",
)
class EmbedLlmKnn(Router[EmbedLlmKnnSettings]):
    """Ranks models by their mean score over the nearest train questions.

    The Euclidean order of unit vectors is the order of their dot products. Unlike the original, which takes
    131 of them, questions exactly as near as the 131st count too, so that the order of the bank settles
    nothing. A model that answered none of them has its mean over the bank.
    """

    reason = "it scores best on the nearest questions"

    def __init__(self, context: MethodContext, settings: EmbedLlmKnnSettings) -> None:
        super().__init__(context, settings)
        self._bank, self._data = context.bank, context.data
        # A support set at the full k-th similarity is the set of nearest neighbours with its ties.
        self._search = Hyperparameters(n_base=settings.neighbours, gamma=1.0, k=1)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if not queries:
            return
        for support in coarse_block(self._bank, stacked(queries), self._search):
            yield from self._data.rankings(self._means(support.rows)[np.newaxis])

    def _means(self, rows: Rows) -> Floats:
        means = [self._mean(rows, column) for column in self._data.columns.tolist()]
        return np.where(np.isnan(means), self._data.means, means)

    def _mean(self, rows: Rows, column: int) -> float:
        scores = self._bank.scores[rows[self._bank.present[rows, column]], column].tolist()
        return math.fsum(scores) / len(scores) if scores else math.nan
