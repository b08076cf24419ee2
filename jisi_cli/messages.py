"""The messages of a conversation, and what it asks for besides words, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from jisi_cli.answer_format import AnswerFormat

Part = Mapping[str, Any]
"""A part of a message: `{"type": "text", "text": …}` or `{"type": "image_url", "image_url": {"url": …}}`."""


class Message(TypedDict):
    """One chat message: its content is a text, parts where there are pictures, None where there are only tool calls."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | Sequence[Part] | None
    tool_calls: NotRequired[Sequence[Mapping[str, Any]]]
    tool_call_id: NotRequired[str]


def text_of(message: Message) -> str:
    """Return the words of a message; empty where it has none."""
    content = message["content"]
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def pictures_of(message: Message) -> list[Part]:
    """Return the pictures of a message."""
    content = message["content"]
    return [] if content is None or isinstance(content, str) else [part for part in content if part["type"] != "text"]


def with_system(messages: Sequence[Message], words: str) -> list[Message]:
    """Return messages with more words for the model in their system message, as many chat templates take only one."""
    if messages and messages[0]["role"] == "system":
        return [Message(role="system", content=f"{text_of(messages[0])}\n\n{words}"), *messages[1:]]
    return [Message(role="system", content=words), *messages]


def is_plain(message: Message) -> bool:
    """Whether a message is a text of a person's, a model's or a system's, and nothing else."""
    return isinstance(message["content"], str) and len(message) == 2 and message["role"] != "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the user's tools that a model asks for.

    Attributes:
        id: By which the result names the call.
        name: The tool.
        arguments: JSON, as the model wrote it: it may be wrong.
    """

    id: str
    name: str
    arguments: str

    def to_json(self) -> dict[str, Any]:
        """Return it in OpenAI's shape."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


def last_calls(messages: Iterable[Message]) -> list[ToolCall]:
    """Return the tool calls that were made last in a conversation."""
    made = [message["tool_calls"] for message in messages if message.get("tool_calls")]
    last = made[-1] if made else ()
    return [ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in last]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a question asks for besides an answer in words.

    Attributes:
        tools: Functions that the model may ask to be called, in OpenAI's shape.
        tool_choice: Whether it must, and which; None leaves it to the model.
        parallel_tool_calls: Whether it may ask for several at once.
        format: The form that the answer must have; None for any.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool = True
    format: AnswerFormat | None = None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a call that ask for it, by LiteLLM's names; none where nothing is asked for."""
        form = {} if self.format is None else {"response_format": dict(self.format.parameter)}
        if not self.tools:
            return form
        choice = {} if self.tool_choice is None else {"tool_choice": self.tool_choice}
        one_at_a_time = {} if self.parallel_tool_calls else {"parallel_tool_calls": False}
        return {"tools": list(self.tools), **choice, **one_at_a_time, **form}


NOTHING = Wanted()
