"""What a model may be expected to use on a question: the similarity-weighted mean over its support set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank
from jisi_cli.config import Price
from jisi_cli.scoring import Coarse


@dataclass(frozen=True, slots=True)
class ExpectedUsage:
    """Tokens and dollars of one call; None where the support set does not tell."""

    prompt_tokens: float | None
    completion_tokens: float | None
    cost_usd: float | None


def expected_usage(bank: Bank, model: str, first: Coarse, price: Price | None) -> ExpectedUsage:
    """Estimate one call of a model from what it used on the support set.

    Dollars come from the pool's price and the expected tokens; without a price, from recorded dollars.

    Args:
        bank: The bank whose train rows the decision was drawn from.
        model: One of its models.
        first: Stage 1 of the question.
        price: The pool's price of the model, where there is one.
    """
    rows = bank.train_rows[first.rows]
    weights = np.maximum(first.similarities, 0.0)
    columns = bank.answers(model)
    prompt = _weighted_mean(columns.prompt_tokens[rows], weights)
    completion = _weighted_mean(columns.completion_tokens[rows], weights)
    if price is not None and prompt is not None and completion is not None:
        cost: float | None = (prompt * price.input + completion * price.output) / 1e6
    else:
        cost = _weighted_mean(columns.cost_usd[rows], weights)
    return ExpectedUsage(prompt, completion, cost)


def _weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float | None:
    known = ~np.isnan(values)
    total = math.fsum(weights[known].tolist())
    return math.fsum((values[known] * weights[known]).tolist()) / total if total > 0 else None
