"""What routers share: the models are ranked, the first of the ranking answers, and where it cannot, the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jisi_cli.methods.calls import Asker
from jisi_cli.methods.protocol import ContextMethod, Listener, Outcome, Query, S
from jisi_cli.methods.rankings import Ranking, best_overall
from jisi_cli.methods.training import OnStep, State, learned, stacked
from jisi_cli.scoring import BankArrays, Floats
from jisi_cli.types import Pool, Sampling

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


class Router(ContextMethod[S], ABC):
    """A method of one call and no probes.

    Attributes:
        reason: Why the first model of a ranking is chosen, in one sentence.
    """

    reason: ClassVar[str] = "it ranks first"

    @abstractmethod
    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query, in order, without a call; a block at a time is fastest."""

    def plan(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield the ranking of each query."""
        return self.rank(queries)

    async def answer(self, query: Query, plan: Ranking, pool: Pool, listener: Listener) -> Outcome:
        """Ask the best model, then the next ones until one answers.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped the call.
        """
        asker = Asker(pool, listener, query)
        answer = await asker.first_that_answers(plan, query.messages(), "expert", self.sampling)
        if answer is None:
            raise asker.no_answer_error()
        first = answer.model == plan[0]
        reason = self.reason if first else f"{plan[0]} did not answer"
        return Outcome(answer, "route" if first else "fallback", reason, tuple(asker.calls))


class TrainedRouter(Router[S]):
    """A router that learns from train rows, once: what it learned is kept on disk.

    Attributes:
        data: The train rows.
        seed: Seed of the training.
    """

    def __init__(self, context: MethodContext, settings: S) -> None:
        super().__init__(context, settings)
        self.data, self.seed, self._training = context.data, context.seed, context.training

    def learned(
        self,
        name: str,
        version: int,
        identity: object,
        train: Callable[[OnStep], State],
        *,
        seed: int | None = None,
        extra: Mapping[str, Floats] | None = None,
    ) -> State:
        """Return what was learned before from the same rows, or learn it now.

        Args:
            name: Part of the file's name.
            version: Raised whenever the training changes what it would find.
            identity: What decides the training besides the rows; its `repr` must say everything.
            train: Learns; it is told where to report its progress.
            seed: Seed of the training; the context's by default.
            extra: What is learned from besides the rows.
        """
        used = self.seed if seed is None else seed
        return learned(name, version, identity, used, self.data, train, extra, self._training)


class ScoreRouter(TrainedRouter[S]):
    """A router that learns how good each model is on a question."""

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        if queries:
            yield from self.data.rankings(self.predict(stacked(queries)))

    @abstractmethod
    def predict(self, vectors: Floats) -> Floats:
        """Return what each model may be expected to score (n, M), up to anything that keeps the order.

        Args:
            vectors: Query vectors (n, d), n >= 1.
        """


class PairRouter(TrainedRouter[S]):
    """A trained choice between the best model on train and the cheapest other one; the rest stand in.

    Args:
        context: What the method is made from.
        settings: Its settings.
        name: The method, for the error message.

    Attributes:
        order: The best model, the cheapest other one, the rest, best first.

    Raises:
        InputError: No price is known.
    """

    def __init__(self, context: MethodContext, settings: S, name: str) -> None:
        super().__init__(context, settings)
        self.order = context.best_then_cheapest(name)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query: the two models, then the stand-ins."""
        if not queries:
            return
        if not self.can_choose:
            yield from (self.order for _ in queries)
            return
        best, cheap, *others = self.order
        for takes_cheap in self.takes_cheap(stacked(queries)).tolist():
            yield (cheap, best, *others) if takes_cheap else (best, cheap, *others)

    @property
    def can_choose(self) -> bool:
        """Whether there are two models, and train rows tell them apart."""
        return len(self.order) > 1

    @abstractmethod
    def takes_cheap(self, vectors: Floats) -> NDArray[np.bool_]:
        """Return for which of some query vectors (n, d) the cheap model is asked (n,)."""


async def answer_without_vector(
    bank: BankArrays, query: Query, pool: Pool, listener: Listener, sampling: Sampling, why: str
) -> Outcome:
    """Let the best model on the whole bank answer, or the next where it fails, when a question cannot be embedded.

    Args:
        bank: The bank's arrays.
        query: The question; its vector is not used.
        pool: The models.
        listener: Told of every call.
        sampling: How they are asked.
        why: What is wrong with the embedder, in a sentence.

    Raises:
        NoAnswerError: No model could answer.
        BudgetError: The budget stopped every call before there was an answer.
    """
    asker = Asker(pool, listener, query)
    answer = await asker.first_that_answers(best_overall(bank), query.messages(), "expert", sampling)
    if answer is None:
        raise asker.no_answer_error()
    outcome = asker.outcome(answer, "fallback", "the question has no vector; this is the best model on the whole bank")
    return replace(outcome, missing=(f"{why}; asked without routing",))
