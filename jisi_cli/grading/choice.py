"""The grader for multiple choice: a letter from A to J, or several where the reference names several."""

from __future__ import annotations

import re

from jisi_cli.grading.final_answer import END_LENGTH, accepted_answers, answer_text, marked_answers
from jisi_cli.grading.plain_text import plain_characters, to_plain
from jisi_cli.grading.registry import Submission, grader
from jisi_cli.grading.statements import is_taken_back
from jisi_cli.lazy_pattern import lazy_pattern

# What stands around a letter.

_OPEN = r"[\s*_`\"'(\[{<$]{0,6}"
_NOUN = r"(?:(?:[Oo]ptions?|[Cc]hoices?|[Ll]etters?|[Aa]nswers?|OPTION|选项|選項)\s{0,3}(?:is\s{1,3}|[:#]\s{0,3})?)"
# Not the article of "A man", and not the pronoun; but "A because ..." is a choice.
_GOES_ON = r"(?!because|since|(?:as|is|and|or|not|nor|but|seems|looks|was|would|has|must|over|rather)\b)"
_CAPITAL = rf"([B-HJ]|[AI](?!\s+{_GOES_ON}[a-z]))(?![\w'’])"
_LONE = lazy_pattern(rf"{_OPEN}([A-Ja-j])[\s*_`\"')\].:!$}}>]{{0,6}}")
_LEADING = lazy_pattern(rf"{_OPEN}{_NOUN}?[*_`\"'(\[{{]{{0,4}}{_CAPITAL}")
_LEADING_SMALL = lazy_pattern(r"[\s*_`\"'(\[]{0,6}([a-j])\)")
_FIRST = lazy_pattern(
    rf"{_OPEN}{_NOUN}?[*_`\"'(\[]{{0,4}}([A-J])[*_`\"']{{0,3}}(?:[).:\],!]|\s*\n|\s*$|\s+[-–—|]|\s+(?:because|since)\b)"
)
_NAMED = lazy_pattern(rf"(?<![a-zA-Z]){_NOUN}[*_`\"'(\[{{]{{0,4}}{_CAPITAL}")
_BRACKETED = lazy_pattern(r"(?<![\w(])\(?([A-J])\)")
_STANDING = lazy_pattern(r"(?<![\w'’.])([B-HJ]|A(?!\s+[a-z]))(?![\w'’])")
# Verdicts after a letter ("C: correct"), and the options that a response lists.

_VERDICT_RIGHT = r"(?:[:–-]|→)\s{0,2}\**(?:[Tt]rue|TRUE|[Cc]orrect|CORRECT|[Rr]ight|Yes|✓|✔|✅)"
_VERDICT_WRONG = r"(?:[:–-]|→)?\s{0,2}\**(?:(?<=[:–-]\s)(?:[Ff]alse|FALSE|[Ii]ncorrect|INCORRECT|[Ww]rong|No\b)|✗|✘|❌)"
_OPTION_LINE = lazy_pattern(r"^[ \t]{0,8}\(?([A-J])[).:][ \t].*$", re.MULTILINE)
_SMALL_LETTERS = str.maketrans({"А": "A", "С": "C", "Α": "A", "Β": "B"})
"""Letters of other alphabets that look like a letter and name the same option; В, the third in Russian, does not."""

# Several letters, joined ("A and C", "A or B").

_ONE = rf"[*_`\"'(\[{{]{{0,4}}{_CAPITAL}[*_`\"')\]}}]{{0,4}}(?![\w'’])"
# Words about one option: no other is named in them, and no clause ends.
_ABOUT = r"(?:(?!(?<!\w)[A-J](?!\w))[^.,;\n!?]){0,60}?"
_JOINED = lazy_pattern(
    rf"(?<![\w'’.]){_ONE}(?:[.:]?\s[^.,;\n]{{1,40}}?(?=,?\s(?:and|or)\s))?"
    rf"(?P<joint>\s*(?:,\s*(?:and|or)\s|,|/|&|\+|\bplus\b|\band(?:/or)?\b|\bor\b|"
    rf"\bas well as\b|\bund\b|\boder\b|\bet\b|\bou\b|\by\b|\bo\b|и|или|和|或者?|与|及|、)\s*)"
    rf"(?:also\s|maybe\s|perhaps\s|possibly\s|either\s|both\s)*(?:the\s)?{_NOUN}?{_ONE}"
)
_LIST = lazy_pattern(r"\W*[A-J](?:\s*(?:,|;|&|\+|\band\b|,\s*and\b|[\"'\s])\s*[\"']?[A-J](?!\w))+\W*")
_RUN = lazy_pattern(r"[A-J]{2,6}")
_EITHER = lazy_pattern(r"\b(?:either|between|torn|(?:could|might|may) be)\b", re.IGNORECASE)

# Letters that are not chosen ("not A", "A is wrong"), and letters that are ("I choose C", "C is correct").

