"""Settings of `jisi-cascade` that a calibration tries, and how each of them decides; see `calibration`.

For an outer fold, the weights of the features are fitted on the other rows, whose reliabilities come from banks that
hold neither their own fold nor the outer one; settings are compared on the same rows, where so few weights fit noise no
more in one setting than in another. The outer fold is decided with those weights, by a bank without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from jisi_cli.evaluation.batch_methods import Block
from jisi_cli.evaluation.batch_votes import NOBODY
from jisi_cli.evaluation.held_out import OnProgress, Train, for_each_block
from jisi_cli.evaluation.validation import FOLDS
from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.methods.cascade_training import LEAST_ROWS, most_likely
from jisi_cli.scoring import Floats, Rows
from jisi_cli.scoring.agreement import NO_ANSWER
from jisi_cli.scoring.cascade import Observed, clipped, group_features, log_odds, outcome_probabilities, prior_weights

_SUPPORT = tuple(product((50, 100, 200), (0.7, 0.85), (10.0, 30.0)))
"""(n_base, gamma, prior)."""
_TAU = (0.6, 0.7, 0.8, 0.9)
_MAX_CALLS = (3, 5)
_MOST_FITTED = 800
"""Questions that the weights of one setting are fitted on at most."""


def cascade_grid() -> list[CascadeSettings]:
    """Return the settings that are tried, the defaults first; those with the same support set follow one another."""
    found = [CascadeSettings()]
    for (n_base, gamma, prior), tau, most in product(_SUPPORT, _TAU, _MAX_CALLS):
        found.append(CascadeSettings(n_base=n_base, gamma=gamma, prior=prior, tau=tau, max_calls=most))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class CascadeRuns:
    """How S settings of the cascade decided n rows.

    Attributes:
        asked: Who would be asked, by every bank that lacks a row's fold.
        settings: The settings, those with the same support set adjacent.
        own: Own fold of each row (n,).
        silent: What a question scores to which no model has a response.
    """

    asked: _Asked
    settings: Sequence[CascadeSettings]
    own: Rows
    silent: float

    def without(self, fold: int | None) -> tuple[Floats, Floats]:
        """Return scores and calls (S, n) by banks that lack each row's own fold, and one more where it is named.

        The weights are fitted on the rows outside that fold; rows in it have no other fold left out.
        """
        left_out = self.own if fold is None else np.full(len(self.own), fold)
        fitted_on = np.ones(len(self.own), dtype=bool) if fold is None else self.own != fold
        return _decided(self.asked, self.settings, left_out, fitted_on, self.own, self.silent)


def run_cascades(
    settings: Sequence[CascadeSettings], train: Train, judged: Rows, on_progress: OnProgress | None
) -> CascadeRuns:
    """Find whom the cascade asks, by every bank that lacks a row's fold.

    Args:
        settings: Settings, those with the same support set adjacent.
        train: The train rows.
        judged: Which of them are decided (n,).
        on_progress: Told of (blocks of questions done, blocks in all).
    """
    return CascadeRuns(_ask_all(train, judged, on_progress), settings, train.folds[judged], train.silent)


@dataclass(frozen=True)
class _Asked:
    """Who would be asked, in that order, by support set, fold left out and row (S, F, n, N), and what they say.

    Attributes:
        odds: Log-odds of being right.
        groups: Place of the first that gives the same final answer; -1 behind the last that has a response.
        scores: Of their responses, NaN where unknown.
        is_open: Whether the first answer cannot be compared with others (S, F, n).
        open_scores: What the paper's router scores on such questions, NaN where unknown (F, n).
        open_calls: What that takes (F, n).
    """

    odds: NDArray[np.float32]
    groups: NDArray[np.int8]
    scores: NDArray[np.float32]
    is_open: NDArray[np.bool_]
    open_scores: Floats
    open_calls: Rows


def _ask_all(train: Train, judged: Rows, on_progress: OnProgress | None) -> _Asked:
    """Find who would be asked for every row, by every bank that lacks its fold."""
    most = min(max(_MAX_CALLS), len(train.bank.model_names))
    shape = (len(_SUPPORT), FOLDS, len(judged), most)
    asked = _Asked(
        np.zeros(shape, dtype=np.float32),
        np.full(shape, NOBODY, dtype=np.int8),
        np.full(shape, np.nan, dtype=np.float32),
        np.zeros(shape[:3], dtype=bool),
        np.full(shape[1:3], np.nan),
        np.zeros(shape[1:3], dtype=np.intp),
    )
    near = [Hyperparameters(n_base=n_base, gamma=gamma, prior=prior) for n_base, gamma, prior in _SUPPORT]
    paper = Hyperparameters()

    def run(places: Rows) -> None:
        for other, block in train.blocks(judged[places], [paper, *near]):
            for at, settings in enumerate(near):
                _ask(asked, block, settings, train.labels[judged[places]], (at, other, places))
            _route_open(asked, block, paper, train, judged[places], (other, places))

    for_each_block(run, train, judged, on_progress)
    return asked


def _ask(asked: _Asked, block: Block, settings: Hyperparameters, labels: Floats, where: tuple[int, int, Rows]) -> None:
    """Write down who would be asked under one support set."""
    reliable = clipped(block.near.shares(settings))
    ranking = block.near.rank(np.round(reliable, 9), settings)
    # Those without a response drop out, and the next take their places.
    has = np.take_along_axis(block.finals.answered, ranking, axis=1)
    order = np.argsort(~has, axis=1, kind="stable")[:, : asked.odds.shape[3]]
    has, models = np.take_along_axis(has, order, axis=1), np.take_along_axis(ranking, order, axis=1)
    codes = np.take_along_axis(block.finals.codes, models, axis=1)
    equal = (codes[:, :, np.newaxis] == codes[:, np.newaxis, :]) & (codes != NO_ANSWER)[:, :, np.newaxis]
    first = np.argmax(equal | np.eye(codes.shape[1], dtype=bool), axis=2)
    asked.is_open[where] = has[:, 0] & (codes[:, 0] == NO_ANSWER) & ~block.finals.closed
    asked.odds[where] = log_odds(np.take_along_axis(reliable, models, axis=1))
    asked.groups[where] = np.where(has, first, NOBODY)
    asked.scores[where] = np.where(has, np.take_along_axis(labels, models, axis=1), np.nan)


def _route_open(
    asked: _Asked, block: Block, paper: Hyperparameters, train: Train, rows: Rows, where: tuple[int, Rows]
) -> None:
    """Write down what the paper's stages say to questions whose answers cannot be compared."""
    open_answers = (block.finals.codes == NO_ANSWER) & block.finals.answered
    places = np.flatnonzero(~block.finals.closed & open_answers.any(axis=1))
    if not len(places):
        return
    routed = block.routed(paper, places)
    other, at = where
    asked.open_scores[other, at[places]] = train.score(rows[places], routed.models)
    asked.open_calls[other, at[places]] = routed.calls


