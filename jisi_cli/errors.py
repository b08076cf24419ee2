"""The errors a user can meet, each with its exit code, and how the errors of libraries are recognised.

JisiError               1  something failed
├── InputError          2  usage, configuration or input that cannot be used
├── BankError           3  the bank is missing, broken, or of another version or embedder
├── NoAnswerError       4  no model could answer
├── BudgetError         5  a budget stopped the run
└── BelowThresholdError 6  a score fell below --fail-under

Ctrl-C ends with 130. A message says what, where and the remedy, in one line. `ValueError` and `TypeError` are for
bugs, which keep their traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum

from jisi_cli.copies import as_named


class ExitCode(IntEnum):
    """What the process tells the shell."""

    OK = 0
    FAILED = 1
    INPUT = 2
    BANK = 3
    NO_ANSWER = 4
    BUDGET = 5
    BELOW_THRESHOLD = 6
    INTERRUPTED = 130


class JisiError(Exception):
    """A problem whose message is meant for the user."""

    exit_code = ExitCode.FAILED

    def __str__(self) -> str:
        return as_named(super().__str__())


class InputError(JisiError):
    """Usage, configuration or input that cannot be used."""

    exit_code = ExitCode.INPUT


def missing_extra(what: str, extra: str) -> InputError:
    """Return the error that something needs packages which are not installed, with the command that installs them.

    Args:
        what: What needs them.
        extra: The extra of jisi that brings them.
    """
    # Single quotes are letters like any other to cmd.exe.
    return InputError(f'{what} needs the extra `{extra}`; install it with: pip install "jisi[{extra}]"')


class BankError(JisiError):
    """A bank that is missing, broken, or of another version or embedder."""

    exit_code = ExitCode.BANK


class NoAnswerError(JisiError):
    """No model could answer."""

    exit_code = ExitCode.NO_ANSWER


class BudgetError(JisiError):
    """A budget stopped the run."""

    exit_code = ExitCode.BUDGET


class BelowThresholdError(JisiError):
    """A score fell below what the user required."""

    exit_code = ExitCode.BELOW_THRESHOLD


_SHORTAGES = (os.strerror(errno.ENOMEM), "failed to map segment", "start new thread", "launch worker thread")
"""How the system, its library loader, Python and Arrow say that memory, or a thread for lack of memory, is missing."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, as Python, NumPy, Arrow or the system put it."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _SHORTAGES)


_CLIENTS = ("httpx", "httpx2")
"""httpx, and its successor under another name: openai from 3 on and huggingface_hub from 2 on use that one."""


def http_errors(name: str) -> tuple[type[Exception], ...]:
    """Return the exceptions of a name, for `isinstance` and `except`; a client that is not imported has raised nothing.

    Args:
        name: As both clients call it: `HTTPError`, `TransportError`, `ConnectError`, `TimeoutException`, ...
    """
    return tuple(getattr(sys.modules[client], name) for client in _CLIENTS if client in sys.modules)


# What a misspelt name was probably meant to be, in the words that every error about one uses.

_NEAR = 0.6
"""Share of letters in common from which a name is near another."""
_LONGEST_NAME = 100
"""Characters that are compared: the time grows with their square, and a name may come from a file."""
_MOST_NAMES = 5_000
"""Names that are compared."""
_SHORTEST_PART = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean `NAME`?)` for the known name that is nearest to one; nothing if none is near.

    A name is also near where it is part of another, as `gpt-4o` is of `openai/gpt-4o`. Case does not matter.

    Args:
        name: What was written.
        known: The names there are.
    """
    by_letters = {other[:_LONGEST_NAME].casefold(): other for other, _ in zip(known, range(_MOST_NAMES), strict=False)}
    wanted = name[:_LONGEST_NAME].casefold()
    near = get_close_matches(wanted, by_letters, n=1, cutoff=_NEAR)
    if not near and len(wanted) >= _SHORTEST_PART:
        near = [other for other in by_letters if wanted in other][:1]
    return f" (did you mean `{by_letters[near[0]]}`?)" if near else ""