_NOT = (
    r"not|never|isn't|aren't|wasn't|cannot be|can't be|couldn't be|rather than|instead of|other than|"
    r"anything but|neither|nor|except|unlike|eliminat\w+|rul(?:e|es|ed|ing) out|exclud\w+|reject\w*|discard\w*|"
    r"nicht|pas|не|no es|não é|"
    r"non è|over|(?:second|third|next)(?:[ -]best)?|wrong|incorrect|worst|tempting"
)
_DENIED = lazy_pattern(
    rf"(?:\b(?i:{_NOT})"
    rf"\s{{1,2}}(?:be\s|is\s|the\s|for\s)?|(?:不是|并非|不选|排除|而非)\s?){_NOUN}?{_ONE}"
    rf"(?:\s*(?:,|or|nor|and|/|、|和|或)\s*{_NOUN}?{_ONE}){{0,8}}"
)
_IS_OR_NOT = (
    r"is|are|was|were|looks|seems|would be|can be|could be|must be|isn't|aren't|doesn't|don't|does|do|cannot|"
    r"can't|fails?|contradicts?"
)
_FALSE = (
    r"wrong|incorrect|false|not|n't|invalid|impossible|ruled|eliminated|"
    r"excluded|irrelevant|out\b|untrue|unlikely|inaccurate"
)
_FAILS = r"isn't|aren't|doesn't|don't|cannot|can't|fails?|contradicts?"
_WRONG = lazy_pattern(
    rf"(?<![\w'’.]){_NOUN}?{_ONE}(?:\s*(?:,|and|or|&|、|和)\s*{_NOUN}?{_ONE}){{0,8}}[):]?{_ABOUT}\s?"
    rf"(?:\b(?:{_IS_OR_NOT})\b\s{{0,2}}(?:\w+\s){{0,2}}?(?:{_FALSE})|(?:{_FAILS})\b"
    rf"|是?(?:错误|错|不正确|不对|不符)|{_VERDICT_WRONG})"
)
_I = r"\b(?:I(?:'d|'ll|\s(?:would|will|am|shall))?|[Ww]e|[Ll]et's|[Ll]et\sme)"
_CHOOSE = (
    r"choose|chose|pick(?:ed)?|select(?:ed)?|"
    r"go(?:ing)?\s(?:with|for)|say|opt(?:ing)?\sfor|guess|vote\sfor|think(?:\sit)?(?:'s|\sis)?|believe(?:\sit)?(?:'s|\sis)?"
)
_SO = (
    r"\b[Ss]o,?|\b[Tt]herefore,?|\b[Hh]ence,?|\b[Tt]hus,?|\b[Aa]ctually,?|\b[Uu]ltimately,?|\b[Ff]inally,?|"
    r"\b[Cc]hoose|\b[Pp]ick|\b[Ss]elect|\b[Cc]hoice\sis"
)
_CHOSEN = lazy_pattern(
    rf"(?:{_I}\s(?:\w+ly\s)?(?:{_CHOOSE})"
    r"|\b(?:must|should|has\sto|would|will)\sbe|\b[Ii]t(?:'s|\sis)|\b[Tt]hat(?:'s|\sis)"
    r"|\b(?:leaves?|left)(?:\sus)?(?:\s(?:only|with))*|"
    rf"{_SO}|"
    rf"选择?|選|故选|应选)[\s:,]{{0,3}}(?:the\s)?(?:correct\s)?{_NOUN}?[*_`\"'(\[{{]{{0,4}}{_CAPITAL}"
)
_IS = r"is|was|seems|looks|appears|must be|would be|has to be|being|remains"
_TRUE = r"right|correct|best|true|answer|choice|one|accurate|valid|appropriate|likely|the\b"
_RIGHT = lazy_pattern(
    rf"(?<![\w'’.]){_NOUN}?{_ONE}[):]?(?:\s{_ABOUT})?\s?(?:\b(?:{_IS})\b"
    r"\s(?:to be\s)?(?:clearly\s|indeed\s|therefore\s|thus\s)?"
    rf"(?:the\s)?(?:only\s|most\s)?(?:{_TRUE})|"
    r"(?:是)?(?:正确|对的|答案)|\bfits\b|\bmatches\b)"
    rf"|(?<![\w'’.]){_NOUN}?{_ONE}\s{{0,2}}{_VERDICT_RIGHT}"
)
_PERHAPS = lazy_pattern(
    rf"\b(?i:could be|might be|may be|maybe|perhaps|possibly|potentially)\s{_NOUN}?{_ONE}|(?<![\w'’.]){_ONE}\s?\?"
)


