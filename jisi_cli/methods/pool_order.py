"""How a pool answers that has no bank yet: the order of its file stands in for the ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.errors import InputError
from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.consensus import most_frequent
from jisi_cli.methods.decision import Decision
from jisi_cli.methods.prompts import aggregation_messages, synthesise
from jisi_cli.methods.protocol import Aggregation, Listener, Outcome, Query
from jisi_cli.scoring import Coarse, limit_tokens
from jisi_cli.types import Answer, Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_NO_ROWS = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class PoolOrderSettings:
    """The hyperparameters that mean something without a bank, as `Hyperparameters` has them.

    Attributes:
        k: Models that are asked.
        u: Share of the answers that must agree to end the question: 0.999 is all of them.
        max_aggregate_tokens: Responses together longer than this are cut down to two.
        aggregation: `auto`: agreement ends the question, else the first model aggregates. `never`: the first model
            answers alone. `always`: the first model aggregates, agreement or not.
    """

    k: int
    u: float
    max_aggregate_tokens: int
    aggregation: Aggregation


class PoolOrder(PanelMethod[PoolOrderSettings]):
    """The first K models of the pool are asked; agreement ends it, else the first of them aggregates.

    Nothing is known of the models, so every answer weighs the same. It is decided in stages, as JiSi's are. A bank's
    models have no such order, so it is not among the registered methods.

    Args:
        context: What the method is made from; of the bank only the names of the models.
        settings: Its settings.
    """

    def __init__(self, context: MethodContext, settings: PoolOrderSettings) -> None:
        self.models = context.bank.model_names
        super().__init__(
            context, settings, Panel.of_best(self.models, 1 if settings.aggregation == "never" else settings.k)
        )
        self.hyperparameters = context.hyperparameters

    @classmethod
    def of_context(cls, context: MethodContext, stated: Mapping[str, object]) -> PoolOrder:
        """Make the method.

        Args:
            context: What it is made from.
            stated: Settings that the user gave as options.

        Raises:
            InputError: One of them means nothing without a bank.
        """
        given = context.hyperparameters
        settings = PoolOrderSettings(given.k, given.u, given.max_aggregate_tokens, context.aggregation or "auto")
        known = {field.name for field in fields(settings)}
        needs_bank = next((name for name in stated if name not in known), None)
        if needs_bank is not None:
            option = f"--{needs_bank.replace('_', '-')}"
            raise InputError(f"{option} is about similar questions of a bank, and there is no bank; leave it out")
        return cls(context, settings)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Ask the first models and make one answer of theirs.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        if len(plan.members) > 1:
            outcome = await super().answer(query, plan, pool, listener)
        else:
            outcome = await self._alone(query, plan, Asker(pool, listener, query))
        answered = [call.model for call in outcome.calls if call.ok and call.role == "expert"]
        return replace(outcome, decision=self._decided(answered, outcome.references or (outcome.answer.model,)))

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Make one answer of several."""
        always = self.settings.aggregation == "always"
        from jisi_cli.grading.bare_reply import words_of

        if len(answers) == 1 and not always:
            return asker.settle_on(answers[0], "route", "the other models did not answer")
        group = most_frequent(answers, query)
        if group is not None and len(group.members) > 1 and group.share >= self.settings.u and not always:
            words = f"{len(group.members)} of {len(answers)} models agree"
            asker.conclude(words)
            return asker.settle_on(answers[group.members[0]], "consensus", words, [answers[at] for at in group.members])
        if group is None and not always and len({words_of(answer.text) for answer in answers}) == 1:
            words = f"{len(answers)} of {len(answers)} models say the same"
            asker.conclude(words)
            return asker.settle_on(answers[0], "consensus", words, answers)
        if not always:
            asker.conclude("the answers differ" if group is not None else "the answers cannot be compared")
        tokens = [
            math.nan if answer.completion_tokens is None else float(answer.completion_tokens) for answer in answers
        ]
        used = [answers[place] for place in limit_tokens(range(len(answers)), tokens, self.hyperparameters)]
        return await synthesise(asker, query, used, self.models, self.sampling, aggregation_messages)

    def decision(self, plan: Panel) -> Decision:
        """Return what is decided without a call."""
        return self._decided((), ())

    async def probe(
        self, query: Query, plan: Panel, pool: Pool, listener: Listener
    ) -> tuple[Decision, tuple[Answer, ...]]:
        """Ask the first K models, but not for an aggregation.

        Raises:
            NoAnswerError: None of them answered.
            BudgetError: The budget stopped every call.
        """
        asker = Asker(pool, listener, query)
        answers = await plan.ask(asker, query.messages(), self.asking)
        if not answers:
            raise asker.no_answer_error()
        names = [answer.model for answer in answers]
        return self._decided(names, names), tuple(asker.calls)

    async def _alone(self, query: Query, plan: Panel, asker: Asker) -> Outcome:
        """Let the first model answer, or the next where it fails."""
        answer = await asker.first_that_answers(plan.models, query.messages(), "expert", self.sampling)
        if answer is None:
            raise asker.no_answer_error()
        if answer.model == plan.models[0]:
            return asker.outcome(answer, "route", "it is the first of the pool")
        return asker.outcome(answer, "fallback", f"{plan.models[0]} did not answer")

    def _decided(self, answered: Sequence[str], used: Sequence[str]) -> Decision:
        """Return the order as a decision; where a bank would say more, it says nothing (NaN, no rows)."""
        unknown = np.full(len(self.models), math.nan)
        first = Coarse(
            rows=_NO_ROWS,
            similarities=np.zeros(0),
            kth=math.nan,
            threshold=math.nan,
            scores=unknown,
            ranking=tuple(range(len(self.models))),
            k=len(self.panel.members),
        )
        in_order = tuple(model for model in self.models if model in answered)
        return Decision(self.models, first, answered=in_order, aggregatees=tuple(used))
