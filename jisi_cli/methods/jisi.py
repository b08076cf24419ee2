"""JiSi: query-response mixed routing with an adaptive switch to aggregation (arXiv 2601.01330)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from jisi_cli.embedders.protocol import Embedder
from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.llm.answer import Answer, Message, OnText, Pool, Role, Sampling
from jisi_cli.methods.aggregation_prompt import aggregation_messages
from jisi_cli.methods.decision import Decision
from jisi_cli.methods.protocol import Call, Listener, Mode, Outcome, Query
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, coarse_block, fine, limit_tokens

Variant = Literal["jisi", "jisi-router", "jisi-static", "jisi-query"]
"""`jisi`: all of it. `jisi-router`: the best aggregatee, never aggregates. `jisi-static`: always
aggregates the top K (t = 0). `jisi-query`: stage 1 alone, one call."""

_COMPAT_AGGREGATION = Sampling(temperature=0.7, max_tokens=32_768)


class JiSi:
    """The paper's method over one bank.

    Args:
        bank: The bank's arrays, for the models that the pool can ask.
        embedder: The bank's own embedder, for responses that come without a vector.
        settings: Hyper-parameters.
        variant: How much of the method.
        sampling: Sampling parameters of every call.
    """

    def __init__(
        self,
        bank: BankArrays,
        embedder: Embedder,
        settings: Hyperparameters,
        variant: Variant = "jisi",
        sampling: Sampling | None = None,
    ) -> None:
        self._bank, self._embedder, self._variant = bank, embedder, variant
        self._settings = replace(settings, t=0.0) if variant == "jisi-static" else settings
        self._sampling = sampling or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Coarse]:
        """Yield stage 1 of each query; the similarities of a block are matrix products."""
        return coarse_block(self._bank, np.stack([query.vector for query in queries]), self._settings)

    async def answer(self, query: Query, plan: Coarse, pool: Pool, listener: Listener) -> Outcome:
        """Carry out stages 2 and 3 for one query.

        Raises:
            NoAnswerError: No model of the pool could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        run = _Run(self._bank, self._embedder, self._settings, self._sampling, query, plan, pool, listener)
        if self._variant == "jisi-query":
            return await run.first_that_answers(plan.ranking, "expert", "stage 1 chose it", "route")
        await run.probe()
        if not run.answers:
            rest = plan.ranking[len(plan.candidates) :]
            return await run.first_that_answers(rest, "expert", "no candidate answered", "fallback")
        second = run.decide()
        return await run.conclude(second, aggregate=self._variant != "jisi-router")

    async def probe(
        self, query: Query, plan: Coarse, pool: Pool, listener: Listener
    ) -> tuple[Decision, tuple[Call, ...]]:
        """Ask the K candidates and complete the decision, but call neither experts nor the aggregator.

        Raises:
            NoAnswerError: No candidate answered.
            BudgetError: The budget stopped every candidate.
        """
        run = _Run(self._bank, self._embedder, self._settings, self._sampling, query, plan, pool, listener)
        await run.probe()
        if not run.answers:
            raise run.nobody()
        second = run.decide()
        return run.decision(second, second.aggregatees), tuple(run.calls)


