"""What `jisi bank build --call` does: ask the pool, then build a bank from what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli.bank.bank import Bank
from jisi_cli.cli.grading import judges_of, note_grading
from jisi_cli.cli.output import Output, count, one_line, paid
from jisi_cli.cli.pool import PoolOptions, open_pool, pool_concurrency
from jisi_cli.cli.pool_consent import require_consent
from jisi_cli.cli.progress import collection_bar, run_calls
from jisi_cli.cli.purse import Purse
from jisi_cli.cli.questions import Problems
from jisi_cli.collect.collect import Collected, OnRecord, Pair, collect, pairs_of
from jisi_cli.config import Config
from jisi_cli.errors import InputError
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.record import Question
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.types import cut_off_words, whole_characters

if TYPE_CHECKING:
    from jisi_cli.embed.account import EmbeddingAccount

_SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class CallRequest:
    """Whom to ask and how.

    Attributes:
        models: Models of the pool; None for all.
        retry_failed: Ask again what the bank holds as failed.
        grading: Which graders grade, and what they may do.
    """

    models: Sequence[str] | None
    retry_failed: bool
    grading: GradingOptions = field(default_factory=GradingOptions)


def read_all_questions(
    sources: Sequence[Path], problems: Problems, datasets: Sequence[str] | None, limit: int | None
) -> list[Question]:
    """Return the questions of all files, filtered, in the order of the files.

    Raises:
        InputError: There is none.
    """
    found = (question for source in sources for question in read_questions(source, problems))
    questions = chosen_questions(found, datasets, limit)
    if not questions:
        raise InputError("the sources hold no question to ask; each line needs `query`")
    return questions


def chosen_questions(
    questions: Iterable[Question], datasets: Sequence[str] | None, limit: int | None
) -> list[Question]:
    """Return the questions of some datasets, the first `limit` of each; None means all."""
    kept: list[Question] = []
    per_dataset: Counter[str] = Counter()
    for question in questions:
        wanted = datasets is None or question.dataset in datasets
        if wanted and (limit is None or per_dataset[question.dataset] < limit):
            per_dataset[question.dataset] += 1
            kept.append(question)
    return kept


def chosen_models(request: CallRequest, config: Config) -> list[str]:
    """Return the models that are to be asked, in the pool's order.

    Raises:
        InputError: The pool lacks one.
    """
    names = [entry.name for entry in config.models]
    for name in request.models or ():
        if name not in names:
            raise InputError(f"--models: the pool has no `{name}`; it has {', '.join(names) or 'none'}")
    return [name for name in names if request.models is None or name in request.models]


@dataclass(frozen=True, slots=True)
class Means:
    """What a collection calls with.

    Attributes:
        options: How calls are made.
        purse: What they may cost, and where they are booked.
        embedding: What pays for embedding the answers afterwards; None where that costs nothing.
    """

    options: PoolOptions
    purse: Purse
    embedding: EmbeddingAccount | None


def run_collection(
    questions: Sequence[Question], request: CallRequest, config: Config, bank: Path | None, means: Means, out: Output
) -> Collected:
    """Ask the pool everything that the bank does not know yet.

    Args:
        questions: What to ask.
        request: Whom and how.
        config: The pool.
        bank: A bank that is being extended; None for a new one.
        means: What is called with.
        out: Where progress and failures are shown.
    """
    models = chosen_models(request, config)
    known = known_answers(Bank(bank), retry_failed=request.retry_failed) if bank is not None else set()
    pairs = pairs_of(questions, models, known)
    callees = {*models, *judges_of(request.grading, config)}
    require_consent(config, [entry for entry in config.models if entry.name in callees], out)
    collected = run_calls(_collect(pairs, models, request, config, means, out))
    _warn_of_failures(collected, out)
    for (model, how), number in sorted(collected.cut_off.items()):
        out.warn(f"{count(number, 'answer')} of {model} cut off {cut_off_words(how)}")
    unscored = sum(record.status == "unscored" for record in collected.records)
    if unscored:
        out.note(f"{count(unscored, 'answer')} could not be graded and are unscored, not wrong")
    cost = paid(collected.known_usd, collected.unknown_costs)
    out.note(f"{count(len(collected.records), 'answer')} ({collected.cached:,} cached) for {cost}")
    if collected.stopped is not None:
        out.warn(f"stopped by the budget: {collected.stopped}")
    return collected


def _warn_of_failures(collected: Collected, out: Output) -> None:
    failures = sorted(collected.failures.items(), key=lambda item: -item[1])
    for reason, number in failures[:_SHOWN_FAILURES]:
        out.warn(f"{count(number, 'answer')} failed: {one_line(reason, 200)}")
    rest = sum(number for _, number in failures[_SHOWN_FAILURES:])
    if rest:
        out.warn(f"{count(rest, 'answer')} failed for {len(failures) - _SHOWN_FAILURES:,} other reasons; see the bank")


async def _collect(
    pairs: Sequence[Pair], models: Sequence[str], request: CallRequest, config: Config, means: Means, out: Output
) -> Collected:
    hold_back = _holding_back(pairs, means)
    with collection_bar(out, len(pairs)) as show:

        def on_record(collected: Collected) -> None:
            hold_back(collected)
            if show is not None:
                show(collected)

        everyone = [*models, *judges_of(request.grading, config)]
        async with open_pool(config, everyone, means.options, out, purse=means.purse) as pool:
            concurrency = pool_concurrency(config, means.options)
            with GraderSet(request.grading, pool) as graders:
                collected = await collect(pairs, pool, concurrency=concurrency, graders=graders, on_record=on_record)
    note_grading(graders, out)
    return collected


def _holding_back(pairs: Sequence[Pair], means: Means) -> OnRecord:
    """Return what keeps back, of the run's money, the cost of embedding what came in: answers without are no bank."""
    budget, account = means.purse.budget, means.embedding
    if budget is None or account is None:
        return lambda collected: None
    seen: set[str] = set()

    def hold_back(texts: Iterable[str]) -> None:
        new = {whole_characters(text) for text in texts} - seen
        seen.update(new)
        budget.hold_back(account.worst_case(sorted(new)) or 0.0)

    hold_back(question.query for question, _ in pairs)
    return lambda collected: hold_back([collected.records[-1].response or ""])


def known_answers(bank: Bank, *, retry_failed: bool) -> set[tuple[str, str, str]]:
    """Return (dataset, index, model) of the answers that need not be asked for.

    Args:
        bank: The bank that is extended.
        retry_failed: Ask again what failed.
    """
    settled = {"ok", "unscored"} if retry_failed else {"ok", "unscored", "failed"}
    keys = [question.key for question in bank.questions]
    return {
        (*key, model)
        for model in bank.models
        for key, status in zip(keys, bank.answers(model).status.tolist(), strict=True)
        if status in settled
    }
