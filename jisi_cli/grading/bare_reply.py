"""Replies that are nothing but an answer: `Paris`, `Yes.`, `**42 km**`.

A short reply of one line is its own final answer, although nothing marks it as one. What reads like a sentence, a
refusal, an exclamation, code, or the beginning of something longer is none: other words may say the same there, and
the same words no answer. A date is neither a sum (`2021-05-20` is not 1996) nor a number of something (`6 May` is not
6).
"""

from __future__ import annotations

import re

from jisi_cli.grading.statements import is_taken_back
from jisi_cli.lazy_pattern import lazy_pattern

_MOST_WORDS = 4
_MOST_CHARACTERS = 60
_MARKS = ("**", "__", "`", '"', "*", "_")
_BEGINS = lazy_pattern(r"[^\W_]|[$€£+−-]\d|['’‘“«¿¡]\w")
_CODE = lazy_pattern(r"[{}<>=;|\\\[\]#@~]|\w\(")
_TALK_OR_UNFINISHED = lazy_pattern(r"(?:[,:?!？！：，、(–—-]|\.\.|…)\Z")
_SENTENCE = lazy_pattern(
    r"\b(?:is|are|was|were|isn['’]t|aren['’]t|has|have|had|does|did|says?|said|means|depends|seems|would|should|could|"
    r"it['’]s|that['’]s|there['’]s)\b"
    r"|\A(?:it|this|that|these|those|there|here|let|as an?|you|they)\s",
    re.IGNORECASE,
)
_NO_ANSWER = lazy_pattern(
    r"\A(?:i(?:['’]\w+)?\s|we\s|idk\b|dunno\b|sorry|apolog|unfortunately|n/a\b|no (?:idea|answer|clue)|"
    r"h+u?m+\b|u[hm]+\b|well\b|"
    r"not (?:sure|certain)|unsure|(?:cannot|can['’]t|could not|couldn['’]t|unable)\b|don['’]t know|error\b|"
    r"ich wei(?:ß|ss)|keine ahnung|je ne |aucune idée|no (?:lo )?sé|non (?:lo )?so|não sei|не знаю|"
    r"(?:我)?不知道|不确定|抱歉|对不起|わかりません|分かりません|모르겠)",
    re.IGNORECASE,
)

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = lazy_pattern(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{4}|\d{1,2}([/.])\d{1,2}\3\d{2}"
    rf"|(?:[a-z]{{3,6}}day,? )?(?:the )?{_DAY} (?:of )?{_MONTH}(?:,? \d{{4}})?"
    rf"|(?:[a-z]{{3,6}}day,? )?{_MONTH} (?:{_DAY}(?:,? \d{{4}})?|\d{{4}})",
    re.IGNORECASE,
)
_NUMBER = lazy_pattern(r"\d+(?P<parts>[-/.]\d{1,4}[-/.]\d)?")
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_MONTH_BEHIND = lazy_pattern(rf"(?:st|nd|rd|th)?\s(?:of\s)?{_MONTHS}", re.IGNORECASE)
_MONTH_BEFORE = lazy_pattern(rf"\b{_MONTHS}[a-z]*\.?\s\Z", re.IGNORECASE)
_DATE_MARKS = "*_`$\"' ."


def bare_answer(reply: str) -> str | None:
    """Return the answer that a whole reply consists of, without the marks around it; None where it is no such reply.

    Args:
        reply: All that a model replied, without its reasoning.
    """
    line = reply.strip()
    if len(line) > _MOST_CHARACTERS or "\n" in line:
        return None
    answer = " ".join(_unwrapped(line).split())
    if len(answer.split()) > _MOST_WORDS or _BEGINS.match(answer) is None or is_taken_back(answer):
        return None
    if any(pattern.search(answer) for pattern in (_CODE, _TALK_OR_UNFINISHED, _SENTENCE, _NO_ANSWER)):
        return None
    return answer


def words_of(text: str) -> str:
    """Return an answer without case, a last dot, and marks around all of it: `Paris`, `paris.`, `**Paris**` are one."""
    return _unwrapped(text).casefold()


def _unwrapped(text: str) -> str:
    words = _without_dot(text.strip())
    for mark in _MARKS:
        if words.startswith(mark) and words.endswith(mark) and len(words) > 2 * len(mark):
            words = _without_dot(words[len(mark) : -len(mark)].strip())
    return words


def _without_dot(words: str) -> str:
    return words.removesuffix(".").removesuffix("。")


def is_date(answer: str) -> bool:
    """Whether all of an answer is a date, as in `2021-05-20`, `20/5/2021`, `20 May` and `May 20th, 2021`."""
    return len(answer) < 60 and _DATE.fullmatch(" ".join(answer.strip(_DATE_MARKS).split())) is not None


def mentions_date(text: str) -> bool:
    """Whether there may be a date in a text; quick, since it begins at the numbers, which are few."""
    for found in _NUMBER.finditer(text):
        if found["parts"]:
            return True
        before, after = text[max(0, found.start() - 12) : found.start()], text[found.end() : found.end() + 9]
        if _MONTH_BEHIND.match(after) or _MONTH_BEFORE.search(before):
            return True
    return False
