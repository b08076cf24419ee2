"""What is known of a model before it is asked: its key, its price, and what LiteLLM's map says it can do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jisi_cli.config import ModelEntry, Price
from jisi_cli.conversation import Ability
from jisi_cli.errors import InputError
from jisi_cli.models.address import OPENAI_KEY, is_own_host
from jisi_cli.models.litellm_client import load_litellm
from jisi_cli.types import PriceSource

_MILLION = 1_000_000
_LOCAL = "local:"
_CHAT = frozenset({"chat", "responses"})
"""What LiteLLM's map calls models that answer in text."""

KeyState = Literal["found", "missing", "not needed", "unknown"]
_WORDS: dict[Ability, tuple[str, str]] = {
    "tools": ("call tools", "tools = true"),
    "vision": ("take pictures", "vision = true"),
}
"""What an ability is called, and what the pool file says of a model that has it."""


class Key(NamedTuple):
    """Whether the key of a model is there.

    Attributes:
        state: `not needed` where none is sent; `unknown` where the provider can be signed in to in several ways.
        variables: Environment variables that hold it, or would; never a value.
    """

    state: KeyState
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model. Unknown is None, never no.

    Attributes:
        price: USD per million tokens.
        price_source: Who names the price.
        context: Tokens of the longest prompt.
        streams: Whether its answers come piece by piece.
        calls_tools: Whether it can call tools.
        sees: Whether it takes images.
    """

    price: Price | None = None
    price_source: PriceSource | None = None
    context: int | None = None
    streams: bool | None = None
    calls_tools: bool | None = None
    sees: bool | None = None


def key_of(entry: ModelEntry) -> Key:
    """Return whether the key of a model is in the environment, and by which name."""
    missing = missing_key(entry)
    if missing is not None:
        return Key("missing", (missing,))
    if entry.api_key_env is not None:
        return Key("found", (entry.api_key_env,))
    if entry.litellm.startswith(_LOCAL):
        return Key("not needed")
    if entry.api_base is not None and not is_own_host(entry.litellm, entry.api_base):
        return Key("not needed")
    found = load_litellm().validate_environment(entry.litellm)
    if found.get("keys_in_environment"):
        return Key("found")
    return Key("unknown", tuple(found.get("missing_keys") or ()))


def facts_of(entry: ModelEntry) -> Facts:
    """Return what the pool file and LiteLLM's map know of a model."""
    known = _in_map(entry.litellm)
    listed = _listed_price(known)
    return Facts(
        price=entry.price or listed,
        price_source="pool" if entry.price else "litellm" if listed else None,
        context=_whole(known.get("max_input_tokens")),
        # LiteLLM streams every model that its map knows, unless the map says no.
        streams=_flag(known, "supports_native_streaming")
        if "supports_native_streaming" in known
        else bool(known) or None,
        calls_tools=_flag(known, "supports_function_calling") if entry.tools is None else entry.tools,
        sees=_flag(known, "supports_vision") if entry.vision is None else entry.vision,
    )


def is_known(litellm_name: str) -> bool:
    """Whether LiteLLM's map has a model that answers in text under this name."""
    return _in_map(litellm_name).get("mode") in _CHAT


def known_models(word: str) -> list[str]:
    """Return LiteLLM's names of models that answer in text and have a word in their name, whatever its case."""
    wanted = word.casefold()
    found = (name for name, known in load_litellm().model_cost.items() if known.get("mode") in _CHAT)
    return sorted(name for name in found if wanted in name.casefold())


def similar_models(word: str) -> list[str]:
    """Return the few names of LiteLLM's map that a word resembles most."""
    from difflib import get_close_matches

    return get_close_matches(word, known_models(""), n=3)


def has_ability(entry: ModelEntry, ability: Ability) -> bool | None:
    """Whether a model can do something; None where that is not known."""
    stated = {"tools": entry.tools, "vision": entry.vision}[ability]
    if stated is not None:
        return stated  # before LiteLLM is imported
    facts = facts_of(entry)
    return {"tools": facts.calls_tools, "vision": facts.sees}[ability]


def able(entries: Iterable[ModelEntry], needs: Iterable[Ability]) -> tuple[str, ...]:
    """Return the names of the models known to be able to do all that is needed."""
    wanted = sorted(needs)
    return tuple(entry.name for entry in entries if all(has_ability(entry, ability) for ability in wanted))


def none_able(entries: Iterable[ModelEntry], needs: Iterable[Ability], pool: object) -> InputError:
    """Return the error of a pool in which no model can do what is needed.

    Args:
        entries: The models that may be asked.
        needs: What is needed.
        pool: The pool file.
    """
    wanted = sorted(needs)
    can = " and ".join(_WORDS[ability][0] for ability in wanted)
    write = ", ".join(_WORDS[ability][1] for ability in wanted)
    names = ", ".join(entry.name for entry in entries)
    return InputError(
        f"no model that may be asked ({names}) is known to {can}; where one does, write {write} for it in {pool}, or "
        "add one that does"
    )


def missing_key(entry: ModelEntry) -> str | None:
    """Return the environment variable of a key that a model needs and that is not set; None if none is known.

    An entry with an address of its own may need no key. Providers that can be signed in to in other ways
    (cloud accounts) are not checked.
    """
    if entry.api_key_env is not None:
        return None if os.environ.get(entry.api_key_env) else entry.api_key_env
    if entry.api_base is not None or entry.litellm.startswith(_LOCAL):
        return None
    if entry.litellm.startswith("openai/"):
        return None if os.environ.get(OPENAI_KEY) else OPENAI_KEY
    found = load_litellm().validate_environment(entry.litellm)
    missing: list[str] = found.get("missing_keys") or []
    if len(missing) == 1 and missing[0].endswith("_API_KEY") and not missing[0].startswith("AZURE"):
        return missing[0]
    return None


def _in_map(litellm_name: str) -> Mapping[str, Any]:
    """Return a model's entry in LiteLLM's map, empty when it has none.

    The map is read as it is: LiteLLM's own function asks an Ollama server about its models.
    """
    if litellm_name.startswith(_LOCAL):
        return {}
    table: Mapping[str, Mapping[str, Any]] = load_litellm().model_cost
    provider, _, name = litellm_name.partition("/")
    if litellm_name in table:
        return table[litellm_name]
    known = table.get(name, {})
    return known if str(known.get("litellm_provider", "")).partition("_")[0] == provider else {}


def _listed_price(known: Mapping[str, Any]) -> Price | None:
    prices = [known.get("input_cost_per_token"), known.get("output_cost_per_token")]
    if not all(isinstance(price, int | float) for price in prices):
        return None
    # A price per token is written in binary: 1.5e-07 times a million is not quite 0.15.
    return Price(*(round(float(price) * _MILLION, 9) for price in prices if price is not None))


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _flag(known: Mapping[str, Any], name: str) -> bool | None:
    value = known.get(name)
    return value if isinstance(value, bool) else None
