"""Connections of requests that leave without LiteLLM: whose certificates they take, and when the quick ones begin."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from jisi_cli.models import connections
from jisi_cli.models.aiohttp_transport import AiohttpTransport
from jisi_cli.models.connections import Connections
from tests.loopback import Loopback


async def answered(transport: httpx.AsyncBaseTransport, url: str) -> bytes:
    """Ask once; return the body of the answer."""
    body = json.dumps({"model": "a", "messages": [{"role": "user", "content": "hello"}]}).encode()
    response = await transport.handle_async_request(httpx.Request("POST", url, content=body))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    found = b"".join([piece async for piece in response.stream])
    await response.aclose()
    return found


def test_the_first_requests_wait_for_no_import_and_those_after_them_are_quick(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.script("a", text="hello")
    monkeypatch.setattr(connections, "_FEW", 2)
    monkeypatch.setattr(connections, "is_loaded", lambda: False)

    async def ask() -> list[str]:
        opened, kinds = Connections(), []
        for number in range(4):
            transport = opened.transport(is_secure=False)
            if number == 2:
                connections._begin_import().wait()
            kinds.append(type(transport).__name__)
            assert b"hello" in await answered(transport, f"{loopback.api_base}/chat/completions")
        await opened.close()
        return kinds

    kinds = asyncio.run(ask())
    assert kinds[:2] == ["AsyncHTTPTransport"] * 2 and kinds[3] == "AiohttpTransport"


@pytest.mark.slow
def test_a_certificate_that_no_authority_signed_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    made = tmp_path / "made.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    try:
        subprocess.run([*command, "-keyout", str(made), "-out", f"{made}.crt"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the command openssl, which makes the certificate, is not here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{made}.crt", made)
    with Loopback() as server:
        server.script("a", text="hello")
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        url = f"https://localhost:{server.port}/v1/chat/completions"

        async def both() -> bytes:
            strict = AiohttpTransport(connections._trust(True))
            with pytest.raises(httpx.ConnectError):
                await answered(strict, url)
            await strict.aclose()
            trusting = AiohttpTransport(ssl.create_default_context(cafile=f"{made}.crt"))
            found = await answered(trusting, url)
            await trusting.aclose()
            return found

        assert b"hello" in asyncio.run(both())
        assert server.count() == 1
