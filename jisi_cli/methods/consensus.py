"""When final answers agree, and which final answer most responses give: ours, beyond the paper (off by default).

Equal final answers form a group; its share is its weight over the weight of all candidates asked, where a candidate
weighs g_j / g_1, its coarse score against the best one's. Reading final answers is loaded when a group is sought.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.methods.calls import Asker
from jisi_cli.methods.final_answers import final_answer
from jisi_cli.methods.protocol import Outcome, Query
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.methods.similarity import Similarity


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
    """Return the heaviest group; None when no candidate of any weight has a final answer.

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


def most_frequent(answers: Sequence[Answer], query: Query) -> Consensus | None:
    """Return the largest group of equal final answers; None when no response has one.

    A response without a final answer has no vote. Ties go to the group whose first member is earlier.

    Args:
        answers: The responses, best first.
        query: The question, which may say what kind of answer is wanted.
    """
    finals = {
        place: final_answer(answer.text, query.grader, is_json=query.is_json) for place, answer in enumerate(answers)
    }
    return heaviest_group(range(len(answers)), [1.0] * len(answers), finals)


async def vote(asker: Asker, query: Query, answers: Sequence[Answer], similarity: Similarity, of: str) -> Outcome:
    """Settle on the most frequent final answer, in the words of the best response that has it.

    Args:
        asker: Knows the calls that were made.
        query: The question.
        answers: The responses, best first.
        similarity: Chooses among responses of which none has a final answer.
        of: What the responses are called.
    """
    from jisi_cli.methods.similarity import most_typical

    group = most_frequent(answers, query)
    if group is None:
        typical = await most_typical(answers, similarity)
        reason = f"no {of} has a final answer to count; this one is most like the others"
        return asker.settle_on(typical, "consensus", reason)
    reason = f"{len(group.members)} of {len(answers)} responses agree"
    return asker.settle_on(answers[group.members[0]], "consensus", reason)
