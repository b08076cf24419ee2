"""One line of a bill, whether the ledger or a result file of `jisi eval` holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jisi_cli.evaluation.results import Result
from jisi_cli.ledger import LedgerEntry
from jisi_cli.llm.answer import PriceSource, Role

_ANSWERING = "ask"
"""The command whose every run is one question and its answer."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One call. Unknown is None, never 0.

    Attributes:
        run: Which run made it; for a result file the file.
        command: The command of that run.
        time: When it ended, in UTC, as ISO 8601.
        method: The method of an evaluation.
        role: Why it was made.
        model: Who was called.
        dataset: The data set of the question.
        question: SHA-256 of the question's text, in hexadecimal.
        work: Names the question that this call helped to answer; None for a call that answers none (a bank's),
            or of which that is not known.
        is_answer: Whether this call wrote the final answer; None where nobody recorded it.
        cached: Whether it came from the cache, or from a recording.
        failed: Whether it brought no answer.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the response.
        cost_usd: Dollars paid; 0 when cached.
        list_cost_usd: Dollars when nothing is cached.
        price_source: Who named the price.
    """

    run: str
    command: str
    role: Role
    model: str
    time: str | None = None
    method: str | None = None
    dataset: str | None = None
    question: str | None = None
    work: str | None = None
    is_answer: bool | None = None
    cached: bool = False
    failed: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    list_cost_usd: float | None = None
    price_source: PriceSource | None = None

    @property
    def day(self) -> str | None:
        """The day in UTC, as `2026-01-31`."""
        return self.time[:10] if self.time else None

    @property
    def value_usd(self) -> float | None:
        """Dollars when nothing is cached; of a failure, which no list prices, what was paid for it."""
        return self.cost_usd if self.failed else self.list_cost_usd


def from_ledger(entries: Iterable[LedgerEntry]) -> Iterator[Charge]:
    """Yield the charges of ledger rows, in their order."""
    for entry in entries:
        yield Charge(
            run=entry.run,
            command=entry.command,
            role=entry.role,
            model=entry.model,
            time=entry.time,
            dataset=entry.dataset,
            question=entry.query_hash,
            # Methods that are compared share their calls, so that of a live evaluation only the result file
            # knows which call served which method.
            work=entry.run if entry.command == _ANSWERING else None,
            cached=entry.cached,
            failed=entry.error is not None,
            prompt_tokens=entry.prompt_tokens,
            completion_tokens=entry.completion_tokens,
            cost_usd=entry.cost_usd,
            list_cost_usd=entry.list_cost_usd,
            price_source=entry.price_source,
        )


def from_results(results: Iterable[Result], name: str) -> Iterator[Charge]:
    """Yield the charges of one result file.

    Args:
        results: Its lines; one without a bill (a bound, a question that needs live calls) has no charge.
        name: What stands for the run.
    """
    for result in results:
        for spent in result.bill or ():
            yield Charge(
                run=name,
                command="eval",
                role=spent.role,
                model=spent.model,
                method=result.method,
                dataset=result.dataset,
                question=result.query_hash,
                work=f"{name}\n{result.key}",
                is_answer=spent.is_answer,
                cached=spent.cached,
                failed=spent.failed,
                prompt_tokens=spent.prompt_tokens,
                completion_tokens=spent.completion_tokens,
                cost_usd=spent.cost_usd,
                list_cost_usd=spent.list_cost_usd,
                price_source=spent.price_source,
            )
