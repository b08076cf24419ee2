"""A question as a conversation: what is asked now, what was said before, and by which words it is routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from jisi_cli.errors import InputError
from jisi_cli.types import Message

FRAGMENT = 8
"""Words from which the newest turn means something alone; a shorter one is routed with the human turn before it."""

_ROLES: dict[object, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation whose last turn is a human's.

    Attributes:
        text: The last turn: what is asked now.
        system: The system messages at its beginning, as one; None without any.
        history: What was said between them, in order.
    """

    text: str
    system: str | None = None
    history: tuple[Message, ...] = ()

    @property
    def routed_text(self) -> str:
        """The words that choose the models.

        The last turn alone: earlier turns would drown it. One of fewer than `FRAGMENT` words ("and for n = 5?") is put
        behind the human turn before it.
        """
        if len(self.text.split()) >= FRAGMENT:
            return self.text
        earlier = [message["content"] for message in self.history if message["role"] == "user"]
        return f"{earlier[-1]}\n\n{self.text}" if earlier else self.text


def read_conversation(messages: object, where: str = "messages") -> Conversation:
    """Read messages in OpenAI's shape: `role` and `content`, which is text or a list of text parts.

    Args:
        messages: The conversation, oldest first. A `developer` message is a system message.
        where: What the messages are called in an error.

    Raises:
        InputError: There is no message, one has another role or content, or the last is not the user's.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence) or not messages:
        raise InputError(f"{where} must be a list with at least one message")
    read = [_read_message(message, f"{where}[{place}]") for place, message in enumerate(messages)]
    if read[-1]["role"] != "user":
        raise InputError(f"{where}[{len(read) - 1}] must be the user's: the last message is the question")
    leading = next(place for place, message in enumerate(read) if message["role"] != "system")
    system = "\n\n".join(message["content"] for message in read[:leading] if message["content"].strip())
    if not read[-1]["content"].strip():
        raise InputError(f"{where}[{len(read) - 1}].content is empty; ask in words")
    return Conversation(read[-1]["content"], system or None, tuple(read[leading:-1]))


Asked = str | Sequence[Mapping[str, Any]] | Conversation
"""A question, or a conversation that ends in one."""


def as_conversation(question: Asked, system: str | None = None) -> Conversation:
    """Return a question, or the messages of a conversation, as a conversation.

    Args:
        question: The text of a question, or messages; see `read_conversation`.
        system: A system message, before those among the messages.

    Raises:
        InputError: The question is empty, or the messages cannot be used.
    """
    if isinstance(question, str):
        if not question.strip():
            raise InputError("the question is empty; ask in words")
        return Conversation(question, system)
    if isinstance(question, Conversation):
        found = question
    elif isinstance(question, Sequence):
        found = read_conversation(question)
    else:
        raise InputError("the question is no text; ask in words, or pass a list of messages")
    parts = [part for part in (system, found.system) if part]
    return Conversation(found.text, "\n\n".join(parts) or None, found.history)


def _read_message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise InputError(f"{where} must be an object with `role` and `content`")
    role = message.get("role")
    if role == "tool" or role == "function" or message.get("tool_calls"):
        raise InputError(f"{where}: tool calls are not supported yet; send messages of text")
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(f"{where}.role must be system, developer, user or assistant")
    return Message(role=_ROLES[role], content=_read_content(message.get("content"), f"{where}.content"))


def _read_content(content: object, where: str) -> str:
    if isinstance(content, str):
        return _checked(content, where)
    if not isinstance(content, list) or not content:
        raise InputError(f"{where} must be text or a list of text parts")
    return "\n".join(_read_part(part, f"{where}[{place}]") for place, part in enumerate(content))


def _read_part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = cast("Mapping[str, object]", part).get("text") if kind == "text" else None
    if not isinstance(text, str):
        raise InputError(f"{where} must be a text part; pictures, sound and files are not supported yet")
    return _checked(text, where)


def _checked(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where} holds half a character (a lone surrogate); send whole text") from None
    return text
