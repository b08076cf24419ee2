"""`majority-voting`: the final answer that most models give.

The multi-agent baseline of JiSi's Table 1 (arXiv 2601.01330), which cites Chen et al. 2024, "Are More LLM
Calls All You Need?" (arXiv 2403.02419). The paper's smaller panel is chosen anew for each benchmark; here it
is the best on train at large, since no method is told where a question comes from.
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
class VotingSettings:
    """Settings of `majority-voting`.

    Attributes:
        top: How many models vote, the best on train; 0 for all.
    """

    top: int = 0


class MajorityVoting:
    """All models of a panel answer; the most frequent final answer wins, in the words of its best model.

    Args:
        ranking: Models, best on train first; ties of the vote go to the better one.
        similarity: Chooses among responses of which none has a final answer.
        settings: Who votes.
        sampling: Sampling parameters of every call.
    """

    def __init__(
        self,
        ranking: Sequence[str],
        similarity: Similarity,
        settings: VotingSettings | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        chosen = settings or VotingSettings()
        self._panel = Panel.of_best(ranking, chosen.top or None)
        self._similarity = similarity
        self._sampling = sampling or Sampling()

    def plan(self, queries: Sequence[Query]) -> Iterator[Panel]:
        """Yield the panel once per query."""
        return (self._panel for _ in queries)

    async def answer(self, query: Query, plan: Panel, pool: Pool, listener: Listener) -> Outcome:
        """Let the panel vote.

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
            reason = "no response has a final answer to count; this one is most like the others"
            return asker.settle_on(typical, "consensus", reason)
        return asker.settle_on(answers[group.members[0]], "consensus", agreement(group, len(answers)))
