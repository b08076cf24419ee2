"""Numbers of recorded answers that cannot be used: the answers are kept without them, and one warning counts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from jisi_cli.formats import fields
from jisi_cli.formats.record import OnProblem, Place, Problem, Unusable

Number = TypeVar("Number", int, float)

_KEPT = {
    "score": "such answers are unscored: {}; `jisi bank grade` grades them",
    "tokens": "such counts of tokens are unknown: {}",
    "cost": "such costs are unknown: {}",
}


class Doubts:
    """Reads the numbers of answers, and remembers where one could not be used."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[Problem, int]] = {}

    def score(self, value: object, place: Place) -> float | None:
        """Return a correctness in [0, 1]; None when unknown or unusable."""
        return self._usable("score", place, lambda: fields.score(value))

    def tokens(self, value: object, what: str, place: Place) -> int | None:
        """Return a count of tokens; None when unknown or unusable."""
        return self._usable("tokens", place, lambda: fields.tokens(value, what))

    def dollars(self, value: object, place: Place) -> float | None:
        """Return a cost in USD; None when unknown or unusable."""
        return self._usable("cost", place, lambda: fields.dollars(value))

    def tell(self, on_problem: OnProblem) -> None:
        """Report each kind of unusable number once per file: the first, and how many there are."""
        for (_, kind), (first, number) in self._found.items():
            message = f"{first.message}; {_KEPT[kind].format(f'{number:,}')}"
            on_problem(Problem(first.source, first.line, message, doubt=True))
        self._found.clear()

    def _usable(self, kind: str, place: Place, read: Callable[[], Number | None]) -> Number | None:
        try:
            return read()
        except Unusable as why:
            first, number = self._found.get((place.source, kind), (place.problem(why), 0))
            self._found[place.source, kind] = first, number + 1
            return None
