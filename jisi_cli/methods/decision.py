"""What JiSi decided for one question, with its evidence, as plain data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.config import Price
from jisi_cli.plain_json import plain_json
from jisi_cli.scoring import Coarse, Fine

if TYPE_CHECKING:
    from jisi_cli.methods.answers import GivenAnswer
    from jisi_cli.types import Answer

# What JiSi decided for one question, with its evidence, as plain data.


Describe = Callable[[Sequence[int]], Sequence[Mapping[str, Any]]]
"""Says something of each of some bank rows."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How likely each of several answers is right.

    Attributes:
        groups: Models that gave equal final answers, the most probable group first; in a group best first.
        probabilities: That a group is right, for each.
        none: That no group is right.
    """

    groups: tuple[tuple[str, ...], ...]
    probabilities: tuple[float, ...]
    none: float

    @property
    def confidence(self) -> float:
        """The probability of the most probable group; 0 without any."""
        return max(self.probabilities, default=0.0)

    def __str__(self) -> str:
        """Say how sure the most probable answer is, and how many gave it."""
        from jisi_cli.methods.answers import agree_words

        asked = sum(map(len, self.groups))
        agree = len(self.groups[0]) if self.groups else 0
        return f"{percent(self.confidence)} sure: {'one model asked' if asked == 1 else agree_words(agree, asked)}"

    def to_json(self) -> list[dict[str, Any]]:
        """Return each group as plain data, the most probable first."""
        found = zip(self.groups, self.probabilities, strict=True)
        return [{"models": list(models), "probability": probability} for models, probability in found]


def percent(probability: float) -> str:
    """Return a probability in whole percent, never more than it is: nothing is 100 % sure."""
    return f"{min(99, math.floor(100 * probability + 1e-9))} %"


@dataclass(frozen=True, slots=True)
class Decision:
    """The stages of one decision, with models by name.

    Attributes:
        models: Names of the M models, as the scores are ordered.
        coarse: Stage 1.
        fine: Stages 2 and 3; None when they were not reached.
        answered: Candidates that answered, best first.
        aggregatees: Models whose responses counted in the end (steps 12 and 13), best first.
        scores_are_means: Whether scores are weighted means, as the released code has them, and not sums.
        calls: The candidates' calls, where a decision was completed by them without an answer.
        belief: How likely each answer is right; None for methods that do not know.
    """

    models: tuple[str, ...]
    coarse: Coarse
    fine: Fine | None = None
    answered: tuple[str, ...] = ()
    aggregatees: tuple[str, ...] = ()
    scores_are_means: bool = False
    calls: tuple[Answer, ...] = ()
    belief: Belief | None = None

    def __repr__(self) -> str:
        """Say who was chosen; the scores of a whole bank would fill screens."""
        return f"Decision(candidates={self.candidates}, aggregator={self.aggregator!r}, aggregatees={self.aggregatees})"

    @property
    def candidates(self) -> tuple[str, ...]:
        """The models asked first, best first."""
        return tuple(self.models[model] for model in self.coarse.candidates)

    @property
    def aggregator(self) -> str:
        """The model that aggregates."""
        return self.models[self.coarse.aggregator]

    @property
    def strangeness(self) -> str | None:
        """Say that nothing in the bank resembles the question; None where something does."""
        unlike = self.coarse.unlike
        if unlike is None:
            return None
        return (
            "nothing in the bank resembles this; ranked by the whole bank "
            f"(similarity {unlike.nearest:.3f} at most, usually {unlike.usual:.3f} at least)"
        )

    @property
    def ranking(self) -> tuple[str, ...]:
        """All models as the last stage that was reached ranks them, best first."""
        return tuple(self.models[model] for model in (self.coarse if self.fine is None else self.fine).ranking)

    @property
    def answers(self) -> tuple[GivenAnswer, ...]:
        """What each candidate answered, best first, where a decision was completed by asking them."""
        from jisi_cli.methods.answers import probed_answers

        return probed_answers(self)

    def expected_scores(self) -> tuple[list[float], list[float] | None]:
        """Return the score that each stage expects of each model (M,): the weighted share of the support set it solved.

        A score over the sum of its weights; of the second stage None where it was not reached. In [0, 1].
        """
        first = self._promised(self.coarse.scores, self.coarse.similarities)
        if self.fine is None:
            return first, None
        return first, self._promised(self.fine.scores, self.fine.mixed[self.fine.kept])

    def margin(self) -> float | None:
        """Return how far the second best model's score is below the best, as a share of it.

        The last stage that was reached counts; None with one model, or where no model solved anything.
        """
        scores = self.coarse.scores if self.fine is None else self.fine.scores
        if len(scores) < 2 or float(scores.max()) <= 0:
            return None
        second, best = sorted(map(float, scores))[-2:]
        return 1.0 - max(0.0, second) / best

    def nearest(self, count: int) -> list[tuple[int, float, bool | None]]:
        """Return bank row, similarity and whether the filter kept it, of the nearest support queries, nearest first."""
        kept = set(self.fine.kept.tolist()) if self.fine is not None else None
        return [
            (row, similarity, None if kept is None else place in kept)
            for place, row, similarity in self._nearest_places(count)
        ]

    def _nearest_places(self, count: int) -> list[tuple[int, int, float]]:
        """Return place in the support set, bank row and similarity of the nearest queries, nearest first."""
        unlike = self.coarse.unlike
        # Of a query unlike any, the whole bank in its order is the support set, and similarities are those to be shown.
        rows, found = (
            (self.coarse.rows, self.coarse.similarities) if unlike is None else (unlike.rows, unlike.similarities)
        )
        # Rows are in bank order, so a stable sort breaks ties as the filter does.
        order = np.argsort(-found, kind="stable")[:count].tolist()
        return [(at if unlike is None else int(rows[at]), int(rows[at]), float(found[at])) for at in order]

    def _promised(self, scores: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
        total = 1.0 if self.scores_are_means else float(weights.sum())
        shares = scores / total if total > 0 else np.zeros_like(scores)
        return [min(max(share, 0.0), 1.0) for share in shares.tolist()]

    def to_json(self, neighbours: int = 0, describe: Describe | None = None) -> dict[str, Any]:
        """Return everything as plain data, with None for what is not a number, as without a bank.

        Args:
            neighbours: How many support queries to list, the nearest first.
            describe: What to say of some bank rows, beyond their numbers.
        """
        unlike = self.coarse.unlike
        data: dict[str, Any] = {
            "support_size": len(self.coarse.rows),
            "threshold": self.coarse.threshold,
            "kth_similarity": self.coarse.kth,
            "unlike": None if unlike is None else {"nearest": unlike.nearest, "usual": unlike.usual},
            "models": self._scores(),
            "candidates": list(self.candidates),
            "answered": list(self.answered),
            "aggregator": self.aggregator,
            "aggregatees": [],
            "confidence": None if self.belief is None else self.belief.confidence,
            "groups": [] if self.belief is None else self.belief.to_json(),
        }
        if self.fine is not None:
            chosen = zip(self.fine.aggregatees, self.fine.ratios, strict=True)
            data["aggregatees"] = [
                {"model": self.models[model], "ratio": ratio, "used": self.models[model] in self.aggregatees}
                for model, ratio in chosen
            ]
            data["filtered_size"] = len(self.fine.kept)
        if neighbours:
            data["neighbours"] = self._neighbours(neighbours, describe)
        found: dict[str, Any] = plain_json(data)
        return found

    def _scores(self) -> list[dict[str, Any]]:
        fine = self.fine
        return [
            {
                "model": self.models[model],
                "rank": rank,
                "coarse_score": float(self.coarse.scores[model]),
                "fine_score": float(fine.scores[model]) if fine is not None else None,
            }
            for rank, model in enumerate(self.coarse.ranking, start=1)
        ]

    def _neighbours(self, count: int, describe: Describe | None) -> list[dict[str, Any]]:
        nearest = self._nearest_places(count)
        kept = set(self.fine.kept.tolist()) if self.fine is not None else set()
        said = describe([row for _, row, _ in nearest]) if describe is not None else [{}] * len(nearest)
        found = []
        for (place, row, similarity), more in zip(nearest, said, strict=True):
            mixed = float(self.fine.mixed[place]) if self.fine is not None else None
            found.append({"row": row, "similarity": similarity, "mixed": mixed, "kept": place in kept, **more})
        return found


# What a model may be expected to use on a question: the similarity-weighted mean over its support set.


@dataclass(frozen=True, slots=True)
class ExpectedUsage:
    """Tokens and dollars of one call; None where the support set does not tell."""

    prompt_tokens: float | None
    completion_tokens: float | None
    cost_usd: float | None


def expected_usage(bank: Bank, model: str, first: Coarse, price: Price | None) -> ExpectedUsage:
    """Estimate one call of a model from what it used on the support set.

    Dollars come from the pool's price and the expected tokens; without a price, from recorded dollars.

    Args:
        bank: The bank whose train rows the decision was drawn from.
        model: One of its models.
        first: Stage 1 of the question.
        price: The pool's price of the model, where there is one.
    """
    rows = bank.train_rows[first.rows]
    weights = np.maximum(first.similarities, 0.0)
    columns = bank.answers(model)
    prompt = _weighted_mean(columns.prompt_tokens[rows], weights)
    completion = _weighted_mean(columns.completion_tokens[rows], weights)
    if price is not None and prompt is not None and completion is not None:
        cost: float | None = (prompt * price.input + completion * price.output) / 1e6
    else:
        cost = _weighted_mean(columns.cost_usd[rows], weights)
    return ExpectedUsage(prompt, completion, cost)


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    known = ~np.isnan(values)
    total = math.fsum(weights[known].tolist())
    return math.fsum((values[known] * weights[known]).tolist()) / total if total > 0 else None


# What a decision rested on, in the few numbers that a result file can afford to keep for every question.


NEIGHBOURS = 5
"""Support queries that are kept, the nearest ones."""
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Evidence:
    """Scores and neighbours of one decision, rounded to four decimals.

    Attributes:
        models: Names of the M models, as the expected scores are ordered.
        coarse: What stage 1 expects of each model (M): the weighted share of the support set it solved, in [0, 1].
        fine: The same of stage 2; None when it was not reached.
        margin: How far the second best score is below the best, as a share of it; None where there is none.
        neighbours: Dataset, index and similarity of the nearest support queries, and whether the filter kept them
            (None when there was no filter), nearest first.
    """

    models: tuple[str, ...]
    coarse: tuple[float, ...]
    fine: tuple[float, ...] | None
    margin: float | None
    neighbours: tuple[tuple[str, str, float, bool | None], ...]

    def promised(self, model: str | None) -> float | None:
        """Return what the last stage that was reached promised of a model; None for one that is not in the bank."""
        if model not in self.models:
            return None
        return (self.coarse if self.fine is None else self.fine)[self.models.index(model)]


def evidence_of(decision: Decision, train: Sequence[tuple[str, str]]) -> Evidence:
    """Return what to keep of a decision.

    Args:
        decision: The decision.
        train: Dataset and index of each bank row that decisions are drawn from; empty where they are not known.
    """
    coarse, fine = decision.expected_scores()
    margin = decision.margin()
    nearest = decision.nearest(NEIGHBOURS) if train else []
    return Evidence(
        models=decision.models,
        coarse=_rounded(coarse),
        fine=None if fine is None else _rounded(fine),
        margin=None if margin is None else round(margin, _DIGITS),
        neighbours=tuple((*train[row], round(similarity, _DIGITS), kept) for row, similarity, kept in nearest),
    )


def parse_evidence(data: Mapping[str, Any]) -> Evidence:
    """Read evidence back from JSON.

    Raises:
        TypeError: A part is of another kind.
        ValueError: Parts do not belong together.
        KeyError: A part is missing.
    """
    models = tuple(_checked(name, str) for name in _checked(data["models"], list))
    coarse = _numbers(data["coarse"])
    fine = None if data["fine"] is None else _numbers(data["fine"])
    if len(coarse) != len(models) or (fine is not None and len(fine) != len(models)):
        raise ValueError("scores and models differ in number")
    margin = None if data["margin"] is None else _number(data["margin"])
    return Evidence(models, coarse, fine, margin, tuple(map(_neighbour, _checked(data["neighbours"], list))))


def _neighbour(data: object) -> tuple[str, str, float, bool | None]:
    dataset, index, similarity, kept = _checked(data, list)
    if not (kept is None or isinstance(kept, bool)):
        raise TypeError("kept is neither true, false nor null")
    return _checked(dataset, str), _checked(index, str), _number(similarity), kept


def _numbers(data: object) -> tuple[float, ...]:
    return tuple(map(_number, _checked(data, list)))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a finite number")
    return float(value)


def _checked(value: Any, kind: type) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, _DIGITS) for value in values)
