"""A question as a conversation: what is asked now, what was said before, and by which words it is routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from jisi_cli.errors import InputError
from jisi_cli.messages import NOTHING, Part, ToolCall, Wanted, last_calls, pictures_of, text_of
from jisi_cli.pictures import read_picture
from jisi_cli.tools import read_call_id, read_tool_calls
from jisi_cli.types import Message

FRAGMENT = 8
"""Words from which the newest turn means something alone; a shorter one is routed with the human turn before it."""

BEHIND = f"a turn of fewer than {FRAGMENT} words, or of a picture alone, is routed with the turn before it"
"""What `--explain` says of such a turn."""

Ability = Literal["tools", "vision"]
"""What not every model can: to call tools, and to take pictures."""

_ROLES: dict[object, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that ends with a person's turn, or with results of the tools that it had a model call.

    Attributes:
        text: The words of the person's last turn: what is asked now.
        system: The system messages at its beginning, as one; None without any.
        history: What was said between them, in order.
        turn: The last turn where it is more than words: the person's message with its pictures, the calls of tools and
            their results.
        wanted: What it asks for besides an answer in words.
    """

    text: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    turn: tuple[Message, ...] = ()
    wanted: Wanted = NOTHING

    @property
    def routed_text(self) -> str:
        """The words that choose the models.

        The last turn alone: earlier turns would drown it. One of fewer than `FRAGMENT` words ("and for n = 5?") is put
        behind the human turn before it. Of pictures alone, they are that turn's; without one, there are none.
        """
        if len(self.text.split()) >= FRAGMENT:
            return self.text
        earlier = [text_of(message) for message in self.history if message["role"] == "user"]
        if not self.text:
            return earlier[-1] if earlier else ""
        return f"{earlier[-1]}\n\n{self.text}" if earlier else self.text

    @property
    def is_put_behind(self) -> bool:
        """Whether the last turn means too little alone, so that the human turn before it chooses the models, too."""
        return self.routed_text != self.text

    def messages(self) -> list[Message]:
        """Return it as the messages that a model gets."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.history, *(self.turn or (Message(role="user", content=self.text),))]

    @property
    def needs(self) -> frozenset[Ability]:
        """What a model has to be able to do to go on with it."""
        said = (*self.history, *self.turn)
        calls = bool(self.wanted.tools) or any(message["role"] == "tool" or "tool_calls" in message for message in said)
        sees = any(map(pictures_of, said))
        found: list[tuple[Ability, bool]] = [("tools", calls), ("vision", sees)]
        return frozenset(ability for ability, is_needed in found if is_needed)

    @property
    def is_for_one(self) -> bool:
        """Whether one model answers alone: calls of tools cannot be put together from those of several."""
        return bool(self.wanted.tools) or len(self.turn) > 1

    @property
    def called(self) -> list[ToolCall]:
        """The calls whose results it ends with; none where a person spoke last."""
        return last_calls(self.turn) if len(self.turn) > 1 else []


def read_conversation(messages: object) -> Conversation:
    """Read messages in OpenAI's shape: `role` and `content`, which is text or a list of parts, and calls of tools.

    Args:
        messages: The conversation, oldest first. A `developer` message is a system message.

    Raises:
        InputError: There is no message, one has another role or content, or the last is neither the user's nor a
            tool's.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence) or not messages:
        raise InputError("messages must be a list with at least one message")
    read = [_read_message(message, f"messages[{place}]") for place, message in enumerate(messages)]
    asked = max((place for place, message in enumerate(read) if message["role"] == "user"), default=None)
    if asked is None or read[-1]["role"] not in ("user", "tool"):
        raise InputError(f"messages[{len(read) - 1}] must be the user's, or a tool's result: the question comes last")
    _check_results(read)
    leading = next(place for place, message in enumerate(read) if message["role"] != "system")
    system = "\n\n".join(text for message in read[:leading] if (text := text_of(message)).strip())
    text, turn = text_of(read[asked]), tuple(read[asked:])
    pictures = bool(pictures_of(turn[0]))
    if not text.strip() and not pictures:
        raise InputError(f"messages[{asked}].content is empty; ask in words")
    is_more = len(turn) > 1 or pictures
    return Conversation(text.strip() and text, system or None, tuple(read[leading:asked]), turn if is_more else ())


