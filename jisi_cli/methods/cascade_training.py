"""What the cascade learns from train rows: how much weight each feature of a group has after n answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jisi_cli.hyperparameters import CascadeSettings, Hyperparameters
from jisi_cli.methods.final_answers import NO_ANSWER, NO_TEXT, FinalAnswers
from jisi_cli.methods.training import OnStep, State, learned
from jisi_cli.scoring import BankArrays, Floats, Rows, rank
from jisi_cli.scoring.cascade import (
    FEATURES,
    Observed,
    label_groups,
    log_odds,
    outcome_probabilities,
    prior_weights,
    reliabilities_without,
)

if TYPE_CHECKING:
    from jisi_cli.methods.context import MethodContext

_VERSION = 3
LEAST_ROWS = 50
"""Questions from which on they are fitted; with fewer, the prior's mean serves."""
_MOST_ROWS = 2000
"""Questions that are fitted on at most: seven weights need no more, and each costs the reading of several answers."""
_DECIMALS = 6
"""So that no other way of adding up finds other weights."""


@dataclass(frozen=True)
class Fitted:
    """What was learned.

    Attributes:
        weights: w_n after n = 1, 2, ... N answers (N, 7).
        sure: Probability of the best group after n answers, on R train questions (R, N); NaN where they have fewer.
    """

    weights: Floats
    sure: Floats


def fitted(context: MethodContext, settings: CascadeSettings) -> Fitted:
    """Return the weights that fit a bank's train rows, found now or before.

    Every train question is judged by the other ones. Rows that agreement scored are left out: there, an answer that
    many models give is right by definition, and fitted weights would be as sure of it. So are rows with labels beside
    them: labels are given where models differ most, so that fitted weights would trust no answer. Deterministic: the
    rows are in an order of their own, which is random, so that the first ones stand for all where there are many.

    Args:
        context: The train rows.
        settings: `n_base`, `gamma`, `prior` and `max_calls`.
    """
    bank, data, answers, left_out = context.bank, context.data, context.rows.answers, context.rows.unrepresentative
    count = min(settings.max_calls, len(bank.model_names))

    def train(on_step: OnStep) -> State:
        rows = (data.rows if left_out is None else data.rows[~left_out[data.rows]])[:_MOST_ROWS]
        if answers is None or len(rows) < LEAST_ROWS:
            return _fit([], count)
        found = _observe(bank, answers, rows, settings, count, on_step)
        answers.keep()
        return _fit(found, count)

    identity = (
        *(settings.n_base, settings.gamma, settings.prior, count),
        None if answers is None else answers.identity,
        *(() if left_out is None else (np.flatnonzero(left_out).tolist(),)),
    )
    state = learned("jisi-cascade", _VERSION, identity, 0, data, train, training=context.training)
    return Fitted(state["weights"], state["sure"])


@dataclass(frozen=True, slots=True)
class _Row:
    """The models asked on one train question, in that order: log-odds, final answers, scores."""

    odds: Floats
    groups: list[int]
    scores: Floats


def _observe(
    bank: BankArrays, answers: FinalAnswers, rows: Rows, settings: CascadeSettings, count: int, on_step: OnStep
) -> list[_Row]:
    """Return the questions on which the cascade would have been run, with the answers it would have asked for."""
    support = Hyperparameters(n_base=settings.n_base, gamma=settings.gamma)
    found = []
    for done, (row, reliable) in enumerate(
        zip(rows.tolist(), reliabilities_without(bank, support, settings.prior, rows), strict=True), start=1
    ):
        asked, codes = _asked(bank, answers, row, rank(bank, reliable, "paper"), count)
        if asked:
            groups = label_groups([None if code == NO_ANSWER else code for code in codes])
            found.append(_Row(log_odds(reliable[asked]), groups, bank.scores[row, asked]))
        on_step(done, len(rows))
    return found


def _asked(
    bank: BankArrays, answers: FinalAnswers, row: int, ranking: tuple[int, ...], count: int
) -> tuple[list[int], list[int]]:
    """Return the first models that answered a question, and their final answers; none for an open question."""
    asked: list[int] = []
    codes: list[int] = []
    for model in ranking:
        code = answers.code(row, model) if bank.present[row, model] else NO_TEXT
        if code == NO_TEXT:
            continue
        if not asked and code == NO_ANSWER and not answers.is_closed(row):
            break
        asked.append(model)
        codes.append(code)
        if len(asked) == count:
            break
    return asked, codes


def _fit(rows: list[_Row], count: int) -> State:
    weights = np.stack([prior_weights(number) for number in range(1, count + 1)])
    sure = np.full((len(rows), count), np.nan)
    for number in range(1, count + 1):
        places = [place for place, row in enumerate(rows) if len(row.groups) >= number]
        if not places:
            continue
        some = [rows[place] for place in places]
        observed = Observed.of(
            np.stack([row.odds[:number] for row in some]),
            np.array([row.groups[:number] for row in some]),
            np.stack([row.scores[:number] for row in some]),
        )
        if len(some) >= LEAST_ROWS:
            weights[number - 1] = most_likely(observed)
        chances = outcome_probabilities(weights[number - 1], observed.features, observed.exists)
        sure[places, number - 1] = chances[:, :number].max(axis=1)
    return {"weights": weights, "sure": sure}


def most_likely(observed: Observed) -> Floats:
    """Return the weights with the least loss (7,)."""
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    start = prior_weights(observed.features.shape[1] - 1)
    # Seven numbers need no second thread, and on a busy machine threads wait for one another longer than they work.
    with threadpool_limits(limits=1):
        found = minimize(observed.loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-7})
    weights: Floats = np.round(np.asarray(found.x, dtype=np.float64).reshape(FEATURES), _DECIMALS)
    return weights
