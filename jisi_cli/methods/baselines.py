"""The frame that every comparison needs: chance, the cheapest model, the best one, the best per dataset, the bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from jisi_cli.errors import InputError, did_you_mean
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.rankings import Ranking, best_per_dataset
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import Router

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_SOURCE = "frame of the comparison"


class FixedRouter(Router[Any]):
    """The same ranking for every query.

    Args:
        context: What the method is made from.
        ranking: Models, best first.
    """

    def __init__(self, context: MethodContext, ranking: Ranking) -> None:
        super().__init__(context, None)
        self._ranking = ranking

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking once per query."""
        return (self._ranking for _ in queries)


@register_method("best-single", "the model with the best train average", "recorded", _SOURCE)
class BestSingle(FixedRouter):
    """The best model on train."""

    reason = "it has the best train average"

    @classmethod
    def from_context(cls, context: MethodContext, settings: None) -> Self:
        """Make the method."""
        return cls(context, context.best_first())


@register_method("best-per-dataset-oracle", "the best train model of the question's dataset", "recorded", _SOURCE)
class BestPerDataset(Router[None]):
    """One ranking per dataset: an oracle, because it is told where a question comes from."""

    reason = "it is the best train model of the dataset"

    def __init__(self, context: MethodContext, settings: None) -> None:
        super().__init__(context, settings)
        self._rankings = best_per_dataset(context.bank, context.datasets)
        self._otherwise = context.best_first()

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking of each query's dataset; the one over all for a dataset that the bank has not seen."""
        return (self._rankings.get(query.dataset or "", self._otherwise) for query in queries)


@register_method("cheapest", "the model with the cheapest calls", "recorded", _SOURCE)
class Cheapest(FixedRouter):
    """The model whose calls cost least."""

    reason = "its calls are the cheapest"

    @classmethod
    def from_context(cls, context: MethodContext, settings: None) -> Self:
        """Make the method.

        Raises:
            InputError: No price is known.
        """
        return cls(context, context.cheapest_first("cheapest"))


@register_method("random", "any model with equal probability", "recorded", _SOURCE)
class Chance(Router[None]):
    """Any model with equal probability, the same one for the same question whatever surrounds it."""

    reason = "chance"

    def __init__(self, context: MethodContext, settings: None) -> None:
        super().__init__(context, settings)
        self._models, self._seed = sorted(context.bank.model_names), context.seed

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield a random ranking per query."""
        for query in queries:
            # Seeded by the text, so that neither the order of questions nor a resumed run changes it.
            rng = np.random.default_rng([self._seed, *query.text.encode("utf-8", "surrogatepass")])
            yield tuple(self._models[place] for place in rng.permutation(len(self._models)))


@register_method("model", "always this model", "recorded", _SOURCE, argument="NAME")
class OneModel(FixedRouter):
    """Always one model, without stand-ins: where it has no answer, this method has none either."""

    reason = "it is the only one asked"

    @classmethod
    def from_context(cls, context: MethodContext, settings: str) -> Self:
        """Make the method.

        Args:
            context: What it is made from.
            settings: The model.

        Raises:
            InputError: The bank has no such model.
        """
        known = context.bank.model_names
        if settings not in known:
            near = did_you_mean(settings, known)
            raise InputError(f"model:{settings}: the bank has no such model{near}; it has {', '.join(known)}")
        return cls(context, (settings,))


@register_method("oracle", "the best answer of each question: a bound, no method", "labels", _SOURCE)
class Oracle:
    """The bound, which an evaluation reads off the test labels."""

    @classmethod
    def from_context(cls, context: MethodContext, settings: Any) -> NoReturn:  # noqa: ANN401 - never used
        """Refuse.

        Raises:
            InputError: Always.
        """
        raise InputError("`oracle` is a bound that reads the test labels; it cannot answer questions")
