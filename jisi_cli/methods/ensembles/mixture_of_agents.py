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

from jisi_cli.methods.calls import Asker, Panel, PanelMethod
from jisi_cli.methods.prompts import reference_messages, synthesise
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.types import Answer, Sampling


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


class MixtureOfAgents(PanelMethod):
    """A panel proposes, layer by layer; an aggregator writes the answer.

    Args:
        panel: The proposers of every layer. One that fails is left out of its layer.
        aggregators: Who writes the answer, in the order in which they are tried.
        layers: Layers of proposals.
        proposing: Sampling parameters of the proposals.
        writing: Sampling parameters of the final answer.
    """

    def __init__(
        self,
        panel: Panel,
        aggregators: Sequence[str],
        layers: int = 1,
        proposing: Sampling | None = None,
        writing: Sampling | None = None,
    ) -> None:
        super().__init__(panel, proposing)
        self._aggregators, self._layers = tuple(aggregators), layers
        self._writing = writing or Sampling()

    async def settle(self, asker: Asker, query: Query, answers: Sequence[Answer]) -> Outcome:
        """Propose further layers and aggregate."""
        for _ in range(1, self._layers):
            if asker.stopped is not None:
                break
            messages = reference_messages(query.text, [answer.text for answer in answers], query.system)
            # A layer that fails as a whole leaves the one before.
            answers = await self._panel.ask(asker, messages, self._sampling) or answers
        return await synthesise(asker, query, answers, self._aggregators, self._writing)


def cheapest_of(models: Sequence[str], costs: Mapping[str, float]) -> str:
    """Return the model whose calls cost least, of equals the better; without prices the last, the weakest.

    Args:
        models: Models, best first.
        costs: Mean dollars of a call by model, NaN where unknown.
    """
    priced = [model for model in models if not math.isnan(costs.get(model, math.nan))]
    return min(priced, key=costs.__getitem__) if priced else models[-1]
