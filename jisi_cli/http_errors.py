"""The exceptions of HTTP clients, whichever of them a library uses."""

from __future__ import annotations

import sys

_CLIENTS = ("httpx", "httpx2")
"""httpx, and its successor under another name: openai from 3 on and huggingface_hub from 2 on use that one."""


def http_errors(name: str) -> tuple[type[Exception], ...]:
    """Return the exceptions of a name, for `isinstance` and `except`; a client that nobody imported raised nothing.

    Args:
        name: As both clients call it: `HTTPError`, `TransportError`, `ConnectError`, `TimeoutException`, ...
    """
    return tuple(getattr(sys.modules[client], name) for client in _CLIENTS if client in sys.modules)
