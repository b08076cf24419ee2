"""`majority-voting`: the final answer that most models give.

The multi-agent baseline of JiSi's Table 1 (arXiv 2601.01330), which cites Chen et al. 2024, "Are More LLM
Calls All You Need?" (arXiv 2403.02419). The paper's smaller panel is chosen anew for each benchmark; here it
is the best on train at large, since no method is told where a question comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.consensus import vote
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.similarity import CosineSimilarity
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class VotingSettings:
    """Settings of `majority-voting`.

    Attributes:
        top: How many models vote, the best on train; 0 for all.
    """

    top: int = 0


_SOURCE = "Chen et al., arXiv 2403.02419"


@register_method(
    "majority-voting",
    "the final answer that most models give",
    "recorded",
    _SOURCE,
    settings=VotingSettings(),
    compares_answers=True,
)
class MajorityVoting(PanelMethod[VotingSettings]):
    """All models of a panel answer; the most frequent final answer wins, in the words of its best model.

    Ties of the vote go to the better model on train.
    """

    def __init__(self, context: MethodContext, settings: VotingSettings) -> None:
        super().__init__(context, settings, Panel.of_best(context.best_first(), settings.top or None))
        self._similarity = CosineSimilarity(context.embedder)

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the panel vote."""
        return await vote(asker, query, answers, self._similarity, "response")


register_method(
    "majority-voting-3",
    "the final answer that most of the 3 best models give",
    "recorded",
    _SOURCE,
    settings=VotingSettings(top=3),
    compares_answers=True,
)(MajorityVoting)
