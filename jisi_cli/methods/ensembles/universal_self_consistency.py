"""`universal-self-consistency`: several samples of the best model, of which it chooses the most consistent.

Chen et al. 2023, "Universal Self-Consistency for Large Language Model Generation" (arXiv 2311.17311): the vote
of `self-consistency` for answers that cannot be counted, made by one call that reads all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.prompts import choose
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.types import Answer, Sampling

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


class UniversalSelfConsistency(PanelMethod):
    """One model answers several times, then chooses among its answers.

    Args:
        panel: The samples; its first model chooses.
        sampling: Sampling parameters of the samples.
        choosing: Sampling parameters of the choice.
    """

    def __init__(self, panel: Panel, sampling: Sampling | None = None, choosing: Sampling | None = None) -> None:
        super().__init__(panel, sampling)
        self._chooser, self._choosing = panel.models[0], choosing or Sampling()

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Let the model choose; where nothing is chosen the first sample is the answer."""
        if len(answers) == 1:
            return asker.settle_on(answers[0], "fallback", "it is the only response, so there was nothing to choose")
        chosen = []
        if asker.stopped is None:
            chosen = await choose(asker, self._chooser, query, answers, _TASK, 1, self._choosing)
        if not chosen:
            why = "the budget left no room for a choice" if asker.stopped else "the choice named no response"
            return asker.settle_on(answers[0], "fallback", f"{why}; this is the first")
        reason = f"{self._chooser} found it the most consistent of {len(answers)} responses"
        return asker.settle_on(chosen[0], "consensus", reason)
