"""Test questions with what was recorded about them; methods never see the scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.bank.bank import Bank, graded_questions
from jisi_cli.bank.staging import Staging
from jisi_cli.config import Price
from jisi_cli.conversation import Conversation
from jisi_cli.embed.protocol import Embedder
from jisi_cli.errors import InputError
from jisi_cli.evaluation.results import content_key
from jisi_cli.formats.record import Failed, Question, is_wordless
from jisi_cli.grading.registry import reads_texts_alone
from jisi_cli.methods.protocol import Query
from jisi_cli.models.replay import RecordedAnswer, ReplayPool


@dataclass(frozen=True)
class TestSet:
    """Questions to evaluate on, n of them, and the answers that were recorded.

    Attributes:
        questions: With references; their order is that of the source.
        queries: What a method sees (n).
        models: Names of the models that have recorded answers (M).
        scores: Recorded correctness (n, M), NaN where unknown: for the evaluation alone.
        pool: Replays the recorded answers.
        source: What it was read from.
        failed: What a question counts that no model answered, and a failed or empty answer among the scores.
        split: Seed of the split whose test rows these are, where a comparison draws several; else None.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    questions: Sequence[Question]
    queries: Sequence[Query]
    models: tuple[str, ...]
    scores: NDArray[np.float64]
    pool: ReplayPool
    source: str
    failed: Failed = "wrong"
    split: int | None = None

    def __len__(self) -> int:
        return len(self.questions)

    @cached_property
    def fingerprints(self) -> list[str]:
        """For each question a hash of what was recorded about it (n)."""
        return [
            content_key(self.pool.recorded(question.query, question.key), scores)
            for question, scores in zip(self.questions, self.scores.tolist(), strict=True)
        ]

    def part(self, rows: Sequence[int]) -> TestSet:
        """Return some of the questions with what was recorded about them.

        Args:
            rows: Which of them, in the order in which they are to stand.
        """
        questions = [self.questions[row] for row in rows]
        pool = self.pool.part((question.query, question.key) for question in questions)
        queries = [self.queries[row] for row in rows]
        return replace(self, questions=questions, queries=queries, scores=self.scores[list(rows)], pool=pool)

    def label(self, row: int, model: str) -> float | None:
        """Return the recorded score of a model's answer; None where there is none."""
        if model not in self.models:
            return None
        score = float(self.scores[row, self.models.index(model)])
        return None if math.isnan(score) else score


_MISSING = RecordedAnswer("", error="recorded as missing")
"""A gap: a model without an answer, which is not a call that the replay lacks."""

_Recorded = dict[tuple[tuple[str, str], str], RecordedAnswer]
"""Answers by question key and model."""

Prices = Mapping[str, Price]
"""List prices by model; they fill in where no dollars were recorded."""


def from_bank(bank: Bank, models: Sequence[str], rows: NDArray[np.intp], prices: Prices) -> TestSet:
    """Return rows of a bank as a test set, with the vectors that are in the bank.

    Args:
        bank: The bank.
        models: Models whose answers are replayed; one that the bank lacks has none.
        rows: Which questions.
        prices: List prices, for answers without recorded dollars.

    Raises:
        InputError: There is no row.
    """
    if not len(rows):
        raise InputError(f"{bank.path} has no test rows; build it with --split 0.7, or name recorded answers instead")
    questions = [bank.questions[row] for row in rows.tolist()]
    queries = _queries(questions, bank.vectors_of(rows))
    recorded: _Recorded = {}
    scores = np.full((len(rows), len(models)), np.nan)
    for place, model in enumerate(models):
        if model not in bank.models:
            recorded.update(((question.key, model), _MISSING) for question in questions)
            continue
        scores[:, place] = bank.verdicts(model)[rows]
        answers = _answers(bank, model, rows, prices.get(model))
        recorded.update(((question.key, model), answer) for question, answer in zip(questions, answers, strict=True))
    pool = _replay(questions, recorded, models)
    return TestSet(questions, queries, tuple(models), scores, pool, str(bank.path), bank.failed)


