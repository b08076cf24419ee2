"""Tools that a model may ask to be called, and its calls in a conversation, read from what is not trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.messages import ToolCall, Wanted
from jisi_cli.plain_json import own_json

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
