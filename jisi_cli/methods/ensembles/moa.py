"""`moa`, `moa-lite`, `self-moa`: layers of models that see the layer before, and one that writes the answer.

Wang et al. 2024, "Mixture-of-Agents Enhances Large Language Model Capabilities" (arXiv 2406.04692). `moa` is
what JiSi's Table 1 compares with: the three best models on train propose, the best of them aggregates.
`moa-lite` saves where the paper's does, by a cheaper aggregator. `self-moa` is Li et al. 2025, "Rethinking
Mixture-of-Agents" (arXiv 2502.00674): all proposals are samples of the best model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.prompts import reference_messages, synthesise
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.methods.registry import register_method
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_MOA = "Mixture-of-Agents, arXiv 2406.04692"


@dataclass(frozen=True, slots=True)
class MoaSettings:
    """Settings of `moa` and `moa-lite`.

    Attributes:
        proposers: How many models propose, the best on train.
        layers: Layers of proposals before the aggregator; from the second on, proposers see the layer before.
    """

    proposers: int = 3
    layers: int = 1


@dataclass(frozen=True, slots=True)
class SelfMoaSettings:
    """Settings of `self-moa`.

    Attributes:
        samples: Proposals of the best model.
        layers: Layers of proposals before the aggregator.
        temperature: Of the proposals, which must differ; a model's own in the pool file wins.
    """

    samples: int = 6
    layers: int = 1
    temperature: float = 0.7


@register_method(
    "moa",
    "the 3 best models propose, the best of them aggregates",
    "live",
    _MOA,
    settings=MoaSettings(),
)
class MixtureOfAgents(PanelMethod[MoaSettings | SelfMoaSettings]):
    """A panel proposes, layer by layer; an aggregator writes the answer.

    A proposer that fails is left out of its layer. Models aggregate in the order of their train averages.
    """

    def __init__(self, context: MethodContext, settings: MoaSettings) -> None:
        ranking = context.best_first()
        super().__init__(context, settings, Panel.of_best(ranking, settings.proposers))
        self._aggregators = ranking

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Propose further layers and aggregate."""
        for _ in range(1, self.settings.layers):
            if asker.stopped is not None:
                break
            messages = reference_messages(query, [answer.text for answer in answers])
            # A layer that fails as a whole leaves the one before.
            answers = await self.panel.ask(asker, messages, self.asking) or answers
        return await synthesise(asker, query, answers, self._aggregators, self.sampling)


@register_method(
    "moa-lite",
    "the 3 best models propose, the cheapest of them aggregates",
    "live",
    _MOA,
    settings=MoaSettings(),
)
class MoaLite(MixtureOfAgents):
    """The same mixture with the cheapest proposer as its aggregator."""

    def __init__(self, context: MethodContext, settings: MoaSettings) -> None:
        super().__init__(context, settings)
        costs = dict(zip(context.bank.model_names, context.costs.tolist(), strict=True))
        ranking = self._aggregators
        self._aggregators = tuple(dict.fromkeys((cheapest_of(ranking[: settings.proposers], costs), *ranking)))


@register_method(
    "self-moa",
    "6 samples of the best model, aggregated by it",
    "live",
    "Self-MoA, arXiv 2502.00674",
    settings=SelfMoaSettings(),
)
class SelfMoa(MixtureOfAgents):
    """The mixture of one model's samples."""

    def __init__(self, context: MethodContext, settings: SelfMoaSettings) -> None:
        ranking = context.best_first()
        panel, proposing = Panel.of_samples(ranking, settings.samples), context.sampling(settings.temperature)
        PanelMethod.__init__(self, context, settings, panel, proposing)
        self._aggregators = ranking


def cheapest_of(models: Sequence[str], costs: Mapping[str, float]) -> str:
    """Return the model whose calls cost least, of equals the better; without prices the last, the weakest.

    Args:
        models: Models, best first.
        costs: Mean dollars of a call by model, NaN where unknown.
    """
    priced = [model for model in models if not math.isnan(costs.get(model, math.nan))]
    return min(priced, key=costs.__getitem__) if priced else models[-1]
