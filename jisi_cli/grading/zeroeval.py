"""ZeroEval's own verdicts: for its published accuracies, and not for judging answers well.

Its scripts (`math_eval.py`, `crux_eval.py`, `mcqa_eval.py`) take the `answer` field of the first JSON object in a
response, whatever else the response says; an answer without that field is wrong. Of gsm and math-l5 they compare the
first number, of crux the text, of mmlu-redux the letter.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable

from jisi_cli.grading.registry import Submission, grader
from jisi_cli.lazy_pattern import lazy_pattern

_LONGEST = 200_000
_LONGEST_SUM = 1000
_MISSING = object()
_NUMBER = lazy_pattern(r"-?\d+(\.\d+)?")
_BOXED_AT_END = lazy_pattern(r"\\boxed{(\w+)}")
_END = 30
_SLOTS = tuple(
    lazy_pattern(pattern, flags)
    for pattern, flags in (
        (r'"answer"\s*:\s*"([^"]*?)"', 0),
        (r'"answer"\s*:\s*"(.*?)"', re.DOTALL),
        (r'"answer"\s*:\s*([^,\s]*)', 0),
        (r"answer\s*:\s*([^,\s]*)", 0),
    )
)
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


@grader("zeroeval-number", reader="numeric")
class ZeroEvalNumber:
    """Compares the first number of the `answer` field, as `math_eval.py` does for gsm and math-l5."""

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the first numbers are equal, else 0.0."""
        answer, wanted = (
            _answer_field(submission.response),
            _first_number(submission.reference.replace("#", "").strip()),
        )
        given = None if answer is None else _first_number(answer)
        return float(given is not None and given == wanted)


@grader("zeroeval-text", reader="exact")
class ZeroEvalText:
    """Compares the text of the `answer` field, as `crux_eval.py` does: `[1,2]` is not `[1, 2]`."""

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the texts are equal but for quotes around them, else 0.0."""
        answer = _answer_field(submission.response)
        return float(answer is not None and _unquoted(answer).replace("\n", "\\n") == _unquoted(submission.reference))


@grader("zeroeval-choice", reader="choice")
class ZeroEvalChoice:
    """Compares the letter of the `answer` field, as `mcqa_eval.py` does for mmlu-redux."""

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 where the answer is the letter or contains it with a bracket ("C)"), else 0.0."""
        answer, reference = _answer_field(submission.response), submission.reference
        return float(bool(answer) and (answer == reference or f"{reference})" in (answer or "")))


def _answer_field(response: str) -> str | None:
    text = response[:_LONGEST]
    found = _of_first_object(text)
    if found is not _MISSING:
        return str(found)
    for slot in _SLOTS:
        match = slot.search(text)
        if match is not None:
            return match[1]
    boxed = _BOXED_AT_END.search(text) if "boxed" in text[-_END:] else None
    return boxed[1] if boxed else None


def _of_first_object(text: str) -> object:
    """Return the `answer` of the first object whose braces close."""
    start, depth = text.find("{"), 0
    for end in range(max(start, 0), len(text) if start >= 0 else 0):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            try:
                return json.loads(text[start : end + 1].replace("\n", "")).get("answer", _MISSING)
            except (ValueError, RecursionError):
                return _MISSING
    return _MISSING


def _first_number(text: str) -> float | None:
    text = text.replace("$", "").strip().replace(",", "")
    if "/" in text and len(text) <= _LONGEST_SUM:
        value = _worked_out(text)
        text = text if value is None else str(value)
    match = _NUMBER.search(text)
    return None if match is None else float(match[0])


def _worked_out(text: str) -> float | None:
    """Work out arithmetic, which ZeroEval hands to Python; here nothing but numbers and signs is understood."""
    try:
        return float(_value(ast.parse(text, mode="eval").body))
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, KeyError):
        return None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=sign, operand=inner):
            return _OPERATORS[type(sign)](_value(inner))
        case ast.BinOp(left=left, op=sign, right=right):
            return _OPERATORS[type(sign)](_value(left), _value(right))
        case _:
            raise ValueError


def _unquoted(text: str) -> str:
    return text.strip("'\"")
