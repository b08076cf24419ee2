"""What a number of tokens or dollars can be: anything larger is a mistake or a trap, and would end in infinite sums.

Every reader of such numbers, of recorded answers, banks, pool files, results and the ledger, asks here.
"""

from __future__ import annotations

from typing import TypeGuard

MOST_TOKENS = 2**31 - 1
"""Tokens of one answer."""
MOST_DOLLARS = 1_000_000
"""Dollars of one answer."""
DEAREST = 10**12
"""Dollars for a million tokens, at which a million dollars buy one."""


def is_tokens(value: object) -> TypeGuard[int]:
    """Whether a value can be a number of tokens: whole, and not negative."""
    return type(value) is int and 0 <= value <= MOST_TOKENS


def is_dollars(value: object) -> TypeGuard[float]:
    """Whether a value can be the dollars of an answer: a number, and not negative."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= MOST_DOLLARS


def is_price(value: object) -> TypeGuard[float]:
    """Whether a value can be the price of a million tokens in dollars."""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value < DEAREST
