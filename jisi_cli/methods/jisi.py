"""JiSi: query-response mixed routing with an adaptive switch to aggregation (arXiv 2601.01330), and its variants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import Embedder, embed_async
from jisi_cli.errors import BudgetError, JisiError, NoAnswerError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.consensus import Consensus, heaviest_group
from jisi_cli.methods.decision import Decision
from jisi_cli.methods.final_answers import final_answer
from jisi_cli.methods.prompts import aggregation_messages
from jisi_cli.methods.protocol import Aggregation, Listener, Mode, Outcome, Query
from jisi_cli.methods.rankings import Ranking
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.router import Router
from jisi_cli.methods.shared_stages import CoarseBlock, FineStage, SharedFine
from jisi_cli.scoring import BankArrays, Coarse, Fine, Probes, coarse_block, limit_tokens
from jisi_cli.scoring.price_weight import price_weight_of
from jisi_cli.types import Answer, Pool, Role, Sampling

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_SOURCE = "JiSi, arXiv 2601.01330"
_OURS = "jisi, beyond the paper"
_PAPER_SWITCH = {"switch": "paper", "probe_schedule": ""}
_COMPAT_AGGREGATION = Sampling(temperature=0.7, max_tokens=32_768)


@register_method(
    "jisi",
    "mixed routing, adaptive switch, chosen aggregator",
    "recorded; live to aggregate",
    _SOURCE,
    settings=Hyperparameters(),
)
class JiSi:
    """The paper's method over one bank, with the consensus switch where the settings ask for it.

    Args:
        bank: The bank's arrays, for the models that the pool can ask.
        embedder: The bank's own embedder, for responses that come without a vector.
        settings: Hyperparameters.
        aggregation: Whether responses are aggregated.
        sampling: Sampling parameters of every call.
        dollars: Dollars of every train answer (N, M), NaN where unknown; only a price weight needs them.
        coarse: Computes stage 1.
        fine: Computes stages 2 and 3.

    Raises:
        InputError: There is a price weight and no price.

    Attributes:
        only: What the method's name says about aggregation; None where the user may say it.
    """

    only: ClassVar[Aggregation | None] = None

    def __init__(
        self,
        bank: BankArrays,
        embedder: Embedder,
        settings: Hyperparameters,
        aggregation: Aggregation = "auto",
        sampling: Sampling | None = None,
        dollars: NDArray[np.float64] | None = None,
        coarse: CoarseBlock = coarse_block,
        fine: FineStage | None = None,
    ) -> None:
        self.bank, self.embedder, self.aggregation = bank, embedder, aggregation
        self.coarse, self.fine = coarse, fine or SharedFine(room=0)
        self.hyperparameters = replace(settings, t=0.0) if aggregation == "always" else settings
        self.sampling = sampling or Sampling()
        self.prices = price_weight_of(bank, dollars, self.hyperparameters)

    @classmethod
    def from_context(cls, context: MethodContext, settings: Hyperparameters) -> Self:
        """Make the method; the context says whether it aggregates where the name does not.

        Raises:
            InputError: There is a price weight and no price.
        """
        aggregation = cls.only or context.aggregation or "auto"
        dollars = context.dollars if settings.price_weight else None
        stages = context.coarse, context.fine
        return cls(context.bank, context.embedder, settings, aggregation, context.sampling(), dollars, *stages)

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters that decide, and whether responses are aggregated."""
        return {**self.hyperparameters.to_json(), "aggregation": self.aggregation}

    def plan(self, queries: Sequence[Query]) -> Iterator[Coarse]:
        """Yield stage 1 of each query; the similarities of a block are matrix products."""
        found = self.coarse(self.bank, np.stack([query.vector for query in queries]), self.hyperparameters)
        return found if self.prices is None else map(self.prices.coarse, found)

    async def answer(self, query: Query, plan: Coarse, pool: Pool, listener: Listener) -> Outcome:
        """Carry out stages 2 and 3 for one query.

        Raises:
            NoAnswerError: No model of the pool could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        return await self.go_on(query, plan, Asker(pool, listener, query), {})

    async def go_on(self, query: Query, plan: Coarse, asker: Asker, asked: Mapping[int, Answer | None]) -> Outcome:
        """Answer a question of which some models were asked already.

        Args:
            query: The question.
            plan: Its stage 1.
            asker: Made the calls so far, and makes the others.
            asked: What those models answered; None where one failed, which is not asked again.

        Raises:
            NoAnswerError: No model of the pool could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        run = _Run(self, query, plan, asker, asked)
        agreed = await run.probe()
        if agreed is not None:
            return run.agree(agreed)
        if not run.answers:
            return run.without_vectors() or await run.ask_the_rest()
        second = await run.decide()
        if self.hyperparameters.switch == "consensus" and self.aggregation == "never":
            group = run.group()
            if group is not None:
                return run.agree(group, second)
        return await run.conclude(second)

    def decision(self, plan: Coarse) -> Decision:
        """Return what is decided without a call."""
        return Decision(self.bank.model_names, plan, scores_are_means=self.hyperparameters.compat == "openjisi")

    async def probe(
        self, query: Query, plan: Coarse, pool: Pool, listener: Listener
    ) -> tuple[Decision, tuple[Answer, ...]]:
        """Ask the K candidates and complete the decision, but call neither experts nor the aggregator.

        Raises:
            NoAnswerError: No candidate answered.
            BudgetError: The budget stopped every candidate.
        """
        return await self.go_on_probing(query, plan, Asker(pool, listener, query), {})

    async def go_on_probing(
        self, query: Query, plan: Coarse, asker: Asker, asked: Mapping[int, Answer | None]
    ) -> tuple[Decision, tuple[Answer, ...]]:
        """Probe a question of which some models were asked already; see `probe` and `go_on`.

        Raises:
            NoAnswerError: No candidate answered.
            BudgetError: The budget stopped every candidate.
        """
        run = _Run(self, query, plan, asker, asked)
        await run.probe()
        if not run.answers:
            raise run.embedder_failure or run.asker.no_answer_error()
        second = await run.decide()
        return run.decision(second, second.aggregatees), tuple(run.asker.calls)


