"""`jisi.toml`: the pool of models, the embedder, the hyper-parameters and the budget."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.files import read_plain
from jisi_cli.paths import config_folder, expanded
from jisi_cli.trust import file_identity, is_trusted, refused
from jisi_cli.types import is_price


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens.

    Attributes:
        input: Of the prompt.
        output: Of the response.
        cached_input: Of what the provider has of the prompt in its own cache; None for the price of the prompt.
        cache_write: Of what it puts there; None likewise.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One `[[models]]` table.

    Attributes:
        name: What the bank calls this model.
        litellm: LiteLLM's name (`openrouter/…`, `ollama/…`), or `local:<weights>` for a model that
            jisi serves itself.
        api_base: Address of the endpoint where LiteLLM's default is not meant.
        api_key_env: The environment variable that holds the key for it; None for the provider's own key, which goes to
            the provider's own hosts alone.
        system: A system message put before every conversation with this model.
        params: Further keyword arguments of the call (`temperature`, `max_tokens`, …); they win over
            what a method asks for.
        price: USD per million tokens; None when the file gives none.
        concurrency: Calls to this model at one time; None for no limit of its own.
        requests_per_minute: The provider's limit on calls; None for none.
        tokens_per_minute: The provider's limit on tokens; None for none.
    """

    name: str
    litellm: str
    api_base: str | None = None
    api_key_env: str | None = None
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingEndpoint:
    """What `[embedder]` says of an endpoint beyond the embedder itself; no bank records it.

    Attributes:
        api_base: Its address where LiteLLM's default is not meant.
        api_key_env: The environment variable that holds the key for it; None as for a model.
        price: USD per million tokens; None when the file gives none.
    """

    api_base: str | None = None
    api_key_env: str | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """A parsed `jisi.toml`; every part may be absent.

    Attributes:
        path: The file it came from; None when there is none.
        bank: The default bank; relative paths are taken from the file's own folder.
        models: The pool, in the file's order.
        embedder: Keyword arguments of `EmbedderSpec`.
        endpoint: Where an embedder that is an endpoint is reached, and its price.
        routing: Hyper-parameters by name.
        budget: `max_cost` in USD, `timeout` in seconds per call, `concurrency`, `max_retries`.
        identity: Hash of the file's place and content, under which `jisi trust` remembers it.
        found_here: Whether it is in force only because it lies in the current folder.
        trusted: Whether it may name addresses and keys: false only for a file found in the current folder that
            `jisi trust` does not remember.
    """

    path: Path | None = None
    bank: Path | None = None
    models: tuple[ModelEntry, ...] = ()
    embedder: Mapping[str, Any] = field(default_factory=dict)
    endpoint: EmbeddingEndpoint = EmbeddingEndpoint()
    routing: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)
    identity: str = ""
    found_here: bool = False
    trusted: bool = True


_TABLES = {"bank", "models", "embedder", "routing", "budget"}
_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")
_MODEL_KEYS = {"name", "litellm", "api_base", "api_key_env", "system", "params", "price", *_LIMITS}
_EMBEDDER_KEYS = {"name", "revision", "max_tokens", "truncation", "prompt"}
_ENDPOINT_KEYS = {"api_base", "api_key_env", "price"}
_BUDGET_KEYS = {"max_cost", "timeout", "concurrency", "max_retries"}
_MOST_BYTES = 16 * 2**20
_PRICES = {"input", "output", "cached_input", "cache_write"}
_ADDRESS = re.compile(r"https?://[^\s/?#\\]+\S*", re.IGNORECASE)
_ADDRESS_WITHIN = re.compile(r"//|\bhttps?:|[\s\\#?]", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]*|[A-Z]+")
"""Names of environment variables as people write them; lower case, or digits without `_`, may be a key."""


