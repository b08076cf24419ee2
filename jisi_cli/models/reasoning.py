"""Where a model's thinking ends and its answer begins.

Reasoning models write their thinking before the answer, and what separates the two depends on the model: tags
(`<think>…</think>`, `[THINK]…[/THINK]`), a lone closing tag where the chat template wrote the opening one, or named
channels (gpt-oss). Thinking is full of drafts, so only what follows it is the answer. Tags within an answer, or
quoted in its code, are part of it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

from jisi_cli.types import OnText

_NAMES = (
    r"think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|(?:inner|internal)_?(?:monologue|thoughts?)"
    r"|ant_?thinking|longcat_think"
)
_TAG = re.compile(
    rf"<(?P<slash>/?)(?P<name>(?:[\w-]{{1,20}}:)?(?:{_NAMES}))(?:\s[^<>]{{0,200}})?(?P<empty>/?)>"
    r"|\[(?P<slash_mistral>/?)(?P<mistral>THINK)\]"
    r"|◁(?P<slash_kimi>/?)(?P<kimi>think)▷"
    r"|<\|(?:START|(?P<slash_cohere>END))_(?P<cohere>THINKING)\|>"
    r"|<\|(?:begin|(?P<slash_thought>end))_of_(?P<thought>thought)\|>"
    r"|<\|channel>(?P<gemma>thought)(?=\s)|(?P<slash_gemma><channel\|>)",
    re.IGNORECASE,
)
_CLOSING_MARKS = ("</", "[/", "◁/", "_THINKING|", "_of_thought|", "<channel|")
"""One of them is in every closing tag; a text without any is searched no further."""
_KINDS = ("name", "mistral", "kimi", "cohere", "thought", "gemma")
_LONGEST_TAG = 240
_TAG_BEGINNING = re.compile(
    rf"<(?:/?[\w:-]{{0,40}}/?|/?(?:[\w-]{{1,20}}:)?(?:{_NAMES})\s[^<>]{{0,200}}|\|?\w{{0,20}}\|?|\|channel>\w{{0,7}})\Z"
    r"|\[/?(?:T(?:H(?:I(?:NK?)?)?)?)?\Z|◁/?[a-z]{0,5}\Z",
    re.IGNORECASE,
)
"""The end of a text that may become a tag with what follows."""
_BLANKS = re.compile(r"[\s\ufeff\u200b]*")
# Between thinking and answer: blank lines, or blanks. The indentation of the answer's first line is its own.
_GAP = re.compile(r"\A(?:(?:[^\S\n]*\n)+|[^\S\n]*)")
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_WRAPPERS = re.compile(r"\A<\|(?:START_RESPONSE|begin_of_solution)\|>|<\|(?:END_RESPONSE|end_of_solution)\|>\s*\Z")

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_NEAR = 200
"""Characters on either side in which a tag's line is searched for the backticks of inline code."""

# gpt-oss: `<|channel|>analysis<|message|>…<|end|>…<|channel|>final<|message|>…`, or without its special tokens.
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\s*assistant\s*)?<\|channel\|>")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]{0,200}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_LONGEST_HEAD = 40
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[^\s\w]|[A-Z])")
_BARE_FINAL = "assistantfinal"

_MOST_CHECKS = 200
"""Looks at the whole of a stream, after which the rest of it is held back to its end."""


def without_reasoning(text: str) -> str:
    """Return the answer in a response: the text without the thinking before it.

    Args:
        text: A response as the model wrote it.

    Returns:
        The answer; the same text where there is no thinking; empty where the thinking never ends, as in a
        response that was cut off in the middle of it.
    """
    if _CHANNELS.match(text):
        return _final_channel(text)
    if _BARE_CHANNELS.match(text) and _BARE_FINAL in text:
        return _GAP.sub("", text.rpartition(_BARE_FINAL)[2], count=1)
    code = _Code(text)
    start = _after_blocks(text, code)
    if start is None:
        return ""
    if _may_close(text):
        start = _lone_closing(text, start, code) or start
    return _trimmed(text[start:]) if start else text


def answer_in(response: str) -> str:
    """Return what a new response says: `without_reasoning`, from its first line that is not blank."""
    return _BLANK_LINES.sub("", without_reasoning(response), count=1)


