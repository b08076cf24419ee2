"""What the user has allowed by name, and which call parameters a pool file may set.

The record of what is allowed is a file in the user's own configuration folder, readable by its owner alone. It holds a
hash of the content, so that a file or a model that changes afterwards must be allowed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from jisi_cli.errors import InputError
from jisi_cli.paths import config_folder, own_folder

Kind = Literal["pool_files", "embedders"]


def file_identity(path: Path, content: bytes) -> str:
    """Return the hash of a file's path and content: the same content in another folder is another file."""
    return hashlib.sha256(f"{path.resolve()}\0".encode("utf-8", "surrogateescape") + content).hexdigest()


def is_trusted(kind: Kind, identity: str) -> bool:
    """Whether the user has allowed something.

    Args:
        kind: What it is.
        identity: Hash of its content (for pool files: `file_identity`).
    """
    return identity in _read().get(kind, {})


def trust(kind: Kind, identity: str, label: str) -> None:
    """Remember that the user allows something.

    Args:
        kind: What it is.
        identity: Hash of its content.
        label: What a person calls it: a path or a name.

    Raises:
        InputError: It cannot be remembered.
    """
    known = _read()
    known.setdefault(kind, {})[identity] = label
    _write(known)


def distrust(kind: Kind, label: str) -> int:
    """Forget everything that was allowed under a label; return how many entries there were.

    Raises:
        InputError: The record cannot be written.
    """
    known = _read()
    entries = known.get(kind, {})
    kept = {identity: name for identity, name in entries.items() if name != label}
    if len(kept) != len(entries):
        known[kind] = kept
        _write(known)
    return len(entries) - len(kept)


def trusted(kind: Kind) -> dict[str, str]:
    """Return what was allowed: identity to label."""
    return dict(_read().get(kind, {}))


def _path() -> Path:
    return config_folder() / "trusted.json"


