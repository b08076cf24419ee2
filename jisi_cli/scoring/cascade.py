"""How likely each final answer is right, given which models gave it and which did not: ours, beyond the paper.

Every model has a reliability p on a question: the chance that it is right, from similar questions. After n answers,
equal final answers form a group, and each group G has features over the log-odds l = ln(p / (1 - p)):

- x1: the sum of l over the members of G;
- x2: the members beyond the first, |G| - 1;
- x3: the largest l of a member;
- x4: minus the sum of l over the models asked that are not in G;
- x5: -1 if one model alone gave the answer, else 0.

A further outcome is that no group is right. It has two features of its own, which groups have not: x6 = 1, and x7, the
number of groups beyond the first, since the more answers there are, the likelier all are wrong.

The probability of each is a softmax of w . x, with weights of their own for each n. They are fitted to a pool; what
they are drawn towards, and what serves where there is nothing to fit, is `prior_weights`. NumPy only: what minimises
the loss here is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring.bank_arrays import BankArrays, shrunk_means
from jisi_cli.scoring.exact_sums import ONE, Floats, Rows, column_sums
from jisi_cli.scoring.support_set import support_without

Groups = NDArray[np.intp]
Truth = NDArray[np.bool_]

FIRST_PRIOR: tuple[float, ...] = (1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Mean of the prior over the weights after one answer: its model's log-odds, a little less sure than they are."""
LATER_PRIOR: tuple[float, ...] = (0.0, 0.5, 1.5, 0.2, 0.7, 0.0, 0.4)
"""The same after several answers. Fits on two pools of ten open models (ZeroEval, KOR-Bench) agree that models err
together: it counts most how good the best model of a group is, and only a little how many agree. (If they erred
independently, a naive Bayes vote, it would be (1, 1, 0, 0, 0, 1, 0); on few questions that is worse.)"""
FEATURES = len(FIRST_PRIOR)

_LEAST, _MOST = 0.02, 0.98
"""No model is trusted, or distrusted, beyond these."""
_RIGHT = 0.5
"""Mean score of its members from which on a group counts as right."""
_DECIMALS = 9
"""Probabilities that agree up to here are the same: exponentials differ in their last bits between machines."""


def reliabilities(
    bank: BankArrays, rows: Rows, similarities: Floats, prior: float, bank_means: Floats | None = None
) -> Floats:
    """Return how likely each model is right on a query (M,), in [0.02, 0.98].

    It is the mean score on the support set, drawn towards the mean score over the whole bank (`shrunk_means`).

    Args:
        bank: The bank.
        rows: Support set (n,).
        similarities: s_i (n,).
        prior: How many queries of similarity 1 the mean over the bank is worth.
        bank_means: Mean score of each model (M,); by default over all rows of the bank.
    """
    return clipped(shrunk_means(bank, rows, similarities, ONE, prior, bank_means)[0])


def reliabilities_without(bank: BankArrays, settings: Hyperparameters, prior: float, rows: Rows) -> Floats:
    """Return the reliabilities on some of the bank's own queries (n, M), each from all rows but itself.

    Neither the support set nor the mean over the bank knows the row, so that these are as honest as those on a new
    query.

    Args:
        bank: The bank, N >= 2.
        settings: `n_base` and `gamma` of the support set.
        prior: As in `reliabilities`.
        rows: Which queries (n,).
    """
    known = np.where(bank.present, bank.scores, 0.0)
    counts, sums = bank.present.sum(axis=0), column_sums(known)[0]
    found = np.empty((len(rows), len(counts)))
    for place, (row, support) in enumerate(zip(rows.tolist(), support_without(bank, rows, settings), strict=True)):
        others = counts - bank.present[row]
        means = np.divide(sums - known[row], others, out=np.zeros(len(counts)), where=others > 0)
        # A difference of sums may miss 0 or 1 by its last bit.
        found[place] = reliabilities(bank, support.rows, support.similarities, prior, np.clip(means, 0.0, 1.0))
    return found


def prior_weights(count: int) -> Floats:
    """Return the mean of the prior over the weights after so many answers (7,); its covariance is the identity."""
    return np.array(FIRST_PRIOR if count == 1 else LATER_PRIOR)


def clipped(shares: Floats) -> Floats:
    """Return shares of right answers as reliabilities, in [0.02, 0.98]."""
    return np.clip(shares, _LEAST, _MOST)


def log_odds(probabilities: Floats) -> Floats:
    """Return ln(p / (1 - p)) of each probability, p in (0, 1)."""
    found: Floats = np.log(probabilities / (1.0 - probabilities))
    return found


def label_groups(answers: Sequence[object | None]) -> list[int]:
    """Return for each answer the place of the first that is equal; None is equal to nothing, itself included.

    Args:
        answers: Final answers in the order of asking (n,); None where a response has none.
    """
    first: dict[object, int] = {}
    return [place if answer is None else first.setdefault(answer, place) for place, answer in enumerate(answers)]


