"""`frugalgpt`: models from cheap to dear, until an answer is trusted (Chen et al. 2023, FrugalGPT, arXiv 2305.05176).

A scorer reads question and answer and says how likely it is right; the cascade ends at the first answer that reaches
its model's threshold. Which models, in which order and with which thresholds is chosen on train rows: the best mean
score that costs no more than the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import embed_async
from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.protocol import ContextMethod, Listener, Outcome, Query
from jisi_cli.methods.rankings import Ranking, require_prices
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.training import OnStep, State, TrainingData, learned
from jisi_cli.scoring import BankArrays, Floats
from jisi_cli.types import Answer, Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 1
_DECIMALS = 9
_FOLDS = 3
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the answers that a threshold may send on to the next model."""


@dataclass(frozen=True, slots=True)
class FrugalGptSettings:
    """Settings of `frugalgpt`.

    Attributes:
        length: Models of a cascade at most.
        budget: What a question may cost on average, as a share of what the best model on train costs.
        penalty: Strength of the L2 penalty of the scorers.
        seed: Of the folds.
    """

    length: int = 3
    budget: float = 1.0
    penalty: float = 0.1
    seed: int = 42

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise InputError(f"frugalgpt: penalty is a number above 0, not {self.penalty:g}")


@register_method(
    "frugalgpt",
    "a cascade from cheap to dear that ends at the first trusted answer; trained",
    "recorded",
    "FrugalGPT, arXiv 2305.05176",
    settings=FrugalGptSettings(),
    training_seconds=30,
    departures=(
        "a logistic regression over the vectors of question and answer stands for DistilBERT; thresholds are chosen "
        "among six quantiles of what scorers say of rows that they did not learn from; chains go from cheap to "
        "dear; the budget is what the best model on train costs; a call costs its model's mean dollars"
    ),
)
class FrugalGpt(ContextMethod[FrugalGptSettings]):
    """Asks the models of a cascade one after another and takes the first answer that its scorer trusts.

    What differs from the original: a logistic regression over the vectors of question and answer stands for DistilBERT
    as the scorer; thresholds are chosen by what the scorers say of rows that they did not learn from, among six
    quantiles; cascades go from the cheaper to the dearer model; a call costs its model's mean dollars.

    Raises:
        InputError: No price is known.
    """

    def __init__(self, context: MethodContext, settings: FrugalGptSettings) -> None:
        super().__init__(context, settings)
        require_prices(context.costs, "frugalgpt")
        self._ranking, self._embedder = context.best_first(), context.embedder
        bank, data, ranking = context.bank, context.data, self._ranking
        costs = context.costs[data.columns]

        def train(on_step: OnStep) -> State:
            return _train(bank, data, costs, ranking, settings, on_step)

        extra = {"costs": costs, "answers": _fingerprint(bank, data)}
        identity = (settings, ranking)
        state = learned("frugalgpt", _VERSION, identity, settings.seed, data, train, extra, context.training)
        self._chain = [(data.models[place], place) for place in state["chain"].tolist()]
        self._thresholds = dict(zip(state["chain"].tolist(), state["thresholds"].tolist(), strict=True))
        self._weights, self._offsets = state["weights"], state["offsets"]

    def plan(self, queries: Sequence[Query]) -> Iterator[None]:
        """Yield nothing once per query: what is done depends on the answers."""
        return (None for _ in queries)

    async def answer(self, query: Query, plan: None, pool: Pool, listener: Listener) -> Outcome:
        """Ask one model after another until an answer is trusted.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker, found = Asker(pool, listener, query), None
        for number, (model, place) in enumerate(self._chain, start=1):
            answer = await asker.ask(model, query.messages(), "expert", self.sampling)
            if answer is None:
                continue
            found = answer
            if number == len(self._chain):
                break
            trust = await self._trust(query, answer, place)
            if trust >= self._thresholds[place]:
                return asker.settle_on(
                    answer, "route", f"its answer is trusted ({trust:.2f}), call {number} of a cascade"
                )
        if found is not None:
            last = found.model == self._chain[-1][0]
            return asker.settle_on(
                found, "route" if last else "fallback", "it is the last of the cascade that answered"
            )
        asked = {model for model, _ in self._chain}
        rest = [model for model in self._ranking if model not in asked]
        other = None
        if asker.stopped is None:
            other = await asker.first_that_answers(rest, query.messages(), "expert", self.sampling)
        if other is None:
            raise asker.no_answer_error()
        return asker.outcome(other, "fallback", "no model of the cascade answered")

    async def _trust(self, query: Query, answer: Answer, place: int) -> float:
        vector = answer.vector
        if vector is None:
            try:
                vector = (await embed_async(self._embedder, [answer.text]))[0]
            except (BudgetError, NoAnswerError):
                return 0.0  # what cannot be judged is not trusted
        features = np.concatenate([query.vector, vector]).astype(np.float64)
        return float(_probability(features[np.newaxis] @ self._weights[place] + self._offsets[place])[0])


def _fingerprint(bank: BankArrays, data: TrainingData) -> Floats:
    """Something of each answer's vector (N, M), so that other answers are another training."""
    columns = [np.asarray(bank.response_vectors[column][data.rows]) for column in data.columns.tolist()]
    return np.stack([np.asarray(column, dtype=np.float64).sum(axis=1) for column in columns], axis=1)


