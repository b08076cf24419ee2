"""`jisi ask --input`: every question of a file, one line of JSON for each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.cli.output import Output, count, one_line, paid
from jisi_cli.cli.progress import counted
from jisi_cli.cli.question import read_batch
from jisi_cli.errors import ExitCode, InputError
from jisi_cli.types import Spending, whole_sum

if TYPE_CHECKING:
    from jisi_cli.asking import Answered
    from jisi_cli.formats.record import Question
    from jisi_cli.jisi import Jisi

_SHOWN = 5
"""Questions without an answer that are named; the others are counted."""


def refuse_with_input(*, query: str | None, json: bool, **for_one: object) -> None:
    """Refuse what does not go together with --input.

    Args:
        query: The question on the command line.
        json: Whether both --json and --jsonl were given.
        **for_one: Options about one question, by name.

    Raises:
        InputError: One of them was given.
    """
    if query is not None:
        raise InputError("give a question or --input, not both")
    if json:
        raise InputError("--json is one document and --jsonl one a line; give one of them")
    for name, value in for_one.items():
        if value:
            raise InputError(f"--{name} is about one question; leave it out with --input")


def refuse_without_input(**for_many: object) -> None:
    """Refuse options that are about many questions.

    Raises:
        InputError: One of them was given.
    """
    for name, value in for_many.items():
        if value:
            raise InputError(f"--{name} is about the questions of a file; name it with --input")


def ask_file(
    jisi: Jisi,
    source: Path,
    file: Path | None,
    out: Output,
    *,
    system: str | None,
    schema: Mapping[str, Any] | None,
    strict: bool,
    columns: Sequence[str],
    as_json: bool,
    as_jsonl: bool,
) -> ExitCode:
    """Ask every question of a file and write what came of them: to `file`, else to stdout in the order of the source.

    Args:
        jisi: What is open.
        source: The questions; `-` is standard input.
        file: Where lines are kept, for a later run to go on with; None for stdout.
        out: The sink.
        system: A system message for every model.
        schema: A JSON schema that every answer must fit; None for none.
        strict: Stop at the first line that cannot be used.
        columns: Which columns of the source hold what, as `--map` says it.
        as_json: Write one document in the end, and no lines.
        as_jsonl: Write lines to stdout beside the file, too.

    Returns:
        The exit code: 1 if a question has no answer, 4 if none has.

    Raises:
        InputError: The source or the file cannot be used.
        BudgetError: The budget is used up; what was answered is written.
    """
    from jisi_cli.asking import ask_all

    questions, skipped = read_batch(source, out, strict=strict, columns=columns)
    started = time.perf_counter()
    tally = _Tally(out)
    lines = _InOrder(out, questions, is_written=(file is None or as_jsonl) and not as_json)
    is_watched = file is not None or not out.stdout_is_terminal
    try:
        with counted(out, "asking") if is_watched else nullcontext() as on_progress:
            for found in ask_all(questions, system=system, schema=schema, jisi=jisi, out=file, remember=True):
                tally.add(found)
                lines.add(found)
                if on_progress is not None:
                    on_progress(len(tally.found), len(questions))
    finally:
        lines.flush()
        if tally.found:
            out.note(tally.words(len(questions), time.perf_counter() - started, file))
    if as_json:
        out.json(tally.to_json(jisi, len(questions), skipped, time.perf_counter() - started, file, lines))
    return tally.exit_code


@dataclass
class _Tally:
    """What came of the questions so far."""

    out: Output
    found: list[Answered] = field(default_factory=list)
    spending: Spending = field(default_factory=Spending)

    @property
    def failed(self) -> list[Answered]:
        """Questions without an answer."""
        return [found for found in self.found if found.answer is None]

    @property
    def fresh(self) -> list[Answered]:
        """Questions that were asked in this run."""
        return [found for found in self.found if not found.earlier]

    @property
    def exit_code(self) -> ExitCode:
        """How it went."""
        if not self.failed:
            return ExitCode.OK
        return ExitCode.NO_ANSWER if len(self.failed) == len(self.found) else ExitCode.FAILED

    def add(self, found: Answered) -> None:
        """Count a question, and say why it has no answer."""
        self.found.append(found)
        name = one_line(f"{found.dataset} {found.index}")
        if found.answer is None and (len(self.failed) <= _SHOWN or self.out.verbose):
            self.out.warn(f"{name}: {found.error}")
        for words in found.missing:
            self.out.warn(f"{name}: {words}")

    def words(self, questions: int, seconds: float, file: Path | None) -> str:
        """Return one line: how many were answered, and what it took."""
        earlier = len(self.found) - len(self.fresh)
        answered = len(self.found) - len(self.failed)
        parts = [
            f"{answered:,} of {count(questions, 'question')} answered" + (f" ({earlier:,} earlier)" if earlier else "")
        ]
        parts += [f"{len(self.failed):,} failed"] if self.failed else []
        known = [found.cost_usd for found in self.fresh if found.cost_usd is not None]
        parts += [
            count(sum(found.calls for found in self.fresh), "call"),
            paid(sum(known), len(self.fresh) - len(known)),
        ]
        parts += [f"{seconds:.1f} s"] + ([f"in {file}"] if file is not None else [])
        return " · ".join(parts)

    def to_json(
        self, jisi: Jisi, questions: int, skipped: int, seconds: float, file: Path | None, lines: _InOrder
    ) -> dict[str, Any]:
        """Return the same as plain data; with the lines where no file has them."""
        return {
            "questions": questions,
            "answered": len(self.found) - len(self.failed),
            "earlier": len(self.found) - len(self.fresh),
            "failed": len(self.failed),
            "skipped_lines": skipped,
            "method": jisi.method,
            "settings": jisi.settings,
            "calls": sum(found.calls for found in self.fresh),
            "cost_usd": whole_sum(found.cost_usd for found in self.fresh),
            "seconds": seconds,
            "out": None if file is None else str(file),
            "results": [found.to_json() for found in lines.in_order()] if file is None else None,
        }


class _InOrder:
    """Writes lines in the order of the questions, each as soon as those before it are there."""

    def __init__(self, out: Output, questions: Sequence[Question], *, is_written: bool) -> None:
        self._out, self._is_written = out, is_written
        self._keys = [question.key for question in questions]
        self._found: dict[tuple[str, str], Answered] = {}
        self._next = 0

    def add(self, found: Answered) -> None:
        """Take a line, and write those whose turn it is."""
        self._found[found.dataset, found.index] = found
        while self._next < len(self._keys) and self._keys[self._next] in self._found:
            self._write(self._found[self._keys[self._next]])
            self._next += 1

    def flush(self) -> None:
        """Write what waits for questions that were not answered."""
        for key in self._keys[self._next :]:
            if key in self._found:
                self._write(self._found[key])
        self._next = len(self._keys)

    def in_order(self) -> Iterator[Answered]:
        """Yield all lines in the order of the questions."""
        return (self._found[key] for key in self._keys if key in self._found)

    def _write(self, found: Answered) -> None:
        if self._is_written:
            self._out.json_line(found.to_json())
