"""What holds for the records of every format: one answer of a model to a question, one text to a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jisi_cli.bank.importers.protocol import OnProblem, Place
from jisi_cli.bank.records import Record

Located = tuple[Place, Record]


def admitted(located: Iterable[Located], on_problem: OnProblem) -> Iterator[Record]:
    """Yield records that agree with those before them; report and drop the rest.

    A second answer of one model to one question is dropped, and so is an answer to another text under
    the same (dataset, index): both would make the bank depend on the order of files.
    """
    questions: dict[tuple[str, str], int] = {}
    answered: set[tuple[str, str, str]] = set()
    for place, record in located:
        question = (record.dataset, record.index)
        # Hashes, because a set of benchmarks holds hundreds of megabytes of questions.
        fingerprint = hash(record.query)
        if questions.setdefault(question, fingerprint) != fingerprint:
            on_problem(
                place.problem(f"another question already has the index {record.index} in {record.dataset}")
            )
        elif (*question, record.model) in answered:
            on_problem(
                place.problem(
                    f"a second answer of {record.model} to {record.dataset} {record.index}; the first is kept"
                )
            )
        else:
            answered.add((*question, record.model))
            yield record
