"""What moves on a terminal, where that becomes narrower meanwhile: the rows into which it breaks the last frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class LastFrame:
    """Remembers the lines of the frame that was drawn last. Rich goes back by these, not by the rows they are now.

    Args:
        console: What draws.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = console.width
        self._lengths: Sequence[int] = ()

    def replace(self, lengths: Iterable[int]) -> None:
        """Clear the rows that a narrower terminal has made of the last frame beyond its lines; note those of the next.

        Args:
            lengths: Columns of each line that is to be drawn.
        """
        from rich.control import Control
        from rich.segment import ControlType

        before, self._width = self._width, self._console.width
        broken = sum(max(0, math.ceil(length / self._width) - 1) for length in self._lengths)
        if self._width < before and broken:
            up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *up * broken))
        self._lengths = [min(length, self._width) for length in lengths]
