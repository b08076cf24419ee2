"""Object stores on loopback, which count what they are asked and can be told to fail.

S3 is moto's server. Azure is Azurite, Microsoft's own, where it is installed (`npm install azurite`, with its `.bin`
on PATH). Google's XML interface is S3's but for its conditions and keys, so it is moto's server behind these; Google's
own test bench answers to conditions as this does, and lacks what a bank needs beside them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

BUCKET = "jisi-tests"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret-of-tests", "AWS_REGION": "us-east-1"}
ACCOUNT, ACCOUNT_KEY = "devstoreaccount1", base64.b64encode(b"secret-of-tests of an account in Azure").decode()
TOKEN = "secret-of-tests-at-google"
CREDENTIALS = {
    "s3": KEYS,
    "gs": {"GOOGLE_BEARER_TOKEN": TOKEN},
    "abfs": {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY},
}
ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "GOOGLE_BASE_URL", "abfs": "AZURE_STORAGE_ENDPOINT"}

_MOVED = "/-/moved"
_SIGNED = "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

Fault = Callable[[str, str], tuple[str, bytes] | None]
"""Called with the method and the path of each request; may wait, or return a status and a body instead of the store."""


@dataclass(frozen=True)
class Request:
    """A request that the server was asked, as (`GET`, `/bucket/name`), with the bytes of both bodies.

    A path of Azure is told without the account, which comes first there.
    """

    method: str
    path: str
    received: int
    sent: int


@dataclass
class ObjectStore:
    """The server, as long as its context is open.

    Attributes:
        scheme: Whose it is: `s3`, `gs` or `abfs`.
        url: Where it is.
        requests: What it was asked.
        fault: What goes wrong.
        has_conditions: Whether it writes on a condition; else it says that it cannot, as some servers do.
        before_answer: Called with the method and the path of what was carried out, before it is answered; may wait.
    """

    scheme: str = "s3"
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    fault: Fault | None = None
    has_conditions: bool = True
    before_answer: Callable[[str, str], None] | None = None

    def __post_init__(self) -> None:
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._azurite = _Azurite() if self.scheme == "abfs" else None
        self._app: Application = self._azurite.app if self._azurite else _moto()
        if self.scheme == "gs":
            self._app = _Google(self._app).app
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def bank(self) -> str:
        """The address of a bank in it."""
        return f"{self.scheme}://{BUCKET}/lab/bank"

    @property
    def secret(self) -> tuple[str, str]:
        """The variable that holds what nobody may see, and what that is."""
        name = list(CREDENTIALS[self.scheme])[0 if self.scheme == "gs" else 1]
        return name, CREDENTIALS[self.scheme][name]

    @property
    def environment(self) -> dict[str, str]:
        """What the environment says of it."""
        where = f"{self.url}/{ACCOUNT}" if self._azurite else self.url
        return {**CREDENTIALS[self.scheme], ENDPOINTS[self.scheme]: where}

    def clear(self) -> None:
        """Forget all objects, requests and faults; the bucket is empty."""
        self.fault, self.has_conditions = None, True
        if self._azurite:
            self._azurite.clear()
        else:
            self._ask("POST", "/moto-api/reset")
            self._ask("PUT", f"/{BUCKET}")
        self.requests.clear()

    def get(self, name: str) -> bytes:
        """Return an object."""
        import obstore

        return bytes(obstore.get(self._client(), name).bytes())

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        import obstore

        obstore.put(self._client(), name, content)

    def names(self) -> set[str]:
        """Return the names of all objects."""
        import obstore

        return {found["path"] for page in obstore.list(self._client()) for found in page}

    def moved(self) -> dict[str, int]:
        """Return how many requests came, and the bytes of their bodies and of those of the answers."""
        received, sent = (sum(getattr(one, name) for one in self.requests) for name in ("received", "sent"))
        return {"requests": len(self.requests), "received": received, "sent": sent}

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        if self._azurite:
            self._azurite.close()

    def _client(self) -> Any:
        from obstore.store import from_url

        config = {name.lower(): value for name, value in self.environment.items()}
        return from_url(f"{self.scheme}://{BUCKET}", config=config, client_options={"allow_http": True})

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", method=method, data=content)
        request.add_header("Authorization", f"Bearer {TOKEN}" if self.scheme == "gs" else _SIGNED)
        request.add_header("Content-Type", "application/octet-stream")  # else the body is read as a form
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: bytes = answer.read()
            return found

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        path = path.removeprefix(f"/{ACCOUNT}") if self._azurite else path
        found = self.fault(method, path) if self.fault is not None else None
        if not self.has_conditions and method == "PUT" and _CONDITIONS & environ.keys():
            found = refused("NotImplemented", "501 Not Implemented")
        if path == _MOVED:
            found = "200 OK", json.dumps(self.moved()).encode()
        if found is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _said(start_response, *found)
        answer = b"".join(self._app(environ, start_response))
        if self.before_answer is not None:
            self.before_answer(method, path)
        self.requests.append(Request(method, path, int(environ.get("CONTENT_LENGTH") or 0), len(answer)))
        return [answer]


_GENERATION = "HTTP_X_GOOG_IF_GENERATION_MATCH"
_CONDITIONS = {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", _GENERATION}


def _moto() -> Application:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    app: Application = DomainDispatcherApplication(create_backend_app)
    return app


class _Google:
    """S3 as Google speaks it: with a bearer's token, and numbers of generations that a write may name."""

    def __init__(self, s3: Application) -> None:
        self._s3, self._lock = s3, threading.Lock()
        self._generations: dict[str, int] = {}
        self._last = 0

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_AUTHORIZATION") != f"Bearer {TOKEN}":
            return _said(start_response, *refused("AuthenticationRequired", "401 Unauthorized"))
        environ["HTTP_AUTHORIZATION"] = _SIGNED
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        # Google's client writes `%2D` for a hyphen, which moto takes for a name of its own.
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        environ["REQUEST_URI"] = environ["RAW_URI"] = quote(path.encode("latin-1")) + query
        with self._lock:  # a condition holds until the object is written
            now = self._generations.get(path, 0)
            if _GENERATION in environ and int(environ[_GENERATION]) != now:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return _said(start_response, *refused("PreconditionFailed", "412 Precondition Failed"))

            def start(status: str, headers: list[tuple[str, str]], *rest: object) -> object:
                if status.startswith("2") and method in ("PUT", "DELETE") and path.count("/") > 1:
                    self._last += 1
                    self._generations[path] = self._last if method == "PUT" else 0
                generation = self._generations.get(path)
                named = [("x-goog-generation", str(generation))] if generation else []
                return start_response(status, [*headers, *named], *rest)

            if path.startswith("/moto-api"):
                self._generations.clear()
            return [b"".join(self._s3(environ, start))]