def _train(
    bank: BankArrays,
    data: TrainingData,
    costs: Floats,
    ranking: Ranking,
    settings: FrugalGptSettings,
    on_step: OnStep,
) -> State:
    count = len(data.models)
    width = 2 * data.vectors.shape[1]
    weights, offsets = np.zeros((count, width)), np.zeros(count)
    trust = np.full(data.scores.shape, np.nan)
    folds = np.random.default_rng(settings.seed).permutation(len(data.vectors)) % _FOLDS
    for model, column in enumerate(data.columns.tolist()):
        answers = np.asarray(bank.response_vectors[column][data.rows])
        features = np.hstack([data.vectors, answers]).astype(np.float64)
        known = data.present[:, model]
        for fold in range(_FOLDS):
            own, others = known & (folds == fold), known & (folds != fold)
            w, b = _scorer(features[others], data.scores[others, model], settings.penalty)
            trust[own, model] = _probability(features[own] @ w + b)
        weights[model], offsets[model] = _scorer(features[known], data.scores[known, model], settings.penalty)
        on_step(model + 1, count)
    chain, thresholds = _cascade(data, trust, costs, data.models.index(ranking[0]), settings)
    return {
        "chain": np.array(chain, dtype=np.intp),
        "thresholds": np.array(thresholds),
        "weights": weights,
        "offsets": offsets,
    }


def _scorer(features: Floats, scores: Floats, penalty: float) -> tuple[Floats, float]:
    """Return weights and offset of a logistic regression on soft labels: each row once as right, once as wrong."""
    from sklearn.linear_model import LogisticRegression

    right, wrong = scores > 0, scores < 1
    labels = np.repeat([1, 0], [right.sum(), wrong.sum()])
    if len(set(labels.tolist())) < 2:
        # Nothing to tell apart: as sure as the mean says, 0.5 without any row.
        mean = min(max(float(scores.mean()) if len(scores) else 0.5, 0.01), 0.99)
        return np.zeros(features.shape[1]), float(np.log(mean / (1 - mean)))
    doubled = np.vstack([features[right], features[wrong]])
    share = np.concatenate([scores[right], 1.0 - scores[wrong]])
    found = LogisticRegression(C=1.0 / penalty, max_iter=200).fit(doubled, labels, sample_weight=share)
    return np.asarray(found.coef_[0], dtype=np.float64), float(found.intercept_[0])


def _probability(logits: Floats) -> Floats:
    # Rounded, so that no other way of adding up decides otherwise.
    return np.asarray(np.round(1.0 / (1.0 + np.exp(-logits)), _DECIMALS))


def _cascade(
    data: TrainingData, trust: Floats, costs: Floats, best: int, settings: FrugalGptSettings
) -> tuple[list[int], list[float]]:
    """Return the models and thresholds with the best mean score within the budget.

    Where no call fits it, the cheapest model alone; where the best one's price is unknown, this alone.
    """
    usable = [model for model in range(len(costs)) if data.present[:, model].any() and not np.isnan(costs[model])]
    if best not in usable:
        return [best], [0.0]
    budget = settings.budget * costs[best]
    order = sorted(usable, key=lambda model: (costs[model], -data.means[model], model))
    found, chosen = (-1.0, 0.0), ([order[0]], [0.0])
    for length in range(1, settings.length + 1):
        for chain in combinations(order, length):
            rows = data.present[:, chain].all(axis=1)
            if costs[chain[0]] > budget or not rows.any():
                continue
            scores, sure = data.scores[rows][:, chain], trust[rows][:, chain]
            for score, cost, thresholds in _tried(scores, sure, costs[list(chain)]):
                # A tie goes to the cheaper cascade.
                value = (round(score, _DECIMALS), -round(cost, _DECIMALS))
                if cost <= budget * (1 + 1e-9) and value > found:
                    found, chosen = value, (list(chain), thresholds)
    return chosen


def _tried(scores: Floats, trust: Floats, costs: Floats) -> Iterator[tuple[float, float, list[float]]]:
    """Yield mean score, mean cost and thresholds of one chain (n, L) for each combination of quantiles."""
    length = scores.shape[1]
    grids = [np.quantile(trust[:, place], _QUANTILES) for place in range(length - 1)]
    for thresholds in product(*grids):
        left: NDArray[np.bool_] = np.ones(len(scores), dtype=bool)
        score = cost = 0.0
        for place in range(length):
            cost += float(costs[place]) * left.mean()
            taken = left & (trust[:, place] >= thresholds[place]) if place < length - 1 else left
            score += float(scores[taken, place].sum()) / len(scores)
            left = left & ~taken
        yield score, cost, [*map(float, thresholds), 0.0]
