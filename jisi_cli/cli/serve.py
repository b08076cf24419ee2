"""`jisi serve`: the pool as one model that other programs use."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from jisi_cli.cli.interrupts import give_time
from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError, missing_extra

if TYPE_CHECKING:
    from jisi_cli.serve.guard import App

_BACKLOG = 2048
_GRACE = 30
"""Seconds in which running requests may end after SIGTERM or Ctrl-C."""


@opens_pool("max_cost_per_day", "concurrency", method="Who answers as `jisi`; eval --list-methods names all.")
def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; beyond loopback only with --key-env.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8484,
    key_env: Annotated[
        str | None,
        typer.Option("--key-env", metavar="NAME", help="The variable with the key that clients must send."),
    ] = None,
    places: Annotated[
        int, typer.Option("--places", metavar="N", min=1, help="Questions answered at the same time; others get 429.")
    ] = 256,
    *,
    opening: Opening,
) -> None:
    """Serve the pool as one model over OpenAI's API, until Ctrl-C or SIGTERM.

    A request with tools is answered by one model, the best that can call them (`tools = true` in the pool file, or
    known to LiteLLM); the model that made a call also gets its result. Pictures are for models that can see (`vision =
    true`, likewise); they are sent as data URLs, since nothing is fetched. An answer that must fit a `response_format`
    is sent once it is checked, in one piece even in a stream.

    Example: jisi serve --config sample_data/jisi.toml
    """
    _require_extra()
    key = _key(key_env, host)
    out = opening.out
    pool = opening.open("serve", calls="required")
    from jisi_cli.serve.app import ServerOptions, make_app

    with _listening(host, port) as listener:
        _run(make_app(pool, ServerOptions(host, key, places)), listener, out)


def _require_extra() -> None:
    if not all(map(find_spec, ("starlette", "uvicorn", "prometheus_client"))):
        raise missing_extra("`jisi serve`", "serve")


def _key(variable: str | None, host: str) -> str | None:
    from jisi_cli.serve.guard import is_loopback

    if variable is None:
        if not is_loopback(host):
            raise InputError(f"--host {host} can be reached from elsewhere; name the variable with a key: --key-env")
        return None
    key = os.environ.get(variable, "")
    if not key.strip():
        raise InputError(f"--key-env: {variable} is not set, or empty; put the key that clients must send into it")
    return key.strip()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.create_server((str(address[0]), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        words = error.strerror or str(error)
        raise InputError(f"cannot listen on {host} port {port}: {words}; choose another --host or --port") from None
    # asyncio sends at once (TCP_NODELAY) on sockets that say that they are TCP's; on others a response that comes in
    # two pieces waits 40 ms for the client to acknowledge the first.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=found.detach())


def _run(app: App, listener: socket.socket, out: Output) -> None:
    """Serve until a signal."""
    import uvicorn

    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE, server_header=False
    )
    host, port = listener.getsockname()[:2]
    out.note(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}/v1 (model: jisi); Ctrl-C ends it")
    give_time()  # requests that are running when Ctrl-C comes are answered; a second one ends it at once
    uvicorn.Server(settings).run(sockets=[listener])
