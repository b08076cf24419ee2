"""`jisi-cascade`: one model after another until an answer is sure enough, and how sure it is: ours, beyond the paper.

The models are asked in the order of how likely each is right on the question; after every answer the probability that
the best group of equal answers is right decides whether the next is asked (see `scoring.cascade`). The weights behind
it are fitted on the bank's train rows, so that the probability can be taken at its word. An open question, whose
answers cannot be compared, takes the paper's stages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.methods.calls import Asker
from jisi_cli.methods.cascade_training import fitted
from jisi_cli.methods.decision import Belief, Decision
from jisi_cli.methods.final_answers import final_answer
from jisi_cli.methods.jisi import JiSi
from jisi_cli.methods.prompts import aggregation_messages
from jisi_cli.methods.protocol import ContextMethod, Listener, Mode, Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.scoring import Coarse, limit_tokens, rank
from jisi_cli.scoring.cascade import (
    group_features,
    label_groups,
    log_odds,
    outcome_probabilities,
    reliabilities,
    threshold_for,
)
from jisi_cli.types import Answer, Pool

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@register_method(
    "jisi-cascade",
    "one model after another until an answer is sure enough; says how sure it is",
    "recorded",
    "jisi, beyond the paper",
    settings=CascadeSettings(),
    options=("n_base", "gamma", "prior", "tau", "max_calls", "mean_calls"),
    delegates=True,
    training_seconds=20,
    trade_off="tau",
    compares_answers=True,
)
class JisiCascade(ContextMethod[CascadeSettings]):
    """Asks models in the order of their reliability and stops at the first answer that is sure enough.

    Attributes:
        settings: Those it runs with; where a ceiling on calls was set, with the tau that keeps it.
        weights: What was learned: weights of the features after n answers (N, 7).
        most: Answers that are asked for at most.
        hyperparameters: Those of the support set.
    """

    def __init__(self, context: MethodContext, settings: CascadeSettings) -> None:
        if context.aggregation in ("auto", "never"):
            settings = replace(settings, aggregate=context.aggregation)
        elif settings.mean_calls:
            # The aggregator's calls are not among those that the ceiling was found for.
            settings = replace(settings, aggregate="never")
        learned = fitted(context, settings)
        self.weights, self.most = learned.weights, len(learned.weights)
        if settings.mean_calls and len(learned.sure):
            settings = replace(settings, tau=threshold_for(learned.sure, settings.mean_calls))
            context.training.chosen = f"tau={settings.tau:.3f} keeps {settings.mean_calls:g} calls a question on train"
        elif settings.mean_calls:
            # No question to choose by, so that none may take more than the mean.
            self.most = min(self.most, int(settings.mean_calls))
            context.training.chosen = f"no train question to choose tau by, so at most {self.most} calls each"
        super().__init__(context, settings)
        self.context, self.bank = context, context.bank
        self.hyperparameters = Hyperparameters(n_base=settings.n_base, gamma=settings.gamma, k=self.most)

    def plan(self, queries: Sequence[Query]) -> Iterator[Coarse]:
        """Yield the support set of each query; its scores are the models' reliabilities, its ranking who is asked."""
        vectors = np.stack([query.vector for query in queries])
        for found in self.context.coarse(self.bank, vectors, self.hyperparameters):
            reliable = reliabilities(self.bank, found.rows, found.similarities, self.settings.prior)
            yield replace(found, scores=reliable, ranking=rank(self.bank, reliable, "paper"))

    async def answer(self, query: Query, plan: Coarse, pool: Pool, listener: Listener) -> Outcome:
        """Ask until an answer is sure enough; an open question takes the paper's stages.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        run = await self._asked(query, plan, pool, listener)
        if run.is_open:
            paper, first = self._paper_stages(query, live=pool.live)
            return await paper.go_on(query, first, run.asker, run.asked)
        if run.wants_aggregator and self.settings.aggregate == "auto" and pool.live:
            return await run.aggregate(self.context.hyperparameters)
        return run.settle()

    def decision(self, plan: Coarse) -> Decision:
        """Return what is decided without a call."""
        return Decision(self.bank.model_names, plan, scores_are_means=True)

    async def probe(
        self, query: Query, plan: Coarse, pool: Pool, listener: Listener
    ) -> tuple[Decision, tuple[Answer, ...]]:
        """Carry out the cascade, but call no aggregator.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        run = await self._asked(query, plan, pool, listener)
        if run.is_open:
            paper, first = self._paper_stages(query, live=pool.live)
            return await paper.go_on_probing(query, first, run.asker, run.asked)
        return run.decision(), tuple(run.asker.calls)

    async def _asked(self, query: Query, plan: Coarse, pool: Pool, listener: Listener) -> _Run:
        """Ask until an answer is sure enough, or until the question turns out to be open.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        run = _Run(self, query, plan, Asker(pool, listener, query))
        await run.ask()
        if not run.answers:
            raise run.asker.no_answer_error()
        return run

    def _paper_stages(self, query: Query, *, live: bool) -> tuple[JiSi, Coarse]:
        """Return the paper's method and its stage 1; a replay, which has no aggregator's answer, goes without one."""
        aggregation = self.settings.aggregate if live else "never"
        context = replace(self.context, aggregation=aggregation)
        paper = JiSi.from_context(context, context.hyperparameters)
        return paper, next(iter(paper.plan([query])))


class _Run:
    """One question on its way; models are indices into the bank's."""

    def __init__(self, method: JisiCascade, query: Query, plan: Coarse, asker: Asker) -> None:
        self.method, self.query, self.plan, self.asker = method, query, plan, asker
        self.names = method.bank.model_names
        self.asked: dict[int, Answer | None] = {}
        self.models: list[int] = []
        self.answers: list[Answer] = []
        self.finals: list[str | None] = []
        self.is_open = False
        self.belief = Belief((), (), 1.0)
        self.seconds: dict[str, float] = {}

    @property
    def is_sure(self) -> bool:
        """Whether an answer is sure enough to be given."""
        return bool(self.answers) and self.belief.confidence >= self.method.settings.tau

    @property
    def wants_aggregator(self) -> bool:
        """Whether the cascade ended unsure, with several answers to choose from and money left."""
        return not self.is_sure and len(self.belief.groups) > 1 and self.asker.stopped is None

    async def ask(self) -> None:
        """Ask one model after another; one that fails drops out, and the next takes its place."""
        with self._timed("probe"):
            for model in self.plan.ranking:
                messages, sampling = self.query.messages(), self.method.sampling
                answer = await self.asker.ask(self.names[model], messages, "probe", sampling)
                self.asked[model] = answer
                if answer is not None:
                    self._take(model, answer)
                elif self.asker.stopped is not None and self.answers:
                    return
                if self.is_open or self.is_sure or len(self.answers) == self.method.most:
                    return

    def _take(self, model: int, answer: Answer) -> None:
        from jisi_cli.grading.registry import reader_of

        final = final_answer(answer.text, self.query.grader, is_json=self.query.is_json)
        self.models.append(model)
        self.answers.append(answer)
        self.finals.append(final)
        if final is None and len(self.answers) == 1 and reader_of(self.query.grader) is None:
            self.is_open = True
            return
        self.belief = self._judge()
        self.asker.conclude(str(self.belief))

    def _judge(self) -> Belief:
        """Return how likely each group of equal answers is right."""
        groups = label_groups(self.finals)
        odds = log_odds(self.plan.scores[self.models])
        features, exists = group_features(odds[np.newaxis], np.array([groups]))
        chances = outcome_probabilities(self.method.weights[len(groups) - 1], features, exists)[0].tolist()
        # Of equally probable groups the one with the best-ranked member comes first.
        best_first = sorted(set(groups), key=lambda group: (-chances[group], group))
        members = [tuple(p for p, group in enumerate(groups) if group == best) for best in best_first]
        return Belief(
            groups=tuple(tuple(self.answers[place].model for place in places) for places in members),
            probabilities=tuple(chances[group] for group in best_first),
            none=chances[-1],
        )

    def decision(self, used: Sequence[str] | None = None) -> Decision:
        """Gather what was decided, by name."""
        answered = tuple(answer.model for answer in self.answers)
        chosen = tuple(self.belief.groups[0] if used is None else used)
        return Decision(self.names, self.plan, None, answered, chosen, scores_are_means=True, belief=self.belief)

    def settle(self) -> Outcome:
        """Let the best-ranked member of the most probable group answer."""
        best = self.belief.groups[0]
        mode: Mode = "consensus" if self.is_sure or self.asker.stopped is None else "fallback"
        reason = str(self.belief)
        if mode == "fallback":
            reason += "; the budget left no room for another model"
        return self._outcome(self._by_name[best[0]], mode, reason, self.belief.confidence)

    async def aggregate(self, hyperparameters: Hyperparameters) -> Outcome:
        """Let the most reliable model write the answer from the responses, those of the most probable group first."""
        ordered = [self._by_name[name] for group in self.belief.groups for name in group]
        tokens = [float("nan") if a.completion_tokens is None else float(a.completion_tokens) for a in ordered]
        used = [ordered[place] for place in limit_tokens(range(len(ordered)), tokens, hyperparameters)]
        messages = aggregation_messages(self.query, [answer.text for answer in used])
        writers = [self.names[model] for model in self.plan.ranking if self.asked.get(model, True) is not None]
        with self._timed("aggregate"):
            answer = await self.asker.first_that_answers(writers, messages, "aggregator", self.method.sampling)
        models = [answer.model for answer in used]
        if answer is None:
            why = "the budget left no room for the aggregator" if self.asker.stopped else "no aggregator answered"
            reason = f"{why}; this is the most probable answer, {self.belief}"
            return self._outcome(self._by_name[models[0]], "fallback", reason, self.belief.confidence, models)
        reason = f"only {self.belief} after {len(self.answers)} answers"
        return self._outcome(answer, "aggregate", reason, self._confidence_in(answer), models)

    def _confidence_in(self, answer: Answer) -> float | None:
        """Return the probability of the group whose final answer an aggregator chose; None for an answer of its own."""
        final = final_answer(answer.text, self.query.grader, is_json=self.query.is_json)
        if final is None or final not in self.finals:
            return None
        model = self.answers[self.finals.index(final)].model
        return next(p for group, p in zip(self.belief.groups, self.belief.probabilities, strict=True) if model in group)

    @property
    def _by_name(self) -> dict[str, Answer]:
        return {answer.model: answer for answer in self.answers}

    def _outcome(
        self, answer: Answer, mode: Mode, reason: str, confidence: float | None, used: Sequence[str] | None = None
    ) -> Outcome:
        if mode != "aggregate":
            self.asker.settle_on(answer, mode, reason)
        return Outcome(
            answer=answer,
            mode=mode,
            reason=reason,
            calls=tuple(self.asker.calls),
            decision=self.decision(used),
            seconds=dict(self.seconds),
            stopped_by_budget=self.asker.stopped is not None,
            confidence=confidence,
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = time.perf_counter() - started
