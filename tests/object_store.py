"""An S3 server on loopback (moto's), which counts what it is asked and can be told to fail."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKET = "jisi-tests"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests", "AWS_REGION": "us-east-1"}

_MOVED = "/-/moved"

Fault = Callable[[str, str], tuple[str, bytes] | None]
"""Called with the method and the path of each request; may wait, or return a status and a body instead of the store."""


@dataclass(frozen=True)
class Request:
    """A request that the server was asked, as (`GET`, `/bucket/name`), with the bytes of both bodies."""

    method: str
    path: str
    received: int
    sent: int


@dataclass
class ObjectStore:
    """The server, as long as its context is open.

    Attributes:
        url: Where it is.
        requests: What it was asked.
        fault: What goes wrong.
        has_conditions: Whether it writes on a condition; else it says that it cannot, as some servers do.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    fault: Fault | None = None
    has_conditions: bool = True

    def __post_init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What the environment says of it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}

    def clear(self) -> None:
        """Forget all objects, requests and faults; the bucket is empty."""
        self.fault, self.has_conditions = None, True
        self._ask("POST", "/moto-api/reset")
        self._ask("PUT", f"/{BUCKET}")
        self.requests.clear()

    def get(self, name: str) -> bytes:
        """Return an object."""
        return self._ask("GET", f"/{BUCKET}/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        self._ask("PUT", f"/{BUCKET}/{name}", content)

    def names(self) -> set[str]:
        """Return the names of all objects."""
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            endpoint=self.url,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region=KEYS["AWS_REGION"],
            client_options={"allow_http": True},
        )
        return {found["path"] for page in obstore.list(store) for found in page}

    def moved(self) -> dict[str, int]:
        """Return how many requests came, and the bytes of their bodies and of those of the answers."""
        received, sent = (sum(getattr(one, name) for one in self.requests) for name in ("received", "sent"))
        return {"requests": len(self.requests), "received": received, "sent": sent}

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=content)
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request")
        request.add_header("Content-Type", "application/octet-stream")  # else the body is read as a form
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        found = self.fault(method, path) if self.fault is not None else None
        if not self.has_conditions and method == "PUT" and {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} & environ.keys():
            found = refused("NotImplemented", "501 Not Implemented")
        if path == _MOVED:
            found = "200 OK", json.dumps(self.moved()).encode()
        if found is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, body = found
            start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")])
            return [body]
        answer = b"".join(self._app(environ, start_response))
        self.requests.append(Request(method, path, int(environ.get("CONTENT_LENGTH") or 0), len(answer)))
        return [answer]


def refused(code: str, status: str = "403 Forbidden") -> tuple[str, bytes]:
    """Return how S3 refuses."""
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>secret-of-tests</Message></Error>".encode()


def serving() -> Iterator[ObjectStore]:
    """Yield the server, and stop it in the end."""
    server = ObjectStore()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def in_a_process() -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """Run the server as a process of its own; yield where it is and what tells what was moved; see `moved`."""
    command = [sys.executable, "-m", "tests.object_store"]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        def moved() -> dict[str, int]:
            with urllib.request.urlopen(f"{url}{_MOVED}", timeout=60) as answer:
                found: dict[str, int] = json.load(answer)
                return found

        yield url, moved
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    _server = ObjectStore()
    _server.clear()
    print(_server.url, flush=True)
    threading.Event().wait()