@grader("choice", reader="choice")
class Choice:
    r"""Compares choice letters, read in four stages.

    1. The marked answer (see `final_answer`): "the answer is (C)", `\boxed{C}`, "Answer: C) Paris".
    2. The letter with which the response begins: "C", "C) Paris".
    3. The last letter that is chosen or called right: "I choose C", "C is correct".
    4. The last letter named ("option C"), else in brackets ("(C)"), else standing alone as a capital.

    A letter that the response calls wrong or denies ("not A", "A is incorrect") is not chosen, and "A or B"
    chooses none. A reference of several letters ("A, C") wants just these; a JSON list accepts any of its own.
    """

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 for the reference's letter, 0.0 for another, None when no letter can be read."""
        truths = {truth for accepted in accepted_answers(submission.reference) if (truth := self._reference(accepted))}
        answer = self.extract(submission.response)
        return None if not truths or answer is None else float(answer in truths)

    def extract(self, response: str) -> str | None:
        """Return the chosen letter as a capital; several in the order of the alphabet, with commas."""
        text = plain_characters(answer_text(response))
        several = _listed(text)
        if several is not None:
            return several
        marks = [plain_characters(mark) for mark in marked_answers(response)]
        denied: set[str] = set()
        for mark in marks:
            stated = _stated(to_plain(mark.strip().translate(_SMALL_LETTERS) if len(mark.strip()) < 3 else mark))
            if stated is not None and stated not in denied:
                return stated or None
            denied |= _denied_letters(mark)
        letter = _unmarked(text)
        return None if letter in denied else letter

    def _reference(self, reference: str) -> str | None:
        run = reference.strip()
        if _RUN.fullmatch(run) and "".join(sorted(set(run))) == run:
            return ",".join(run)
        return self.extract(reference)


def _listed(text: str) -> str | None:
    """Return the letters of a text that is nothing but letters: "A, C", `["A", "C"]`, "A and C"."""
    if len(text) > 60 or not _LIST.fullmatch(text):
        return None
    return ",".join(sorted(set(re.findall(r"(?<!\w)[A-J](?!\w)", text))))


def _without_denied(text: str) -> str:
    return _DENIED.sub(" ", _WRONG.sub(" ", text))


def _denied_letters(text: str) -> set[str]:
    found = [match[0] for pattern in (_DENIED, _WRONG) for match in pattern.finditer(text)]
    return {letter for part in found for letter in re.findall(r"(?<!\w)[A-J](?!\w)", part)}


def _without_options(text: str) -> str:
    """Remove `A) ...`, `B) ...` from a response that lists the question's options: nothing is chosen there."""
    letters = "".join(_OPTION_LINE.findall(text))
    return _OPTION_LINE.sub("", text) if len(letters) > 1 and "ABCDEFGHIJ".startswith(letters) else text


def _stated(marked: str) -> str | None:
    """Return the letters that a marked answer states; empty where it leaves open which, None where it has none."""
    lone = _LONE.fullmatch(marked)
    if lone is not None:
        return lone[1].upper()
    several = _listed(marked)
    if several is not None:
        return several
    claim = re.split(r"[,;]?\s\(?(?:because|since|as|given)\b", _without_denied(marked))[0]
    joined = _joined(claim)
    if joined is not None:
        return joined
    leading = _LEADING.match(claim.lstrip(" ,;:-")) or _LEADING_SMALL.match(claim)
    if leading is not None:
        return leading[1].upper()
    inside = _NAMED.findall(claim) or _BRACKETED.findall(claim)
    return str(inside[-1]) if inside else None


def _joined(claim: str) -> str | None:
    """Return letters that "and" joins; empty where "or" does, None where nothing is joined."""
    found = list(_JOINED.finditer(claim))
    if not found or found[0][1] == found[0][3]:
        return None
    if _EITHER.search(claim) or any(re.search(r"or|oder|ou|\bo\b|или|或|/", match["joint"]) for match in found):
        return ""
    letters = {match[group] for match in found for group in (1, 3)}
    return ",".join(
        sorted(letters | set(re.findall(r"(?<=[,\s(])[A-J](?=[,\s).])", claim)) if len(found) > 1 else letters)
    )


def _unmarked(text: str) -> str | None:
    """Return the letter that a response without a mark chooses."""
    end = text[-END_LENGTH:]
    claims = _without_denied(_without_options(end))
    doubted = {match[1] or match[2] for match in _PERHAPS.finditer(claims)}
    if len(doubted) > 1:
        claims = _PERHAPS.sub(" ", claims)
    lone = (
        _LONE.fullmatch(end)
        or _LEADING_SMALL.match(end)
        or _FIRST.match(_without_denied(_without_options(text[:END_LENGTH])))
    )
    said = _last((_CHOSEN, _RIGHT), claims)
    if lone is not None and not (said is not None and is_taken_back(end)):
        return None if _joined(claims[:80]) == "" and _JOINED.match(claims) else lone[1].upper()
    if said is None:
        said = next(filter(None, (_last((pattern,), claims) for pattern in (_NAMED, _BRACKETED, _STANDING))), None)
    if said is None:
        return None
    start, letter = said
    for joint in _JOINED.finditer(claims):
        if joint.start() <= start < joint.end() or joint.start(3) == start:
            joined = _joined(joint[0]) if not _EITHER.search(claims[max(0, joint.start() - 30) : joint.start()]) else ""
            return joined or None
    return letter


def _last(patterns: tuple[re.Pattern[str], ...], text: str) -> tuple[int, str] | None:
    """Return where the last letter stands that one of the patterns finds, and which it is."""
    matches = [match for pattern in patterns for match in pattern.finditer(text)]
    found = [(match.start(match.lastindex or 0), str(match[match.lastindex or 0])) for match in matches]
    return max(found, default=None)
