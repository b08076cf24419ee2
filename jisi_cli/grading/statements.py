"""Sentences that state an answer, in the languages in which models answer, and words that take it back.

What is read: "The answer is X", "Final answer: X", `答案是X`, `Ответ: X`, "La réponse est X", and after words such
as "Wait" or "I made a mistake" also "it is X".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jisi_cli.lazy_pattern import lazy_pattern

_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text that says "this is the answer".

    Attributes:
        start: Where the mark begins.
        end: Where the answer ends.
        answer: The answer as it is written there.
    """

    start: int
    end: int
    answer: str


# A statement: a word for "answer", details such as "choice (2)", a link such as "is" or ":", and the answer itself.

_ENGLISH = r"\b(?:answers?|ans|final\s(?:results?|values?|solutions?)|correct\s(?:options?|choices?))\b"
_ANSWER = {
    "French": r"réponse|reponse",
    "Spanish": "respuesta",
    "Portuguese": "resposta",
    "Italian": "risposta",
    "German": "antwort|lösung",
    "Dutch": "antwoord",
    "Polish": "odpowied[źz]",
    "Czech": "odpověď",
    "Slovak": "odpoveď",
    "Russian": "ответ",
    "Ukrainian": "відповідь",
    "Bulgarian": "отговор",
    "Greek": "απάντηση",
    "Turkish": "cevap|cevabı|yanıt",
    "Vietnamese": r"đáp\sán|câu\strả\slời",
    "Indonesian": "jawaban(?:nya)?",
    "Scandinavian": "svaret|svar",
    "Finnish": "vastaus",
    "Hungarian": "válasz",
    "Romanian": "răspuns(?:ul)?",
    "Swahili": "jibu",
    "Hebrew": "התשובה|תשובה",
    "Arabic": "الجواب|الإجابة|الاجابة|جواب",
    "Persian": "پاسخ",
}
_ANSWER_WITHOUT_WORD_ENDS = {"Hindi": "उत्तर|जवाब", "Bengali": "উত্তর", "Tamil": "பதில்", "Thai": "คำตอบ"}
_LETTERS = rf"\b(?:{'|'.join(_ANSWER.values())})\b|{'|'.join(_ANSWER_WITHOUT_WORD_ENDS.values())}"
_NO_BLANKS = r"答案|解答|回答|答え|正解|정답|답|答(?=\s?[:：])"
"""Words for "answer" in scripts that write no blanks between words."""

_QUALITY = (
    "choice|option|letter|value|finale?|correct[eao]?|corretta|exacte?|exacta|definitiv[ao]|juste|"
    "correcte|richtige|الصحيحة|النهائية|الصحيح|النهائي|הנכונה|הסופית"
)
_DETAIL = (
    rf"(?:[\s*_]{{1,3}}(?:{_QUALITY})\b){{0,2}}"
    r"(?:\s(?:to|for|of|à|a|auf|на|de|da|del)\s[^\n.:：=]{1,80}?)?"  # the answer to the question
    r"(?:\s?\([^()\n]{1,40}\))?"  # the answer (in metres)
)
_VERBS = {
    "English": r"is|are|was|were|(?:will|would|should|must|has\sto)\sbe|comes\s(?:out\s)?to|equals|becomes|remains",
    "Romance": "est|es|son|sería|serait|è|é",
    "Germanic": "ist|lautet|wäre|sind|är|er",
    "Slavic": "brzmi|to|je",
    "Vietnamese, Indonesian": "là|adalah|ialah",
    "Greek": "είναι",
    "Romanian": "este",
    "Swahili": "ni",
    "Finnish": "on",
    "Cyrillic": "является|это|равен|равна|равно|будет|є|е",
    "Arabic, Hebrew": "هو|هي|היא|הוא",
    "Hindi, Bengali": "है|হল|হলো",
}
_CJK_VERBS = "应该是|應該是|应当是|应是|应为|應為|就是|即为|是|为|為|即|选|選|は|が|은|는|คือ"
_LINK = (
    r"(?:[\s*_]{0,4}(?::=|[:：=≈|~→⇒⟹⟶]|=>|->)|[ \t*_#]{0,4}\n|\s[-–—](?=\s)"
    r"|,?(?:\s(?:therefore|thus|then|hence|so|clearly|simply|indeed|now)\b,?)?[\s*_]{1,4}"
    rf"(?:{'|'.join(_VERBS.values())})(?![\w'’])"
    rf"|\s?(?:{_CJK_VERBS}))"
)
_BARE = r"[\s*_]{1,3}(?=[-+−$€£]?[0-9٠-٩०-९]|\\boxed)"
_AFTER = r"(?:[:：=*_\s|>}]{0,12}(?:```\w{0,10}\n\s{0,10})?)"
_STATED = lazy_pattern(
    rf"(?:(?:{_ENGLISH}|{_LETTERS}|{_NO_BLANKS}){_DETAIL}{_LINK}|(?:\bfinal\sanswer|{_LETTERS}|{_NO_BLANKS}){_BARE}){_AFTER}",
    re.IGNORECASE,
)
_IS_THE_ANSWER = lazy_pattern(
    r"(?P<answer>(?:[^\s,;:.!?]|[.,](?=\d)){1,40})\s(?:is|was|must\sbe|would\sbe)\s(?:\w{1,10}\s)?(?:the|our|my)\s"
    r"(?:final\s|correct\s|right\s)?answer\b",
    re.IGNORECASE,
)
_DISPLAYED = lazy_pattern(r"(?:\$\$|\\\[)\s{0,20}(?P<math>.{1,400}?)\s{0,20}(?:\$\$|\\\])", re.DOTALL)