def find_config(explicit: Path | None = None) -> Path | None:
    """Return the configuration file in force: the flag, `JISI_CONFIG`, `./jisi.toml`, the user's own.

    Raises:
        InputError: A file was named and is not there.
    """
    named = explicit or (Path(os.environ["JISI_CONFIG"]) if os.environ.get("JISI_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"no configuration file at {named}; check --config or JISI_CONFIG")
        return named
    candidates = (Path("jisi.toml"), config_folder() / "jisi.toml")
    return next((path for path in candidates if path.is_file()), None)


def config_in_force(explicit: Path | None = None) -> Config:
    """Find and read the configuration in force, and settle whether the user vouches for it.

    A file that the user named (`--config`, `JISI_CONFIG`) or keeps in the configuration folder is the user's own. One
    that merely lies in the current folder may have come with somebody else's archive or repository.

    Raises:
        InputError: A file was named and is not there, or the file cannot be used.
    """
    path = find_config(explicit)
    config = load_config(path)
    if path is None or explicit is not None or os.environ.get("JISI_CONFIG"):
        return config
    if path.resolve().parent == config_folder().resolve():
        return config
    return replace(config, found_here=True, trusted=is_trusted("pool_files", config.identity))


def load_config(path: Path | None) -> Config:
    """Read a `jisi.toml`; None gives the empty configuration.

    Raises:
        InputError: The file is not TOML, or says something jisi does not understand.
    """
    if path is None:
        return Config()
    try:
        content = read_plain(path, _MOST_BYTES)
        data = tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    _refuse_unknown(path, "the file", data, _TABLES)
    bank = data.get("bank")
    if bank is not None and not isinstance(bank, str):
        raise InputError(f"{path}: `bank` must be a path in quotes")
    embedder = _table(path, data, "embedder", _EMBEDDER_KEYS | _ENDPOINT_KEYS)
    return Config(
        path=path,
        bank=path.parent / expanded(bank, f"{path}: `bank`") if bank else None,
        models=_models(path, data.get("models", [])),
        embedder=_embedder(path, embedder),
        endpoint=_endpoint(path, embedder),
        routing=_table(path, data, "routing", None),
        budget=_table(path, data, "budget", _BUDGET_KEYS),
        identity=file_identity(path, content),
    )


def _refuse_unknown(path: Path, where: str, table: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        names = ", ".join(sorted(known))
        raise InputError(f"{path}: {where} has an unknown key `{unknown[0]}`; known keys are {names}")


def _table(path: Path, data: Mapping[str, Any], name: str, known: set[str] | None) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{path}: `{name}` must be a table ([{name}])")
    if known is not None:
        _refuse_unknown(path, f"[{name}]", table, known)
    return table


def _embedder(path: Path, table: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("name", "revision"):
        _text(path, "[embedder]", table, key)
    if not isinstance(table.get("prompt", ""), str):
        raise InputError(f"{path}: [embedder]: `prompt` must be text in quotes")
    if table.get("truncation", "head") not in ("head", "tail"):
        raise InputError(f'{path}: [embedder]: `truncation` must be "head" or "tail"')
    _check_limit(path, "[embedder]", "max_tokens", table.get("max_tokens"))
    return {key: value for key, value in table.items() if key in _EMBEDDER_KEYS}


def _endpoint(path: Path, table: Mapping[str, Any]) -> EmbeddingEndpoint:
    given = next((key for key in sorted(_ENDPOINT_KEYS) if key in table), None)
    if given is not None and not str(table.get("name", "litellm:")).startswith("litellm:"):
        raise InputError(
            f'{path}: [embedder]: `{given}` is for an endpoint, name = "litellm:provider/model"; remove it'
        )
    price = table.get("price")
    if isinstance(price, dict):
        # An embedder writes no tokens.
        price = {"output": 0, **price}
    if isinstance(table.get("name"), str) and table["name"].startswith("litellm:"):
        _check_name(path, "[embedder]", "name", table["name"].removeprefix("litellm:"))
    return EmbeddingEndpoint(
        api_base=_address(path, "[embedder]", table),
        api_key_env=_variable(path, "[embedder]", table),
        price=_price(path, "[embedder]", price),
    )


def _check_limit(path: Path, where: str, key: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InputError(f"{path}: {where}: `{key}` must be a whole number from 1")


def _models(path: Path, tables: object) -> tuple[ModelEntry, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path}: models are written as [[models]] tables")
    entries = tuple(_model(path, number, table) for number, table in enumerate(tables, start=1))
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: two models are called `{twice}`; names must differ")
    return entries


def _model(path: Path, number: int, table: Mapping[str, Any]) -> ModelEntry:
    where = f"[[models]] number {number}"
    _refuse_unknown(path, where, table, _MODEL_KEYS)
    litellm = _text(path, where, table, "litellm")
    if litellm is None:
        raise InputError(f'{path}: {where} needs `litellm = "provider/model"`')
    if litellm.startswith("local:"):
        _refuse_unknown(path, f"{where}, a local model,", table, _MODEL_KEYS - {"api_base", "api_key_env"})
    else:
        _check_name(path, where, "litellm", litellm)
    params = table.get("params", {})
    if not isinstance(params, dict):
        raise InputError(f"{path}: {where}: `params` must be a table")
    problem = refused(params)
    if problem is not None:
        raise InputError(f"{path}: {where}: {problem}")
    for limit in _LIMITS:
        _check_limit(path, where, limit, table.get(limit))
    return ModelEntry(
        name=_text(path, where, table, "name") or litellm,
        litellm=litellm,
        api_base=_address(path, where, table),
        api_key_env=_variable(path, where, table),
        system=_text(path, where, table, "system"),
        params=params,
        price=_price(path, where, table.get("price")),
        **{limit: table.get(limit) for limit in _LIMITS},
    )


def _text(path: Path, where: str, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InputError(f"{path}: {where}: `{key}` must be text in quotes")
    return value


def _address(path: Path, where: str, table: Mapping[str, Any]) -> str | None:
    address = _text(path, where, table, "api_base")
    if address is not None and not _ADDRESS.fullmatch(address):
        raise InputError(f"{path}: {where}: `api_base` must be an address such as https://host/v1")
    return address


def _variable(path: Path, where: str, table: Mapping[str, Any]) -> str | None:
    """Return the name of the variable that holds a key; whatever may be a key itself is refused and not repeated."""
    name = _text(path, where, table, "api_key_env")
    if name is not None and not _VARIABLE.fullmatch(name):
        raise InputError(
            f"{path}: {where}: `api_key_env` is the name of an environment variable, such as GROQ_API_KEY, and never "
            "the key itself"
        )
    return name


def _check_name(path: Path, where: str, key: str, litellm: str) -> None:
    """Refuse a LiteLLM name that holds an address, or that LiteLLM would serve past the client that jisi guards."""
    problem = unusable_name(litellm)
    if problem is not None:
        raise InputError(f"{path}: {where}: `{key}` {problem}")


def unusable_name(litellm: str) -> str | None:
    """Return what is wrong with a LiteLLM name, with the remedy; None when it can be used."""
    if _ADDRESS_WITHIN.search(litellm):
        return "holds an address; write the model's name alone, and the address as api_base"
    if litellm.startswith("aiohttp_openai/"):
        return "names a client that follows redirects anywhere; write openai/… instead"
    return None


def _price(path: Path, where: str, table: object) -> Price | None:
    if table is None:
        return None
    if not isinstance(table, dict) or not {"input", "output"} <= set(table) <= _PRICES:
        raise InputError(
            f"{path}: {where}: a price is {{ input = …, output = … }} in USD per million tokens, "
            "with `cached_input` and `cache_write` where they are known"
        )
    if not all(map(is_price, table.values())):
        raise InputError(f"{path}: {where}: prices must be numbers from 0, in USD per million tokens")
    return Price(**{name: float(value) for name, value in table.items()})