def group_features(odds: Floats, groups: Groups) -> tuple[Floats, Truth]:
    """Return the features of each outcome after n answers, for R questions at once.

    Outcome g < n is the group whose first member is the g-th model asked; outcome n is that no group is right.

    Args:
        odds: Log-odds l of the models in the order of asking (R, n).
        groups: Place of the first member of each model's group (R, n).

    Returns:
        Features (R, n + 1, 7), and which outcomes there are (R, n + 1).
    """
    count = groups.shape[1]
    member = groups[:, np.newaxis, :] == np.arange(count)[:, np.newaxis]  # (R, group, model)
    exists = member.any(axis=2)
    beside = odds[:, np.newaxis, :]
    features = np.zeros((len(groups), count + 1, FEATURES))
    features[:, :count, 0] = np.where(member, beside, 0.0).sum(axis=2)
    size = member.sum(axis=2)
    features[:, :count, 1] = size - 1
    features[:, :count, 2] = np.where(member, beside, -np.inf).max(axis=2)
    features[:, :count, 3] = -np.where(member, 0.0, beside).sum(axis=2)
    features[:, :count, 4] = -1.0 * (size == 1)
    features[:, :count][~exists] = 0.0
    features[:, count, 5] = 1.0
    features[:, count, 6] = exists.sum(axis=1) - 1
    return features, np.concatenate([exists, np.ones((len(groups), 1), dtype=bool)], axis=1)


def outcome_probabilities(weights: Floats, features: Floats, exists: Truth) -> Floats:
    """Return the probability of each outcome (R, n + 1), to nine decimals; 0 for one that there is not.

    Args:
        weights: w (7,).
        features: As `group_features` returns them (R, n + 1, 7).
        exists: Which outcomes there are (R, n + 1).
    """
    found: Floats = np.round(_softmax(_utilities(weights, features, exists)), _DECIMALS)
    return found


def right_outcomes(scores: Floats, groups: Groups) -> Truth:
    """Return which outcomes came true (R, n + 1): the groups that are right, or that none is.

    Args:
        scores: Scores of the models in the order of asking (R, n), in [0, 1].
        groups: Place of the first member of each model's group (R, n).
    """
    count = groups.shape[1]
    member = groups[:, np.newaxis, :] == np.arange(count)[:, np.newaxis]
    size = member.sum(axis=2)
    sums = np.where(member, scores[:, np.newaxis, :], 0.0).sum(axis=2)
    right = (size > 0) & (sums >= _RIGHT * size)
    return np.concatenate([right, ~right.any(axis=1, keepdims=True)], axis=1)


@dataclass(frozen=True)
class Observed:
    """What R questions with known scores say of the weights after n answers.

    Attributes:
        features: Of each outcome (R, n + 1, 7).
        exists: Which outcomes there are (R, n + 1).
        right: Which came true, at least one of each row (R, n + 1).
    """

    features: Floats
    exists: Truth
    right: Truth

    @classmethod
    def of(cls, odds: Floats, groups: Groups, scores: Floats) -> Observed:
        """Return what was observed of models in the order of asking, each argument (R, n)."""
        features, exists = group_features(odds, groups)
        return cls(features, exists, right_outcomes(scores, groups))

    def loss(self, weights: Floats) -> tuple[float, Floats]:
        """Return minus the log of the posterior density of some weights, up to a constant, and its gradient (7,).

        It is the sum over rows of -ln P(what came true), and half the squared distance to the prior's mean; the
        gradient of a row is the mean feature of all outcomes less that of those that came true.

        Args:
            weights: w (7,).
        """
        utilities = _utilities(weights, self.features, self.exists)
        true = np.where(self.right, utilities, -np.inf)
        offset = weights - prior_weights(self.features.shape[1] - 1)
        value = float((_log_sum(utilities) - _log_sum(true)).sum() + 0.5 * (offset * offset).sum())
        surprise = _softmax(utilities) - _softmax(true)
        return value, (self.features * surprise[:, :, np.newaxis]).sum(axis=(0, 1)) + offset


def _utilities(weights: Floats, features: Floats, exists: Truth) -> Floats:
    # A sum over the last axis rather than a matrix product, whose rounding depends on the machine's library.
    return np.where(exists, (features * weights).sum(axis=2), -np.inf)


def _softmax(utilities: Floats) -> Floats:
    powers = np.exp(utilities - utilities.max(axis=1, keepdims=True))
    found: Floats = powers / powers.sum(axis=1, keepdims=True)
    return found


def _log_sum(utilities: Floats) -> Floats:
    most = utilities.max(axis=1)
    found: Floats = most + np.log(np.exp(utilities - most[:, np.newaxis]).sum(axis=1))
    return found


def threshold_for(sure: Floats, calls: float) -> float:
    """Return the highest threshold under which some questions take no more than so many answers on average.

    Args:
        sure: Probability of the best group after 1, 2, ... N answers (R, N), NaN where a question has fewer.
        calls: Mean number of answers that is allowed, at least 1.

    Returns:
        A threshold in [0, 1]; 1 where all N may be asked.
    """
    if not len(sure):
        return 1.0
    # A question goes on to answer n + 1, if there is one, while all it reached so far lies below the threshold.
    reached = np.maximum.accumulate(sure, axis=1)[:, :-1][~np.isnan(sure[:, 1:])]
    allowed = int(np.floor((calls - 1.0) * len(sure) + 1e-9))
    return 1.0 if allowed >= reached.size else float(np.sort(reached)[allowed])
