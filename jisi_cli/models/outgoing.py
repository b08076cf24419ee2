"""What one call may send where: no redirect to another host is followed, and no key leaves for a host it is not for.

LiteLLM and OpenAI's client make their HTTP clients themselves, one kind per provider, and all follow redirects with
the question and most headers. LiteLLM also falls back to `OPENAI_API_KEY` for dozens of other providers. All of them
send through httpx, so the rules are kept there, in `send`, and only while a call of jisi's is under way: other users
of httpx in the same process, the model hub's downloads among them, are left alone.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from jisi_cli.models.address import OPENAI_KEY, is_openai_host, openai_bases
from jisi_cli.models.unpacking import ENCODINGS, bound_body

_CLIENTS = ("httpx", "httpx2")
_MOST_REDIRECTS = 5
_UNREAD = {"stream": True, "follow_redirects": False}
"""How requests are sent: each redirect is looked at, and a body is read only when it is bounded."""
_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie|credential|password", re.IGNORECASE)
_HARMLESS = frozenset({"idempotency-key"})
_SHORTEST_KEY = 6


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
        """Refuse a request that carries a key which is not for its host.

        Raises:
            RefusedError: It does.
        """
        self.refused = None
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
        """Note why a request is refused, for whoever reads past LiteLLM's own words, and return the error."""
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
    tables = (params.get(name) for name in ("extra_headers", "headers"))
    return frozenset(str(value) for table in tables if isinstance(table, Mapping) for value in table.values())


def guard_clients() -> None:
    """Make every HTTP client of httpx keep the rules of the call that it works for; doing it again changes nothing."""
    for name in _CLIENTS:
        if name not in sys.modules:
            continue
        module = importlib.import_module(name)
        if not hasattr(module.Client.send, "keeps_rules"):
            module.Client.send = _guarded(module.Client.send)
            module.AsyncClient.send = _guarded_async(module.AsyncClient.send)


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: Any, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as httpx's own
        rules = _rules.get()
        if rules is None:
            return original(self, request, **options)
        follow = _follows(self, options)
        for _ in range(_MOST_REDIRECTS):
            rules.check(request)
            request.headers["accept-encoding"] = ENCODINGS
            response = original(self, request, **{**options, **_UNREAD})
            bound_body(response)
            try:
                if response.next_request is not None:
                    rules.check_redirect(request, response.next_request)
                is_last = response.next_request is None or not follow
                if not is_last or not options.get("stream"):
                    response.read()
            except BaseException:
                response.close()
                raise
            if is_last:
                return response
            request = response.next_request
        raise rules.refuse(f"more than {_MOST_REDIRECTS} redirects at {_origin(request.url)}; check the address")

    send.keeps_rules = True  # type: ignore[attr-defined]
    return send


def _guarded_async(original: Callable[..., Any]) -> Callable[..., Any]:
    async def send(self: Any, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as httpx's own
        rules = _rules.get()
        if rules is None:
            return await original(self, request, **options)
        follow = _follows(self, options)
        for _ in range(_MOST_REDIRECTS):
            rules.check(request)
            request.headers["accept-encoding"] = ENCODINGS
            response = await original(self, request, **{**options, **_UNREAD})
            bound_body(response)
            try:
                if response.next_request is not None:
                    rules.check_redirect(request, response.next_request)
                is_last = response.next_request is None or not follow
                if not is_last or not options.get("stream"):
                    await response.aread()
            except BaseException:
                await response.aclose()
                raise
            if is_last:
                return response
            request = response.next_request
        raise rules.refuse(f"more than {_MOST_REDIRECTS} redirects at {_origin(request.url)}; check the address")

    send.keeps_rules = True  # type: ignore[attr-defined]
    return send


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
    """Return an address without its path and whatever may be secret in it."""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}"