def _decided(
    asked: _Asked,
    settings: Sequence[CascadeSettings],
    left_out: Rows,
    fitted_on: NDArray[np.bool_],
    own: Rows,
    silent: float,
) -> tuple[Floats, Floats]:
    """Return scores and calls of every setting (S, n), with weights fitted on some of the rows.

    Args:
        asked: Who would be asked.
        settings: S settings, those with the same support set adjacent.
        left_out: Fold that each row's bank lacks besides its own, for rows that are fitted on (n,).
        fitted_on: Which rows these are (n,); the others are decided by banks that lack only their own fold.
        own: Own fold of each row (n,).
        silent: What a question scores to which no model has a response.
    """
    rows = np.arange(len(own))
    fold = np.where(fitted_on, left_out, own)
    scores, calls = np.full((len(settings), len(rows)), np.nan), np.ones((len(settings), len(rows)))
    for at, support in enumerate(_SUPPORT):
        mine = [place for place, one in enumerate(settings) if (one.n_base, one.gamma, one.prior) == support]
        if not mine:
            continue
        odds, groups, right = (part[at, fold, rows] for part in (asked.odds, asked.groups, asked.scores))
        is_open, nobody = asked.is_open[at, fold, rows], groups[:, 0] == NOBODY
        learned_from = fitted_on & ~is_open
        steps = list(_steps(odds.astype(np.float64), groups.astype(np.intp), right.astype(np.float64), learned_from))
        for place in mine:
            score, taken = _stopped(steps, settings[place])
            scores[place] = np.where(nobody, silent, np.where(is_open, asked.open_scores[fold, rows], score))
            calls[place] = np.where(is_open, asked.open_calls[fold, rows], taken)
    return scores, calls


@dataclass(frozen=True)
class _Step:
    """What is known of n rows after so many answers: how sure the best group is, and what its best member scores.

    Attributes:
        there: Rows with so many answers (n,).
        sure: Probability of the best group (n,).
        scores: Score of its best-ranked member (n,), NaN where unknown.
    """

    there: NDArray[np.bool_]
    sure: Floats
    scores: Floats


def _steps(odds: Floats, groups: Rows, right: Floats, fitted_on: NDArray[np.bool_]) -> Iterator[_Step]:
    """Yield what is known after 1, 2, ... answers."""
    for count in range(1, odds.shape[1] + 1):
        there = groups[:, count - 1] != NOBODY
        known = np.flatnonzero(there & fitted_on & ~np.isnan(right[:, :count]).any(axis=1))
        # Evenly spread over the bank, whose data sets stand one behind another.
        known = known[:: max(1, math.ceil(len(known) / _MOST_FITTED))]
        weights = prior_weights(count)
        if len(known) >= LEAST_ROWS:
            weights = most_likely(Observed.of(odds[known, :count], groups[known, :count], right[known, :count]))
        sure, scores = np.zeros(len(odds)), np.full(len(odds), np.nan)
        features, exists = group_features(odds[there, :count], groups[there, :count])
        chances = outcome_probabilities(weights, features, exists)[:, :count]
        best = np.argmax(chances, axis=1)
        sure[there] = chances[np.arange(len(best)), best]
        scores[there] = right[np.flatnonzero(there), best]
        yield _Step(there, sure, scores)


def _stopped(steps: Sequence[_Step], settings: CascadeSettings) -> tuple[Floats, Floats]:
    """Return the scores and the calls of each row (n,) under a threshold and a maximum of answers."""
    scores = np.full(len(steps[0].there), np.nan)
    calls = np.ones(len(scores))
    goes_on = np.ones(len(scores), dtype=bool)
    for number, step in enumerate(steps[: settings.max_calls], start=1):
        now = goes_on & step.there
        scores[now], calls[now] = step.scores[now], number
        goes_on = now & (step.sure < settings.tau)
    return scores, calls