def _answers(bank: Bank, model: str, rows: NDArray[np.intp], price: Price | None) -> Iterator[RecordedAnswer]:
    """Yield what a model of a bank answered to some questions."""
    columns, texts, vectors = bank.answers(model), bank.responses(model), bank.response_vectors(model)
    # By column: to take single numbers out of arrays would be most of the work.
    numbers = (columns.prompt_tokens, columns.completion_tokens, columns.cost_usd)
    of_rows = zip(rows.tolist(), *(column[rows].tolist() for column in numbers), strict=True)
    for row, prompt_tokens, completion_tokens, dollars in of_rows:
        prompt, completion, text = _whole(prompt_tokens), _whole(completion_tokens), texts[row]
        yield RecordedAnswer(
            text=text or "",
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost_usd=_dollars(_known(dollars), prompt, completion, price),
            error=None if text else f"recorded as {columns.status[row]}",
            vector=vectors[row] if text else None,
        )


def from_records(
    staging: Staging,
    models: Sequence[str],
    embedder: Embedder,
    source: str,
    prices: Prices,
    failed: Failed = "wrong",
) -> TestSet:
    """Return recorded answers as a test set; questions are embedded now, responses when a method needs them.

    Args:
        staging: Questions and answers.
        models: Models whose answers are replayed.
        embedder: The bank's own embedder.
        source: What it was read from.
        prices: List prices, for answers without recorded dollars.
        failed: What a failed or empty answer to a graded question counts.
    """
    questions = list(staging.questions)
    queries = _queries(questions, embedder.embed([question.query for question in questions]))
    recorded: _Recorded = {}
    scores = np.full((len(questions), len(models)), np.nan)
    wordless, waiting = np.zeros((2, *scores.shape), dtype=bool)
    for place, model in enumerate(models):
        for row, question in enumerate(questions):
            answers = staging.answers.get(model)
            record = None if answers is None else answers.get(question.key)
            if record is None:
                recorded[question.key, model] = _MISSING
                continue
            if record.status == "ok" and record.score is not None:
                scores[row, place] = record.score
            wordless[row, place] = is_wordless(record)
            waiting[row, place] = record.status == "unscored" and not is_wordless(record)
            recorded[question.key, model] = RecordedAnswer(
                text=record.response or "",
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                cost_usd=_dollars(record.cost_usd, record.prompt_tokens, record.completion_tokens, prices.get(model)),
                error=None if record.response else f"recorded as {record.status}",
            )
    if failed == "wrong":
        scores[wordless & _graded(questions, scores, waiting)[:, np.newaxis]] = 0.0
    pool = _replay(questions, recorded, models)
    return TestSet(questions, queries, tuple(models), scores, pool, source, failed)


def from_questions(questions: Sequence[Question], embedder: Embedder, source: str, failed: Failed = "wrong") -> TestSet:
    """Return questions without recorded answers as a test set, for live evaluation."""
    queries = _queries(questions, embedder.embed([question.query for question in questions]))
    none = np.empty((len(questions), 0))
    return TestSet(questions, queries, (), none, ReplayPool({}, ()), source, failed=failed)


def _graded(
    questions: Sequence[Question], scores: NDArray[np.float64], waiting: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which questions are graded (n,), by the answers (n, M) of the models that take part."""
    referenced = np.array([bool((question.reference or "").strip()) for question in questions], dtype=bool)
    _, datasets = np.unique([question.dataset for question in questions], return_inverse=True)
    scored = np.logical_not(np.isnan(scores)).max(axis=1, initial=False)
    return graded_questions(scored, waiting.max(axis=1, initial=False), referenced, datasets)


def _replay(questions: Sequence[Question], recorded: _Recorded, models: Sequence[str]) -> ReplayPool:
    """Return what replays the answers; those to a text that stands more than once by the question's key."""
    times = Counter(question.query for question in questions)
    by_text = {(q.query, model): recorded[q.key, model] for q in questions for model in models}
    repeated = {q.key for q in questions if times[q.query] > 1}
    own = {(key, model): answer for (key, model), answer in recorded.items() if key in repeated}
    return ReplayPool(by_text, models, own)


def _queries(questions: Sequence[Question], vectors: NDArray[np.floating]) -> list[Query]:
    return [_query(question, vector) for question, vector in zip(questions, vectors, strict=True)]


def _query(question: Question, vector: NDArray[np.floating]) -> Query:
    said = question.conversation or Conversation(question.query)
    return Query(
        said.text,
        vector,
        said.system,
        dataset=question.dataset,
        # A grader of another program's says nothing here.
        grader=question.grader if reads_texts_alone(question.grader) else None,
        index=question.index,
        history=said.history,
    )


def _dollars(recorded: float | None, prompt: int | None, completion: int | None, price: Price | None) -> float | None:
    if recorded is not None or price is None or prompt is None or completion is None:
        return recorded
    return (prompt * price.input + completion * price.output) / 1e6


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices that cover `count` items, `size` at a time."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
