"""Where in a text is the final answer, and which answers a reference accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from jisi_cli.grading.bare_reply import bare_answer, is_date, mentions_date, words_of
from jisi_cli.grading.number import canonical_math, canonical_number, parse_number
from jisi_cli.grading.registry import grader_info, reader_of, unknown_grader
from jisi_cli.grading.statements import Mark, amended, is_withdrawn, last_stated, taken_back_at
from jisi_cli.lazy_pattern import lazy_pattern
from jisi_cli.models.reasoning import without_reasoning
from jisi_cli.printable import has_escapes, without_escapes

# Where in a text is the final answer? The search that the graders share.
#
# Looked for, each time its last occurrence: the `answer` field of JSON (also of JSON that is invalid because LaTeX or
# quotes were not escaped), `<answer>` tags, `\boxed{}`, a sentence that states it (see `statements`), a last line
# `#### X`. JSON and tags are the strongest marks, since a program was asked for; of the others the last counts. A mark
# that the text takes back ("Wait, …") counts for less than any mark after those words. Reasoning in blocks of its own
# is no part of an answer, and only the end of a text is read, so that a text of any size costs the same.


END_LENGTH = 20_000
"""Characters at the end of a text that are read."""

_FIELD = lazy_pattern(
    r"[\"'](?:(?:final|correct)?[_ ]?answer(?:[_ ](?:letter|choice|option|value))?|"
    r"(?:selected|correct)[_ ]option|choice)"
    r"[\"']\s{0,20}:\s{0,20}",
    re.IGNORECASE,
)
_OTHER_FIELD = lazy_pattern(
    r"[\"'](?:final_)?(?:result|solution|output|value|total)[\"']\s{0,20}:\s{0,20}", re.IGNORECASE
)
_INNER_FIELD = ("answer", "final_answer", "value", "result", "choice", "letter", "option")
_NEXT_FIELD = lazy_pattern(r"\s{0,20},\s{0,20}\"[^\"\n]{1,40}\"\s{0,5}:")
_END_OF_VALUE = lazy_pattern(r"\s{0,20}(?:[}`]|$)")
# Commands whose first letter would be read as an escape of JSON: \frac as a form feed and "rac".
_LATEX_COMMAND = lazy_pattern(
    r"(?<!\\)\\(?:[dt]?frac|tfrac|begin|boxed|binom|beta|bar|text|times|theta|tan|tau|to|neq?|nu|not|rho|right|r?angle|"
    r"forall|phi|sqrt|pi|left|cdot|circ|mathrm|pm|infty|log|sin|cos|[(\[,;!])"
)
_ESCAPE = lazy_pattern(r"\\([\\\"/])")
_TAG = lazy_pattern(
    r"<(?P<name>final_?answer|answer)>\s{0,20}(?P<answer>[^<]{0,2000}?)\s{0,20}(?:</(?P=name)>|$)", re.IGNORECASE
)
_BOX = lazy_pattern(r"\\(?:boxed|fbox)\s?\{|\\boxed\s?(?P<bare>[0-9A-Za-z])(?![0-9A-Za-z])")
_BETWEEN_BOXES = lazy_pattern(
    r"[\s$]{0,4}(?P<word>,|and|or|&|et|und|oder|y|o|ou|e|和|或|и|или)[\s$]{0,4}(?:[a-z]\s?=\s?)?"
)
_DENIED_BEFORE = lazy_pattern(
    r"(?:\b(?:not|never|isn't|instead of|rather than|other than|nicht|pas|не)\s|不是)[\s$(]{0,4}\Z", re.IGNORECASE
)
_DENIED_BEHIND = lazy_pattern(
    r"[\s$)]{0,4}(?:is|was|would be)\s(?:wrong|incorrect|not\s(?:right|correct|the))", re.IGNORECASE
)
_STRUCK_OUT = lazy_pattern(r"~~(?=\S)[^~\n]{1,200}~~")
_HASH_LINE = lazy_pattern(r"(?:^|\n)[ \t]{0,4}####(?P<answer>[^\n]{0,400})\s*$")
_TEXT_GROUP = lazy_pattern(r"\s?\\(?:text|textbf|mathrm|mathbf)\s?\{([^{}]{0,400})\}\s?")
_SAYS_SOMETHING = lazy_pattern(r"[^\W_]|[∞∅]")
_MOST_READINGS = 10
_LETTER = lazy_pattern(r"\(?([A-Ja-j])(?:\)|\.)?|\(?([A-J])[).:]\s.{0,200}")
_LONGEST_TEXT = 100
_WORD = lazy_pattern(r"[^\W\d_]{2}")
# `[[B]]`, which many prompts ask for; not the list of lists in `x = [[1, 2]]`, `f([[1]])` or `df[["a"]]`.
_DOUBLE_BRACKETS = lazy_pattern(r"(?<![\w)\]=,(\[])\[\[+(?P<answer>.{1,1000}?)\]\]+", re.DOTALL)
_LIST_OF_LISTS = lazy_pattern(r"\]\s{0,20},\s{0,20}\[")


def answer_text(response: str) -> str:
    """Return the part of a response in which its answer is looked for: its end, without blocks of reasoning."""
    # The 31 of a colour is not a number that was answered.
    return _STRUCK_OUT.sub(" ", without_escapes(without_reasoning(response)[-END_LENGTH:]))


def marked_answers(text: str) -> list[str]:
    """Return what a text marks as its final answer, as it is written there, the mark that counts most first."""
    end = answer_text(text)
    marks = _marks(end)
    last = max((mark.end for mark in marks), default=0)
    withdrawn = taken_back_at(end, last)
    if withdrawn is not None:
        instead = amended(end, withdrawn)
        # Where nothing is marked, any "it is …" might be no answer but part of the way to one, unless it ends the text.
        if instead is not None and (marks or not _SAYS_SOMETHING.search(end, instead.end)):
            return [instead.answer, *(mark.answer for mark in marks)]
        if is_withdrawn(end[last:]):
            return []
    return [mark.answer for mark in marks]


def unmarked_text(text: str) -> str:
    """Return where an answer stands in a text that marks none: after the last answer that was taken back."""
    end = answer_text(text)
    last = max((mark.end for mark in _marks(end)), default=0)
    return end[last:]


def _marks(end: str) -> list[Mark]:
    asked_for = [mark for mark in (_json_answer(end), _tagged(end)) if mark is not None]
    others = [mark for mark in (_boxed(end), last_stated(end), hash_line(end)) if mark is not None]
    # A box within a sentence is what the sentence states.
    others.sort(key=lambda mark: mark.end, reverse=True)
    marks = [*asked_for, *others]
    if len(marks) < 2:
        return marks
    first = marks[0]
    later = [mark for mark in marks[1:] if mark.start >= first.end and _corrects(end, first, mark)]
    return [*later, *(mark for mark in marks if mark not in later)]


def _corrects(end: str, first: Mark, later: Mark) -> bool:
    place = taken_back_at(end, first.end)
    return place is not None and taken_back_at(end[: later.end], first.end) is not None


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
            choice letter, a number, a formula or a short text, text in double square brackets
            (`[[north]]`) as well, and a response without either only when all of it is a choice letter,
            a number or a short answer (`Paris.`; see `bare_reply`).

    Returns:
        The answer, equal to others as a string when they say the same; None for open text and code.

    Raises:
        InputError: There is no such grader.
    """
    reader = reader_of(grader)
    if reader is not None:
        return reader.extract(response)
    if grader is not None and grader_info(grader) is None:
        raise unknown_grader(grader)
    marked = marked_answer(response)
    bracketed = _bracketed(response, marked)
    return _beyond_brackets(response, marked) if bracketed is None else _within_brackets(bracketed)


