"""Lines that an importer could not use: counted, the first few shown."""

from __future__ import annotations

from jisi_cli.bank.importers.protocol import Problem
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError

_SHOWN = 10


class Problems:
    """Counts what an importer could not use, shows the first few, or stops at the first.

    Args:
        out: Where to show them.
        strict: Stop at the first line that is skipped.
    """

    def __init__(self, out: Output, *, strict: bool) -> None:
        self._out, self._strict = out, strict
        self.skipped = 0

    def __call__(self, problem: Problem) -> None:
        """Take note of one problem."""
        if problem.note:
            self._out.note(f"note: {problem}")
            return
        if self._strict:
            raise InputError(f"{problem} (--strict)")
        self.skipped += 1
        if self.skipped <= _SHOWN:
            self._out.warn(str(problem))

    def summarise(self) -> None:
        """Say how many lines were skipped in all."""
        if self.skipped > _SHOWN:
            self._out.warn(f"{self.skipped:,} lines were skipped; the first {_SHOWN} are shown above")
