"""`jisi.toml`: the pool of models, the embedder, the hyperparameters and the budget."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jisi_cli.addresses import Address, read_address
from jisi_cli.errors import InputError
from jisi_cli.files import read_plain
from jisi_cli.paths import config_folder, expanded
from jisi_cli.table_reader import TableReader
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
        batch: What a call through the provider's batch endpoint costs of all this: 0.5 for half; None where the file
            does not say.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    batch: float | None = None


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
        tools: Whether the model can call tools; None leaves it to LiteLLM's map.
        vision: Whether it takes images; None likewise.
        concurrency: Calls to this model at one time; None for no limit of its own.
        requests_per_minute: The provider's limit on calls; None for none.
        tokens_per_minute: The provider's limit on tokens; None for none.
        batch_store: The folder of a bucket through which a provider that has no files of its own takes batches.
        batch_role: The AWS role with which Amazon Bedrock reads and writes there.
    """

    name: str
    litellm: str
    api_base: str | None = None
    api_key_env: str | None = None
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    tools: bool | None = None
    vision: bool | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    batch_store: Address | None = None
    batch_role: str | None = None


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
        routing: Hyperparameters by name.
        budget: `max_cost` of a run, `max_cost_per_day` and `max_cost_per_month` of all runs, in USD; `timeout` in
            seconds per call, `concurrency`, `max_retries`.
        identity: Hash of the file's path and content, under which `jisi trust` remembers it.
        found_here: Whether it is in force only because it is in the current folder, or in one above.
        trusted: Whether it may name addresses and keys: false only for a file found there that `jisi trust` does not
            remember.
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


_NAME = "jisi.toml"
_TABLES = {"bank", "models", "embedder", "routing", "budget"}
_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")
_ENDPOINT_KEYS = {"api_base", "api_key_env", "price"}
_BATCH_KEYS = {"batch_store", "batch_role"}
_MODEL_KEYS = {
    *("name", "litellm", "system", "params", "headers", "tools", "vision"),
    *(_ENDPOINT_KEYS | _BATCH_KEYS),
    *_LIMITS,
}
_EMBEDDER_KEYS = {"name", "revision", "max_tokens", "truncation", "prompt"}
_BUDGET_KEYS = {
    *("max_cost", "max_cost_per_day", "max_cost_per_month", "timeout", "concurrency", "max_retries"),
}
_MAX_PRICE_BYTES = 64 * 2**20
_PRICES = {"input", "output", "cached_input", "cache_write", "batch"}
_MAX_BYTES = 16 * 2**20
_ADDRESS = re.compile(r"https?://[^\s/?#\\]+\S*", re.IGNORECASE)
_ADDRESS_WITHIN = re.compile(r"//|\bhttps?:|[\s\\#?]", re.IGNORECASE)
_BUCKETS = ("s3", "gs")
_ROLE = re.compile(r"arn:aws[a-z-]{0,20}:iam::\d{12}:role/[\w+=,.@/-]{1,576}", re.ASCII)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]*|[A-Z]+")
"""Names of environment variables as people write them; lower case, or digits without `_`, may be a key."""


