"""The grader that looks for the reference somewhere in the response."""

from __future__ import annotations

import re

from jisi_cli.grading.final_answer import END_LENGTH


class Contains:
    """Looks for the reference in the response as whole words, whatever the case and the spacing.

    `art` is not found in `party`, and `7` not in `17` or `7.5`. For anything finer there is `regex`.
    """

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 where the reference occurs, 0.0 where it does not, None where either is empty."""
        wanted, text = _folded(reference), _folded(response[-END_LENGTH:])
        if not wanted or not text:
            return None
        # Words and numbers end where letters and digits do; punctuation has no such end.
        before = r"(?<!\d[.,])(?<!\w)" if wanted[0].isdigit() else r"(?<!\w)" if wanted[0].isalpha() else ""
        after = r"(?![.,]\d)(?!\w)" if wanted[-1].isdigit() else r"(?!\w)" if wanted[-1].isalpha() else ""
        return float(re.search(before + re.escape(wanted) + after, text) is not None)

    def extract(self, response: str) -> str | None:
        """Return None: no part of the response is its answer."""
        return None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
