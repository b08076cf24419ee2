"""Which answers are taken for right where there is no answer key: the one that the weightiest models agree on.

Ours, beyond the paper. Models vote on each question with the answers they gave. A vote weighs as much as it speaks for
an answer: ln(9 p / (1 - p)) for a model with a share p of right answers, as if its wrong ones were spread evenly over
nine others. (With a single wrong answer that is ln(p / (1 - p)), the weight of independent votes on two alternatives of
Nitzan and Paroush, 1982; but a model that is right less than half the time still speaks for an answer among ten.) The
shares come from labelled questions; where those are few, from the votes: all weights are 1 at first, and five rounds of
voting correct them.

Symbols: R questions, M models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jisi_cli.scoring.exact_sums import Floats

ENOUGH_LABELS = 20
"""From so many labelled questions on, they alone say how much a model's vote weighs."""

NO_ANSWER = -1
"""The code of a model that has no final answer; and, as what is right, of a question of which nothing is known."""
NONE_RIGHT = -2
"""What is right, where no model is."""

_ROUNDS = 5
_WRONG_ANSWERS = 9
_CLIP = 0.01
_LEAST_WEIGHT = 0.01

Codes = NDArray[np.intp]
Groups = tuple[int, ...]
"""For each model the first one that gave the same answer, `NO_ANSWER` where it has none: all that a vote depends on."""


@dataclass(frozen=True)
class Agreement:
    """What the models agree on.

    Attributes:
        right: Code of the answer that is taken for right, `NONE_RIGHT`, or `NO_ANSWER` where nothing can be said (R,).
        shares: Each model's share of right answers, by which its vote weighs; the mean of all for one without any (M,).
    """

    right: Codes
    shares: Floats


def agree(
    answers: Codes, models: Sequence[str], labels: Mapping[int, int], learn_from: NDArray[np.bool_] | None = None
) -> Agreement:
    """Settle what is right by labels, and by agreement where there is none.

    The answer with the heaviest votes is right; of equals the one whose best model has the larger share of right
    answers, then comes first by name. With fewer than `ENOUGH_LABELS` labels an answer needs two models.

    Args:
        answers: Code of each final answer, equal where answers are, `NO_ANSWER` where there is none (R, M).
        models: M names; they break ties in code-point order.
        labels: By question, the code of the right answer, or `NONE_RIGHT`.
        learn_from: Which questions may say how good the models are (R,); all by default.
    """
    by_name = np.array(sorted(range(len(models)), key=models.__getitem__), dtype=np.intp)
    ballots = _ballots(answers[:, by_name])
    counted = np.ones(len(answers), dtype=bool) if learn_from is None else learn_from
    labelled = {row: right for row, right in labels.items() if counted[row]}
    if len(labelled) >= ENOUGH_LABELS:
        right = np.full(len(answers), NO_ANSWER, dtype=np.intp)
        right[list(labelled)] = list(labelled.values())
        shares = _shares(ballots.votes, right, counted)
        right = _elect(ballots, labels, _weights(shares), shares, at_least=1)
    else:
        shares = np.full(len(models), 0.5)
        right = _elect(ballots, labels, np.ones(len(models)), shares, at_least=2)
        for _ in range(_ROUNDS):
            shares = _shares(ballots.votes, right, counted)
            right = _elect(ballots, labels, _weights(shares), shares, at_least=2)
    found = np.empty(len(models))
    found[by_name] = shares
    return Agreement(right, found)


def entropy(answers: Iterable[int]) -> float:
    """Return how much the answers to one question differ: the entropy of their groups, in nats.

    Args:
        answers: Code of each final answer; `NO_ANSWER` takes no part.
    """
    codes = [code for code in answers if code != NO_ANSWER]
    sizes = sorted(codes.count(code) for code in set(codes))
    return -math.fsum(size / len(codes) * math.log(size / len(codes)) for size in sizes) + 0.0


class _Ballots(NamedTuple):
    """What was voted; questions on which the same models agree are decided alike.

    Attributes:
        votes: Code of each final answer, models in code-point order (R, M).
        groupings: The different ways in which models agree.
        which: Place of each question's among them (R,).
    """

    votes: Codes
    groupings: Sequence[Groups]
    which: Codes


def _ballots(votes: Codes) -> _Ballots:
    places: dict[Groups, int] = {}
    which = [places.setdefault(_groups(row), len(places)) for row in votes.tolist()]
    return _Ballots(votes, list(places), np.array(which, dtype=np.intp))


def _groups(row: Sequence[int]) -> Groups:
    first: dict[int, int] = {}
    return tuple(NO_ANSWER if code == NO_ANSWER else first.setdefault(code, place) for place, code in enumerate(row))


def _elect(ballots: _Ballots, labels: Mapping[int, int], weights: Floats, shares: Floats, *, at_least: int) -> Codes:
    """Return what is right on each question (R,)."""
    order = np.lexsort((np.arange(len(shares)), -shares)).tolist()
    place = {model: rank for rank, model in enumerate(order)}
    each = weights.tolist()

    def winner(groups: Groups) -> int:
        """Return a model that gave the winning answer, `NO_ANSWER` for none."""
        members: dict[int, list[int]] = {}
        for model, group in enumerate(groups):
            if group != NO_ANSWER:
                members.setdefault(group, []).append(model)
        rivals = [found for found in members.values() if len(found) >= at_least]
        ranked = [(-math.fsum(each[one] for one in rival), min(place[one] for one in rival)) for rival in rivals]
        return order[min(ranked)[1]] if ranked else NO_ANSWER

    winners = np.array([winner(groups) for groups in ballots.groupings], dtype=np.intp)[ballots.which]
    right: Codes = np.full(len(winners), NO_ANSWER, dtype=np.intp)
    settled = np.flatnonzero(winners != NO_ANSWER)
    right[settled] = ballots.votes[settled, winners[settled]]
    right[list(labels)] = list(labels.values())
    return right


def _shares(votes: Codes, right: Codes, counted: NDArray[np.bool_]) -> Floats:
    """Return each model's share of right answers among those it gave to questions of which something is known (M,)."""
    known = (votes != NO_ANSWER) & (counted & (right != NO_ANSWER))[:, np.newaxis]
    hits = (known & (votes == right[:, np.newaxis])).sum(axis=0)
    asked = known.sum(axis=0)
    overall = hits.sum() / asked.sum() if asked.sum() else 0.5
    shares: Floats = np.where(asked > 0, hits / np.maximum(asked, 1), overall)
    return shares


def _weights(shares: Floats) -> Floats:
    clipped = np.clip(shares, _CLIP, 1 - _CLIP).tolist()
    return np.array([max(math.log(_WRONG_ANSWERS * share / (1 - share)), _LEAST_WEIGHT) for share in clipped])
