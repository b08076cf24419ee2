"""What a client may ask for: a chat completion or a decision, read from JSON that is not trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jisi_cli.answer_format import read_format
from jisi_cli.conversation import Conversation, read_conversation, read_tools
from jisi_cli.errors import InputError
from jisi_cli.hyperparameters import option_name, setting_names
from jisi_cli.types import is_dollars

_OURS = frozenset({"model", "messages", "stream", "stream_options", "temperature", "response_format", "jisi"})
_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_LENGTHS = ("max_completion_tokens", "max_tokens")
_IGNORED = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
"""Notes for OpenAI's own accounts, which shape no answer."""
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "stop": ([],),
    "modalities": (["text"],),
}
"""Parameters that are not passed on, with the values that ask for nothing."""
_FLAGS = ("explain",)
_CHOICES = ("mode",)
_DOLLARS = ("max_cost",)


class RequestError(InputError):
    """A request that cannot be carried out.

    Args:
        message: What is wrong, and where.
        param: The parameter that is at fault, as OpenAI's errors name it.
        status: The HTTP status.
        code: OpenAI's word for it.
    """

    def __init__(
        self, message: str, param: str | None = None, *, status: int = 400, code: str | None = "invalid_value"
    ) -> None:
        super().__init__(message)
        self.param, self.status, self.code = param, status, code


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request for a chat completion.

    Attributes:
        model: Who is to answer: `jisi`, a method, or a model of the pool.
        conversation: What is asked.
        stream: Whether the answer is wanted in pieces.
        include_usage: Whether a stream ends with what it used.
        temperature: Sampling temperature; None for the method's own.
        max_tokens: Length of an answer at most.
        mode: `auto`, `route` or `aggregate`; see `Jisi`.
        explain: Whether the decision comes with the answer.
        max_cost: Dollars at most for this request; None for what the server may spend.
        settings: Hyperparameters by name.
    """

    model: str
    conversation: Conversation
    stream: bool = False
    include_usage: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    mode: str = "auto"
    explain: bool = False
    max_cost: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        RequestError: It is not JSON, or no object.
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise RequestError("the body must be a JSON object", code="invalid_json")
    return found


def read_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Read a request for a chat completion.

    What would change an answer and is not passed on is refused, unless its value asks for nothing.

    Raises:
        RequestError: Something is missing, unknown or out of bounds; `param` names it.
    """
    _check_names(body)
    settings, options = read_settings(body.get("jisi"))
    stream = _flag(body.get("stream"), "stream")
    return ChatRequest(
        model=_text(body.get("model", "jisi"), "model"),
        conversation=_wanting(_conversation(body.get("messages")), body),
        stream=stream,
        include_usage=_include_usage(body.get("stream_options"), stream),
        temperature=_temperature(body.get("temperature")),
        max_tokens=_max_tokens(body),
        mode=options.get("mode", "auto"),
        explain=options.get("explain", False),
        max_cost=options.get("max_cost"),
        settings=settings,
    )


def read_question(body: Mapping[str, Any]) -> Conversation:
    """Read what is to be routed: `query`, or `messages`.

    Raises:
        RequestError: There is neither, or both.
    """
    if ("query" in body) == ("messages" in body):
        raise RequestError("give either `query`, a text, or `messages`", "query")
    if "messages" in body:
        return _conversation(body["messages"])
    text = _text(body["query"], "query")
    return _conversation([{"role": "user", "content": text}])


