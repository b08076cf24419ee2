"""Calls on behalf of one question: one at a time, or a panel of several at once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.messages import NOTHING
from jisi_cli.methods.protocol import ContextMethod, Listener, Mode, Outcome, Query, S
from jisi_cli.types import Answer, Message, OnText, Pool, Request, Role, Sampling

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

T = TypeVar("T")

# Calls on behalf of one question: made, told to the listener, noted, and held by the budget.


class Asker:
    """Makes the calls of one question.

    Args:
        pool: Whom to ask.
        listener: Told of every call.
        query: The question.

    Attributes:
        calls: Every call so far, in the order in which they ended.
        stopped: The budget's refusal, once there was one.
    """

    def __init__(self, pool: Pool, listener: Listener, query: Query) -> None:
        self._pool, self._listener, self._query = pool, listener, query
        self.calls: list[Answer] = []
        self.stopped: BudgetError | None = None

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        role: Role,
        sampling: Sampling,
        on_text: OnText | None = None,
        *,
        sample: int = 0,
    ) -> Answer | None:
        """Make one call; None when the budget forbids it or no answer came."""
        self._listener.asked(model, role)
        try:
            answer = await self._pool.ask(self._request(model, messages, role, sampling, sample, on_text))
        except BudgetError as error:
            self.stopped = error
            return None
        self.calls.append(answer)
        self._listener.answered(answer)
        return answer if answer.ok else None

    def conclude(self, words: str) -> None:
        """Tell the listener what comes of the answers so far."""
        self._listener.concluded(words)

    async def together(self, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Await several calls at the same time; in a replay, where a task takes longer than a call, one by one."""
        if self.live:
            return await asyncio.gather(*calls)
        return [await call for call in calls]

    @property
    def live(self) -> bool:
        """Whether models are called; in a replay their answers are there at once."""
        return self._pool.live

    def can_answer(self, model: str) -> bool:
        """Whether a model can answer the question itself, as far as is known without a call."""
        return self._pool.can_answer(self._request(model, self._query.messages(), "expert", Sampling()))

    def _request(
        self,
        model: str,
        messages: Sequence[Message],
        role: Role,
        sampling: Sampling,
        sample: int = 0,
        on_text: OnText | None = None,
    ) -> Request:
        query = self._query
        wanted = NOTHING if role == "judge" else query.wanted
        return Request(model, messages, role, sampling, sample, on_text, query.text, query.dataset, query.index, wanted)

    async def first_that_answers(
        self, models: Sequence[str], messages: Sequence[Message], role: Role, sampling: Sampling
    ) -> Answer | None:
        """Let one model after another write the final answer until one does; None when none does."""
        # Pieces could not be taken back if the whole answer did not have the form that was asked for.
        in_pieces = self._listener.streams and self._query.wanted.format is None
        for model in models:
            self._listener.writing(model)
            answer = await self.ask(model, messages, role, sampling, self._listener.text if in_pieces else None)
            if answer is not None or self.stopped is not None:
                return answer
            if role == "aggregator" and self.calls[-1].unfit:
                return None  # the responses that it was given have the form
        return None

    def settle_on(self, answer: Answer, mode: Mode, reason: str, references: Sequence[Answer] = ()) -> Outcome:
        """Make a response that is already there the final answer; whatever was being written counts no more."""
        self._listener.writing(answer.model)
        self._listener.text(answer.text)
        return self.outcome(answer, mode, reason, references)

    def outcome(self, answer: Answer, mode: Mode, reason: str, references: Sequence[Answer] = ()) -> Outcome:
        """Return how the question ended, with every call that was made for it."""
        return Outcome(
            answer=answer,
            mode=mode,
            reason=reason,
            calls=tuple(self.calls),
            stopped_by_budget=self.stopped is not None,
            references=tuple(dict.fromkeys(reference.model for reference in references)),
        )

    def no_answer_error(self) -> NoAnswerError | BudgetError:
        """Return the error for a question that no model answered, with each model's own words."""
        if self.stopped is not None:
            return self.stopped
        reasons = "; ".join(f"{answer.model}: {answer.error or 'empty answer'}" for answer in self.calls)
        return NoAnswerError(f"no model could answer ({reasons or 'none was asked'})")


# A panel: several answers to one question, asked for at the same time; those that fail are dropped.


@dataclass(frozen=True, slots=True)
class Member:
    """One place on a panel.

    Attributes:
        model: Who is asked.
        sample: Which of this model's several answers to the same question it is.
    """

    model: str
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """Who is asked at once, and who stands in when none of them answers.

    Attributes:
        members: The panel, best first.
        stand_ins: Other models, best first.
    """

    members: tuple[Member, ...]
    stand_ins: tuple[str, ...] = ()

    @classmethod
    def of_best(cls, ranking: Sequence[str], size: int | None = None) -> Panel:
        """Seat the first `size` models of a ranking (None for all); the others stand in."""
        places = len(ranking) if size is None else size
        return cls(tuple(Member(model) for model in ranking[:places]), tuple(ranking[places:]))

    @classmethod
    def of_samples(cls, ranking: Sequence[str], samples: int) -> Panel:
        """Seat the first model of a ranking `samples` times; the others stand in."""
        return cls(tuple(Member(ranking[0], sample) for sample in range(samples)), tuple(ranking[1:]))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model once, best first: the panel's, then those that stand in."""
        return tuple(dict.fromkeys([member.model for member in self.members] + list(self.stand_ins)))

    async def ask(self, asker: Asker, messages: Sequence[Message], sampling: Sampling) -> list[Answer]:
        """Ask all members at the same time; return the answers that came, best member first."""
        found = await asker.together(
            asker.ask(member.model, messages, "expert", sampling, sample=member.sample) for member in self.members
        )
        return [answer for answer in found if answer is not None]

    async def stand_in(self, asker: Asker, query: Query, sampling: Sampling) -> Outcome:
        """Let one model after another answer alone, when no member did.

        Raises:
            NoAnswerError: None of them answered either.
            BudgetError: The budget stopped every call.
        """
        answer = None
        if asker.stopped is None:
            answer = await asker.first_that_answers(self.stand_ins, query.messages(), "expert", sampling)
        if answer is None:
            raise asker.no_answer_error()
        return asker.outcome(answer, "fallback", "none of the models asked first answered")


# Methods that put the question to one panel of models and make one answer of theirs.


class PanelMethod(ContextMethod[S], ABC):
    """All members of a panel are asked at the same time; those that fail are left out, and others stand in for all.

    Args:
        context: What the method is made from.
        settings: Its settings.
        panel: The models that every question is put to.
        sampling: Sampling parameters of their calls; the context's by default.
    """

    def __init__(self, context: MethodContext, settings: S, panel: Panel, sampling: Sampling | None = None) -> None:
        super().__init__(context, settings)
        self.panel = panel
        self.asking = sampling or self.sampling

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the panel once per query."""
        return (self.panel for _ in queries)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Ask the panel and make one answer of what it says.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener, query)
        answers = await plan.ask(asker, query.messages(), self.asking)
        if not answers:
            return await plan.stand_in(asker, query, self.asking)
        return await self.settle(asker, query, answers)

    @abstractmethod
    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Make one answer of several.

        Args:
            asker: Makes further calls.
            query: The question.
            answers: At least one, best member first.
        """
