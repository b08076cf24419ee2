"""Scores of settings on train rows, each row decided by a bank that does not hold it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.vector_map import LazyVectors
from jisi_cli.errors import InputError
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import run_method
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.registry import make_method
from jisi_cli.scoring import BankArrays
from jisi_cli.workers import Workers, each_piece

# Cross-validation on train rows: which rows are left out together, and a bank without them.


def assign_folds(datasets: Sequence[str], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the fold of each row (n,), every dataset spread evenly over the folds.

    Datasets with fewer rows than there are folds go on where the last of them ended, so that together they fill all.

    Args:
        datasets: Dataset of each row (n,).
        count: Number of folds.
        rng: Source of the assignment.
    """
    labels = np.array(datasets)
    folds = np.empty(len(labels), dtype=np.intp)
    ended = 0
    for name in sorted(set(datasets)):
        rows = np.flatnonzero(labels == name)
        first = ended if len(rows) < count else 0
        folds[rng.permutation(rows)] = (first + np.arange(len(rows))) % count
        if len(rows) < count:
            ended += len(rows)
    return folds


def take_rows(bank: BankArrays, rows: NDArray[np.intp]) -> BankArrays:
    """Return a bank of some rows of another, in the order given."""
    vectors = bank.response_vectors
    return BankArrays(
        query_vectors=bank.query_vectors[rows],
        response_vectors=LazyVectors(len(vectors), lambda place: vectors[place][rows]),
        scores=bank.scores[rows],
        completion_tokens=bank.completion_tokens[rows],
        present=bank.present[rows],
        model_names=bank.model_names,
    )


def take_models(bank: BankArrays, models: Sequence[str]) -> BankArrays:
    """Return a bank of some models of another.

    Args:
        bank: A bank.
        models: Names among its own.
    """
    places = [bank.model_names.index(name) for name in models]
    vectors = bank.response_vectors
    return replace(
        bank,
        response_vectors=LazyVectors(len(places), lambda place: vectors[places[place]]),
        scores=bank.scores[:, places],
        completion_tokens=bank.completion_tokens[:, places],
        present=bank.present[:, places],
        model_names=tuple(models),
    )


FOLDS = 5

OnProgress = Callable[[int, int], None]
"""Called with (runs done, runs in all)."""


def validate(
    method: str,
    settings: Sequence[Hyperparameters],
    context: MethodContext,
    train: TestSet,
    folds: NDArray[np.intp],
    on_progress: OnProgress | None = None,
    workers: Workers | None = None,
) -> NDArray[np.float64]:
    """Score every train question under every setting, by cross-validation.

    Args:
        method: A method that a replay can score.
        settings: S settings.
        context: The bank's train rows.
        train: The same rows, in the same order, as questions with recorded answers (n).
        folds: Fold of each row (n,).
        on_progress: Told of every run.
        workers: Who runs it; None for this process.

    Returns:
        Scores (S, n), NaN where unknown.
    """
    scores = np.full((len(settings), len(train)), np.nan)
    sizes = np.bincount(folds)
    runs = [
        (fold, place)
        for fold in np.flatnonzero((sizes > 0) & (sizes < len(folds))).tolist()
        for place in range(len(settings))
    ]
    found = each_piece(workers, _validating, (method, settings, context, train, folds), runs)
    for done, ((fold, place), run) in enumerate(zip(runs, found, strict=True), start=1):
        scores[place, folds == fold] = run
        if on_progress is not None:
            on_progress(done, len(runs))
    return scores


def _validating(
    method: str, settings: Sequence[Hyperparameters], context: MethodContext, train: TestSet, folds: NDArray[np.intp]
) -> Callable[[tuple[int, int]], list[float]]:
    """Return what scores the questions of a fold under one of the settings, by the rest of the rows."""

    @lru_cache(maxsize=1)
    def without(fold: int) -> tuple[MethodContext, TestSet]:
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        return context.on_rows(take_rows(context.bank, outside), outside), take_questions(train, inside)

    async def results(fold: int, place: int) -> list[Result]:
        rest, held_out = without(fold)
        made = make_method(method, replace(rest, hyperparameters=settings[place]))
        with ResultFile(None) as file:
            found, _ = await run_method(Entry(method, made, (fold, place)), held_out, train.pool, file)
        return found

    def scored(run: tuple[int, int]) -> list[float]:
        return [math.nan if result.score is None else result.score for result in asyncio.run(results(*run))]

    return scored


def take_questions(tests: TestSet, rows: NDArray[np.intp]) -> TestSet:
    """Return some questions of a test set."""
    places = rows.tolist()
    return replace(
        tests,
        questions=[tests.questions[row] for row in places],
        queries=[tests.queries[row] for row in places],
        scores=tests.scores[rows],
    )


def spread_folds(datasets: Sequence[str], seed: int) -> NDArray[np.intp]:
    """Return the folds of a validation (n,).

    Raises:
        InputError: There is one row, which leaves none to decide it by.
    """
    if len(datasets) < 2:
        raise InputError(
            f"cross-validation decides train questions by the others, and the bank has {len(datasets)}; "
            "add answers to more with `jisi bank build`"
        )
    return assign_folds(datasets, FOLDS, np.random.default_rng(seed))


def average_of(scores: NDArray[np.float64], datasets: Sequence[str]) -> float:
    """Return the mean over datasets of mean scores (n,), NaN left out; -inf when nothing is known."""
    labels = np.array(datasets)
    means = []
    for name in sorted(set(datasets)):
        known = scores[labels == name]
        known = known[~np.isnan(known)]
        if len(known):
            means.append(math.fsum(known.tolist()) / len(known))
    return math.fsum(means) / len(means) if means else -math.inf
