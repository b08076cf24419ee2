"""The key under which an answer is cached: everything that can change the answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jisi_cli.config import ModelEntry
from jisi_cli.llm.address import environment_addresses
from jisi_cli.llm.answer import Message, Sampling

_SCHEMA = 1
"""Raised when what is stored under a key changes its shape: old answers are then asked again."""


def conversation(entry: ModelEntry, messages: Sequence[Message]) -> list[Message]:
    """Return the messages as the model gets them, with the pool entry's own system message first.

    Many chat templates take one system message, so a second one is joined to the entry's.
    """
    sent: list[Message] = [Message(role=message["role"], content=message["content"]) for message in messages]
    if entry.system is None:
        return sent
    if sent and sent[0]["role"] == "system":
        return [Message(role="system", content=f"{entry.system}\n\n{sent[0]['content']}"), *sent[1:]]
    return [Message(role="system", content=entry.system), *sent]


def effective_parameters(entry: ModelEntry, sampling: Sampling) -> dict[str, Any]:
    """Return the parameters of a call: what the method asks for, overruled by the pool entry's own."""
    asked: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if sampling.max_tokens is not None and "max_completion_tokens" not in entry.params:
        asked["max_tokens"] = sampling.max_tokens
    if sampling.logprobs:
        asked["logprobs"] = True
    return {**asked, **entry.params}


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
