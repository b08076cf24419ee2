"""Votes of the candidates on many recorded questions at once: rounds, groups of equal final answers, calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.final_codes import AnswerCodes
from jisi_cli.scoring import Floats, Rows
from jisi_cli.scoring.agreement import NO_ANSWER

NOBODY = -1
"""In place of a model, where none is found."""


@dataclass(frozen=True)
class Votes:
    """How T votes ended.

    Attributes:
        winners: The best-ranked member of the heaviest group (T,); `NOBODY` where no candidate has a final answer.
        shares: Its weight over that of all candidates asked (T,).
        calls: Candidates asked (T,).
    """

    winners: Rows
    shares: Floats
    calls: Rows


def vote(ranking: Rows, scores: Floats, finals: AnswerCodes, rounds: Sequence[int]) -> Votes:
    """Ask candidates in rounds until all agree, and take the heaviest group; see `methods.consensus`.

    Args:
        ranking: All models, best first (T, M).
        scores: Their coarse scores (T, M).
        finals: What they said, of the same questions.
        rounds: How many are asked in each round; together as many as there are models at most.
    """
    asked = ranking[:, : sum(rounds)]
    codes = np.take_along_axis(finals.codes, asked, axis=1)
    weights = _weights(np.take_along_axis(scores, asked, axis=1))
    winners, shares = np.full(len(asked), NOBODY), np.zeros(len(asked))
    calls = np.zeros(len(asked), dtype=np.intp)
    is_open = np.ones(len(asked), dtype=bool)
    count = 0
    for size in rounds:
        count = min(count + size, asked.shape[1])
        rows = np.flatnonzero(is_open)
        if not len(rows):
            break
        place, share, members = _heaviest(codes[rows, :count], weights[rows, :count])
        winners[rows] = np.where(place == NOBODY, NOBODY, asked[rows, place])
        shares[rows], calls[rows] = share, count
        is_open[rows] = ~((members == count) & (count > 1))
    return Votes(winners, shares, calls)


def _weights(scores: Floats) -> Floats:
    """Return g_j / g_1 of the candidates (T, K); all 1 where nothing near was ever solved."""
    best = scores.max(axis=1, keepdims=True)
    found: Floats = np.maximum(0.0, np.divide(scores, best, out=np.ones_like(scores), where=best > 0))
    return found


def _heaviest(codes: NDArray[np.intp], weights: Floats) -> tuple[Rows, Floats, Rows]:
    """Return the first member of the heaviest group (T,), the group's share, and how many are in it."""
    equal = (codes[:, :, np.newaxis] == codes[:, np.newaxis, :]) & (codes != NO_ANSWER)[:, :, np.newaxis]
    sums = np.round((equal * weights[:, np.newaxis, :]).sum(axis=2), 12)
    place = np.argmax(sums, axis=1)  # the first of equals is the group with the best-ranked member
    rows = np.arange(len(codes))
    heaviest = sums[rows, place]
    total = weights.sum(axis=1)
    share = np.divide(heaviest, total, out=np.zeros_like(total), where=total > 0)
    return np.where(heaviest > 0, place, NOBODY), share, equal[rows, place].sum(axis=1)


def first_answered(ranking: Rows, answered: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Return the best-ranked model with a response (T,), `NOBODY` where there is none, and how many are asked (T,)."""
    if not ranking.shape[1]:
        return np.full(len(ranking), NOBODY), np.zeros(len(ranking), dtype=np.intp)
    has = np.take_along_axis(answered, ranking, axis=1)
    place = np.argmax(has, axis=1)
    rows = np.arange(len(ranking))
    found = has[rows, place]
    return np.where(found, ranking[rows, place], NOBODY), np.where(found, place + 1, ranking.shape[1])
