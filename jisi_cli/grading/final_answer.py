r"""Where in a text is the final answer? The search that the graders share.

Looked for in this order, each time its last occurrence: the `answer` field of JSON (also of JSON
that is invalid because LaTeX or quotes were not escaped), `\boxed{}`, a sentence such as "the
answer is X" or "Final answer: X", a last line `#### X`. Only the end of a text is read, so that a
text of any size costs the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from jisi_cli.errors import InputError
from jisi_cli.grading.number import canonical_math, canonical_number, parse_number
from jisi_cli.grading.registry import ASSISTED, GRADERS, READERS, known_graders, load_grader

END_LENGTH = 20_000
"""Characters at the end of a text that are read."""

_FIELD = re.compile(r"[\"'](?:final[_ ]?)?answer[\"']\s{0,20}:\s{0,20}", re.IGNORECASE)
_NEXT_FIELD = re.compile(r"\s{0,20},\s{0,20}\"[^\"\n]{1,40}\"\s{0,5}:")
_END_OF_VALUE = re.compile(r"\s{0,20}(?:[}`]|$)")
# Commands whose first letter would be read as an escape of JSON: \frac as a form feed and "rac".
_LATEX_COMMAND = re.compile(
    r"(?<!\\)\\(?:[dt]?frac|tfrac|begin|boxed|binom|beta|bar|text|times|theta|tan|tau|to|neq?|nu|not|rho|right|r?angle|"
    r"forall|phi|sqrt|pi|left|cdot|circ|mathrm|pm|infty|log|sin|cos|[(\[,;!])"
)
_ESCAPE = re.compile(r"\\([\\\"/])")
_SENTENCE = re.compile(
    r"\banswer\b[\s*_]{0,4}(?:\b(?:is|are|was|(?:should|would|must)\sbe)\b|=|:|\n)[:*_\s]{0,6}(?P<answer>[^\n]{1,400})",
    re.IGNORECASE,
)
_END_OF_SENTENCE = re.compile(r"[.!?](?=\s|$)")
_CLOSER = {'"': '"', "'": "'", "`": "`", "$": "$", "(": ")"}
_TEXT_GROUP = re.compile(r"\s?\\(?:text|textbf|mathrm|mathbf)\s?\{([^{}]{0,400})\}\s?")
_SAYS_SOMETHING = re.compile(r"[^\W_]")
_MOST_READINGS = 10
_LETTER = re.compile(r"\(?([A-Ja-j])(?:\)|\.)?|\(?([A-J])[).:]\s.{0,200}")
_LONGEST_TEXT = 100


def marked_answers(text: str) -> list[str]:
    """Return what a text marks as its final answer, as it is written there, the strongest mark first."""
    end = text[-END_LENGTH:]
    found = (search(end) for search in (_json_answer, _boxed, _sentence, _hash_line))
    return [answer for answer in found if answer is not None]


def marked_answer(text: str) -> str | None:
    r"""Return the strongest marked answer that says something, or the one marked within it.

    `{"answer": "\boxed{5}"}` gives `5`. The result is empty when every mark is blank
    (`"answer": "___"`), and None when nothing is marked.
    """
    answer = None
    # A text may mark an answer within an answer as often as it likes: each `####` before a number is a mark.
    for _ in range(_MOST_READINGS):
        found = marked_answers(text)
        inner = next(filter(_SAYS_SOMETHING.search, found), "")
        if not found or (answer and not inner):
            break
        if len(inner) >= len(text):
            return inner
        answer = text = inner
    return answer


def settle(read: Callable[[str], str | None], response: str) -> str | None:
    """Read the answer in a response, then the answer in that answer, until it no longer changes.

    None when nothing is read, or nothing that stays.
    """
    answer = read(response)
    for _ in range(_MOST_READINGS):
        again = None if answer is None else read(answer)
        if again == answer:
            return answer
        answer = again
    return None


def extract_any(response: str, grader: str | None) -> str | None:
    """Return the normalised final answer of a response, for a question of known or unknown kind.

    Args:
        response: The text of a model.
        grader: The question's grader, whose own reading is taken; None, or one that reads no final
            answer (`judge`, `contains`), when the kind is unknown: then a marked answer counts as a
            choice letter, a number, a formula or a short text, and a response without one only when
            all of it is a choice letter or a number.

    Returns:
        The answer, equal to others as a string when they say the same; None for open text and code.

    Raises:
        InputError: There is no such grader.
    """
    if grader in READERS:
        return load_grader(READERS[grader]).extract(response)
    if grader is not None and grader not in (*GRADERS, *ASSISTED):
        raise InputError(f"no grader is called `{grader}`; the graders are {known_graders()}")
    marked = marked_answer(response)
    answer = marked if marked is not None else response[-END_LENGTH:].strip()
    letter = _LETTER.fullmatch(answer.strip("*_` "))
    if letter is not None:
        return (letter[1] or letter[2]).upper()
    number = parse_number(answer)
    if number is not None:
        return canonical_number(number)
    if marked is None:
        return None
    folded = " ".join(answer.split()).rstrip(" .").casefold()
    return canonical_math(answer) or (folded if 0 < len(folded) <= _LONGEST_TEXT else None)


def _json_answer(text: str) -> str | None:
    fields = list(_FIELD.finditer(text))
    if not fields:
        return None
    rest = text[fields[-1].end() :]
    if rest.startswith('"'):
        return _json_string(rest[1:])
    try:
        value, length = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        return rest.partition("\n")[0].rstrip("`, }").rstrip()
    return None if value is None else rest[:length]


def _json_string(rest: str) -> str:
    """Return the decoded string whose opening quote precedes `rest`."""
    raw = None
    for quote in re.finditer(r'(?<!\\)(?:\\\\)*"', rest):
        # An inner quote that was not escaped is not followed by the end of a value.
        if _END_OF_VALUE.match(rest, quote.end()) or _NEXT_FIELD.match(rest, quote.end()):
            raw = rest[: quote.end() - 1]
            break
    if raw is None:
        raw = rest.partition("\n")[0].rstrip('`, }"')
    if not _LATEX_COMMAND.search(raw):
        try:
            return str(json.loads(f'"{raw}"', strict=False))
        except ValueError:
            pass
    return _ESCAPE.sub(r"\1", raw)


def _boxed(text: str) -> str | None:
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return None
    opening = text.index("{", start)
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            content = text[opening + 1 : place]
            group = _TEXT_GROUP.fullmatch(content)
            return group[1] if group else content
    return text[opening + 1 :].partition("\n")[0]


def _sentence(text: str) -> str | None:
    sentences = list(_SENTENCE.finditer(text))
    if not sentences:
        return None
    answer = sentences[-1]["answer"].strip().lstrip("*_").strip()
    closer = _CLOSER.get(answer[:1])
    if closer is not None:
        place = answer.find(closer, 1)
        if place > 0 and re.match(r"[\s.,!*]*$", answer[place + 1 :]):
            return answer[: place + 1]
    end = _END_OF_SENTENCE.search(answer)
    return (answer[: end.start()] if end else answer).strip("* ")


def _hash_line(text: str) -> str | None:
    line = text.rstrip().rpartition("\n")[2]
    return line.removeprefix("####").strip() if line.startswith("####") else None
