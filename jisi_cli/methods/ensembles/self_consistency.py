"""`self-consistency` and `universal-self-consistency`: several samples of the best model; a vote, or its own choice.

Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171);
four samples of the best model on train, as in JiSi's Table 1. Recorded data has one sample per model, so this
needs live calls. Samples differ only where the pool file leaves the temperature above 0.

Chen et al. 2023, "Universal Self-Consistency for Large Language Model Generation" (arXiv 2311.17311): the same for
answers that cannot be counted, with one call that reads all samples in place of the vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.consensus import vote
from jisi_cli.methods.prompts import CONSISTENCY, choose
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.methods.similarity import CosineSimilarity
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Settings of both methods.

    Attributes:
        samples: Answers of the best model on train.
        temperature: Of the samples, which must differ; a model's own in the pool file wins.
    """

    samples: int = 4
    temperature: float = 0.7


@register_method(
    "self-consistency",
    "the final answer that most of 4 samples of the best model give",
    "live",
    "Self-Consistency, arXiv 2203.11171",
    settings=SamplingSettings(),
    compares_answers=True,
)
class SelfConsistency(PanelMethod[SamplingSettings]):
    """One model answers several times; its most frequent final answer wins, in the words of the first with it.

    A sample that fails has no vote.
    """

    def __init__(self, context: MethodContext, settings: SamplingSettings) -> None:
        panel = Panel.of_samples(context.best_first(), settings.samples)
        super().__init__(context, settings, panel, context.sampling(settings.temperature))
        self._similarity = CosineSimilarity(context.embedder)

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the samples vote."""
        return await vote(asker, query, answers, self._similarity, "sample")


@register_method(
    "universal-self-consistency",
    "8 samples of the best model, of which it chooses the most consistent",
    "live",
    "Universal Self-Consistency, arXiv 2311.17311",
    settings=SamplingSettings(samples=8),
)
class UniversalSelfConsistency(PanelMethod[SamplingSettings]):
    """One model answers several times, then chooses among its answers."""

    def __init__(self, context: MethodContext, settings: SamplingSettings) -> None:
        panel = Panel.of_samples(context.best_first(), settings.samples)
        super().__init__(context, settings, panel, context.sampling(settings.temperature))
        self._chooser = panel.models[0]

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the model choose; where nothing is chosen the first sample is the answer."""
        if len(answers) == 1:
            return asker.settle_on(answers[0], "fallback", "it is the only response, so there was nothing to choose")
        chosen = []
        if asker.stopped is None:
            chosen = await choose(asker, self._chooser, query, answers, CONSISTENCY, 1, self.sampling)
        if not chosen:
            why = "the budget left no room for a choice" if asker.stopped else "the choice named no response"
            return asker.settle_on(answers[0], "fallback", f"{why}; this is the first")
        reason = f"{self._chooser} found it the most consistent of {len(answers)} responses"
        return asker.settle_on(chosen[0], "consensus", reason)
