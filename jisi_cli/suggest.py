"""What a misspelt name was probably meant to be, in the words that every error about one uses."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_NEAR = 0.6
"""Share of letters in common from which a name is near another."""
_LONGEST = 100
"""Characters that are compared: the time grows with their square, and a name may come from a file."""
_MOST = 5_000
"""Names that are compared."""
_SHORTEST_PART = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean `NAME`?)` for the known name that is nearest to one; nothing if none is near.

    A name is also near where it is part of another, as `gpt-4o` is of `openai/gpt-4o`. Case does not matter.

    Args:
        name: What was written.
        known: The names there are.
    """
    by_letters = {other[:_LONGEST].casefold(): other for other, _ in zip(known, range(_MOST), strict=False)}
    wanted = name[:_LONGEST].casefold()
    near = get_close_matches(wanted, by_letters, n=1, cutoff=_NEAR)
    if not near and len(wanted) >= _SHORTEST_PART:
        near = [other for other in by_letters if wanted in other][:1]
    return f" (did you mean `{by_letters[near[0]]}`?)" if near else ""
