"""An OpenAI-compatible server on loopback that answers, and fails, as a script says.

It serves `/v1/chat/completions` (whole and as server-sent events), `/v1/messages` (whole), `/v1/embeddings`,
`/v1/models`, `/v1beta/models/MODEL:generateContent` (whole), and batches of OpenAI, Azure, Anthropic
(`tests/batch_desk.py`) and Google (`tests/google_desk.py`), and remembers every request. In a test:

    with Loopback({"a": Script(text="4", faults=(Fault("status", status=429, retry_after=1),))}) as server:
        entry = ModelEntry(name="a", litellm="openai/a", api_base=server.api_base)
        ...
        assert server.count("a") == 2

As a process of its own, whose journal outlives the client that is killed:

    python -m tests.loopback --port 0 --script script.json --journal journal.jsonl

where `script.json` is `{"models": {"a": {"text": "4", "faults": [{"kind": "hang"}]}}}`. The port is the
first line of stdout. The journal has one line per request when it arrives (`"event": "received"`) and one
when the whole answer has been sent (`"event": "answered"`): a call is paid for once the second is there.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self

from tests import google_desk
from tests.batch_desk import BatchDesk, MessageBatchDesk, as_chat, as_message

FaultKind = Literal[
    "status",
    "hang",
    "reset",
    "malformed",
    "error_body",
    "no_choices",
    "empty",
    "null_content",
    "truncated",
    "slow",
]

Text = str | Callable[[list[dict[str, Any]]], str]


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        kind: `status` answers with an HTTP status; `hang` never answers; `reset` cuts the connection in
            the middle of the answer; `malformed` sends what is not JSON; `error_body` an error under the
            HTTP status 200, with `status` in its body; `no_choices`, `empty` and `null_content` an answer
            without one; `truncated` ends a stream early but politely (a whole answer is cut as by
            `reset`); `slow` waits `seconds` before the first token.
        status: The HTTP status of `status`.
        retry_after: Value of a `Retry-After` header: seconds, or an HTTP date as text.
        message: The provider's own words; `{authorization}` is replaced by the request's header.
        seconds: How long `slow` waits.
    """

    kind: FaultKind
    status: int = 500
    retry_after: float | str | None = None
    message: str = "the server had an error while processing your request"
    seconds: float = 1.0


@dataclass(frozen=True)
class Raw:
    """An answer as it goes over the wire.

    Attributes:
        body: JSON; bytes as they are; or with `events`, the JSON of each event of a stream.
        status: The HTTP status.
        kind: The content type; None for that of JSON, or of a stream.
        events: Whether it is a stream of events, which ends in `[DONE]`.
        headers: Further headers.
    """

    body: Any
    status: int = 200
    kind: str | None = None
    events: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if self.events:
            return "".join(f"data: {json.dumps(event)}\n\n" for event in (*self.body,)).encode() + b"data: [DONE]\n\n"
        return json.dumps(self.body).encode()


