"""What a question is called on one line: its beginning, without what all questions of its dataset begin with."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.bank.records import Question

_LOOKED_AT = 1200
"""Characters of a question in which its title lies."""
_INSTRUCTIONS = 40
"""Characters from which on a common beginning is taken for instructions."""


def titles(questions: Sequence[Question], length: int) -> list[str]:
    """Return so many characters of each question, without the instructions that all of a dataset begin with."""
    texts = [" ".join(question.query[:_LOOKED_AT].split()) for question in questions]
    by_dataset: dict[str, list[str]] = {}
    for question, text in zip(questions, texts, strict=True):
        by_dataset.setdefault(question.dataset, []).append(text)
    common = {name: _common_words(own) for name, own in by_dataset.items() if len(own) > 2}
    left_out = {name: size for name, size in common.items() if size >= _INSTRUCTIONS}
    found = []
    for question, text in zip(questions, texts, strict=True):
        start = left_out.get(question.dataset, 0)
        found.append(("… " if start else "") + text[start : start + length])
    return found


def _common_words(texts: Sequence[str]) -> int:
    """Return the length of the whole words that all texts begin with."""
    # What the first and the last in order share, all between them share.
    first, last = min(texts), max(texts)
    same = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), 0)
    return first.rfind(" ", 0, same) + 1
