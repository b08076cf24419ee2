"""`smoa`: a sparse mixture of agents, in which a judge passes on few responses and a moderator ends it early.

Li et al. 2024, "SMoA: Improving Multi-agent Large Language Models with Sparse Mixture-of-Agents" (arXiv
2411.03284). The paper also gives every proposer a role to play; here the models differ by themselves, and all
get the bare question, as in every other method.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.prompts import choice_messages, choose, reference_messages, synthesise
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.types import Answer, Sampling

_JUDGE = "Choose the {keep} best: right, complete and clear, the best first. Where two say the same, prefer variety."
_MODERATOR = """\
Decide whether another round of discussion is worth its price. Stop when the responses agree in what matters and \
you find no error; go on when they contradict each other or miss something."""
_FORM = "Decision: stop, or Decision: go on"
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


class SparseMixture(PanelMethod):
    """Layers of proposals, thinned out by a judge, until a moderator has heard enough.

    Args:
        ranking: Models, best on train first; the first judges, moderates and aggregates.
        settings: Size of the mixture.
        sampling: Sampling parameters of every call.
    """

    def __init__(
        self, ranking: Sequence[str], settings: SmoaSettings | None = None, sampling: Sampling | None = None
    ) -> None:
        self._settings = settings or SmoaSettings()
        self._ranking = tuple(ranking)
        super().__init__(Panel.of_best(ranking, self._settings.proposers), sampling)

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Discuss and aggregate."""
        kept = await self._judge(asker, query, answers)
        for _ in range(1, self._settings.layers):
            if asker.stopped is not None or await self._enough(asker, query, kept):
                break
            messages = reference_messages(query.text, [answer.text for answer in kept], query.system)
            proposals = await self._panel.ask(asker, messages, self._sampling)
            # A layer that fails as a whole leaves the one before.
            kept = await self._judge(asker, query, proposals) if proposals else kept
        return await synthesise(asker, query, kept, self._ranking, self._sampling)

    async def _judge(self, asker: Asker, query: Query, proposals: Sequence[Answer]) -> list[Answer]:
        """The responses to pass on; those of the models that are best on train where the judge names too few."""
        keep = self._settings.keep
        if len(proposals) <= keep or asker.stopped is not None:
            return list(proposals[:keep])
        task = _JUDGE.format(keep=keep)
        chosen = await choose(asker, self._ranking[0], query, proposals, task, keep, self._sampling)
        others = [answer for answer in proposals if not any(answer is one for one in chosen)]
        return [*chosen, *others][:keep]

    async def _enough(self, asker: Asker, query: Query, kept: Sequence[Answer]) -> bool:
        messages = choice_messages(query, [answer.text for answer in kept], _MODERATOR, _FORM)
        reply = await asker.ask(self._ranking[0], messages, "judge", self._sampling)
        decisions = [] if reply is None else _STOP.findall(reply.text)
        return bool(decisions) and decisions[-1].lower() == "stop"