@register_method(
    "jisi-router",
    "mixed routing; the best aggregatee answers",
    "recorded",
    _SOURCE,
    settings=Hyperparameters(),
    fixed=_PAPER_SWITCH,
)
class JiSiRouter(JiSi):
    """The router: the first aggregatee of step 11 answers."""

    only = "never"


@register_method(
    "jisi-static",
    "mixed routing; always aggregates the top K",
    "live",
    _SOURCE,
    settings=Hyperparameters(),
    fixed=_PAPER_SWITCH,
)
class JiSiStatic(JiSi):
    """The variant without a switch: the top K are always aggregated."""

    only = "always"


@register_method(
    "jisi-query",
    "stage 1 alone: one call, no probes",
    "recorded",
    _SOURCE,
    settings=Hyperparameters(),
    fixed=_PAPER_SWITCH,
)
class JiSiQuery(Router[Hyperparameters]):
    """Ranks models by their coarse score (Eq. 2): argmax g.

    Raises:
        InputError: There is a price weight and no price.
    """

    reason = "stage 1 ranks it first"

    def __init__(self, context: MethodContext, settings: Hyperparameters) -> None:
        super().__init__(context, settings)
        self._bank, self._coarse = context.bank, context.coarse
        self._prices = price_weight_of(context.bank, context.dollars if settings.price_weight else None, settings)

    def rank(self, queries: Sequence[Query]) -> Iterator[Ranking]:
        """Yield one ranking per query."""
        vectors = np.stack([query.vector for query in queries])
        for found in self._coarse(self._bank, vectors, self.settings):
            first = found if self._prices is None else self._prices.coarse(found)
            yield tuple(self._bank.model_names[model] for model in first.ranking)


@register_method(
    "jisi-vote",
    "the candidates' heaviest final answer",
    "recorded",
    _OURS,
    settings=Hyperparameters(),
    fixed={"switch": "consensus"},
)
class JiSiVote(JiSi):
    """The vote of the candidates: no call beyond the probes."""

    only = "never"


@register_method(
    "jisi-consensus",
    "agreement ends it, else the paper's switch",
    "recorded; live to aggregate",
    _OURS,
    settings=Hyperparameters(),
    fixed={"switch": "consensus"},
)
class JiSiConsensus(JiSi):
    """Consensus first, the paper's switch otherwise."""

    only = "auto"


