"""How numbers are written on a page."""

from __future__ import annotations

QUESTIONS = 1000
"""Dollars are told for so many questions: those of one are mostly zeros."""
UNKNOWN = "–"


def percent(value: float | None) -> str:
    """Return a share in percent, without the sign."""
    return UNKNOWN if value is None else f"{100 * value:.2f}"


def signed(value: float) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "−")


def dollars(value: float) -> str:
    """Return dollars for `QUESTIONS` questions, given those of one, with three significant digits."""
    return amount(QUESTIONS * value)


def amount(value: float) -> str:
    """Return dollars with three significant digits, in whole cents from a dollar on."""
    if value == 0:
        return "$0"
    if value >= 1:
        return f"${value:,.2f}"
    digits = 2
    while digits < 12 and value < 10 ** -(digits - 2):
        digits += 1
    return f"${value:.{digits}f}"


def listed(names: list[str] | tuple[str, ...], limit: int = 6) -> str:
    """Return names with commas; behind the limit only how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
