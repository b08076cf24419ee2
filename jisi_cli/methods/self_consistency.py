"""`self-consistency`: the final answer that most samples of the best model give.

Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171);
four samples of the best model on train, as in JiSi's Table 1. Recorded data has one sample per model, so this
needs live calls. Samples differ only where the pool file leaves the temperature above 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jisi_cli.llm.answer import Pool, Sampling
from jisi_cli.methods.asking import Asker
from jisi_cli.methods.panel import Panel
from jisi_cli.methods.plurality import agreement, most_frequent
from jisi_cli.methods.protocol import Listener, Outcome, Query
from jisi_cli.methods.similarity import Similarity, most_typical


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Settings of `self-consistency`.

    Attributes:
        samples: Answers of the best model on train.
        temperature: Of the samples, which must differ; a model's own in the pool file wins.
    """

    samples: int = 4
    temperature: float = 0.7


class SelfConsistency:
    """One model answers several times; its most frequent final answer wins, in the words of the first with it.

    Args:
        panel: The samples. A sample that fails has no vote.
        similarity: Chooses among responses of which none has a final answer.
        sampling: Sampling parameters of every call.
    """

    def __init__(self, panel: Panel, similarity: Similarity, sampling: Sampling | None = None) -> None:
        self._panel, self._similarity = panel, similarity
        self._sampling = sampling or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the samples to take, once per query."""
        return (self._panel for _ in queries)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Let the samples vote.

        Raises:
            NoAnswerError: No model could answer.
            BudgetError: The budget stopped every call before there was an answer.
        """
        asker = Asker(pool, listener)
        answers = await plan.ask(asker, query.messages(), self._sampling)
        if not answers:
            return await plan.stand_in(asker, query, self._sampling)
        group = most_frequent(answers, query.grader)
        if group is None:
            typical = await most_typical(answers, self._similarity)
            reason = "no sample has a final answer to count; this one is most like the others"
            return asker.settle_on(typical, "consensus", reason)
        return asker.settle_on(answers[group.members[0]], "consensus", agreement(group, len(answers)))