class _Azurite:
    """Microsoft's Azurite in a process of its own, with what it holds in its memory."""

    def __init__(self) -> None:
        program = shutil.which("azurite-blob")
        assert program is not None, "see `missing_store`"
        self._folder = tempfile.TemporaryDirectory()
        command = [program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
        command += ["--disableTelemetry", "--skipApiVersionCheck", "--silent"]
        environment = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}", "PATH": os.environ["PATH"]}
        self._process = subprocess.Popen(
            command, cwd=self._folder.name, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        words = next(line for line in self._process.stdout if "successfully listens on" in line)
        self._place = words.split()[-1].removeprefix("http://")

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Hand a request on to it, as it is: its signature is of path and headers."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        headers |= {
            name.replace("_", "-"): environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)
        }
        connection = http.client.HTTPConnection(self._place, timeout=60)
        try:
            connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        dropped = ("transfer-encoding", "connection", "keep-alive")
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in dropped]
        start_response(f"{answer.status} {answer.reason}", kept)
        return [content]

    def clear(self) -> None:
        """Make the container anew."""
        with suppress(urllib.error.HTTPError):
            self._change_container("DELETE")
        self._change_container("PUT")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _change_container(self, method: str) -> None:
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        named = "\n".join(f"{name}:{value}" for name, value in headers.items())
        path = f"/{ACCOUNT}/{BUCKET}"
        text = method + "\n" * 12 + f"{named}\n/{ACCOUNT}{path}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256))
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature.decode()}"
        url = f"http://{self._place}{path}?restype=container"
        urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=60).close()


def missing_store(scheme: str) -> str:
    """Return why there is no server of a kind; empty where there is one."""
    if scheme == "abfs" and shutil.which("azurite-blob") is None:
        return "needs Azurite: npm install azurite, and its node_modules/.bin on PATH"
    return ""


def _said(start_response: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")])
    return [body]


def refused(code: str, status: str = "403 Forbidden") -> tuple[str, bytes]:
    """Return how S3 refuses."""
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>secret-of-tests</Message></Error>".encode()


def serving() -> Iterator[Callable[[str], ObjectStore]]:
    """Yield what returns the server of a kind, which is started once, and stop all in the end."""
    servers: dict[str, ObjectStore] = {}

    def of(scheme: str) -> ObjectStore:
        if scheme not in servers:
            servers[scheme] = ObjectStore(scheme)
        return servers[scheme]

    try:
        yield of
    finally:
        for server in servers.values():
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