def _within_brackets(answer: str) -> str:
    return _letter_or_number(answer) or "".join(answer.split()).casefold()


def _beyond_brackets(response: str, marked: str | None) -> str | None:
    """Return the normalised answer that is marked, or that a response without a mark consists of."""
    end = answer_text(response)
    answer = marked if marked is not None else end.strip()
    short = _letter_or_number(answer)
    if short is not None:
        return short
    if marked is None:
        return _bare_text(end)
    return _short_text(answer)


def _bare_text(end: str) -> str | None:
    """Return the normalised answer that all of a response consists of, given what was left of its end."""
    answer = bare_answer(end) if len(end) < END_LENGTH else None
    if answer is None:
        return None
    return words_of(answer) if _WORD.search(answer) else _short_text(answer)


def _short_text(answer: str) -> str | None:
    folded = " ".join(answer.split()).rstrip(" .").casefold()
    if is_date(answer):
        return words_of(folded)
    return canonical_math(answer) or (folded if 0 < len(folded) <= _LONGEST_TEXT else None)


def later_readings(responses: Iterable[tuple[str, str | None]]) -> tuple[str, ...]:
    """Return what in some responses an earlier version read otherwise when it looked for the final answer.

    Results are kept under keys that name it, so that those of earlier versions are used again wherever answers are
    read as they were. A change of the reading that comes adds a name, for the responses that it concerns.

    Args:
        responses: Each with its question's grader; see `extract_any`.

    Returns:
        `[[ ]]` where text in double square brackets is the answer and another would be read without the brackets, `bare
        replies` where a response is nothing but a short answer, `dates` where the answer is a date, all where no
        grader's own reading is taken; `escapes` where escape sequences of a terminal are left out.
    """
    texts = list(responses)
    found = {
        "[[ ]]": any(_depends_on_brackets(response, grader) for response, grader in texts),
        "bare replies": any(_depends_on_bare(response, grader) for response, grader in texts),
        "dates": any(_depends_on_date(response, grader) for response, grader in texts),
        "escapes": any(has_escapes(response) for response, _ in texts),
    }
    return tuple(name for name, is_found in found.items() if is_found)


def _depends_on_brackets(response: str, grader: str | None) -> bool:
    if "[[" not in response or reader_of(grader) is not None:
        return False
    marked = marked_answer(response)
    bracketed = _bracketed(response, marked)
    return bracketed is not None and _within_brackets(bracketed) != _beyond_brackets(response, marked)