# Words that take an answer back, and what the text says instead.

_BUT_SO = r"(?<=[,;.]\s)(?:but|however)\b[^.;\n]{1,80}?\s(?:so|therefore|thus|hence)(?=,?\s)"
_EXCLAMATION = (
    "wait|hold on|hmm+|oops|correction|corrected|scratch that|sorry|apologies|actually|on second thought|"
    r"rather(?! than)|i meant?\b|make that "
)
_MISTAKE = (
    "let me (?:correct|fix|redo|re-?check|re-?compute|re-?calculate|double[- ]check)|i (?:made|see) (?:a|an|my) "
    r"(?:\w+ )?(?:mistake|error)|i was wrong|my mistake"
)
_TAKEN_BACK = lazy_pattern(
    rf"\b(?:{_EXCLAMATION}|{_MISTAKE}|no(?:,| [—–-]|[—–]) |nein, |non, |erratum|"
    r"corrección|correção|korrektur|perdón|pardon|entschuldigung|"
    r"исправление|нет, |подождите)|"
    r"(?<=[.!?]\s)no\. |(?:^|(?<=[\s.!?(—–-]))no(?:pe)?[,.:!—–-]{0,2} (?:wait|it|the|that)|"
    r"等等|不对|不對|不[,，]|更正|纠正|修正|"
    rf"{_BUT_SO}",
    re.IGNORECASE,
)
_BREAKS_OFF = lazy_pattern(
    rf"\s?(?:[,;:.!?…—–(→，；。]|\s--?)\s{{0,2}}(?:(?:oh|or),?\s)?(?={_TAKEN_BACK.pattern})", re.IGNORECASE
)
_IT_IS = (
    r"it(?:['’]s| is| should be| must be| was)|that(?:['’]s| is| should be)|this (?:is|should be)|should be|"
    r"must be|i meant?(?: to say)?|make (?:that|it)|rather|actually"
)
_NO = "sorry|correction|oops|hmm+|wait|scratch that|on second thoughts?|nope|no|nein|non|нет|perdón|pardon"
_AMENDED = lazy_pattern(
    rf"(?:(?:\b(?:{_IT_IS}|{_NO})\b|"
    rf"{_BUT_SO})(?:(?:\s?[,:;.!…—–-]{{1,3}})?\s{{1,3}}|[—–]))+(?P<answer>[^\n]{{1,200}})"
    r"|(?:应该是|應該是|是)(?P<chinese>[^\n]{1,200})",
    re.IGNORECASE,
)
_WITHDRAWN = lazy_pattern(
    r"\b(?:wrong|mistake|error|incorrect|not (?:right|correct)|scratch that|oops|redo)\b|不对|不對|错", re.IGNORECASE
)
_SENTENCE_END = lazy_pattern(
    r"(?<!\bapprox)(?<!\bapp)(?<!\bca)(?<!\bcirca)(?<!\bvs)(?<!\bRs)(?<!\be\.g)(?<!\bi\.e)[.!?](?=[\s*_)\]\"'”’»]|$)|[。！？।]",
    re.IGNORECASE,
)
_CLOSER = {'"': '"', "'": "'", "`": "`", "$": "$", "(": ")", "“": "”", "«": "»", "「": "」"}
_EMPTY_PHRASE = lazy_pattern(
    r"(?:in|even|odd|correct|right|wrong|incorrect|given|shown|above|below|as follows|based|found|obtained|"
    r"the same|clear|clearly|obvious|simple|consistent|reasonable|valid|verified|confirmed|also|expected|already|"
    r"supported|derived|presented|provided|unchanged|still|that|because|simply)\b(?!\s?[:=]?\s?\(?[-$]?\d)[^\d\\$]{0,200}",
    re.IGNORECASE,
)
_COMMENT = lazy_pattern(r"\s(?:close|tempting|plausible|possible|similar|also|too)\b", re.IGNORECASE)
"""What is said of another answer than the one that counts."""
_LONGEST_QUALITY = 30
_OF_ANOTHER = lazy_pattern(
    r"\b(?:second|third|next|wrong|incorrect|false|worst|worse|tempting|alternative|runner-up)"
    r"(?:[- ](?:best|most|likely))*\s\Z",
    re.IGNORECASE,
)
"""What stands before "answer" where not the final one is meant."""


