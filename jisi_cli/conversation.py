"""A question as a conversation: what is asked now, what was said before, and by which words it is routed.

Messages, tools and pictures come from clients, which nothing trusts: what is read here has a known shape.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from jisi_cli.errors import InputError
from jisi_cli.messages import NOTHING, Part, ToolCall, Wanted, last_calls, pictures_of, text_of
from jisi_cli.plain_json import own_json
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


# Tools that a model may ask to be called, and its calls.

_MOST_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_ID = re.compile(r"[!-~]{1,256}")
_CHOICES = ("none", "auto", "required")
_TOOL_KEYS = frozenset({"type", "function", "cache_control"})
"""What a tool may say; where a provider is to keep its prompt changes no answer, and is not passed on."""
_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})


def read_tools(tools: object, choice: object = None, parallel: object = None) -> Wanted:
    """Read `tools`, `tool_choice` and `parallel_tool_calls` in OpenAI's shape.

    Args:
        tools: A list of functions; None or an empty one for none.
        choice: `none`, `auto`, `required`, or the function that must be called; None for the model's own choice.
        parallel: Whether several may be called at once; None for yes.

    Raises:
        InputError: One of them has another shape.
    """
    if parallel is not None and not isinstance(parallel, bool):
        raise InputError("`parallel_tool_calls` must be true or false")
    if tools is None or tools == []:
        if choice not in (None, "none", "auto"):
            raise InputError("`tool_choice` needs `tools`")
        return Wanted()
    if not isinstance(tools, Sequence) or isinstance(tools, str) or len(tools) > _MOST_TOOLS:
        raise InputError(f"`tools` must be a list of at most {_MOST_TOOLS} functions")
    read = tuple(_tool(tool, f"tools[{place}]") for place, tool in enumerate(own_json(list(tools), "`tools`")))
    names = [tool["function"]["name"] for tool in read]
    return Wanted(read, _choice(choice, names), parallel is not False)


def read_tool_calls(calls: object, where: str) -> list[Mapping[str, Any]]:
    """Read the tool calls of a model's message in a conversation.

    Args:
        calls: The list.
        where: What it is called in an error.

    Raises:
        InputError: It is not a list of calls of functions.
    """
    if not isinstance(calls, list) or len(calls) > _MOST_TOOLS:
        raise InputError(f"{where} must be a list of at most {_MOST_TOOLS} calls")
    return [_call(call, f"{where}[{place}]").to_json() for place, call in enumerate(calls)]


def read_call_id(value: object, where: str) -> str:
    """Read the name of a tool call.

    Raises:
        InputError: It is no short line of plain characters.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InputError(f"{where} must be the `id` of a tool call")
    return value


def _tool(tool: object, where: str) -> Mapping[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(tool, dict) or not tool.keys() <= _TOOL_KEYS:
        raise InputError(f'{where} must be {{"type": "function", "function": {{…}}}}; other tools are not supported')
    unknown = sorted(function.keys() - _FUNCTION_KEYS)
    if unknown:
        raise InputError(f"{where}.function.{unknown[0][:80]} is unknown")
    _name(function.get("name"), f"{where}.function.name")
    if not isinstance(function.get("description", ""), str | None):
        raise InputError(f"{where}.function.description must be a text")
    if not isinstance(function.get("parameters", {}), dict | None):
        raise InputError(f"{where}.function.parameters must be a JSON schema")
    if function.get("strict") not in (None, True, False):
        raise InputError(f"{where}.function.strict must be true or false")
    return {"type": "function", "function": function}


def _choice(choice: object, names: Sequence[str]) -> str | Mapping[str, Any] | None:
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return choice
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name not in names:
        raise InputError("`tool_choice` must be none, auto, required, or name one of `tools`")
    return {"type": "function", "function": {"name": name}}


def _call(call: object, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping) or call.get("type", "function") != "function":
        raise InputError(f"{where} must be a call of a function")
    name, arguments = _name(function.get("name"), f"{where}.function.name"), function.get("arguments")
    if not isinstance(arguments, str):
        raise InputError(f"{where}.function.arguments must be a text that holds JSON")
    return ToolCall(read_call_id(call.get("id"), f"{where}.id"), name, arguments)


def _name(name: object, where: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where} must be a name of letters, digits, _ and -, at most 128 of them")
    return name


# Pictures are taken by what their bytes say they are, and never fetched from anywhere.

MOST_PICTURE_BYTES = 20 * 2**20
"""No provider takes larger ones."""
_DETAILS = ("auto", "low", "high")
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}


def picture_part(content: bytes, where: str) -> Part:
    """Return a picture as a part of a message.

    Args:
        content: Its bytes.
        where: What it is called in an error.

    Raises:
        InputError: It is too large, or no PNG, JPEG, GIF or WebP.
    """
    return _part(content, base64.b64encode(content).decode(), where)


def read_picture(part: Mapping[str, Any], where: str) -> Part:
    """Read a part with a picture, `{"type": "image_url", "image_url": {"url": "data:…;base64,…", "detail": …}}`.

    An address is refused: for some providers LiteLLM fetches what is there itself, so that anyone who may ask could
    have this machine look at what is in its network.

    Args:
        part: The part.
        where: What it is called in an error.

    Raises:
        InputError: It has another shape, names an address, or holds no picture.
    """
    given = part.get("image_url")
    given = {"url": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping) or not isinstance(url := given.get("url"), str):
        raise InputError(f"{where}.image_url must be an object with a `url`")
    detail = given.get("detail")
    if detail is not None and detail not in _DETAILS:
        raise InputError(f"{where}.image_url.detail must be one of {', '.join(_DETAILS)}")
    head, comma, code = url.partition(",")
    if not head.casefold().startswith("data:") or not head.casefold().endswith(";base64") or not comma:
        raise InputError(
            f"{where}.image_url.url must hold the picture itself, as data:image/png;base64,…; nothing is fetched"
        )
    try:
        content = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{where}.image_url.url is not base64") from None
    return _part(content, code, f"{where}.image_url.url", detail)


def _part(content: bytes, code: str, where: str, detail: str | None = None) -> Part:
    if len(content) > MOST_PICTURE_BYTES:
        raise InputError(f"{where} is larger than {MOST_PICTURE_BYTES >> 20} MiB; send a smaller picture")
    kind = _kind(content)
    if kind is None:
        raise InputError(f"{where} is not a PNG, JPEG, GIF or WebP picture")
    url = f"data:{kind};base64,{code}"
    return {"type": "image_url", "image_url": {"url": url} if detail is None else {"url": url, "detail": detail}}


def _kind(content: bytes) -> str | None:
    """Return the media type of a picture; what a client or a file's name says of it counts for nothing."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for kind, beginnings in _BEGINNINGS.items() if content.startswith(beginnings)), None)
