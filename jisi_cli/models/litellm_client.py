"""LiteLLM as jisi uses it: imported once, quiet, and sending no key and no question to a host they are not for.

LiteLLM and OpenAI's client make their HTTP clients themselves, one kind per provider, and all follow redirects with
the question and most headers. LiteLLM also falls back to `OPENAI_API_KEY` for dozens of other providers. All of them
send through httpx, so the rules are kept there, in `send`, and only while a call of jisi's is under way: other users
of httpx in the same process, the model hub's downloads among them, are left alone.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import parse_qsl

from jisi_cli.large_imports import import_aside, uncollected
from jisi_cli.models.address import OPENAI_KEY, is_openai_host, openai_bases
from jisi_cli.models.unpacking import ENCODINGS, bound_body

_CLIENTS = ("httpx", "httpx2")
_MOST_REDIRECTS = 5
_UNREAD = {"stream": True, "follow_redirects": False}
"""How requests are sent: each redirect is looked at, and a body is read only when it is bounded."""
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|credential|password", re.IGNORECASE)
_HARMLESS = frozenset({"idempotency-key"})
_ACCOUNT_HEADERS = ("openai-organization", "openai-project")
"""What OpenAI's client adds from the environment, whichever address it is for."""
_SHORTEST_KEY = 6


@cache
def load_litellm() -> Any:  # noqa: ANN401 - a module without types
    """Import LiteLLM so that it talks to the model that is called and to nothing else.

    Its price map is the one it ships with, it fetches no tokenizer, writes nothing to the terminal, and
    repeats no call. The HTTP clients that it uses keep the rules of this module.
    """
    # Read at import: without it, importing LiteLLM downloads a price map.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # Read at import, too: without it, LiteLLM takes addresses and keys from a `.env` in any folder above its own, such
    # as the repository that holds a virtual environment.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    with uncollected():
        import litellm

    guard_clients()
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    litellm.num_retries = 0
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # Its log lines can hold prompts and request headers.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # LiteLLM's use of pydantic makes it warn on stderr, about LiteLLM's types and about odd usage numbers.
    warnings.filterwarnings("ignore", category=UserWarning, module="pydantic")
    # Ctrl-C between LiteLLM's making of a coroutine and its awaiting it.
    warnings.filterwarnings("ignore", message="coroutine '.*completion.*' was never awaited", category=RuntimeWarning)
    return litellm


_WAS_THERE = "litellm" in sys.modules


def has_usual_prices() -> bool:
    """Whether LiteLLM's prices are those it ships with: a program that imported it first may have set its own."""
    return not _WAS_THERE


def is_the_programs_own() -> bool:
    """Whether the program that uses jisi imported LiteLLM first, whose settings and callbacks then apply."""
    return _WAS_THERE


def is_loaded() -> bool:
    """Whether LiteLLM is there, so that nothing has to wait for it."""
    return load_litellm.cache_info().currsize > 0


async def litellm_loaded() -> None:
    """Wait until LiteLLM is there, which is imported (seconds, the first time) in a thread that keeps no one waiting.

    The process may end while it is at work, and the event loop go on.
    """
    if not is_loaded():
        await asyncio.wrap_future(begin_loading())


@cache
def begin_loading() -> Future[None]:
    """Begin to import LiteLLM in a thread of its own; return what is done when it is there."""
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()  # so that one who no longer waits cannot cancel it for the others

    def load() -> None:
        try:
            load_litellm()
        except BaseException as error:  # whatever the import raises is for those who wait
            done.set_exception(error)
        else:
            done.set_result(None)

    import_aside(load)
    return done


class RefusedError(Exception):
    """A request that was not sent, or a redirect that was not followed; the message says why and what to do."""


@dataclass(slots=True)
class Rules:
    """What one call may send.

    Attributes:
        only_key: The one key that may leave; None where the address is the provider's own, or the user's environment
            names it, and the provider's key is LiteLLM's to find.
        named_variable: The variable that the pool file names for the key; None when it names none.
        headers: Values of the pool entry's own headers, which the user wrote and which may leave.
        refused: Why the last request was refused; None when it was not.
    """

    only_key: str | None = None
    named_variable: str | None = None
    headers: frozenset[str] = frozenset()
    refused: str | None = field(default=None, init=False)

    def check(self, request: Any) -> None:  # noqa: ANN401 - a request of either httpx
        """Refuse a request with a key that is not for its host; take out what tells OpenAI whose account it is.

        Raises:
            RefusedError: It does.
        """
        self.refused = None
        if not _may_have_openai_key(request.url.host, self.named_variable):
            for name in _ACCOUNT_HEADERS:
                if request.headers.get(name) not in (None, *self.headers):
                    del request.headers[name]
        carried = list(_credentials(request))
        if self.only_key is not None:
            allowed = {self.only_key, *self.headers}
            if any(value not in allowed and _bare(value) not in allowed for value in carried):
                raise self.refuse(
                    f"a key would go to {_origin(request.url)}, which the pool file does not allow; "
                    'name the key for that address with api_key_env = "…"'
                )
        elif not _may_have_openai_key(request.url.host, self.named_variable):
            key = os.environ.get(OPENAI_KEY, "")
            if len(key) >= _SHORTEST_KEY and any(key in value for value in carried):
                raise self.refuse(
                    f"no key for {request.url.host}: {OPENAI_KEY} is OpenAI's and was not sent; "
                    'set that provider\'s own variable, or name one with api_key_env = "…"'
                )

    def check_redirect(self, request: Any, following: Any) -> None:  # noqa: ANN401 - as above
        """Refuse a redirect to another host, or from https to http.

        Raises:
            RefusedError: It is one.
        """
        here, there = request.url, following.url
        if _place(here) == _place(there) or (_place(here), _place(there)) == _upgrade(here.host):
            return
        raise self.refuse(
            f"redirect to another host refused: {_origin(here)} points to {_origin(there)}; "
            "if the model is there, write that address as api_base"
        )

    def refuse(self, why: str) -> RefusedError:
        """Note why a request is refused (LiteLLM may replace the error's message), and return the error."""
        self.refused = why
        return RefusedError(why)


