"""RouterDC's losses, computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from jisi_cli.methods.routers.routerdc import contrast_models, contrast_queries, contrasted_models
from jisi_cli.methods.training import training_data
from tests.methods.synthetic import setting


def test_the_contrast_of_models_is_that_of_the_paper() -> None:
    cosines = torch.tensor([[0.5, -0.25, 0.0], [0.1, 0.2, 0.3]], dtype=torch.float64)
    attracting = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    repelling = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    first = -math.log(math.exp(0.5) / (math.exp(0.5) + math.exp(-0.25)))
    first -= math.log(math.exp(0.0) / (math.exp(0.0) + math.exp(-0.25)))
    second = -math.log(math.exp(0.3) / (math.exp(0.3) + math.exp(0.1) + math.exp(0.2)))
    assert contrast_models(cosines, attracting, repelling).item() == pytest.approx((first + second) / 2, abs=1e-12)


def test_the_contrast_of_queries_is_that_of_the_paper_and_a_query_without_a_neighbour_costs_nothing() -> None:
    cosines = torch.tensor([[1.0, 0.8, 0.1], [0.8, 1.0, -0.4], [0.1, -0.4, 1.0]], dtype=torch.float64)
    near = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    far = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    first = -math.log(math.exp(0.8) / (math.exp(0.8) + math.exp(0.1)))
    second = -math.log(math.exp(0.8) / (math.exp(0.8) + math.exp(-0.4)))
    assert contrast_queries(cosines, near, far).item() == pytest.approx((first + second) / 3, abs=1e-12)


def contrasts(scores: list[float], present: list[bool], count: int) -> tuple[list[float], list[float]]:
    context = setting(rows=1, models="abcdef").context
    bank = replace(context.bank, scores=np.array([scores]), present=np.array([present]))
    examples = training_data(bank, context.datasets)
    best, worst = contrasted_models(examples, count, np.random.default_rng(0))
    return best[0].tolist(), worst[0].tolist()


def test_the_best_attract_unless_they_score_nothing_and_the_worst_repel_unless_they_score_more_than_a_half() -> None:
    everyone = [True] * 6
    assert contrasts([0.9, 0.8, 0.7, 0.6, 0.4, 0.1], everyone, 3) == ([1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1])
    assert contrasts([0, 1, 0, 0, 0, 0], everyone, 3)[0] == [0, 1, 0, 0, 0, 0]
    assert contrasts([1, 1, 1, 1, 1, 1], everyone, 3)[1] == [0] * 6


def test_no_model_attracts_and_repels_and_a_gap_does_neither() -> None:
    best, worst = contrasts([0.5, 0.4, 0.3, 0.2, 0.1, 0.9], [True, True, True, True, False, False], 3)
    assert best == [1, 1, 1, 0, 0, 0]
    assert worst == [0, 0, 0, 1, 0, 0]


def test_equal_scores_are_ordered_by_lot() -> None:
    context = setting(rows=40, models="abcdef").context
    bank = replace(context.bank, scores=np.ones((40, 6)), present=np.ones((40, 6), dtype=bool))
    best, _ = contrasted_models(training_data(bank, context.datasets), 3, np.random.default_rng(0))
    assert (best.sum(axis=1) == 3).all()
    assert (best.mean(axis=0) > 0.2).all()
