"""`smoa`: a sparse mixture of agents, in which a judge passes on few responses and a moderator ends it early.

Li et al. 2024, "SMoA: Improving Multi-agent Large Language Models with Sparse Mixture-of-Agents" (arXiv
2411.03284). The paper also gives every proposer a role to play; here the models differ by themselves, and all
get the bare question, as in every other method.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.prompts import (
    SMOA_DECISION,
    SMOA_JUDGE,
    SMOA_MODERATOR,
    choice_messages,
    choose,
    reference_messages,
    synthesise,
)
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_STOP = re.compile(r"decision\W{0,9}(stop|go on)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SmoaSettings:
    """Settings of `smoa`.

    Attributes:
        proposers: How many models propose in a layer, the best on train.
        keep: How many responses of a layer the judge passes on.
        layers: Layers of proposals at most.
    """

    proposers: int = 4
    keep: int = 2
    layers: int = 3


@register_method(
    "smoa",
    "a mixture whose judge passes on 2 of 4 responses and whose moderator ends it early",
    "live",
    "SMoA, arXiv 2411.03284",
    settings=SmoaSettings(),
)
class SparseMixture(PanelMethod[SmoaSettings]):
    """Layers of proposals, thinned out by a judge, until a moderator has heard enough.

    The best model on train judges, moderates and aggregates.
    """

    def __init__(self, context: MethodContext, settings: SmoaSettings) -> None:
        self._ranking = context.best_first()
        super().__init__(context, settings, Panel.of_best(self._ranking, settings.proposers))

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Discuss and aggregate."""
        kept = await self._judge(asker, query, answers)
        for _ in range(1, self.settings.layers):
            if asker.stopped is not None or await self._enough(asker, query, kept):
                break
            messages = reference_messages(query, [answer.text for answer in kept])
            proposals = await self.panel.ask(asker, messages, self.sampling)
            # A layer that fails as a whole leaves the one before.
            kept = await self._judge(asker, query, proposals) if proposals else kept
        return await synthesise(asker, query, kept, self._ranking, self.sampling)

    async def _judge(self, asker: Asker, query: Query, proposals: Sequence[Answer]) -> list[Answer]:
        """The responses to pass on; those of the models that are best on train where the judge names too few."""
        keep = self.settings.keep
        if len(proposals) <= keep or asker.stopped is not None:
            return list(proposals[:keep])
        task = SMOA_JUDGE.format(keep=keep)
        chosen = await choose(asker, self._ranking[0], query, proposals, task, keep, self.sampling)
        others = [answer for answer in proposals if not any(answer is one for one in chosen)]
        return [*chosen, *others][:keep]

    async def _enough(self, asker: Asker, query: Query, kept: Sequence[Answer]) -> bool:
        messages = choice_messages(query, [answer.text for answer in kept], SMOA_MODERATOR, SMOA_DECISION)
        reply = await asker.ask(self._ranking[0], messages, "judge", self.sampling)
        decisions = [] if reply is None else _STOP.findall(reply.text)
        return bool(decisions) and decisions[-1].lower() == "stop"
