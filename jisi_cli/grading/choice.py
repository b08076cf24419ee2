"""The grader for multiple choice: a letter from A to J."""

from __future__ import annotations

import re

from jisi_cli.grading.final_answer import END_LENGTH, marked_answer
from jisi_cli.grading.latex import to_plain

_LONE = re.compile(r"[\s*_`\"'(\[]{0,6}([A-Ja-j])[\s*_`\"')\].:]{0,6}")
# Not the article of "A man", and not the pronoun; but "A because ..." is a choice.
_CAPITAL = r"([B-HJ]|[AI](?!\s+(?!because|since|as\b|is\b)[a-z]))(?![\w'’])"
_LEADING = re.compile(r"[\s*_`\"'(\[]{0,6}(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s{1,3})?[*_`\"'(\[]{0,4}" + _CAPITAL)
_LEADING_SMALL = re.compile(r"[\s*_`\"'(\[]{0,6}([a-j])\)")
_FIRST = re.compile(r"[\s*_`\"'(\[]{0,6}([A-J])[*_`\"']{0,3}(?:[).:\],]|\s*\n|\s*$)")
_NAMED = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s{1,3}(?:is\s{1,3})?[*_`\"'(\[]{0,4}" + _CAPITAL)
_BRACKETED = re.compile(r"(?<![\w(])\(?([A-J])\)")
_STANDING = re.compile(r"(?<![\w'’.])([B-HJ]|A(?!\s+[a-z]))(?![\w'’])")
_OPTION_LINE = re.compile(r"^[ \t]{0,8}\(?([A-J])[).:][ \t].*$", re.MULTILINE)


class Choice:
    r"""Compares choice letters, read in three stages.

    1. The marked answer (see `final_answer`): "the answer is (C)", `\boxed{C}`, "Answer: C) Paris".
    2. The letter with which the response begins: "C", "C) Paris".
    3. The last letter named ("option C"), else in brackets ("(C)"), else standing alone as a capital.
    """

    def grade(self, response: str, reference: str) -> float | None:
        """Return 1.0 for the reference's letter, 0.0 for another, None when no letter can be read."""
        truth = self.extract(reference)
        answer = self.extract(response)
        return None if truth is None or answer is None else float(answer == truth)

    def extract(self, response: str) -> str | None:
        """Return the chosen letter as a capital."""
        marked = marked_answer(response)
        if marked is not None:
            letter = _stated_letter(to_plain(marked))
            if letter is not None:
                return letter
        end = response[-END_LENGTH:]
        lone = _LONE.fullmatch(end) or _FIRST.match(_without_options(response[:END_LENGTH]))
        if lone is not None:
            return lone[1].upper()
        end = _without_options(end)
        for pattern in (_NAMED, _BRACKETED, _STANDING):
            letters = pattern.findall(end)
            if letters:
                return str(letters[-1])
        return None


def _without_options(text: str) -> str:
    """Remove `A) ...`, `B) ...` from a response that lists the question's options: nothing is chosen there."""
    letters = "".join(_OPTION_LINE.findall(text))
    return _OPTION_LINE.sub("", text) if len(letters) > 1 and "ABCDEFGHIJ".startswith(letters) else text


def _stated_letter(marked: str) -> str | None:
    lone = _LONE.fullmatch(marked)
    if lone is not None:
        return lone[1].upper()
    leading = _LEADING.match(marked) or _LEADING_SMALL.match(marked)
    if leading is not None:
        return leading[1].upper()
    inside = _NAMED.findall(marked) or _BRACKETED.findall(marked)
    return str(inside[-1]) if inside else None