_rules: ContextVar[Rules | None] = ContextVar("jisi_rules", default=None)


@contextmanager
def keeping(rules: Rules) -> Iterator[Rules]:
    """Keep the rules for every request that is sent in this context, on whichever client."""
    token = _rules.set(rules)
    try:
        yield rules
    finally:
        _rules.reset(token)


def own_headers(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the values of the headers that a pool entry's `params` set."""
    return frozenset(str(value) for table in _header_tables(params) for value in table.values())


def header_names(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the headers that a pool entry's `params` set."""
    return frozenset(str(name) for table in _header_tables(params) for name in table)


def _header_tables(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [table for name in ("extra_headers", "headers") if isinstance(table := params.get(name), Mapping)]


def guard_clients() -> None:
    """Make every HTTP client of httpx keep the rules of the call that it works for; doing it again changes nothing."""
    for name in _CLIENTS:
        if name not in sys.modules:
            continue
        module = importlib.import_module(name)
        if not hasattr(module.Client.send, "keeps_rules"):
            module.Client.send = _guarded(module.Client.send, is_async=False)
            module.AsyncClient.send = _guarded(module.AsyncClient.send, is_async=True)


def _guarded(original: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    def send(self: Any, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as httpx's own
        rules = _rules.get()
        if rules is None:
            return original(self, request, **options)
        exchange = _exchange(rules, partial(original, self), self, request, options)
        return exchange if is_async else _finished(exchange)

    send.keeps_rules = True  # type: ignore[attr-defined]
    return send


async def _exchange(rules: Rules, send: Callable[..., Any], client: Any, request: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
    """Send a request and follow its redirects, as far as the rules allow; for clients of both kinds.

    What a synchronous client returns is not awaited, so that for such a client this never waits.
    """
    follow = _follows(client, options)
    for _ in range(_MOST_REDIRECTS):
        rules.check(request)
        request.headers["accept-encoding"] = ENCODINGS
        sent = send(request, **{**options, **_UNREAD})
        is_async = inspect.isawaitable(sent)
        response = await sent if is_async else sent
        bound_body(response)
        try:
            if response.next_request is not None:
                rules.check_redirect(request, response.next_request)
            is_last = response.next_request is None or not follow
            if not is_last or not options.get("stream"):
                _ = await response.aread() if is_async else response.read()
        except BaseException:
            _ = await response.aclose() if is_async else response.close()
            raise
        if is_last:
            return response
        request = response.next_request
    raise rules.refuse(f"more than {_MOST_REDIRECTS} redirects at {_origin(request.url)}; check the address")


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what the coroutine returns
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def _follows(client: Any, options: Mapping[str, Any]) -> bool:  # noqa: ANN401 - a client of either httpx
    wanted = options.get("follow_redirects")
    return wanted if isinstance(wanted, bool) else bool(client.follow_redirects)


def _credentials(request: Any) -> Iterable[str]:  # noqa: ANN401 - a request of either httpx
    """Yield what may be a credential in a request: headers, and parameters of the address, that are named so."""
    for name, value in request.headers.items():
        if _CREDENTIAL.search(name) and name.lower() not in _HARMLESS:
            yield value
    for name, value in parse_qsl(request.url.query.decode("ascii", "replace")):
        if _CREDENTIAL.search(name):
            yield value


def _bare(value: str) -> str:
    """Return a credential without its scheme (`Bearer`)."""
    return value.split()[-1] if value.split() else ""


def _may_have_openai_key(host: str, named_variable: str | None) -> bool:
    if named_variable == OPENAI_KEY or is_openai_host(host):
        return True
    return any(host == _host(base) for base in openai_bases())


def _host(address: str) -> str | None:
    from urllib.parse import urlsplit

    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _place(url: Any) -> tuple[str, str, int | None]:  # noqa: ANN401 - an address of either httpx
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _upgrade(host: str) -> tuple[tuple[str, str, int | None], tuple[str, str, int | None]]:
    return ("http", host, 80), ("https", host, 443)


def _origin(url: Any) -> str:  # noqa: ANN401 - as above
    """Return the scheme, host and port of an address: the rest of it may be secret."""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}"
