"""Lines that an importer could not use: counted and named by number, the first few with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from jisi_cli.bank.importers.protocol import Problem
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError

_SHOWN = 10


class Problems:
    """Counts what an importer could not use, shows the first few, names the rest, or stops at the first.

    Args:
        out: Where to show them; all of them when it is verbose.
        strict: Stop at the first line that is skipped.
    """

    def __init__(self, out: Output, *, strict: bool) -> None:
        self._out, self._strict = out, strict
        self._shown = 0
        self._further: dict[str, set[int]] = {}
        self.skipped = 0

    def __call__(self, problem: Problem) -> None:
        """Take note of one problem."""
        if problem.note:
            self._out.note(f"note: {problem}")
            return
        if self._strict:
            raise InputError(f"{problem} (--strict)")
        if problem.doubt:
            self._out.warn(str(problem))
            return
        self.skipped += 1
        if self._shown < _SHOWN or self._out.verbose or problem.line is None:
            self._shown += 1
            self._out.warn(str(problem))
        else:
            self._further.setdefault(problem.source, set()).add(problem.line)

    def summarise(self) -> None:
        """Say how many lines were skipped in all, and which of them were not shown."""
        if self.skipped <= _SHOWN:
            return
        self._out.warn(f"{self.skipped:,} lines were skipped; {self._shown:,} of them are shown above")
        for source, lines in self._further.items():
            self._out.warn(f"{source}: skipped lines, -v says why: {', '.join(_ranges(sorted(lines)))}")


def _ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Yield ascending numbers as `4` and `7-9`."""
    # Within a run of neighbours, number minus place stays the same.
    for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
