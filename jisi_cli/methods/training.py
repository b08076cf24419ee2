"""How the training of a method is watched: how far it is, how long it took, whether it was needed at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all) as a training goes on."""


@dataclass(slots=True)
class Training:
    """What became known about the training of one method while it was made.

    Attributes:
        on_step: Told how far it is; None tells nobody.
        seconds: What training took, by wall clock, in this run or in the earlier one whose result was kept; None
            where nothing was trained, or nobody knows.
        from_cache: Whether an earlier run had learned it already.
        trained: Whether the method learned anything at all.
        chosen: Which of its settings the method chose on train rows, and by how much; None where it chose nothing.
    """

    on_step: OnStep | None = None
    seconds: float | None = None
    from_cache: bool = False
    trained: bool = False
    chosen: str | None = None

    def step(self, done: int, total: int) -> None:
        """Tell how far the training is."""
        if self.on_step is not None:
            self.on_step(done, total)

    def note(self, seconds: float | None, *, from_cache: bool) -> None:
        """Keep what a training took."""
        self.seconds, self.from_cache, self.trained = seconds, from_cache, True
