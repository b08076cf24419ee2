"""The grader for answers that must match as text or as a Python value."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from jisi_cli.grading.final_answer import END_LENGTH, accepted_answers, marked_answers, settle
from jisi_cli.grading.plain_text import same_text
from jisi_cli.grading.registry import Submission, grader
from jisi_cli.lazy_pattern import lazy_pattern
from jisi_cli.models.reasoning import without_reasoning

_FENCE = lazy_pattern(r"```[^\n`]{0,20}\n(.*?)```", re.DOTALL)
_ONE_SENTENCE = lazy_pattern(r"(?:The|This|It)\b[^\n]{1,400}\s(?:is|prints|returns):?\s(?P<answer>[^\n]{1,200}?)\.?")
_DOUBLE = lazy_pattern(r"\[\[.{0,2000}?\]\]", re.DOTALL)
_QUOTES = "\"'`"
_LONGEST_LITERAL = 4000
_NOT_A_LITERAL = object()


@grader("exact", reader="exact")
class Exact:
    """Compares texts after trimming them, taking off one pair of quotes or backticks, and folding white space.

    Case matters: `True` is not `true`. Forms of Unicode, curly quotes and kinds of dashes do not. Where response
    and reference are both Python values, the values are compared (`[1,2]` is `[1, 2]`, but `1` is not
    `1.0`: they print differently). White space counts where the reference is a quoted string. A JSON list
    of texts as reference accepts any of them (see `accepted_answers`); a reference `[[X]]` is looked for in double
    brackets.

    The response may be the bare answer, mark it (see `final_answer`), hold it in its only code
    block, or be one sentence that ends with it (`The output is 5.`).
    """

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 for a match, 0.0 for none, None when the response is empty or too long to be an answer."""
        response, reference = without_reasoning(submission.response), submission.reference
        readings = list(_readings(response))
        if not readings:
            return None
        if _DOUBLE.fullmatch(reference.strip()):
            readings += [found[0] for found in list(_DOUBLE.finditer(response[-END_LENGTH:]))[-1:]]
        accepted = dict.fromkeys((reference, *accepted_answers(reference)))
        return float(any(_same(reading, wanted) for reading in readings for wanted in accepted))

    def extract(self, response: str) -> str | None:
        """Return the innermost reading of the answer: a Python value as Python writes it, or folded text."""
        return settle(_read, without_reasoning(response))


def _read(response: str) -> str | None:
    readings = list(_readings(response))
    return _normalise(readings[-1]) if readings else None


def _readings(response: str) -> Iterator[str]:
    """Yield what the answer may be, from the whole response to what it marks most closely."""
    end = response[-END_LENGTH:]
    if not end.strip():
        return
    if len(response) <= END_LENGTH:
        yield response
    marked = marked_answers(end)
    if marked:
        yield marked[0]
        yield from marked_answers(marked[0])[:1]
    elif len(response) <= END_LENGTH:
        yield from _unmarked(response)


def _unmarked(response: str) -> Iterator[str]:
    blocks = _FENCE.findall(response)
    sentence = _ONE_SENTENCE.fullmatch(response.strip())
    if len(blocks) == 1:
        yield blocks[0]
    elif sentence is not None:
        yield sentence["answer"]


def _same(answer: str, reference: str) -> bool:
    given, expected = _literal(answer.strip()), _literal(reference.strip())
    if isinstance(expected, str):
        # Models leave off the quotes, and write a line break as itself or as `\n`.
        texts = {answer, answer.strip(), _unquoted(answer), given if isinstance(given, str) else answer}
        return not texts.isdisjoint({expected, _unquoted(reference)})
    if given is not _NOT_A_LITERAL and expected is not _NOT_A_LITERAL and not isinstance(given, str):
        return _render(given) == _render(expected)
    if _fold(_unquoted(answer)) == _fold(_unquoted(reference)):
        return True
    return _plain_text(answer) == _plain_text(reference) != ""


def _normalise(text: str) -> str:
    value = _literal(text.strip())
    if isinstance(value, str):
        return _fold(value) or repr(value)
    # Nothing and white space are answers too, and keep their quotes lest nothing remain.
    return (_fold(_unquoted(text)) or repr(text.strip())) if value is _NOT_A_LITERAL else _render(value)


def _literal(text: str) -> object:
    """Return the Python value that a text writes out; nothing in the text is run."""
    if not text or len(text) > _LONGEST_LITERAL:
        return _NOT_A_LITERAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash that is no escape
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NOT_A_LITERAL
    # `red, green` may be text that only looks like a tuple.
    return _NOT_A_LITERAL if isinstance(value, tuple) and not text.startswith("(") else value


def _render(value: object) -> str:
    """Write a value so that equal values are equal texts."""
    if isinstance(value, dict):
        pairs = sorted(f"{_render(key)}: {_render(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, set):
        return "{" + ", ".join(sorted(map(_render, value))) + "}" if value else "set()"
    if isinstance(value, list):
        return "[" + ", ".join(map(_render, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_render, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _plain_text(text: str) -> str:
    """Return a text in one Unicode form, without emphasis and quotes around it and the full stop of a sentence."""
    return _unquoted(same_text(text).strip("*").removesuffix(".").strip("*"))


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in _QUOTES:
        return text[1:-1]
    return text


def _fold(text: str) -> str:
    return " ".join(text.split())
