"""`--fail-under`: an average that is demanded of a method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jisi_cli.errors import BelowThresholdError, InputError
from jisi_cli.evaluation.report import MethodReport

_LAST_BITS = 1e-9
"""Averages are exact but for their last bits, and 57 % is not below 57."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What is demanded of whom.

    Attributes:
        percent: The least average, in percent.
        method: Name of the method; empty for the first one of the report.
    """

    percent: float
    method: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `70` or `70:METHOD`.

        Raises:
            InputError: It says something else.
        """
        number, _, method = text.partition(":")
        try:
            percent = float(number)
        except ValueError:
            percent = math.nan
        if not 0 <= percent <= 100:
            raise InputError(f"--fail-under takes a percentage from 0 to 100, or PERCENTAGE:METHOD, not {text!r}")
        return cls(percent, method)

    def rows(self, names: Sequence[str]) -> list[str]:
        """Return the rows of the report that are meant: all readings of the method.

        Raises:
            InputError: The method is not among them.
        """
        # A method may stand in several readings, as in `jisi-router (calibrated)`.
        found = [name for name in names if name == self.method]
        found = found or [name for name in names if name.partition(" (")[0] == self.method]
        if not self.method:
            found = list(names[:1])
        if not found:
            raise InputError(f"--fail-under: `{self.method}` is not among the methods {', '.join(names)}")
        return found

    def check(self, reports: Sequence[MethodReport]) -> None:
        """Compare.

        Raises:
            BelowThresholdError: An average is below, or there is none.
        """
        meant = self.rows([report.name for report in reports])
        for report in reports:
            if report.name not in meant:
                continue
            reached = 100 * report.averages.average if report.averages else None
            if reached is None or reached < self.percent - _LAST_BITS:
                shown = "no average" if reached is None else f"{reached:.6g} %"
                raise BelowThresholdError(f"{report.name} reached {shown}, below --fail-under {self.percent:g}")
