"""Answers on disk: under which key they are kept, and in which shape they are stored and believed again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

from jisi_cli.config import ModelEntry
from jisi_cli.messages import NOTHING, ToolCall, Wanted, text_of
from jisi_cli.models.address import environment_addresses
from jisi_cli.models.completion import Completion
from jisi_cli.models.json_disk import JsonCache
from jisi_cli.models.reasoning import without_reasoning
from jisi_cli.models.usage import is_amount, is_count
from jisi_cli.types import Message, Sampling, TokensSource, whole_characters

# The key under which an answer is cached: everything that can change the answer, and nothing else.


_SCHEMA = 1
"""Raised when what is stored under a key changes its shape: old answers are then asked again."""


def conversation(entry: ModelEntry, messages: Sequence[Message]) -> list[Message]:
    """Return the messages as the model gets them, with the pool entry's own system message first.

    Many chat templates take one system message, so a second one is joined to the entry's.
    """
    sent = [cast("Message", dict(message)) for message in messages]
    if entry.system is None:
        return sent
    if sent and sent[0]["role"] == "system":
        return [Message(role="system", content=f"{entry.system}\n\n{text_of(sent[0])}"), *sent[1:]]
    return [Message(role="system", content=entry.system), *sent]


def effective_parameters(entry: ModelEntry, sampling: Sampling, wanted: Wanted = NOTHING) -> dict[str, Any]:
    """Return the parameters of a call: what the method asks for, overruled by the pool entry's own.

    What the question itself asks for, such as tools, wins over both.
    """
    asked: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.max_tokens is not None and "max_completion_tokens" not in entry.params:
        asked["max_tokens"] = sampling.max_tokens
    if sampling.logprobs:
        asked["logprobs"] = True
    return {**asked, **entry.params, **wanted.parameters()}


def cache_key(entry: ModelEntry, messages: Sequence[Message], parameters: Mapping[str, Any], sample: int) -> str:
    """Return the key of one answer, as hexadecimal SHA-256 of canonical JSON.

    The pool's name of the model is left out: renaming a model does not ask it again.

    Args:
        entry: The pool entry; its LiteLLM name and its address count, and what the environment says of the address.
        messages: What `conversation` returned.
        parameters: What `effective_parameters` returned.
        sample: Which of several answers to the same messages.
    """
    asked: dict[str, Any] = {
        "schema": _SCHEMA,
        "model": entry.litellm,
        "api_base": entry.api_base,
        "messages": list(messages),
        "parameters": dict(parameters),
        "sample": sample,
    }
    addresses = environment_addresses(entry.litellm, entry.api_base)
    if addresses:
        # Only then, so that every other request keeps the key that it always had.
        asked["environment"] = addresses
    # TOML knows dates, JSON does not; their text is as good.
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


_LATER = {
    **dict.fromkeys(("cached_tokens", "cache_write_tokens", "cache_write_hour_tokens", "reasoning_tokens"), 0),
    **dict.fromkeys(("service_tier", "usage"), None),
    "tool_calls": (),
}
"""What fields that came later hold where nothing is told: they are left out then, and other versions read the rest."""


class AnswerCache:
    """Completions by cache key; only responses that can be read are ever put in.

    Args:
        disk: Where they lie; None keeps nothing.
        read: Whether stored responses are given out again.
        write: Whether new ones are stored.
    """

    def __init__(self, disk: JsonCache | None, *, read: bool, write: bool) -> None:
        self._reads = disk if read else None
        self._writes = disk if write else None

    @property
    def shared_folder(self) -> Path | None:
        """Where processes find each other's responses; None unless they are both read and written."""
        return self._reads.folder if self._reads is not None and self._writes is not None else None

    def get(self, key: str) -> Completion | None:
        """Return what is stored under a key; None when there is nothing, or nothing usable."""
        return None if self._reads is None else _completion(self._reads.get(key))

    def put(self, key: str, completion: Completion) -> bool:
        """Store a response, and return whether it is stored; an empty one is not kept, so that it is asked again."""
        if self._writes is None or not completion.has_answer:
            return False
        stored = asdict(replace(completion, usage=None))
        told = {name: value for name, value in stored.items() if name not in _LATER or value != _LATER[name]}
        return self._writes.set(key, told)


def _completion(stored: Any) -> Completion | None:  # noqa: ANN401 - whatever lies on disk
    """Return a stored response; None for one that no run of this version would have stored."""
    try:
        calls = tuple(ToolCall(**call) for call in stored.get("tool_calls", ()))
        found = Completion(**{**stored, "tool_calls": calls})
    except (TypeError, AttributeError):
        # Written by another version, with other fields.
        return None
    if found.usage is not None or not _is_possible(found):
        return None
    # Streamed responses were once stored with the thinking before them.
    text = without_reasoning(found.text)
    found = replace(found, text=text)
    return found if found.has_answer else None


def _is_possible(found: Completion) -> bool:
    """Whether all of it is of the right kind: the ledger would not be read again with anything else in it."""
    return (
        _is_text(found.text)
        and all(_is_text(word) for call in found.tool_calls for word in (call.id, call.name, call.arguments))
        and (found.finish_reason is None or _is_text(found.finish_reason))
        and is_count(found.prompt_tokens)
        and is_count(found.completion_tokens)
        and found.tokens_source in get_args(TokensSource)
        and is_count(found.reasoning_tokens)
        and all(map(is_count, (found.cached_tokens, found.cache_write_tokens, found.cache_write_hour_tokens)))
        and found.cached_tokens + found.cache_write_tokens <= found.prompt_tokens
        and found.service_tier in (None, "flex", "priority")
        and (found.provider_cost is None or is_amount(found.provider_cost))
        and (found.perplexity is None or (isinstance(found.perplexity, float) and 1 <= found.perplexity < math.inf))
    )


def _is_text(value: object) -> bool:
    """Whether a value is text that a file can hold."""
    return isinstance(value, str) and whole_characters(value) == value