def read_settings(given: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read `jisi`, by which one request changes how it is answered.

    Returns:
        Hyperparameters by name, and the other options.

    Raises:
        RequestError: A key is unknown. Nothing here names an address, a key, a file or a model of another pool.
    """
    if given is None:
        return {}, {}
    if not isinstance(given, dict):
        raise RequestError("`jisi` must be an object", "jisi")
    known = setting_names()
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name in _FLAGS:
            options[name] = _flag(value, f"jisi.{name}")
        elif name in _CHOICES:
            options[name] = _text(value, f"jisi.{name}")
        elif name in _DOLLARS:
            options[name] = _dollars(value, f"jisi.{name}")
        elif name in known:
            settings[name] = value
        else:
            allowed = ", ".join(sorted({*_FLAGS, *_CHOICES, *_DOLLARS, *known}))
            raise RequestError(f"`jisi.{name[:80]}` is unknown; known are {allowed}", f"jisi.{name[:80]}")
    return settings, options


def refused_setting(error: InputError, asked: ChatRequest) -> RequestError:
    """Return what a pool says of a way of answering in the words of a request, whose keys are no options of a command.

    Args:
        error: What it says.
        asked: What was asked for.
    """
    given = {*asked.settings, *(("mode",) if asked.mode != "auto" else ())}
    # A request has the one key for both of these options.
    words = str(error).replace("--mode and --aggregate are JiSi's; leave them out", "--mode is JiSi's; leave it out")
    words = _OPTION.sub(lambda found: f"`{_KEYS[found[0]]}`", words).removeprefix("options: ")
    named = [key.removeprefix("jisi.") for key in re.findall(r"`(jisi\.\w+)`", words)]
    named += [name for name in sorted(given) if re.search(rf"(?<![\w'])({name})\b", words)]
    at_fault = next((name for name in named if name in given), None)
    param = f"jisi.{at_fault}" if at_fault else "jisi" if given else "model"
    return RequestError(words, param)


_KEYS = {
    **{option_name(name): f"jisi.{name}" for name in setting_names()},
    "--calls (mean_calls)": "jisi.mean_calls",
    "--mode": "jisi.mode",
    "--method": "model",
}
"""What a request calls an option of the command line."""
_OPTION = re.compile(f"(?:{'|'.join(map(re.escape, sorted(_KEYS, key=len, reverse=True)))})(?![\\w-])")


def _check_names(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in _OURS or name in _TOOLS or name in _IGNORED or name in _LENGTHS or value is None:
            continue
        if name not in _NEUTRAL:
            raise RequestError(f"`{name[:80]}` is not supported", name[:80], code="unsupported_parameter")
        if value not in _NEUTRAL[name]:
            raise RequestError(f"`{name}` is not supported yet; leave it out", name, code="unsupported_parameter")


def _conversation(messages: object) -> Conversation:
    try:
        return read_conversation(messages)
    except InputError as error:
        raise RequestError(str(error), "messages") from None


def _wanting(conversation: Conversation, body: Mapping[str, Any]) -> Conversation:
    """Return a conversation with what the request asks for besides an answer in words."""
    at_fault = "tools"
    try:
        wanted = read_tools(*(body.get(name) for name in _TOOLS))
        at_fault = "response_format"
        return replace(conversation, wanted=replace(wanted, format=read_format(body.get(at_fault))))
    except InputError as error:
        raise RequestError(str(error), at_fault) from None


def _include_usage(options: object, stream: bool) -> bool:
    if options is None:
        return False
    if not stream:
        raise RequestError("`stream_options` needs `stream`", "stream_options")
    if not isinstance(options, dict):
        raise RequestError("`stream_options` must be an object", "stream_options")
    return _flag(options.get("include_usage"), "stream_options.include_usage")


def _dollars(value: object, name: str) -> float:
    if not is_dollars(value):
        raise RequestError(f"`{name}` must be a number of dollars from 0", name)
    return float(value)


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= 2):
        raise RequestError("`temperature` must be a number from 0 to 2", "temperature")
    return float(value)


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    for name in _LENGTHS:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise RequestError(f"`{name}` must be a whole number from 1", name)
        return value
    return None


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 10**7:
        raise RequestError(f"`{name}` must be a text", name)
    return value


def _flag(value: object, name: str) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise RequestError(f"`{name}` must be true or false", name)
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
