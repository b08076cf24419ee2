"""Answers that are dates: no sums (`2021-05-20` is not 1996), and no numbers of something (`6 May` is not 6)."""

from __future__ import annotations

import re

from jisi_cli.lazy_pattern import lazy_pattern

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
_MARKS = "*_`$\"' ."


def is_date(answer: str) -> bool:
    """Whether all of an answer is a date, as in `2021-05-20`, `20/5/2021`, `20 May` and `May 20th, 2021`."""
    return len(answer) < 60 and _DATE.fullmatch(" ".join(answer.strip(_MARKS).split())) is not None


def mentions_date(text: str) -> bool:
    """Whether there may be a date in a text; quick, since it begins at the numbers, which are few."""
    for found in _NUMBER.finditer(text):
        if found["parts"]:
            return True
        before, after = text[max(0, found.start() - 12) : found.start()], text[found.end() : found.end() + 9]
        if _MONTH_BEHIND.match(after) or _MONTH_BEFORE.search(before):
            return True
    return False
