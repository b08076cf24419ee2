"""What holds for the records of every format: one answer of a model to a question, one text to a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from jisi_cli.bank.importers.protocol import OnProblem, Place, Unusable
from jisi_cli.bank.records import Record

Located = tuple[Place, Record]
Item = TypeVar("Item")


def usable(
    items: Iterable[tuple[Place, Item]], make: Callable[[Item, Place], Record], on_problem: OnProblem
) -> Iterator[Located]:
    """Yield the record that `make` makes of each item; report the items of which it makes none."""
    for place, item in items:
        try:
            record = make(item, place)
        except (Unusable, RecursionError) as why:
            on_problem(place.problem(why))
        else:
            yield place, record


def items_of(items: object, source: str) -> Iterator[tuple[Place, object]]:
    """Yield the items of a JSON list, numbered from 1; none of anything else."""
    for number, item in enumerate(items if isinstance(items, list) else [], start=1):
        yield Place(source, number), item


def admitted(located: Iterable[Located], on_problem: OnProblem) -> Iterator[Record]:
    """Yield records that agree with those before them; report and drop the rest.

    A second answer of one model to one question is dropped, and so is an answer to another text under
    the same (dataset, index): both would make the bank depend on the order of files.
    """
    questions: dict[tuple[str, str], tuple[int, int]] = {}
    bits: dict[str, int] = {}
    for place, record in located:
        question = (record.dataset, record.index)
        # Hashes, because a set of benchmarks holds hundreds of megabytes of questions; one bit a model, because it
        # may hold millions of answers.
        fingerprint = hash(record.query)
        known, answered = questions.get(question, (fingerprint, 0))
        bit = bits.setdefault(record.model, 1 << len(bits))
        if known != fingerprint:
            on_problem(place.problem(f"another question already has the index {record.index} in {record.dataset}"))
        elif answered & bit:
            on_problem(
                place.problem(
                    f"a second answer of {record.model} to {record.dataset} {record.index}; the first is kept"
                )
            )
        else:
            questions[question] = (known, answered | bit)
            yield record
