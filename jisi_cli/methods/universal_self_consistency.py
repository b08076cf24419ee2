"""`universal-self-consistency`: several samples of the best model, of which it chooses the most consistent.

Chen et al. 2023, "Universal Self-Consistency for Large Language Model Generation" (arXiv 2311.17311): the vote
of `self-consistency` for answers that cannot be counted, made by one call that reads all samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jisi_cli.llm.answer import Pool, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.choosing import choose
from jisi_cli.methods.panel import Panel
from jisi_cli.methods.protocol import Listener, Outcome, Query

_TASK = """\
Choose the response that agrees best with all of them: what most of them conclude, not what is written best."""


@dataclass(frozen=True, slots=True)
class UniversalSettings:
    """Settings of `universal-self-consistency`.

    Attributes:
        samples: Answers of the best model on train.
        temperature: Of the samples, which must differ; a model's own in the pool file wins.
    """

    samples: int = 8
    temperature: float = 0.7


class UniversalSelfConsistency:
    """One model answers several times, then chooses among its answers.

    Args:
        panel: The samples; its first model chooses.
        sampling: Sampling parameters of the samples.
        choosing: Sampling parameters of the choice.
    """

    def __init__(self, panel: Panel, sampling: Sampling | None = None, choosing: Sampling | None = None) -> None:
        self._panel = panel
        self._sampling, self._choosing = sampling or Sampling(), choosing or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the samples to take, once per query."""
        return (self._panel for _ in queries)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Sample and choose; where nothing is chosen the first sample is the answer.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener)
        answers = await plan.ask(asker, query.messages(), self._sampling)
        if not answers:
            return await plan.stand_in(asker, query, self._sampling)
        if len(answers) == 1:
            return asker.settle_on(answers[0], "fallback", "it is the only response, so there was nothing to choose")
        chosen = []
        if asker.stopped is None:
            chosen = await choose(asker, plan.models[0], query, answers, _TASK, 1, self._choosing)
        if not chosen:
            why = "the budget left no room for a choice" if asker.stopped else "the choice named no response"
            return asker.settle_on(answers[0], "fallback", f"{why}; this is the first")
        reason = f"{plan.models[0]} found it the most consistent of {len(answers)} responses"
        return asker.settle_on(chosen[0], "consensus", reason)
