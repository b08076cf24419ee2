"""One name for the errors of whichever HTTP client a library uses."""

from __future__ import annotations

import sys
from types import ModuleType

import httpx
import pytest

from jisi_cli.errors import http_errors


class ConnectError(Exception):
    """What the other client calls it."""


def test_errors_of_both_clients_are_known_by_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("httpx2")
    other.ConnectError = ConnectError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "httpx2", other)
    assert http_errors("ConnectError") == (httpx.ConnectError, ConnectError)
    with pytest.raises(http_errors("ConnectError")):
        raise ConnectError


def test_a_client_that_is_not_there_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("httpx", "httpx2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert http_errors("HTTPError") == ()
    assert not isinstance(ValueError(), http_errors("HTTPError"))
