"""`majority-voting`: the final answer that most models give.

The multi-agent baseline of JiSi's Table 1 (arXiv 2601.01330), which cites Chen et al. 2024, "Are More LLM
Calls All You Need?" (arXiv 2403.02419). The paper's smaller panel is chosen anew for each benchmark; here it
is the best on train at large, since no method is told where a question comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.consensus import vote
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.similarity import Similarity
from jisi_cli.types import Answer, Sampling


@dataclass(frozen=True, slots=True)
class VotingSettings:
    """Settings of `majority-voting`.

    Attributes:
        top: How many models vote, the best on train; 0 for all.
    """

    top: int = 0


class MajorityVoting(PanelMethod):
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
        super().__init__(Panel.of_best(ranking, chosen.top or None), sampling)
        self._similarity = similarity

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the panel vote."""
        return await vote(asker, query, answers, self._similarity, "response")
