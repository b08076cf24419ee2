"""`agent-forest`: the response that is most like all the others.

Li et al. 2024, "More Agents Is All You Need" (arXiv 2402.05120): with S the responses, the answer is
argmax_i of the sum over j != i of sim(s_i, s_j). Their sim for open answers is BLEU; here it is the cosine of
embeddings unless BLEU is asked for. Their count of equal short answers is `majority-voting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jisi_cli.errors import InputError
from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.similarity import BleuSimilarity, CosineSimilarity, Similarity, most_typical
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class ForestSettings:
    """Settings of `agent-forest`.

    Attributes:
        top: How many models answer, the best on train; 0 for all.
        similarity: `cosine` of embeddings, or `bleu` (needs sacrebleu).
    """

    top: int = 0
    similarity: Literal["cosine", "bleu"] = "cosine"

    def __post_init__(self) -> None:
        if self.similarity not in ("cosine", "bleu"):
            raise InputError(f"agent-forest: similarity is cosine or bleu, not {self.similarity!r}")


@register_method(
    "agent-forest",
    "the response most like those of all other models",
    "recorded",
    "More Agents, arXiv 2402.05120",
    settings=ForestSettings(),
)
class AgentForest(PanelMethod[ForestSettings]):
    """All models of a panel answer; the response with the highest mean similarity to the others wins.

    Of equally similar responses the one of the better model on train wins.

    Raises:
        InputError: BLEU is asked for and sacrebleu is not installed.
    """

    def __init__(self, context: MethodContext, settings: ForestSettings) -> None:
        super().__init__(context, settings, Panel.of_best(context.best_first(), settings.top or None))
        bleu = settings.similarity == "bleu"
        self._similarity: Similarity = BleuSimilarity() if bleu else CosineSimilarity(context.embedder)

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Find the most typical response."""
        typical = await most_typical(answers, self._similarity)
        return asker.settle_on(typical, "consensus", f"it is most like the others, of {len(answers)} responses")
