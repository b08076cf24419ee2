"""Answering many questions with what a `Jisi` has open: several at once, each kept as it ends for a later run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.evaluation.at_once import for_each
from jisi_cli.evaluation.line_file import LineFile, LineKind, known_fields
from jisi_cli.evaluation.results import content_key
from jisi_cli.files import ASKED
from jisi_cli.formats.record import Question
from jisi_cli.jisi import Jisi
from jisi_cli.methods.answers import in_plain_words
from jisi_cli.methods.protocol import Outcome, Silent
from jisi_cli.models.call import CallEvent
from jisi_cli.types import Answer, whole_sum

_GLANCE = 0.2
"""Seconds between looks for Ctrl-C, where the system does not interrupt a thread that waits (Windows)."""


@dataclass(frozen=True, slots=True)
class SaidAnswer:
    """What one model answered, as a line keeps it; see `methods.answers.GivenAnswer`."""

    model: str
    role: str | None = None
    text: str | None = None
    score: float | None = None
    final_answer: str | None = None
    agrees: bool | None = None
    cut_off: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question of many.

    Attributes:
        key: Content key: what must be equal for the line to be used again.
        query: The question.
        dataset: Where it comes from.
        index: Its name there.
        answer: The answer; None where no model could answer.
        model: Who wrote it.
        mode: route, aggregate, consensus or fallback.
        reason: Why, in one sentence.
        confidence: Probability that it is right; None for methods that do not know.
        in_words: How sure it is and how many agree, in a person's words; None where neither is known.
        answers: What each model answered.
        missing: What did not work besides the calls that failed; the question is asked again by a later run.
        unlike: Whether the question resembles nothing in the bank.
        calls: Calls that were made.
        cost_usd: Dollars paid for them; None when one is unknown.
        tokens: Tokens of all calls; None when one is unknown.
        seconds: Wall time.
        error: Why there is no answer.
        id: By which `jisi feedback` knows the answer; None where it is not remembered.
        earlier: Whether an earlier run had answered it; not written.
    """

    key: str
    query: str
    dataset: str
    index: str
    answer: str | None = None
    model: str | None = None
    mode: str | None = None
    reason: str | None = None
    confidence: float | None = None
    in_words: str | None = None
    answers: tuple[SaidAnswer, ...] = ()
    missing: tuple[str, ...] = ()
    unlike: bool = False
    calls: int = 0
    cost_usd: float | None = None
    tokens: int | None = None
    seconds: float = 0.0
    error: str | None = None
    id: str | None = None
    earlier: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what a line says."""
        data = asdict(self)
        del data["earlier"]
        return data


def ask_all(
    questions: Iterable[str | Question],
    *,
    system: str | None = None,
    schema: Mapping[str, Any] | None = None,
    jisi: Jisi | None = None,
    out: Path | str | None = None,
    remember: bool = False,
    **options: Any,  # noqa: ANN401 - as `Jisi` takes them
) -> Iterator[Answered]:
    """Answer many questions, several at once, and yield each as it ends.

    Example:
        >>> import jisi_cli as jisi
        >>> for found in jisi.ask_all(["What is 6 * 7?", "What is 6 * 8?"], config="sample_data/jisi.toml"):
        ...     print(found.query, found.answer)

    Args:
        questions: The questions.
        system: A system message for every model.
        schema: A JSON schema that every answer must fit; see `Jisi.ask`.
        jisi: What is open already; None opens it with `options`, and closes it.
        out: A file with one line per question, which a later run resumes: what is answered there, by the same
            method, models and bank, is not asked again and comes first. None keeps nothing.
        remember: Remember the answers for `jisi feedback`; see `Jisi.remember`.
        **options: Of `Jisi`.

    Yields:
        What came of each question; one that no model could answer has an `error`.

    Raises:
        InputError: A question is empty, or the file cannot be used.
        BudgetError: The budget is used up; what was answered is in `out`, and was yielded.
    """
    asked = [
        question if isinstance(question, Question) else Question("questions", str(number), question)
        for number, question in enumerate(questions, start=1)
    ]
    for question in asked:
        if not question.query.strip():
            raise InputError(f"the question {question.dataset} {question.index} is empty; ask in words")
    opening = nullcontext(jisi) if jisi is not None else Jisi(**{"calls": "required", **options})
    with opening as opened, LineFile(_KIND, None if out is None else Path(out)) as file:
        opened.make_method()  # a method that trains shows its progress before the questions' begins
        identity = (system, *opened.configured.identity, *([] if schema is None else [schema]))
        keys = [
            content_key(question.dataset, question.index, question.query, *identity, *question.said_before())
            for question in asked
        ]
        waiting = []
        for question, key in zip(asked, keys, strict=True):
            known = file.known.get(key)
            if known is None or known.answer is None or known.missing:
                waiting.append((question, key))
            else:
                yield replace(known, earlier=True)
        yield from _answered(opened, waiting, system, schema, file, remember=remember)
        opened.account.check()


def _answered(
    jisi: Jisi,
    waiting: Sequence[tuple[Question, str]],
    system: str | None,
    schema: Mapping[str, Any] | None,
    file: LineFile[Answered],
    *,
    remember: bool,
) -> Iterator[Answered]:
    """Yield each answer as it ends and is written; a caller who wants no more of them ends what is under way."""
    ended: SimpleQueue[Answered | None] = SimpleQueue()
    writing, is_over = Lock(), False

    async def one(asked: tuple[Question, str]) -> None:
        found = await _ask_one(jisi, *asked, system, schema, remember=remember)
        with writing:
            # The file may be closed by now; the answer is in the cache.
            if not is_over:
                file.write(found)
                ended.put(found)

    future = jisi.account.background.submit(for_each(waiting, one, jisi.account.concurrency))
    future.add_done_callback(lambda _: ended.put(None))
    try:
        while (found := _next(ended)) is not None:
            yield found
        try:
            future.result()
        except BudgetError:
            jisi.account.check()
            raise
    finally:
        with writing:
            is_over = True
        future.cancel()


def _next(queue: SimpleQueue[Answered | None]) -> Answered | None:
    while True:
        try:
            return queue.get(timeout=_GLANCE)
        except Empty:
            continue


class _Heard(Silent):
    """Keeps the calls, which an unanswered question cost, too."""

    def __init__(self) -> None:
        self.calls: list[Answer] = []

    def answered(self, answer: Answer) -> None:
        """Keep a call."""
        self.calls.append(answer)

    def called(self, event: CallEvent) -> None:
        """A request has gone out, or will again."""


async def _ask_one(
    jisi: Jisi, question: Question, key: str, system: str | None, schema: Mapping[str, Any] | None, *, remember: bool
) -> Answered:
    """Return what comes of one question.

    Raises:
        BudgetError: The budget stopped a call that was wanted.
    """
    heard, started = _Heard(), time.perf_counter()
    asked = Answered(key, question.query, question.dataset, question.index)
    said = question.conversation or question.query
    try:
        outcome = await jisi.aask(said, system, schema=schema, watcher=heard)
    except NoAnswerError as error:
        return replace(asked, error=str(error), **_spent(heard.calls, started))
    if outcome.stopped_by_budget:
        raise BudgetError(f"the budget was used up at {question.dataset}/{question.index}; raise --max-cost and go on")
    name = await asyncio.to_thread(jisi.remember, said, outcome, is_last=False) if remember else None
    return replace(
        asked,
        id=name,
        answer=outcome.answer.text,
        model=outcome.answer.model,
        mode=outcome.mode,
        reason=outcome.reason,
        **_evidence(outcome),
        **_spent(outcome.calls, started),
    )


def _evidence(outcome: Outcome) -> dict[str, Any]:
    answers = outcome.answers
    return {
        "confidence": outcome.confidence,
        "in_words": in_plain_words(outcome.confidence, answers),
        "answers": tuple(SaidAnswer(**answer.to_json()) for answer in answers),
        "missing": outcome.missing,
        "unlike": outcome.decision is not None and outcome.decision.strangeness is not None,
    }


def _spent(calls: Sequence[Answer], started: float) -> dict[str, Any]:
    tokens = whole_sum(part for call in calls if call.ok for part in (call.prompt_tokens, call.completion_tokens))
    return {
        "calls": len(calls),
        "cost_usd": whole_sum(call.cost_usd for call in calls),
        "tokens": None if tokens is None else int(tokens),
        "seconds": time.perf_counter() - started,
    }


# One line of the file.


def _parse(data: Mapping[str, Any]) -> Answered:
    kept = known_fields(Answered, data)
    for name in ("key", "query", "dataset", "index"):
        if not isinstance(kept.get(name), str):
            raise TypeError(f"{name} is not text")
    kept["answers"] = tuple(_said(answer) for answer in kept.get("answers", ()))
    kept["missing"] = tuple(kept.get("missing", ()))
    if not all(isinstance(words, str) for words in kept["missing"]):
        raise TypeError("missing is not a list of texts")
    return Answered(**kept)


def _said(data: Mapping[str, Any]) -> SaidAnswer:
    kept = known_fields(SaidAnswer, data)
    if not isinstance(kept.get("model"), str):
        raise TypeError("model is not text")
    return SaidAnswer(**kept)


_KIND: LineKind[Answered] = LineKind(ASKED, "query", "jisi ask", _parse, Answered.to_json)