@dataclass(frozen=True)
class Script:
    """How one model answers.

    Attributes:
        text: The answer, or a function of the messages. `{question}` (the last message), `{model}` and
            `{number}` (of this call to this model, from 1) are replaced in a text.
        delay: Seconds before the answer begins.
        usage: "count" for words of prompt and answer; a mapping is sent as it is; None sends none.
        usage_when: Whether a stream tells its usage at the end, with its first piece alone, or with every piece.
        reasoning: Text of a reasoning that comes beside the answer.
        tier: The service tier that the answer names.
        finish_reason: Why the answer ended.
        logprobs: Makes the log-probabilities of an answer's tokens, sent with a whole answer that asks for them.
        faults: What the first calls meet, in order; None stands for a call that goes well.
        every: Every this many calls (counted from 1) `every_fault` happens.
        every_fault: What happens then.
        fails: Says of the messages of a call what it meets; None for a call that goes well.
        piece_delay: Seconds between the pieces of a stream.
        together: An answer waits until so many requests have been worked on at one time.
        width: Components of an embedding.
        raw: Makes the answer to a request's body; None from it for the usual one.
        calls: Makes the tool calls of an answer from a request's body: pairs of a tool and its arguments as JSON. An
            answer with calls has no text, and a stream sends their arguments in two pieces.
    """

    text: Text = "an answer"
    delay: float = 0.0
    usage: Mapping[str, Any] | Literal["count"] | None = "count"
    usage_when: Literal["end", "first", "every"] = "end"
    reasoning: str = ""
    tier: str | None = None
    finish_reason: str = "stop"
    logprobs: Callable[[str], Sequence[float]] | None = None
    faults: Sequence[Fault | None] = ()
    every: int | None = None
    every_fault: Fault = Fault("status", status=500)
    fails: Callable[[list[dict[str, Any]]], Fault | None] | None = None
    piece_delay: float = 0.0
    together: int = 0
    width: int = 8
    raw: Callable[[dict[str, Any]], Raw | None] | None = None
    calls: Callable[[dict[str, Any]], Sequence[tuple[str, str]]] | None = None


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `headers` have lower-case names."""

    time: float
    path: str
    model: str
    body: dict[str, Any]
    headers: dict[str, str] = field(repr=False)


class Loopback:
    """The running server; a context manager.

    A model that no script names gets a 404, unless there is a script for `*`.

    Attributes:
        requests: What came, in that order.
        complete: Those of them whose whole answer was sent.
        most_at_once: How many were worked on at one time, at most.
        hold_after: What comes after so many requests gets no answer as long as this is set, so that a client
            cannot end before it is killed; None for no limit.
    """

    def __init__(
        self, models: Mapping[str, Script] | None = None, *, port: int = 0, journal: Path | None = None
    ) -> None:
        self.scripts: dict[str, Script] = dict(models or {})
        self.requests: list[Request] = []
        self.complete: list[Request] = []
        self.most_at_once = 0
        self.hold_after: int | None = None
        self.stopping = threading.Event()
        self.batches = BatchDesk(self._answer_row)
        self.message_batches = MessageBatchDesk(self._answer_row)
        self.gemini_batches = google_desk.GeminiDesk(self._answer_row)
        self.vertex_batches = google_desk.VertexDesk(self._answer_row)
        self._journal = journal
        self._calls: Counter[str] = Counter()
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.loopback = self

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def api_base(self) -> str:
        """What a pool entry names as `api_base`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, model: str, text: str | Callable[[list[dict[str, Any]]], str] = "an answer", **how: Any) -> None:
        """Set, or replace, how a model answers; keyword arguments are those of `Script`."""
        self.scripts[model] = Script(text=text, **how)
        self._calls[model] = 0

    def count(self, model: str | None = None) -> int:
        """Return how many requests came for a model, or in all."""
        return sum(1 for request in list(self.requests) if model in (None, request.model))

    def _answer_row(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer a row of a batch as a call of its own would be."""
        request = Request(time.time(), "/v1/chat/completions", str(body.get("model")), body, {})
        with self._lock:
            self._calls[request.model] += 1
            number = self._calls[request.model]
        script = self.scripts.get(request.model, self.scripts.get("*"))
        if script is None:
            return 404, {"error": {"message": f"the model `{request.model}` does not exist"}}
        fault = _fault(request, script, number)
        if fault is not None and fault.kind == "status":
            return fault.status, {"error": {"message": fault.message, "type": "error", "code": fault.status}}
        raw = script.raw(body) if script.raw is not None else None
        return (200, _completion(request, script, number)) if raw is None else (raw.status, raw.body)

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def receive(self, request: Request) -> tuple[int, Script | None]:
        """Record a request; return its number among those of its model, and the model's script."""
        with self._lock:
            self.requests.append(request)
            self._calls[request.model] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            number = self._calls[request.model]
            self._write("received", request)
        return number, self.scripts.get(request.model, self.scripts.get("*"))

    def holds(self, request: Request) -> bool:
        """Return whether a request is not to be answered yet."""
        most = self.hold_after
        return most is not None and any(request is other for other in list(self.requests)[most:])

    def left(self) -> None:
        """Note that a request is no longer worked on, however it ended."""
        with self._lock:
            self._at_once -= 1

    def answered(self, request: Request) -> None:
        """Note that the whole answer was sent."""
        with self._lock:
            self.complete.append(request)
            self._write("answered", request)

    def _write(self, event: str, request: Request) -> None:
        if self._journal is None:
            return
        asked = json.dumps(request.body, sort_keys=True)
        line = {
            "event": event,
            "time": request.time,
            "model": request.model,
            "sender": request.headers.get("authorization", ""),
            "key": hashlib.sha256(asked.encode()).hexdigest(),
        }
        with self._journal.open("a") as file:
            file.write(json.dumps(line) + "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    loopback: Loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that go away in mid-answer are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    _at_work = False
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self._is_about_batches():
            self._answer_about_batches("GET", b"")
        elif self.path.rstrip("/") == "/v1/models":
            names = list(self.server.loopback.scripts)
            self._json(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        else:
            self._error(404, f"no such path: {self.path}")

    def do_DELETE(self) -> None:
        self._answer_about_batches("DELETE", b"")

    def do_POST(self) -> None:
        raw = self._body()
        if self._is_about_batches():
            self._answer_about_batches("POST", raw)
            return
        if self.headers.get("content-type", "").startswith("multipart/"):
            self._error(404, f"no such path: {self.path}")
            return
        body = json.loads(raw or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        generated = re.search(r"/models/([^/:]+):(?:generateContent|rawPredict)$", self.path)
        model = str(body.get("model")) if generated is None else generated[1]
        request = Request(time.time(), self.path, model, body, headers)
        number, script = self.server.loopback.receive(request)
        self._at_work = True
        is_message = self.path.endswith(("/messages", ":rawPredict"))
        if is_message and script.raw is None:
            request = replace(request, body=as_chat(body))
        elif generated is not None and script is not None and script.raw is None:
            request = replace(request, body=google_desk.as_chat(body, model))
        try:
            self._answer(request, script, number)
        finally:
            self._leave()

    def _body(self) -> bytes:
        """Read the body of a request; a file comes in chunks."""
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _is_about_batches(self) -> bool:
        return self._desk() is not None

    def _desk(self) -> BatchDesk | None:
        """Return the batch endpoints that a request goes to; None where it goes to none."""
        loopback = self.server.loopback
        if re.match(r"/(\w+/)?v1beta/(files|batches)|.*:batchGenerateContent$", self.path):
            return loopback.gemini_batches
        if re.match(r"/token$|/(upload/)?storage/v1/|.*/batchPredictionJobs", self.path):
            return loopback.vertex_batches
        if not re.match(r"/(openai/)?(v1/)?(files|(messages/)?batches)", self.path):
            return None
        return loopback.message_batches if self.path.startswith("/v1/messages/") else loopback.batches

    def _answer_about_batches(self, method: str, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        desk = self._desk()
        assert desk is not None
        desk.headers.append(headers)
        found = desk.handle(method, self.path, self.headers.get("content-type", ""), body)
        if found is None:
            self.close_connection = True
            self.connection.close()
        else:
            self._send(*found)

    def _leave(self) -> None:
        if self._at_work:
            self._at_work = False
            self.server.loopback.left()

    def _answer(self, request: Request, script: Script | None, number: int) -> None:
        if script is None:
            self._error(404, f"the model `{request.model}` does not exist")
            return
        loopback = self.server.loopback
        while loopback.holds(request) or loopback.most_at_once < script.together:
            if self._wait(0.01):
                return
        if self._wait(script.delay):
            return
        fault = _fault(request, script, number)
        if fault is not None and self._fails(fault, request, script, number):
            return
        raw = script.raw(request.body) if script.raw is not None else None
        if raw is not None:
            usual = "text/event-stream" if raw.events else "application/json"
            self._send(raw.status, raw.encoded(), raw.kind or usual, raw.headers)
        elif self.path.endswith("/embeddings"):
            self._json(200, _embeddings(request, script))
        elif request.body.get("stream"):
            self._stream(request, script, number)
        elif self.path.endswith(("/messages", ":rawPredict")):
            self._json(200, as_message(_completion(request, script, number)))
        elif self.path.endswith(":generateContent"):
            self._json(200, google_desk.as_candidates(_completion(request, script, number)))
        else:
            self._json(200, _completion(request, script, number))
        self.server.loopback.answered(request)

    def _wait(self, seconds: float | None) -> bool:
        """Wait; return whether the server was stopped meanwhile."""
        if seconds == 0:
            return False
        stopped = self.server.loopback.stopping.wait(seconds)
        self.close_connection = self.close_connection or stopped
        return stopped

    def _fails(self, fault: Fault, request: Request, script: Script, number: int) -> bool:
        """Act a fault out; return whether nothing is left to send."""
        whole = _completion(request, script, number)
        match fault.kind:
            case "hang":
                self._wait(None)
            case "slow":
                return self._wait(fault.seconds)
            case "status":
                message = fault.message.replace("{authorization}", self.headers.get("authorization", ""))
                self._error(fault.status, message, fault.retry_after)
            case "malformed":
                self._send(200, b'{"choices": [{"message": {"content": "half', "application/json")
            case "reset":
                self._break_off(request, script, number, reset=True)
            case "truncated":
                self._break_off(request, script, number, reset=False)
            case "error_body":
                self._json(200, {"error": {"message": fault.message, "code": fault.status}})
            case "no_choices":
                self._json(200, {**whole, "choices": []})
            case "empty" | "null_content":
                content = "" if fault.kind == "empty" else None
                self._empty(request, whole, content)
        return True

    def _empty(self, request: Request, whole: dict[str, Any], content: str | None) -> None:
        if request.body.get("stream"):
            self._begin_stream()
            self._chunk(_delta(request, {"role": "assistant", "content": content}, None))
            self._chunk(_delta(request, {}, "stop"))
            self._end_stream()
        else:
            message = {"role": "assistant", "content": content}
            self._json(200, {**whole, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _stream(self, request: Request, script: Script, number: int) -> None:
        self._begin_stream()
        calls = _calls(request, script, number)
        text = "" if calls else _text(request, script, number)
        usage = _usage(request, script, text or str(calls))
        for call in calls:
            self._stream_call(request, call)
        if script.reasoning:
            self._chunk(_delta(request, {"role": "assistant", "reasoning_content": script.reasoning}, None))
        for place, piece in enumerate(_pieces(text)):
            chunk = _delta(request, {"role": "assistant", "content": piece}, None)
            told = usage is not None and (script.usage_when == "every" or (script.usage_when == "first" and not place))
            self._chunk({**chunk, "usage": {**(usage or {}), "completion_tokens": place + 1}} if told else chunk)
            if self._wait(script.piece_delay):
                return
        self._chunk({**_delta(request, {}, "tool_calls" if calls else script.finish_reason), **_tier(script)})
        wanted = (request.body.get("stream_options") or {}).get("include_usage")
        if usage is not None and wanted and script.usage_when == "end":
            self._chunk({**_delta(request, {}, None), "choices": [], "usage": usage})
        self._end_stream()

    def _stream_call(self, request: Request, call: dict[str, Any]) -> None:
        """Send one tool call as OpenAI does: its name, then its arguments piece by piece."""
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        rest = [
            {"index": call["index"], "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])
        ]
        for piece in (begun, *rest):
            self._chunk(_delta(request, {"role": "assistant", "content": None, "tool_calls": [piece]}, None))

    def _break_off(self, request: Request, script: Script, number: int, *, reset: bool) -> None:
        text = _text(request, script, number)
        if request.body.get("stream"):
            self._begin_stream()
            pieces = list(_pieces(text))
            for piece in pieces[: max(1, len(pieces) // 2)]:
                self._chunk(_delta(request, {"role": "assistant", "content": piece}, None))
            if not reset:
                self.wfile.write(b"0\r\n\r\n")
                return
        else:
            data = json.dumps(_completion(request, script, number)).encode()
            self._head(200, "application/json", {"Content-Length": str(len(data))})
            self.wfile.write(data[: len(data) // 2])
        self.close_connection = True
        if reset:
            # Lingering for 0 s turns the close into an RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _begin_stream(self) -> None:
        self._head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})

    def _chunk(self, event: Mapping[str, Any]) -> None:
        self._chunk_bytes(f"data: {json.dumps(event)}\n\n".encode())

    def _chunk_bytes(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _end_stream(self) -> None:
        self._chunk_bytes(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _error(self, status: int, message: str, retry_after: float | str | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        body = {"error": {"message": message, "type": "error", "code": status}}
        self._send(status, json.dumps(body).encode(), "application/json", headers)

    def _json(self, status: int, body: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        # Before the client knows of it and asks the next.
        self._leave()
        self._head(status, kind, {"Content-Length": str(len(data)), **(headers or {})}, data)

    def _head(self, status: int, kind: str, headers: Mapping[str, str], data: bytes = b"") -> None:
        """Send head and body as one write, so that neither waits for the other's acknowledgement."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self._headers_buffer.append(b"\r\n" + data)
        self.flush_headers()


def _fault(request: Request, script: Script, number: int) -> Fault | None:
    if script.fails is not None:
        return script.fails(request.body.get("messages") or [])
    if number <= len(script.faults):
        return script.faults[number - 1]
    if script.every is not None and number % script.every == 0:
        return script.every_fault
    return None


def _text(request: Request, script: Script, number: int) -> str:
    messages = request.body.get("messages") or [{"content": ""}]
    if callable(script.text):
        return script.text(messages)
    replaced = {"{question}": str(messages[-1].get("content")), "{model}": request.model, "{number}": str(number)}
    text = script.text
    for mark, value in replaced.items():
        text = text.replace(mark, value)
    return text


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into words that keep the space behind them."""
    words = text.split(" ")
    for word in words[:-1]:
        yield word + " "
    yield words[-1]


def _usage(request: Request, script: Script, text: str) -> Mapping[str, Any] | None:
    if script.usage != "count":
        return script.usage
    prompt = sum(len(str(message.get("content")).split()) for message in request.body.get("messages", []))
    completion = len(text.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def completion(content: Any = "42", finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    """Return a whole answer of 10 and 5 tokens; further fields are of its message."""
    message = {"role": "assistant", "content": content, **fields}
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 1,
        "model": "a",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def events(*deltas: Any, finish_reason: str = "stop") -> list[dict[str, Any]]:
    """Return the events of a stream, with a usage at its end: each delta, or the content of one."""
    head = {"id": "chatcmpl-loopback", "object": "chat.completion.chunk", "created": 1, "model": "a"}
    pieces = [delta if isinstance(delta, dict) else {"content": delta} for delta in deltas]
    choices = [{"index": 0, "delta": {"role": "assistant", **piece}, "finish_reason": None} for piece in pieces]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return [*({**head, "choices": [choice]} for choice in choices), {**head, "choices": [], "usage": usage}]


def _calls(request: Request, script: Script, number: int) -> list[dict[str, Any]]:
    """Return the tool calls of an answer as a stream numbers them."""
    made = [] if script.calls is None else script.calls(request.body)
    return [
        {
            "index": place,
            "id": f"call_{request.model}_{number}_{place}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for place, (name, arguments) in enumerate(made)
    ]


def _completion(request: Request, script: Script, number: int) -> dict[str, Any]:
    text = _text(request, script, number)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    calls = [{name: part for name, part in call.items() if name != "index"} for call in _calls(request, script, number)]
    if calls:
        message, text = {"role": "assistant", "content": None, "tool_calls": calls}, str(calls)
    if script.reasoning:
        message["reasoning_content"] = script.reasoning
    reason = "tool_calls" if calls else script.finish_reason
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": reason}
    if script.logprobs is not None and request.body.get("logprobs"):
        tokens = [{"token": "t", "bytes": None, "logprob": p, "top_logprobs": []} for p in script.logprobs(text)]
        choice["logprobs"] = {"content": tokens}
    body = {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": int(request.time),
        "model": request.model,
        "choices": [choice],
        **_tier(script),
    }
    usage = _usage(request, script, text)
    return body if usage is None else {**body, "usage": usage}


def _tier(script: Script) -> dict[str, Any]:
    return {} if script.tier is None else {"service_tier": script.tier}


def _delta(request: Request, delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion.chunk",
        "created": int(request.time),
        "model": request.model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def _embeddings(request: Request, script: Script) -> dict[str, Any]:
    given = request.body.get("input", "")
    texts = [given] if isinstance(given, str) else list(given)
    vectors = [_vector(str(text), script.width) for text in texts]
    if request.body.get("encoding_format") == "base64":
        coded: list[Any] = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    else:
        coded = vectors
    tokens = sum(len(str(text).split()) for text in texts)
    return {
        "object": "list",
        "model": request.model,
        "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(coded)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(text: str, width: int) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    stretched = hashlib.shake_256(text.encode()).digest(4 * width)
    raw = [number / 2**31 - 1 for number in struct.unpack(f"<{width}I", stretched)]
    length = math.sqrt(sum(x * x for x in raw)) or 1.0
    return [x / length for x in raw]


def read_scripts(path: Path) -> dict[str, Script]:
    """Read the scripts of a stand-alone server from JSON."""
    models = json.loads(path.read_text())["models"]
    return {name: _script(how) for name, how in models.items()}


def _script(how: dict[str, Any]) -> Script:
    faults = tuple(None if fault is None else Fault(**fault) for fault in how.pop("faults", ()))
    if "every_fault" in how:
        how["every_fault"] = Fault(**how["every_fault"])
    return Script(faults=faults, **how)


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--journal", type=Path)
    arguments = parser.parse_args()
    server = Loopback(read_scripts(arguments.script), port=arguments.port, journal=arguments.journal)
    print(server.port, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
