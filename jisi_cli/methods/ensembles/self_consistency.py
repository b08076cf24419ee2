"""`self-consistency`: the final answer that most samples of the best model give.

Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171);
four samples of the best model on train, as in JiSi's Table 1. Recorded data has one sample per model, so this
needs live calls. Samples differ only where the pool file leaves the temperature above 0.
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
class SamplingSettings:
    """Settings of `self-consistency`.

    Attributes:
        samples: Answers of the best model on train.
        temperature: Of the samples, which must differ; a model's own in the pool file wins.
    """

    samples: int = 4
    temperature: float = 0.7


class SelfConsistency(PanelMethod):
    """One model answers several times; its most frequent final answer wins, in the words of the first with it.

    Args:
        panel: The samples. A sample that fails has no vote.
        similarity: Chooses among responses of which none has a final answer.
        sampling: Sampling parameters of every call.
    """

    def __init__(self, panel: Panel, similarity: Similarity, sampling: Sampling | None = None) -> None:
        super().__init__(panel, sampling)
        self._similarity = similarity

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the samples vote."""
        return await vote(asker, query, answers, self._similarity, "sample")