class _Run:
    """One question on its way; models are indices into the bank's."""

    def __init__(
        self, method: JiSi, query: Query, first: Coarse, asker: Asker, known: Mapping[int, Answer | None]
    ) -> None:
        self.method, self.query, self.first, self.asker, self.known = method, query, first, asker, known
        self.settings, self.names = method.hyperparameters, method.bank.model_names
        self.answers: dict[int, Answer] = {}
        self.vectors: dict[int, NDArray[np.floating]] = {}
        self.unembedded: dict[int, Answer] = {}
        self.embedder_failure: JisiError | None = None
        self.asked: list[int] = []
        self.seconds: dict[str, float] = {}

    async def probe(self) -> Consensus | None:
        """Ask the candidates, a round at the same time, and embed each response as it arrives (step 6).

        Returns:
            The group that wins at once, where the settings look for one.
        """
        rest = list(self.first.candidates)
        with self._timed("probe"):
            for size in self.settings.rounds():
                now, rest = rest[:size], rest[size:]
                self.asked += now
                await self._probe_round(now)
                group = self.group() if self.settings.switch == "consensus" else None
                if group is not None and self._ends(group, last=not rest):
                    return group
        return None

    def _ends(self, group: Consensus, *, last: bool) -> bool:
        """Whether agreement ends the question: from a share of u, or before the last round when all agree (C5).

        A share of u among the first few is no majority: of two that differ, the better one always has half.
        """
        if last:
            return group.share >= self.settings.u
        return len(group.members) == len(self.asked) > 1

    def group(self) -> Consensus | None:
        """Return the heaviest group of equal final answers (C1, C2)."""
        finals = {
            model: final_answer(answer.text, self.query.grader, is_json=self.query.is_json)
            for model, answer in self.answers.items()
            if model in self.asked
        }
        return heaviest_group(self.asked, self.first.scores.tolist(), finals)

    async def decide(self) -> Fine:
        """Refine the support set by what came back (steps 6-11)."""
        with self._timed("score"):
            answered = tuple(model for model in self.first.candidates if model in self.answers)
            tokens = np.array([self._tokens(model) for model in answered])
            probes = Probes(answered, np.stack([self.vectors[model] for model in answered]), tokens)
            answerable = self._answerable()
            second = await self.method.fine(self.method.bank, self.first, probes, self.settings, answerable)
            prices = self.method.prices
            return second if prices is None else prices.fine(second, self.first, probes, answerable)

    def agree(self, group: Consensus, second: Fine | None = None) -> Outcome:
        """Let the best-ranked member of a group answer (C3, C4)."""
        reason = f"{len(group.members)} of {len(self.asked)} candidates agree, with {group.share:.0%} of the weight"
        return self._outcome(self.answers[group.members[0]], "consensus", reason, second, group.members)

    def without_vectors(self) -> Outcome | None:
        """Let the best-ranked candidate answer when no response could be embedded; None when none answered."""
        found = next((model for model in self.first.candidates if model in self.unembedded), None)
        if found is None:
            return None
        why = "the budget left no room to embed the responses" if self.asker.stopped else "no response was embedded"
        reason = f"{why}; this is the first candidate's"
        return self._outcome(self.unembedded[found], "fallback", reason, None, [found])

    async def ask_the_rest(self) -> Outcome:
        """Ask the models ranked after the candidates, one by one, when no candidate answered."""
        rest = [self.names[model] for model in self.first.ranking[len(self.first.candidates) :]]
        answer = await self.asker.first_that_answers(rest, self.query.messages(), "expert", self.method.sampling)
        if answer is None:
            raise self.asker.no_answer_error()
        return self._outcome(answer, "fallback", "no candidate answered", None, [self.names.index(answer.model)])

    async def conclude(self, second: Fine) -> Outcome:
        """Fetch what is missing and route or aggregate (steps 12-14)."""
        wanted = second.aggregatees[:1] if self.method.aggregation == "never" else second.aggregatees
        await self._ask_experts(wanted)
        kept = [model for model in wanted if model in self.answers]
        if not kept:
            best = next(model for model in second.ranking if model in self.answers)
            return self._outcome(self.answers[best], "fallback", "no chosen model answered", second, (best,))
        used = limit_tokens(kept, [self._tokens(model) for model in kept], self.settings)
        if len(used) > 1:
            return await self._aggregate(second, used)
        return self._outcome(self.answers[used[0]], "route", self._routing_reason(second, kept), second, used)

    def decision(self, second: Fine | None, used: Sequence[int]) -> Decision:
        """Gather what was decided, by name."""
        answered = tuple(self.names[model] for model in self.first.candidates if model in self.answers)
        chosen = tuple(self.names[model] for model in used)
        means = self.settings.compat == "openjisi"
        return Decision(self.names, self.first, second, answered, chosen, scores_are_means=means)

    async def _probe_round(self, models: Sequence[int]) -> None:
        """Ask some candidates at the same time, and embed each response as it arrives."""
        if self.asker.live:
            await asyncio.gather(*(self._probe_one(model) for model in models))
            return
        # A replay's answers are there at once, most with their vectors: only embedding is worth a task.
        waiting = []
        for model in models:
            answer = await self._ask(model, "probe")
            if answer is not None and answer.vector is None:
                waiting.append(self._take(model, answer))
            elif answer is not None:
                await self._take(model, answer)
        if waiting:
            await asyncio.gather(*waiting)

    async def _probe_one(self, model: int) -> None:
        answer = await self._ask(model, "probe")
        if answer is not None:
            await self._take(model, answer)

    async def _take(self, model: int, answer: Answer) -> None:
        """Let a response take part in the decision, which needs its vector."""
        vector = answer.vector
        if vector is None:
            try:
                vector = (await embed_async(self.method.embedder, [answer.text]))[0]
            except (BudgetError, NoAnswerError) as error:
                # The answer is paid for, but without a vector it cannot take part in the decision.
                self.unembedded[model] = answer
                if isinstance(error, BudgetError):
                    self.asker.stopped = error
                else:
                    self.embedder_failure = error
                return
        self.answers[model], self.vectors[model] = answer, vector

    def _answerable(self) -> NDArray[np.bool_] | None:
        """Say which models can answer (M,), where the settings ask for it."""
        if self.settings.compat != "openjisi":
            return None
        return np.array([self.asker.can_answer(name) for name in self.names])

    async def _ask(self, model: int, role: Role) -> Answer | None:
        """Return a model's answer, which may be there already."""
        if model in self.known:
            return self.known[model]
        return await self.asker.ask(self.names[model], self.query.messages(), role, self.method.sampling)

    async def _ask_experts(self, wanted: Sequence[int]) -> None:
        """Call the aggregatees that were not asked yet (step 12); one that failed is not called again."""
        missing = [model for model in wanted if model not in self.asked]
        if not missing:
            return
        with self._timed("experts"):
            found = await self.asker.together(self._ask(model, "expert") for model in missing)
        self.answers.update((model, answer) for model, answer in zip(missing, found, strict=True) if answer)

    async def _aggregate(self, second: Fine, used: tuple[int, ...]) -> Outcome:
        """Let the best model by g write the answer; on failure the next, at last the best response itself."""
        responses = [self.answers[model].text for model in used]
        messages = aggregation_messages(self.query, responses)
        sampling = _COMPAT_AGGREGATION if self.settings.compat == "openjisi" else self.method.sampling
        ranking = [self.names[model] for model in self.first.ranking]
        with self._timed("aggregate"):
            answer = await self.asker.first_that_answers(ranking, messages, "aggregator", sampling)
        if answer is None:
            why = "the budget left no room for the aggregator" if self.asker.stopped else "no aggregator answered"
            best = self.answers[used[0]]
            return self._outcome(best, "fallback", f"{why}; this is the best response", second, used)
        reason = f"{len(used)} models score within t={self.settings.t:g} of the best"
        if answer.model != ranking[0]:
            reason += f"; {answer.model} stood in for {ranking[0]}"
        return self._outcome(answer, "aggregate", reason, second, used)

    def _tokens(self, model: int) -> float:
        tokens = self.answers[model].completion_tokens
        return float("nan") if tokens is None else float(tokens)

    def _routing_reason(self, second: Fine, kept: Sequence[int]) -> str:
        if self.method.aggregation == "never":
            return "it has the best fine score, and aggregation is off"
        if len(second.aggregatees) > len(kept):
            return "the other chosen models did not answer"
        if float(second.scores.max()) <= 0:
            return "no model solved a question like this; the first candidate answers"
        return f"no other model scores within t={self.settings.t:g} of it"

    def _outcome(self, answer: Answer, mode: Mode, reason: str, second: Fine | None, used: Sequence[int]) -> Outcome:
        return Outcome(
            answer=answer,
            mode=mode,
            reason=reason,
            calls=tuple(self.asker.calls),
            decision=self.decision(second, used),
            seconds=dict(self.seconds),
            stopped_by_budget=self.asker.stopped is not None,
            missing=self._missing(),
        )

    def _missing(self) -> tuple[str, ...]:
        """Say whose responses were left out of the decision because the embedder failed."""
        if self.embedder_failure is None:
            return ()
        left_out = ", ".join(self.names[model] for model in self.first.candidates if model in self.unembedded)
        return (f"{self.embedder_failure}; left out of the decision: {left_out}",)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started
