"""What a reference accepts: one answer, or any of a list, in the forms in which public data sets write it.

A JSON list of texts (`["Paris", "City of Paris"]`) and an object with aliases (TriviaQA) or texts (SQuAD) are
several accepted answers; a list of anything else, or one that Python writes just so (`['a', 'b']`), is itself the
answer. A solution that ends in `#### 540` (GSM8K) or in a box (MATH) accepts what it marks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from jisi_cli.grading.final_answer import hash_line, marked_answer

_ALIASES = ("value", "answer", "answers", "text", "aliases", "normalized_aliases", "target", "targets")
_LONGEST = 100_000
_MOST = 1000


def accepted_answers(reference: str) -> list[str]:
    """Return the answers that a reference accepts, the reference itself where it holds no others."""
    found = _listed(reference.strip())
    return [final_answer_of(answer) for answer in found or [reference]]


def final_answer_of(solution: str) -> str:
    """Return what a worked solution marks as its answer; any other text as it is."""
    last = hash_line(solution)
    if last is not None and last.answer:
        return last.answer
    if "\\boxed" in solution or "\\fbox" in solution:
        return marked_answer(solution) or solution
    return solution


def best(grades: Iterable[float | None]) -> float | None:
    """Return the best of the grades for several accepted answers; None where there is no grade at all."""
    return max((grade for grade in grades if grade is not None), default=None)


def _listed(reference: str) -> list[str]:
    if not reference.startswith(("[", "{")) or len(reference) > _LONGEST:
        return []
    try:
        value = json.loads(reference)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, dict):
        texts = [text for name in _ALIASES if name in value for text in _texts(value[name])]
        return list(dict.fromkeys(texts))[:_MOST]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or repr(value) == reference:
        return []
    return list(dict.fromkeys(value))[:_MOST]


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts(item) if not isinstance(item, list | dict)]
    if value is None or isinstance(value, dict | bool):
        return []
    return [str(value)]