def _depends_on_date(response: str, grader: str | None) -> bool:
    if not mentions_date(response[-END_LENGTH:]) or reader_of(grader) is not None:
        return False
    marked = marked_answer(response)
    bracketed = _bracketed(response, marked)
    return is_date(next((text for text in (bracketed, marked) if text is not None), answer_text(response)))


def _depends_on_bare(response: str, grader: str | None) -> bool:
    # Most responses end in a line that is longer than any bare reply; they need not be read.
    if len(response.rstrip().rpartition("\n")[2]) > _LONGEST_TEXT or reader_of(grader) is not None:
        return False
    end = answer_text(response)
    if _bare_text(end) is None or _letter_or_number(end.strip()) is not None:
        return False
    return marked_answer(response) is None and _bracketed(response, None) is None


def _letter_or_number(answer: str) -> str | None:
    letter = _LETTER.fullmatch(answer.strip("*_` "))
    if letter is not None:
        return (letter[1] or letter[2]).upper()
    if is_date(answer):
        return None
    number = parse_number(answer)
    return None if number is None else canonical_number(number)


def _bracketed(response: str, marked: str | None) -> str | None:
    """Return the last text in double square brackets, unless another answer is marked after it.

    In the JSON or the tags that a program was asked for, double brackets are a list.
    """
    end = answer_text(response)
    *_, found = None, *_DOUBLE_BRACKETS.finditer(end)
    if found is None or _LIST_OF_LISTS.search(found["answer"]) or not _SAYS_SOMETHING.search(found["answer"]):
        return None
    if (marked is not None and end.rfind(marked) > found.end()) or _json_answer(end) or _tagged(end):
        return None
    return found["answer"].strip()


def _json_answer(text: str) -> Mark | None:
    fields = list(_FIELD.finditer(text))
    if not fields and text.strip(" \n`json").startswith("{"):
        fields = list(_OTHER_FIELD.finditer(text))
    if not fields:
        return None
    start = fields[-1].end()
    rest = text[start:]
    if rest.startswith('"'):
        answer, length = _json_string(rest[1:])
        return Mark(fields[-1].start(), start + 1 + length, answer)
    try:
        value, length = json.JSONDecoder().raw_decode(rest)
    except (ValueError, RecursionError):
        line = rest.partition("\n")[0]
        return Mark(fields[-1].start(), start + len(line), line.rstrip("`, }").rstrip())
    if isinstance(value, dict):
        value = next((value[name] for name in _INNER_FIELD if name in value), value)
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return Mark(fields[-1].start(), start + length, written)
    return None if value is None else Mark(fields[-1].start(), start + length, rest[:length])


def _json_string(rest: str) -> tuple[str, int]:
    """Return the decoded string whose opening quote precedes `rest`, and how long it is there."""
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
            return str(json.loads(f'"{raw}"', strict=False)), len(raw)
        except ValueError:
            pass
    return _ESCAPE.sub(r"\1", raw), len(raw)


def _tagged(text: str) -> Mark | None:
    tags = list(_TAG.finditer(text))
    return Mark(tags[-1].start(), tags[-1].end(), tags[-1]["answer"]) if tags else None


def _boxed(text: str) -> Mark | None:
    """Return the last box that is not denied, with those before it that a comma or "and" joins to it."""
    boxes = [_box(text, found) for found in list(_BOX.finditer(text))[-_MOST_READINGS:]]
    boxes = [
        box
        for box in boxes
        if not _DENIED_BEFORE.search(text, max(0, box.start - 20), box.start)
        and not _DENIED_BEHIND.match(text, box.end)
    ]
    if not boxes:
        return None
    joined = boxes[-1]
    for box in reversed(boxes[:-1]):
        between = _BETWEEN_BOXES.fullmatch(text, box.end, joined.start)
        if between is None:
            break
        joined = Mark(box.start, joined.end, f"{box.answer} {between['word']} {joined.answer}".replace(" ,", ","))
    return joined


def _box(text: str, found: re.Match[str]) -> Mark:
    if found["bare"]:
        return Mark(found.start(), found.end(), found["bare"])
    depth = 0
    for place in range(found.end() - 1, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            content = text[found.end() : place]
            group = _TEXT_GROUP.fullmatch(content)
            return Mark(found.start(), place + 1, group[1] if group else content)
    rest = text[found.end() :].partition("\n")[0]
    return Mark(found.start(), found.end() + len(rest), rest)


def hash_line(text: str) -> Mark | None:
    """Return the last line of a text when it is `#### X`, as GSM8K ends its solutions."""
    found = _HASH_LINE.search(text.rstrip())
    return None if found is None else Mark(found.start(), found.end(), found["answer"].strip())


# What a reference accepts: one answer, or any of a list, in the forms in which public data sets write it.
#
# A JSON list of texts (`["Paris", "City of Paris"]`) and an object with aliases (TriviaQA) or texts (SQuAD) are
# several accepted answers; a list of anything else, or one that Python writes just so (`['a', 'b']`), is itself the
# answer. A solution that ends in `#### 540` (GSM8K) or in a box (MATH) accepts what it marks.


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