def find_config(explicit: Path | None = None) -> Path | None:
    """Return the configuration file in force: the flag, `JISI_CONFIG`, `./jisi.toml`, one above it, the user's own.

    A file in a folder above counts as git's repositories do: only on the same file system, and only one's own.

    Raises:
        InputError: A file was named and is not there.
    """
    named = explicit or (Path(os.environ["JISI_CONFIG"]) if os.environ.get("JISI_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise InputError(f"no configuration file at {named}; check --config or JISI_CONFIG")
        return named
    here, *elsewhere = _search_folders()
    if (here / _NAME).is_file():
        return Path(_NAME)
    return next((folder / _NAME for folder in elsewhere if _is_own_file(folder / _NAME)), None)


def nothing_found() -> str:
    """Say where no configuration file was found, for an error: every place that was looked at."""
    *others, last = _search_folders()
    return f"there is no {_NAME} in {', '.join(map(str, others))} or {last}"


def _search_folders() -> list[Path]:
    """Return where a configuration file is looked for: here, in the folders above, in the user's own folder."""
    folders = [Path()]
    with suppress(OSError):  # the current folder may be gone
        here = Path.cwd()
        device = here.stat().st_dev
        folders = [here]
        for folder in here.parents:
            if folder.stat().st_dev != device:
                break
            folders.append(folder)
    return list(dict.fromkeys([*folders, config_folder()]))


def _is_own_file(path: Path) -> bool:
    """Whether a file is there and belongs to the user: others may write into folders above, such as /tmp."""
    if not path.is_file():
        return False
    if os.name != "posix" or path.parent == config_folder():
        return True
    # A link, too: what stands beside it, such as a bank, is whose folder it is.
    return {path.stat().st_uid, path.lstat().st_uid} == {os.geteuid()}


def config_in_force(explicit: Path | None = None) -> Config:
    """Find and read the configuration in force, and decide whether it is trusted.

    A file that the user named (`--config`, `JISI_CONFIG`) or keeps in the configuration folder is the user's own. One
    that is only found in the current folder, or above it, may have come with someone else's archive or repository.

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


def find_bank(named: Path | None, config: Config) -> Path | None:
    """Return the bank in force: the one that was named, `JISI_BANK`, the configuration's; None where none was named.

    It may be an address; `jisi_cli.user.bank_folder` returns a folder.
    """
    return named or (Path(os.environ["JISI_BANK"]) if os.environ.get("JISI_BANK") else None) or config.bank


def bank_in_force(named: Path | None, config: Config) -> Path:
    """Return the bank in force; see `find_bank`.

    Raises:
        InputError: None was named.
    """
    found = find_bank(named, config)
    if found is None:
        where = f"{_NAME} ({nothing_found()})" if config.path is None else str(config.path)
        raise InputError(f'no bank was named; give --bank PATH, set JISI_BANK, or write bank = "PATH" in {where}')
    return found


def load_config(path: Path | None) -> Config:
    """Read a `jisi.toml`; None gives the empty configuration.

    Raises:
        InputError: The file is not TOML, or says something jisi does not understand.
    """
    if path is None:
        return Config()
    try:
        content = read_plain(path, _MAX_BYTES)
        data = tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return _parse(path, TableReader(data, "the file"), file_identity(path, content))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _parse(path: Path, file: TableReader, identity: str) -> Config:
    file.only(_TABLES)
    bank = file.text("bank", blank=True)
    embedder = _section(file, "embedder", _EMBEDDER_KEYS | _ENDPOINT_KEYS)
    return Config(
        path=path,
        bank=_bank(path, bank) if bank else None,
        models=_models(file),
        embedder=_embedder(embedder),
        endpoint=_endpoint(embedder),
        routing=_section(file, "routing").data,
        budget=_section(file, "budget", _BUDGET_KEYS).data,
        identity=identity,
    )


def _bank(path: Path, bank: str) -> Path:
    """Return the bank that a file names: a path is taken from the file's own folder, an address is left as it is."""
    try:
        is_path = read_address(bank) is None
    except InputError as error:
        raise InputError(f"{path}: `bank`: {error}") from None
    return path.parent / expanded(bank, f"{path}: `bank`") if is_path else Path(bank)


def _section(file: TableReader, name: str, known: set[str] | None = None) -> TableReader:
    section = TableReader(file.data.get(name, {}), f"[{name}]")
    if known is not None:
        section.only(known)
    return section


def _embedder(table: TableReader) -> Mapping[str, Any]:
    table.text("name")
    table.text("revision")
    table.text("prompt", blank=True)
    table.whole("max_tokens", 1)
    table.one_of("truncation", ("head", "tail"))
    return {key: value for key, value in table.data.items() if key in _EMBEDDER_KEYS}


def _endpoint(table: TableReader) -> EmbeddingEndpoint:
    name = table.text("name") or ""
    given = next((key for key in sorted(_ENDPOINT_KEYS) if key in table.data), None)
    if name.startswith("litellm:"):
        _check_name(table, "name", name.removeprefix("litellm:"))
    elif given is not None and name:
        raise table.problem(given, 'is for an endpoint, name = "litellm:provider/model"; remove it')
    # An embedder writes no tokens.
    return EmbeddingEndpoint(_address(table), _variable(table), _price(table, output=0))


def _models(file: TableReader) -> tuple[ModelEntry, ...]:
    tables = file.data.get("models", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError("models are written as [[models]] tables")
    read = (TableReader(table, f"[[models]] number {number}") for number, table in enumerate(tables, start=1))
    entries = tuple(map(_model, read))
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two models are called `{twice}`; names must differ")
    return entries


def _model(table: TableReader) -> ModelEntry:
    table.only(_MODEL_KEYS)
    litellm = table.text("litellm")
    if litellm is None:
        raise ValueError(f'{table.where} needs `litellm = "provider/model"`')
    if not litellm.startswith("local:"):
        _check_name(table, "litellm", litellm)
    elif remote := sorted({"api_base", "api_key_env", *_BATCH_KEYS} & set(table.data)):
        raise table.problem(remote[0], "is not for a local model; remove it")
    params = _params(table)
    problem = refused(params)
    if problem is not None:
        raise ValueError(f"{table.where}: {problem}")
    return ModelEntry(
        name=table.text("name") or litellm,
        litellm=litellm,
        api_base=_address(table),
        api_key_env=_variable(table),
        system=table.text("system"),
        params=params,
        price=_price(table),
        tools=table.flag("tools"),
        vision=table.flag("vision"),
        batch_store=_batch_store(table),
        batch_role=_batch_role(table),
        **{limit: table.whole(limit, 1) for limit in _LIMITS},
    )


def _params(table: TableReader) -> dict[str, Any]:
    """Return the parameters of a model's calls; `headers` are those that LiteLLM calls `extra_headers`."""
    params = table.data.get("params", {})
    if not isinstance(params, dict):
        raise table.problem("params", "must be a table")
    headers = table.data.get("headers")
    if headers is None:
        return params
    twice = next((name for name in ("extra_headers", "headers") if name in params), None)
    if twice is not None:
        raise table.problem("headers", f"and params.{twice} are the same thing; keep one of them")
    return {**params, "extra_headers": headers}


def _address(table: TableReader) -> str | None:
    address = table.text("api_base")
    if address is not None and not _ADDRESS.fullmatch(address):
        raise table.problem("api_base", "must be an address such as https://host/v1")
    return address


def _batch_store(table: TableReader) -> Address | None:
    """Return the folder of a bucket; what may hold a key is refused and not repeated."""
    written = table.text("batch_store")
    if written is None:
        return None
    with suppress(InputError):
        store = read_address(written)
        if store is not None and store.scheme in _BUCKETS:
            return store
    raise table.problem(
        "batch_store", "must be a folder of a bucket, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, and hold no key"
    )


def _batch_role(table: TableReader) -> str | None:
    role = table.text("batch_role")
    if role is not None and not _ROLE.fullmatch(role):
        raise table.problem("batch_role", "must be a role of AWS, such as arn:aws:iam::123456789012:role/NAME")
    return role


def _variable(table: TableReader) -> str | None:
    """Return the name of the variable that holds a key; what may be a key itself is refused and not repeated."""
    name = table.text("api_key_env")
    if name is not None and not _VARIABLE.fullmatch(name):
        raise table.problem(
            "api_key_env", "is the name of an environment variable, such as GROQ_API_KEY, and never the key itself"
        )
    return name


def _check_name(table: TableReader, key: str, litellm: str) -> None:
    """Refuse a LiteLLM name that holds an address, or that LiteLLM would serve past the client that jisi guards."""
    problem = unusable_name(litellm)
    if problem is not None:
        raise table.problem(key, problem)


def unusable_name(litellm: str) -> str | None:
    """Return what is wrong with a LiteLLM name, with the remedy; None when it can be used."""
    if _ADDRESS_WITHIN.search(litellm):
        return "holds an address; write the model's name alone, and the address as api_base"
    if litellm.startswith("aiohttp_openai/"):
        return "names a client that follows redirects anywhere; write openai/… instead"
    return None


def _price(table: TableReader, **defaults: float) -> Price | None:
    given = table.data.get("price")
    if given is None:
        return None
    if not isinstance(given, dict) or not {"input", "output"} <= {*defaults, *given} <= _PRICES:
        raise ValueError(
            f"{table.where}: a price is {{ input = …, output = … }} in USD per million tokens, "
            "with `cached_input` and `cache_write` where they are known; `batch = 0.5` where a batch costs half"
        )
    if not all(map(is_price, given.values())):
        raise ValueError(f"{table.where}: prices must be numbers from 0, in USD per million tokens")
    if given.get("batch", 0) > 1:
        raise ValueError(
            f"{table.where}: `batch` is what a batch costs of the price, from 0 to 1, not {given['batch']!r}"
        )
    return Price(**{name: float(value) for name, value in {**defaults, **given}.items()})


def read_prices(path: Path) -> dict[str, Price]:
    """Read list prices: `{"model": {"input": USD, "output": USD}}` per million tokens, null for unknown.

    Raises:
        InputError: The file is not of that shape.
    """
    try:
        data = json.loads(read_plain(path, _MAX_PRICE_BYTES).decode("utf-8"))
        found = {str(model): price for model, price in data.items() if price is not None}
        return {model: Price(_dollars(price["input"]), _dollars(price["output"])) for model, price in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f'{path}: cannot be read as prices ({reason}); write {{"model": {{"input": 1.0, "output": 2.0}}}} '
            "in USD per million tokens"
        ) from error


def _dollars(value: object) -> float:
    if not is_price(value):
        raise ValueError(f"{value!r} is not a number of dollars")
    return float(value)