def _read() -> dict[str, dict[str, str]]:
    """Return the record; a missing or damaged one allows nothing."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        kind: {key: label for key, label in entries.items() if isinstance(label, str)}
        for kind, entries in found.items()
        if isinstance(entries, dict)
    }


def _write(known: dict[str, dict[str, str]]) -> None:
    """Replace the record as a whole, so that a reader sees the old one or the new one."""
    path = _path()
    try:
        own_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".trusted-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(known, file, indent=1, ensure_ascii=True)
            Path(temporary).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


_BY_VALUE = frozenset(
    {
        # OpenAI's, which LiteLLM translates for everybody.
        *("audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "modalities"),
        *("max_completion_tokens", "max_tokens", "parallel_tool_calls", "prediction", "presence_penalty"),
        *("prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier"),
        *("seed", "service_tier", "stop", "store", "temperature", "tool_choice", "tools", "top_logprobs", "top_p"),
        *("user", "verbosity", "web_search_options"),
        # What LiteLLM itself does with a request, and what goes with it.
        *("additional_drop_params", "allowed_openai_params", "extra_body", "extra_headers", "headers"),
        # Other providers'.
        *("allowed_token_ids", "cache_control", "chat_template_kwargs", "context_management", "documents"),
        *("enable_thinking", "format", "generation_config", "grammar", "guided_choice", "guided_grammar"),
        *("guided_json", "guided_regex", "json_schema", "keep_alive", "mode", "options", "output_config"),
        *("provider", "reasoning", "reasoning_format", "reasoning_split", "reasoning_summary", "route"),
        *("safe_prompt", "safety_settings", "safetySettings", "samplers", "stop_sequences", "stop_token_ids"),
        *("stopSequences", "task_type", "think", "thinking", "thinking_budget", "thinking_config", "transforms"),
        *("truncate", "truncation"),
    }
)
_LABELS = frozenset({"api_version", "aws_region_name", "vertex_location", "vertex_project"})
"""Parts of an address or of its path, where a single word can do no harm."""
_LABEL = re.compile(r"[\w-]{1,64}(\.[\w-]{1,16}){0,2}", re.ASCII)
_REGION = re.compile(r"[\w-]{1,64}", re.ASCII)
_OURS = frozenset({"model", "messages", "stream", "stream_options", "n", "num_retries", "max_retries", "timeout"}) | {
    *("api_base", "base_url", "client", "drop_params", "metadata", "caching", "cache", "fallbacks"),
}
"""Set by jisi itself, and refused where a pool is opened (models/live.py)."""
_NOT_FOR_THE_MODEL = re.compile(
    r"""
    # What LiteLLM does with a call, and where it sends it instead.
    litellm | mock | retries | fallback | timeout | cache | stream | router | routing | callback | hook | client
    | ^complete | ^configurable | ^disable | ^enable_(?!thinking) | ^ensure | ^fastest | ^force | ^merge | ^no-
    | ^order$ | role | ^self$ | ^supports | ^turn_off | ^async | cooldown | text_completion | passthrough | policy
    | strategy | guardrail | server_side | responses_api | ^initial_ | ^final_ | continue | search_tool | discovery
    | config | dict$ | info$ | kwargs | groups | targets | embedding | generation | model | ^output_vector
    | ^prompt_(?!truncate) | ^thought_signature | ^use_(?!beam) | ^max_(agentic|parallel|file) | ^_ | ^rust$
    # Money and limits.
    | cost | price | pricing | credit | uplift | budget | limit | weight | rate$ | rpm | tpm | ^[io]tpm$ | ^[rt]pd$
    | ^ttl$ | _seconds$ | reset_time
    # Addresses and places: a number can be an address too, as 2130706433 is 127.0.0.1.
    | host | base | url | uri | endpoint | region | location | project | bucket | file | path | site$ | proxy | _port$
    | provider | residency | ^azure
    # Keys and identities.
    | key | credential | secret | password | auth | ssl | verify | identity | issuer | audience | session | exchange
    | account | header | _token$ | _id$ | ^id$
    # Observers.
    | log | debug | verbose | trace | tag | langfuse | langsmith | otlp | ^a[a-z]+ion$
    # Several answers to one call are all paid for, and only one is read.
    | candidate | best_of | num_return | num_gen
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Names that cannot be set even to a number or yes/no, in part or as a whole."""
_ADDRESS = re.compile(r"://|^\s*//|^arn:", re.IGNORECASE)
_NEEDS_TRUST = ("extra_headers", "headers", "extra_body", "tools", "vertex_project", "web_search_options")


def refused(params: Mapping[str, Any]) -> str | None:
    """Return why a pool entry's `params` cannot be used, with the remedy; None when they can.

    LiteLLM takes hundreds of keyword arguments, some of which are addresses, paths, credentials or code. So only known
    names can have any value: those that decide what a model writes. Another name can still be set to a number or
    yes/no, unless it sounds like anything but a setting of the model. Whatever else a provider takes goes into
    `extra_body`, which is part of the request and nothing more.
    """
    for name, value in params.items():
        if name in _OURS or name in _BY_VALUE:
            continue
        if name in _LABELS:
            shape = _LABEL if name == "api_version" else _REGION
            if not isinstance(value, str) or not shape.fullmatch(value):
                return f"`{name}` must be one word in quotes, such as us-east-1"
            continue
        if _is_secret(name):
            return f"`{name}` looks like a secret; keys are read from the environment, never from this file"
        if isinstance(value, bool | int | float) and not _NOT_FOR_THE_MODEL.search(name):
            continue
        return (
            f"`params` cannot set `{name}`: only what decides a model's answer goes there, no address, path or "
            "credential; write the address as api_base, name the key's variable as api_key_env, and put what only "
            "the provider knows into extra_body"
        )
    return _refused_headers(params)


def beyond_the_provider(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield which of the parameters lead, or may lead, further than to the provider itself."""
    for name, value in params.items():
        if name in _NEEDS_TRUST or any(_ADDRESS.search(text) for text in _texts(value)):
            yield f"params.{name}"


def _is_secret(name: str) -> bool:
    return "key" in name.lower() or name.lower() in ("token", "password", "secret")


def _refused_headers(params: Mapping[str, Any]) -> str | None:
    for table in ("extra_headers", "headers"):
        headers = params.get(table, {})
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            return f'`{table}` must be a table of text, {{ "X-Name" = "value" }}'
        host = next((name for name in headers if name.lower() in ("host", "proxy-authorization")), None)
        if host is not None:
            return f"`{table}` cannot set `{host}`; write the address as api_base"
    return None


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any TOML value
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