Asked = str | Sequence[Mapping[str, Any]] | Conversation
"""A question, or a conversation that ends in one."""


def as_conversation(question: Asked, system: str | None = None, wanted: Wanted | None = None) -> Conversation:
    """Return a question, or the messages of a conversation, as a conversation.

    Args:
        question: The text of a question, or messages; see `read_conversation`.
        system: A system message, before those among the messages.
        wanted: What it asks for besides an answer in words; None for what the conversation says of that.

    Raises:
        InputError: The question is empty, or the messages cannot be used.
    """
    if isinstance(question, str):
        if not question.strip():
            raise InputError("the question is empty; ask in words")
        return Conversation(question, system, wanted=wanted or NOTHING)
    if isinstance(question, Conversation):
        found = question
    elif isinstance(question, Sequence):
        if question and all(isinstance(part, str) for part in question):
            raise InputError("one question at a time; jisi.ask_all(questions, jisi=pool) answers a list of them")
        found = read_conversation(question)
    else:
        raise InputError("the question is not text; ask in words, or pass a list of messages")
    parts = [part for part in (system, found.system) if part]
    return replace(found, system="\n\n".join(parts) or None, wanted=found.wanted if wanted is None else wanted)


def _check_results(messages: Sequence[Message]) -> None:
    """Refuse the result of a tool that no model had called."""
    called: set[str] = set()
    for place, message in enumerate(messages):
        called.update(call["id"] for call in message.get("tool_calls", ()))
        if message["role"] == "tool" and message["tool_call_id"] not in called:
            raise InputError(f"messages[{place}].tool_call_id names no call of a tool before it")


def _read_message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise InputError(f"{where} must be an object with `role` and `content`")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(f"{where}.role must be system, developer, user, assistant or tool")
    calls = message.get("tool_calls")
    if role == "assistant" and calls:
        read = read_tool_calls(calls, f"{where}.tool_calls")
        said = None if content is None else _read_content(content, f"{where}.content")
        return Message(role="assistant", content=said, tool_calls=read)
    if calls:
        raise InputError(f"{where}: only a message of the assistant has `tool_calls`")
    if role == "user" and isinstance(content, list):
        return Message(role="user", content=_read_parts(content, f"{where}.content"))
    found = Message(role=_ROLES[role], content=_read_content(content, f"{where}.content"))
    if role == "tool":
        found["tool_call_id"] = read_call_id(message.get("tool_call_id"), f"{where}.tool_call_id")
    return found


def _read_content(content: object, where: str) -> str:
    if isinstance(content, str):
        return _checked(content, where)
    if not isinstance(content, list) or not content:
        raise InputError(f"{where} must be text or a list of text parts")
    return "\n".join(_read_part(part, f"{where}[{place}]") for place, part in enumerate(content))


def _read_parts(content: list[object], where: str) -> str | list[Part]:
    """Read what a person says in parts; where all are text, it is one text."""
    pictures = {
        place: read_picture(part, f"{where}[{place}]")
        for place, part in enumerate(content)
        if isinstance(part, Mapping) and part.get("type") == "image_url"
    }
    if not pictures:
        return _read_content(content, where)
    return [
        pictures.get(place) or {"type": "text", "text": _read_part(part, f"{where}[{place}]")}
        for place, part in enumerate(content)
    ]


def _read_part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = cast("Mapping[str, object]", part).get("text") if kind == "text" else None
    if not isinstance(text, str):
        raise InputError(f"{where} must be a text part, or a picture of the user's; sound and files are not supported")
    return _checked(text, where)


def _checked(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where} holds half a character (a lone surrogate); send whole text") from None
    return text
