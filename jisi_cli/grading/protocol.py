"""What a grader is."""

from __future__ import annotations

from typing import Protocol


class Grader(Protocol):
    """Reads the final answer in a response and compares it with the reference.

    A response is text from a model and may be anything: a grader never raises on it, never
    evaluates it, and reads no more than its end.
    """

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 when the response is right and 0.0 when it is wrong.

        None means that no final answer could be read: the response is unscored, not wrong.
        """
        ...

    def extract(self, response: str) -> str | None:
        """Return the final answer, normalised so that equal answers are equal strings.

        None when no final answer can be read. Reading an extracted answer again changes nothing.
        """
        ...
