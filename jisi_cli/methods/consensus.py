"""When the candidates' final answers agree: ours, beyond the paper (off by default).

Equal final answers form a group; its share is its weight over the weight of all candidates asked,
where a candidate weighs g_j / g_1, its coarse score against the best one's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consensus:
    """The heaviest group of equal final answers.

    Attributes:
        answer: The final answer, normalised.
        members: Who gave it, best first.
        share: Its weight over the weight of all candidates asked, in (0, 1].
    """

    answer: str
    members: tuple[int, ...]
    share: float


def heaviest_group(
    asked: Sequence[int], coarse_scores: Sequence[float], answers: Mapping[int, str | None]
) -> Consensus | None:
    """Return the heaviest group; None when nobody of any weight has a final answer.

    Ties go to the group with the best-ranked member.

    Args:
        asked: All candidates that were asked, best first, those that failed included.
        coarse_scores: g of every model (M,).
        answers: Normalised final answer by model; None or absent where there is none.
    """
    weights = _weights(asked, coarse_scores)
    groups: dict[str, list[int]] = {}
    for model in asked:
        final = answers.get(model)
        if final is not None:
            groups.setdefault(final, []).append(model)
    sums = {final: math.fsum(weights[model] for model in members) for final, members in groups.items()}
    # Groups are in the order of their best member, and max keeps the first of equals.
    heaviest = max(sums, key=sums.__getitem__, default=None)
    if heaviest is None or sums[heaviest] == 0:
        return None
    return Consensus(heaviest, tuple(groups[heaviest]), sums[heaviest] / math.fsum(weights.values()))


def _weights(asked: Sequence[int], coarse_scores: Sequence[float]) -> dict[int, float]:
    best = max((coarse_scores[model] for model in asked), default=0.0)
    if best <= 0:
        return dict.fromkeys(asked, 1.0)  # nothing near was ever solved, so nothing tells them apart
    return {model: max(0.0, coarse_scores[model] / best) for model in asked}
