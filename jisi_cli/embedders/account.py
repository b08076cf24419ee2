"""The seam between an endpoint and whoever pays for it and keeps the books."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self


class RequestAccount(Protocol):
    """One request to an endpoint, from its first attempt to its last; a context manager, closed by the last."""

    def attempt(self) -> None:
        """Set aside what one more attempt can cost.

        Raises:
            BudgetError: It does not fit what is left of the budget.
        """
        ...

    def failed(self, reason: str, *, billable: bool) -> None:
        """Note that the attempt brought nothing.

        Args:
            reason: Why, in one line.
            billable: Whether it may have cost something all the same.
        """
        ...

    def answered(self, usage: object) -> None:
        """Note that the attempt brought vectors; `usage` is the endpoint's, or None."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Account(Protocol):
    """Pays for requests; may be used from several threads."""

    def request(self, texts: Sequence[str]) -> RequestAccount:
        """Open the account of one request that embeds these texts."""
        ...


class Unbooked:
    """An account that lets everything happen and keeps nothing."""

    def request(self, texts: Sequence[str]) -> Unbooked:
        """Return itself: no request differs from another."""
        return self

    def attempt(self) -> None:
        """Allow it."""

    def failed(self, reason: str, *, billable: bool) -> None:
        """Keep nothing."""

    def answered(self, usage: object) -> None:
        """Keep nothing."""

    def __enter__(self) -> Unbooked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