class AnswerStream:
    """The answer in a response that arrives in pieces: together it gives out `answer_in` of the whole.

    There is one exception. Thinking whose opening tag the chat template wrote is known for what it is only when its
    closing tag arrives; nothing more is given out then, and the whole response has to be read again.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._given: list[str] = []
        self._tail = ""
        self._state = "start"
        self._checks = 0

    def feed(self, piece: str) -> str:
        """Take a piece; return what of the answer is certain by now and has not been returned before."""
        self._pieces.append(piece)
        if self._state == "held":
            return ""
        self._tail += piece
        if self._state != "answer":
            self._look_for_answer()
        return self._release() if self._state == "answer" else ""

    def finish(self) -> str:
        """Return the rest of the answer; empty when what was given out is not how the answer begins."""
        answer, given = answer_in("".join(self._pieces)), "".join(self._given)
        return answer[len(given) :] if answer.startswith(given) else ""

    def _look_for_answer(self) -> None:
        """Find out whether the answer has begun, which is certain with its first characters that are no tag."""
        if self._state == "thinking" and not _has_closing(self._tail):
            self._tail = self._tail[-_LONGEST_TAG:]
            return
        text = self._whole()
        if text is None or _CHANNELS.match(text) or _BARE_CHANNELS.match(text):
            self._state = "held"
            return
        start = _after_blocks(text, _Code(text, unfinished=True))
        if start is None:
            seen = max((tag.end() for tag in _TAG.finditer(self._tail) if _closes(tag)), default=0)
            self._state, self._tail = "thinking", self._tail[seen:][-_LONGEST_TAG:]
            return
        rest = text[start:]
        if _is_begun(_BLANKS.sub("", rest, count=1)):
            self._state, self._tail = "answer", _trimmed(rest) if start else _BLANK_LINES.sub("", text, count=1)
        else:
            self._state = "start"

    def _release(self) -> str:
        """Return the tail without its end, where that may become a tag."""
        if _WRAPPERS.search(self._tail) or (_has_closing(self._tail) and not self._is_how_the_answer_begins()):
            self._state = "held"
            return ""
        held = _TAG_BEGINNING.search(self._tail, max(0, len(self._tail) - _LONGEST_TAG))
        certain = self._tail[: held.start()] if held else self._tail
        self._tail = self._tail[len(certain) :]
        self._given.append(certain)
        return certain

    def _is_how_the_answer_begins(self) -> bool:
        text = self._whole()
        return text is not None and answer_in(text).startswith("".join(self._given) or "\0")

    def _whole(self) -> str | None:
        """Return all that has arrived; None when that was asked for so often that it would take long."""
        self._checks += 1
        return "".join(self._pieces) if self._checks <= _MOST_CHECKS else None


def _is_begun(answer: str) -> bool:
    """Whether the first characters of what may be an answer can be nothing else."""
    may_be_channels = "analysis".startswith(answer) or (answer.startswith("<|start|>") and len(answer) < _LONGEST_HEAD)
    return not may_be_channels and not _TAG_BEGINNING.match(answer)


def _after_blocks(text: str, code: _Code) -> int | None:
    """Return where a text continues after the blocks of thinking it begins with; None where one does not end."""
    end = 0
    while (opening := _opening(text, end)) is not None:
        closed = _end_of_block(text, opening, code)
        if closed is None:
            return None
        end = closed
    return end


def _opening(text: str, start: int) -> re.Match[str] | None:
    """Return the opening tag with which a text goes on at `start`, blanks aside."""
    blanks = _BLANKS.match(text, start)
    tag = _TAG.match(text, blanks.end() if blanks else start)
    return tag if tag is not None and not _closes(tag) else None


def _end_of_block(text: str, opening: re.Match[str], code: _Code) -> int | None:
    """Return where the block ends that a tag opens; None where it does not.

    Thinking may name its own tags: those in code do not count, and pairs of them are skipped. Where no closing tag
    is left, a mention had no partner, and the last closing tag ends the block.
    """
    if opening["empty"]:
        return opening.end()
    depth, last = 1, None
    for tag in _TAG.finditer(text, opening.end()):
        if _kind(tag) != _kind(opening) or tag["empty"] or code.holds_inline(tag):
            continue
        if _closes(tag):
            last = tag.end()
        if not code.holds_in_block(tag):
            depth += -1 if _closes(tag) else 1
            if depth == 0:
                return tag.end()
    return None if code.unfinished else last


def _lone_closing(text: str, start: int, code: _Code) -> int | None:
    """Return the end of the last closing tag from `start` on that no tag opened; None when there is none."""
    found = None
    opened: dict[str, int] = {}
    for tag in _TAG.finditer(text, start):
        if tag["empty"] or code.holds_inline(tag) or code.holds_in_block(tag):
            continue
        kind = _kind(tag)
        if not _closes(tag):
            opened[kind] = opened.get(kind, 0) + 1
        elif opened.get(kind):
            opened[kind] -= 1
        else:
            found = tag.end()
    return found


def _has_closing(text: str) -> bool:
    return _may_close(text) and any(map(_closes, _TAG.finditer(text)))


def _may_close(text: str) -> bool:
    return any(mark in text for mark in _CLOSING_MARKS)


def _closes(tag: re.Match[str]) -> bool:
    return any(tag[group] for group in _SLASHES)


_SLASHES = tuple(group for group in _TAG.groupindex if group.startswith("slash"))


def _kind(tag: re.Match[str]) -> str:
    """Return what the two tags of a block have in common."""
    return tag["name"].lower() if tag["name"] else next((kind for kind in _KINDS if tag[kind]), "gemma")


class AnswerSink:
    """Takes the pieces of a response and passes those of its answer on.

    Args:
        on_text: Receives the answer.
        answer: Finds it in the response.
    """

    def __init__(self, on_text: OnText, answer: AnswerStream) -> None:
        self._on_text, self._answer = on_text, answer
        self._taken = self._known = 0

    def __call__(self, piece: str) -> None:
        """Take a piece."""
        new = piece[self._known :]
        self._known = max(0, self._known - len(piece))
        self._taken += len(new)
        if new and (shown := self._answer.feed(new)):
            self._on_text(shown)

    def begin_again(self) -> None:
        """Take what comes next from the beginning of the response, and nothing of it twice."""
        self._known = self._taken


def _trimmed(answer: str) -> str:
    """Return an answer without what separates it from the thinking before it."""
    return _WRAPPERS.sub("", _GAP.sub("", answer, count=1))


def _final_channel(text: str) -> str:
    """Return the last message in the channel `final` of a gpt-oss response; empty when it has none."""
    answer = ""
    for message in _CHANNEL.finditer(text):
        if message[1] == "final":
            end = _CHANNEL_END.search(text, message.end())
            answer = text[message.end() : end.start() if end else len(text)]
    return answer


class _Code:
    """Which tags of a text are quoted: in fenced code blocks, in inline code, between quotation marks.

    Args:
        text: The text.
        unfinished: Whether more of it is to come, so that an open fence may still be closed.
    """

    def __init__(self, text: str, *, unfinished: bool = False) -> None:
        self._text = text
        self.unfinished = unfinished

    def holds_in_block(self, tag: re.Match[str]) -> bool:
        """Whether a tag stands in a fenced code block that is closed (CommonMark, section 4.5)."""
        starts, ends = self._blocks
        place = bisect_right(starts, tag.start()) - 1
        return place >= 0 and tag.start() < ends[place]

    def holds_inline(self, tag: re.Match[str]) -> bool:
        """Whether a tag stands between backticks on its line, or directly between quotation marks."""
        start, end = tag.span()
        before, after = self._text[max(0, start - _NEAR) : start], self._text[end : end + _NEAR]
        if before and after and before[-1] in "\"'“«" and after[0] in "\"'”»":
            return True
        return before.rpartition("\n")[2].count("`") % 2 == 1 and "`" in after.partition("\n")[0]

    @cached_property
    def _blocks(self) -> tuple[list[int], list[int]]:
        """Where the blocks begin and end, in order."""
        starts: list[int] = []
        ends: list[int] = []
        opened: re.Match[str] | None = None
        for fence in _FENCE.finditer(self._text):
            if opened is None:
                # Behind the backticks of a fence there are no others: ```this``` is inline code.
                opened = None if "`" in fence[2] and fence[1][0] == "`" else fence
            elif fence[1].startswith(opened[1]) and not fence[2].strip():
                starts.append(opened.start())
                ends.append(fence.end())
                opened = None
        if opened is not None and self.unfinished:
            starts.append(opened.start())
            ends.append(len(self._text))
        return starts, ends