def stated_answers(text: str) -> Iterator[Mark]:
    """Yield the answers that sentences of a text state, in order."""
    found = list(_STATED.finditer(text))
    marks = [Mark(said.start(), said.end(), said["answer"]) for said in _IS_THE_ANSWER.finditer(text)]
    for number, mark in enumerate(found):
        next_start = found[number + 1].start() if number + 1 < len(found) else len(text)
        answer, end = _rest_of_sentence(text, mark.end(), next_start)
        if answer:
            marks.append(Mark(mark.start(), end, answer))
    yield from sorted(marks, key=lambda mark: mark.start)


def last_stated(text: str) -> Mark | None:
    """Return the last statement; one that says nothing of its own ("the answer is correct") only where all do."""
    marks = list(stated_answers(text))
    marks = [mark for mark in marks if not _OF_ANOTHER.search(text, max(0, mark.start - _LONGEST_QUALITY), mark.start)]
    telling = [mark for mark in marks if not _EMPTY_PHRASE.fullmatch(mark.answer)]
    marks = telling or marks
    return marks[-1] if marks else None


def taken_back_at(text: str, start: int) -> int | None:
    """Return where, from `start` on, a text last begins to take an answer back; None when it does not."""
    places = [found.start() for found in _TAKEN_BACK.finditer(text, start)]
    return places[-1] if places else None


def is_taken_back(text: str) -> bool:
    """Return whether a text takes something back."""
    return _TAKEN_BACK.search(text) is not None


def amended(text: str, start: int) -> Mark | None:
    """Return what a text says instead of an answer that it takes back from `start` on ("no, it is X")."""
    found = list(_AMENDED.finditer(text, start))
    for mark in reversed(found):
        answer, end = _rest_of_sentence(text, mark.start(mark.lastgroup or 0), len(text))
        # Many words say something else than an answer.
        if (
            answer
            and not answer.startswith(("I ", "i "))
            and (len(answer.split()) <= 4 or answer[0] in "$\\")
            and not _EMPTY_PHRASE.fullmatch(answer)
            and not _COMMENT.search(answer)
        ):
            return Mark(mark.start(), end, answer)
    return None


def is_withdrawn(text: str) -> bool:
    """Return whether a text calls what stood before it wrong."""
    return _WITHDRAWN.search(text) is not None


def _rest_of_sentence(text: str, start: int, limit: int) -> tuple[str, int]:
    """Return the answer that begins at `start`, and where it ends."""
    limit = min(limit, start + _LONGEST)
    displayed = _DISPLAYED.match(text, start)
    if displayed is not None:
        return displayed["math"], displayed.end()
    line = text[start:limit].partition("\n")[0]
    answer = line.strip().lstrip("*_").strip()
    start += line.index(answer) if answer else 0
    closer = _CLOSER.get(answer[:1])
    if closer is not None:
        place = answer.find(closer, 1)
        if place > 0 and re.match(r"[\s.,!*|]*$", answer[place + 1 :]):
            return answer[: place + 1], start + place + 1
    ends = [end.start() for pattern in (_SENTENCE_END, _BREAKS_OFF) if (end := pattern.search(answer))]
    length = min(ends, default=len(answer))
    return answer[:length].strip("* |").removesuffix("```"), start + length