@dataclass
class _Run:
    """One question on its way; models are indices into the bank's."""

    bank: BankArrays
    embedder: Embedder
    settings: Hyperparameters
    sampling: Sampling
    query: Query
    first: Coarse
    pool: Pool
    listener: Listener
    answers: dict[int, Answer] = field(default_factory=dict)
    vectors: dict[int, np.ndarray] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    stopped: BudgetError | None = None

    async def probe(self) -> None:
        """Ask the candidates at the same time and embed each response as it arrives (step 6)."""
        started = time.perf_counter()
        await asyncio.gather(*(self._probe_one(model) for model in self.first.candidates))
        self.seconds["probe"] = time.perf_counter() - started

    def decide(self) -> Fine:
        """Refine the support set by what came back (steps 6-11)."""
        started = time.perf_counter()
        answered = tuple(model for model in self.first.candidates if model in self.answers)
        tokens = [self._tokens(model) for model in answered]
        probes = Probes(answered, np.stack([self.vectors[model] for model in answered]), np.array(tokens))
        messages = self.query.messages()
        answerable = np.array([self.pool.can_answer(name, messages) for name in self.bank.model_names])
        second = fine(self.bank, self.first, probes, self.settings, answerable)
        self.seconds["score"] = time.perf_counter() - started
        return second

    async def conclude(self, second: Fine, *, aggregate: bool) -> Outcome:
        """Fetch what is missing and route or aggregate (steps 12-14)."""
        wanted = second.aggregatees if aggregate else second.aggregatees[:1]
        await self._ask_experts(wanted)
        kept = [model for model in wanted if model in self.answers]
        if not kept:
            best = next(model for model in second.ranking if model in self.answers)
            return self._outcome(self.answers[best], "fallback", "no chosen model answered", second, (best,))
        used = limit_tokens(kept, [self._tokens(model) for model in kept], self.settings)
        if len(used) == 1:
            reason = self._routing_reason(second, aggregate=aggregate, kept=len(kept))
            return self._outcome(self.answers[used[0]], "route", reason, second, used)
        return await self._aggregate(second, used)

    async def first_that_answers(self, ranking: Sequence[int], role: Role, reason: str, mode: Mode) -> Outcome:
        """Ask one model after another until one answers."""
        for place, model in enumerate(ranking):
            name = self.bank.model_names[model]
            self.listener.writing(name)
            answer = await self._ask(model, self.query.messages(), role, self.sampling, self.listener.text)
            if answer is not None and answer.ok:
                late: Mode = mode if place == 0 else "fallback"
                return self._outcome(
                    answer, late, reason if place == 0 else "better ones did not answer", None, (model,)
                )
        raise self.nobody()

    def decision(self, second: Fine | None, used: Sequence[int]) -> Decision:
        """Gather what was decided, by name."""
        names = self.bank.model_names
        answered = tuple(names[model] for model in self.first.candidates if model in self.answers)
        return Decision(names, self.first, second, answered, tuple(names[model] for model in used))

    def nobody(self) -> NoAnswerError | BudgetError:
        """Return the error for a question that no model answered, with each model's own words."""
        if self.stopped is not None:
            return self.stopped
        reasons = "; ".join(f"{call.answer.model}: {call.answer.error or 'empty answer'}" for call in self.calls)
        return NoAnswerError(f"no model could answer ({reasons or 'none was asked'})")

    async def _probe_one(self, model: int) -> None:
        answer = await self._ask(model, self.query.messages(), "probe", self.sampling)
        if answer is None or not answer.ok:
            return
        vector = answer.vector
        if vector is None:
            # Embedding is pure computation: in a thread it overlaps with the calls still out.
            vector = (await asyncio.to_thread(self.embedder.embed, [answer.text]))[0]
        self.answers[model], self.vectors[model] = answer, vector

    async def _ask_experts(self, wanted: Sequence[int]) -> None:
        """Call the aggregatees that were not candidates (step 12); one that failed is not called again."""
        started = time.perf_counter()
        missing = [model for model in wanted if model not in self.first.candidates]
        found = await asyncio.gather(
            *(self._ask(model, self.query.messages(), "expert", self.sampling) for model in missing)
        )
        self.answers.update(
            (model, answer) for model, answer in zip(missing, found, strict=True) if answer is not None and answer.ok
        )
        if missing:
            self.seconds["experts"] = time.perf_counter() - started

    async def _aggregate(self, second: Fine, used: tuple[int, ...]) -> Outcome:
        """Let the best model by g write the answer; on failure the next, at last the best response itself."""
        started = time.perf_counter()
        messages = aggregation_messages(
            self.query.text, [self.answers[model].text for model in used], self.query.system
        )
        sampling = _COMPAT_AGGREGATION if self.settings.compat == "openjisi" else self.sampling
        names = self.bank.model_names
        for place, model in enumerate(self.first.ranking):
            self.listener.writing(names[model])
            answer = await self._ask(model, messages, "aggregator", sampling, self.listener.text)
            if answer is not None and answer.ok:
                self.seconds["aggregate"] = time.perf_counter() - started
                reason = f"{len(used)} models score within t={self.settings.t:g} of the best"
                if place:
                    reason += f"; {names[model]} stood in for {names[self.first.ranking[0]]}"
                return self._outcome(answer, "aggregate", reason, second, used)
            if self.stopped is not None:
                break
        self.seconds["aggregate"] = time.perf_counter() - started
        why = "the budget left no room for the aggregator" if self.stopped else "no aggregator answered"
        return self._outcome(self.answers[used[0]], "fallback", f"{why}; this is the best response", second, used)

    async def _ask(
        self,
        model: int,
        messages: Sequence[Message],
        role: Role,
        sampling: Sampling,
        on_text: OnText | None = None,
    ) -> Answer | None:
        """Make one call and note it; None when the budget forbids it."""
        name = self.bank.model_names[model]
        self.listener.asked(name, role)
        try:
            answer = await self.pool.ask(name, messages, role=role, sampling=sampling, on_text=on_text)
        except BudgetError as error:
            self.stopped = error
            return None
        call = Call(role, answer)
        self.calls.append(call)
        self.listener.answered(call)
        return answer

    def _tokens(self, model: int) -> float:
        tokens = self.answers[model].completion_tokens
        return float("nan") if tokens is None else float(tokens)

    def _routing_reason(self, second: Fine, *, aggregate: bool, kept: int) -> str:
        if not aggregate:
            return "it has the best fine score, and aggregation is off"
        if len(second.aggregatees) > kept:
            return "the other chosen models did not answer"
        if float(second.scores.max()) <= 0:
            return "no model solved a question like this; the first candidate answers"
        return f"no other model scores within t={self.settings.t:g} of it"

    def _outcome(self, answer: Answer, mode: Mode, reason: str, second: Fine | None, used: Sequence[int]) -> Outcome:
        return Outcome(
            answer=answer,
            mode=mode,
            reason=reason,
            calls=tuple(self.calls),
            decision=self.decision(second, used),
            seconds=dict(self.seconds),
            stopped_by_budget=self.stopped is not None,
        )
