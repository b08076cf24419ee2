"""OpenAI's files and batches endpoints for `tests/loopback.py`, and Azure's and Anthropic's, with their faults.

    with Loopback({"a": Script(text="4")}) as server:
        server.batches.ends = ["expired", "completed"]
        ...
        assert server.batches.asked() == {"custom id": 1}

Each row of a batch is answered by the script of its model: a fault of kind `status` becomes a row of the error file.
Azure's are the same below `/openai` and `/openai/v1`; Anthropic's are `server.message_batches`.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Literal

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
"""Answers the body of a row: the HTTP status, and what is sent with it."""
End = Literal["completed", "expired", "cancelled", "failed"]
_PREFIXES = ("/openai/v1/", "/openai/", "/v1/messages/", "/v1/")
_URLS = {"/openai/": "/chat/completions"}
"""What the rows of a batch and the batch itself say of where calls go, where that is not as at OpenAI."""
_ENDPOINTS = {"/openai/": "/chat/completions", "/openai/v1/": "/chat/completions"}


@dataclass
class Batch:
    """One batch: what was asked for, and how far it is."""

    id: str
    input_file_id: str
    metadata: dict[str, str]
    rows: list[dict[str, Any]]
    end: End
    looks: int
    output_file_id: str | None = None
    error_file_id: str | None = None
    failed: int = 0
    code: str = "invalid"
    kinds: Counter[str] = field(default_factory=Counter)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def status(self) -> str:
        return "in_progress" if self.looks > 0 else self.end

    def to_json(self) -> dict[str, Any]:
        done = 0 if self.looks > 0 else len(self.rows)
        errors = {"object": "list", "data": [{"code": self.code, "message": "the file is not one of ours"}]}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "created_at": 1,
            "status": self.status,
            "errors": errors if self.status == "failed" else None,
            "output_file_id": None if self.looks > 0 else self.output_file_id,
            "error_file_id": None if self.looks > 0 else self.error_file_id,
            "metadata": self.metadata,
            "request_counts": {"total": len(self.rows), "completed": done - self.failed, "failed": self.failed},
        }


@dataclass
class BatchDesk:
    """Files and batches of one server.

    Attributes:
        answer: Answers a row.
        ends: How the batches end, in their order; those beyond are completed.
        finished: Rows of a batch that is expired or cancelled which were worked on before.
        looks: How often a batch is looked at before it has ended.
        altered: Changes the lines of the results before they are sent.
        most: Requests that may be under way at one time; None for no limit.
        unheard: The next so many requests to `POST files` or `POST batches` are carried out, and not answered.
        reading: How often a file is looked at before Azure has read it, so that a batch can be created of it.
        hidden: Names of batches and files that it has no more.
        refused: Endpoints that get a 403.
        keeps_metadata: Whether what a client keeps beside a batch is there when it looks.
        busy: The next so many requests to an endpoint get a 503.
        held: Endpoints that are carried out and then wait until this is taken away: for clients that are killed.
        reached: Is set when a request waits there.

    An endpoint is called `POST files`, `GET files/content`, `POST batches`, `GET batches` (the list), `GET batches/id`,
    `DELETE files/id`.

    Attributes:
        batches: What was created, in its order.
        deleted: Names of what was deleted.
        headers: Those of each request, in small letters.
    """

    answer: Answer
    ends: list[End] = field(default_factory=list)
    finished: int = 0
    looks: int = 1
    altered: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
    most: int | None = None
    reading: int = 0
    unheard: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    hidden: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    keeps_metadata: bool = True
    held: set[str] = field(default_factory=set)
    reached: threading.Event = field(default_factory=threading.Event)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _prefix: str = "/v1/"

    def asked(self) -> Counter[str]:
        """Return how often each custom id was submitted in a batch that was taken."""
        return Counter(row["custom_id"] for batch in self.batches if batch.end != "failed" for row in batch.rows)

    def handle(self, method: str, path: str, kind: str, body: bytes) -> tuple[Any, ...] | None:
        """Return what is answered: the status, the body, its type, perhaps headers; None where the line breaks."""
        path, _, query = path.partition("?")
        parts = self._parts_of(path)
        endpoint = self._endpoint(method, parts, query)
        with self._lock:
            self.requests[endpoint] += 1
            if self.busy[endpoint] > 0:
                self.busy[endpoint] -= 1
                return 503, b'{"error": {"message": "come again"}}', "application/json"
            if endpoint in self.refused:
                return 403, b'{"error": {"message": "not yours"}}', "application/json"
            if self.hidden.intersection(parts):
                return 404, b'{"error": {"message": "no such thing"}}', "application/json"
            found = self._carry_out(method, parts, query, kind, body)
            is_unheard = self.unheard[endpoint] > 0
            self.unheard[endpoint] -= is_unheard
        if endpoint in self.held:
            self.reached.set()
            while endpoint in self.held:
                threading.Event().wait(0.01)
            return None
        return None if is_unheard else found

    def _endpoint(self, method: str, parts: list[str], query: str) -> str:
        return f"{method} {parts[0]}" + {1: "", 2: "/id"}.get(len(parts), "/content")

    def _parts_of(self, path: str) -> list[str]:
        """Return what a path names: `files` or `batches`, one of them, what is asked of it."""
        self._prefix = next(prefix for prefix in _PREFIXES if path.startswith(prefix))
        return path.removeprefix(self._prefix).strip("/").split("/")

    def _carry_out(self, method: str, parts: list[str], query: str, kind: str, body: bytes) -> tuple[Any, ...]:
        match method, *parts:
            case "POST", "files":
                return self._json(self._upload(kind, body))
            case "GET", "files", name, "content" if name in self.files:
                return 200, self.files[name], "application/octet-stream"
            case "GET", "files":
                rows = [{"id": name, "object": "file", "filename": self.names.get(name)} for name in self.files]
                return self._json({"object": "list", "data": rows, "has_more": False})
            case "GET", "files", name if name in self.files:
                self.reading -= 1
                return self._json(
                    {"id": name, "object": "file", "status": "processed" if self._has_read else "pending"}
                )
            case "DELETE", "files", name if name in self.files:
                del self.files[name]
                self.deleted.append(name)
                return self._json({"id": name, "object": "file", "deleted": True})
            case "POST", "batches" if not self._has_read:
                return 400, b'{"error": {"message": "the file is not ready"}}', "application/json"
            case "POST", "batches":
                return self._json(self._create(json.loads(body)).to_json())
            case "GET", "batches":
                # Newest first, ten a page whatever was asked for, as a list that does not end at once.
                after = dict(pair.split("=") for pair in query.split("&") if "=" in pair).get("after")
                newest = self.batches[::-1]
                first = next((place + 1 for place, batch in enumerate(newest) if batch.id == after), 0)
                page = [batch.to_json() for batch in newest[first : first + 10]]
                return self._json({"object": "list", "data": page, "has_more": len(newest) > first + 10})
            case "GET", "batches", name if any(batch.id == name for batch in self.batches):
                batch = next(batch for batch in self.batches if batch.id == name)
                batch.looks -= 1
                return self._json(batch.to_json())
        return 404, b'{"error": {"message": "no such thing"}}', "application/json"

    @property
    def _has_read(self) -> bool:
        return self._prefix == "/v1/" or self.reading <= 0

    def _json(self, body: dict[str, Any]) -> tuple[int, bytes, str]:
        return 200, json.dumps(body).encode(), "application/json"

    def _upload(self, kind: str, body: bytes) -> dict[str, Any]:
        form = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        assert parts["purpose"].get_payload(decode=True) == b"batch"
        content = parts["file"].get_payload(decode=True)
        name = f"file-{len(self.names) + 1}"
        self.files[name] = content
        self.names[name] = parts["file"].get_filename()
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "purpose": "batch",
            "filename": "x",
            "created_at": 1,
        }

    def _create(self, asked: dict[str, Any]) -> Batch:
        assert asked["endpoint"] == _ENDPOINTS.get(self._prefix, "/v1/chat/completions")
        assert asked["completion_window"] == "24h"
        rows = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        assert {row["url"] for row in rows} == {_URLS.get(self._prefix, "/v1/chat/completions")}
        assert len({row["body"]["model"] for row in rows}) == 1, "a file is about one model"
        end = self.ends[len(self.batches)] if len(self.batches) < len(self.ends) else "completed"
        at_work = sum(len(batch.rows) for batch in self.batches if batch.status == "in_progress")
        is_too_much = self.most is not None and at_work + len(rows) > self.most
        end = "failed" if is_too_much else end
        name = f"batch_{len(self.batches) + 1}"
        batch = Batch(
            name,
            asked["input_file_id"],
            asked.get("metadata") or {} if self.keeps_metadata else {},
            rows,
            end,
            self.looks,
        )
        batch.code = "token_limit_exceeded" if is_too_much else batch.code
        self.batches.append(batch)
        if end != "failed":
            self._work(batch)
        return batch

    def _work(self, batch: Batch) -> None:
        count = len(batch.rows) if batch.end == "completed" else self.finished
        good, bad = [], []
        for row in batch.rows[:count]:
            status, body = self.answer(row["body"])
            answer = {"status_code": status, "request_id": "r", "body": body}
            line = {"id": "l", "custom_id": row["custom_id"], "response": answer, "error": None}
            (good if status == 200 else bad).append(line)
        for row in batch.rows[count:]:
            error = {"code": f"batch_{batch.end}", "message": f"this request was {batch.end}"}
            bad.append({"id": "l", "custom_id": row["custom_id"], "response": None, "error": error})
        batch.failed = len(bad)
        batch.output_file_id, batch.error_file_id = self._results(batch, good, "out"), self._results(batch, bad, "err")

    def _results(self, batch: Batch, rows: list[dict[str, Any]], kind: str) -> str | None:
        if not rows:
            return None
        lines = self.altered([json.dumps(row).encode() for row in reversed(rows)])
        name = f"file-{kind}-{batch.id}"
        self.files[name] = b"".join(line + b"\n" for line in lines)
        return name


class MessageBatchDesk(BatchDesk):
    """Anthropic's Message Batches of one server: no files, and nothing of a batch is kept but its requests.

    Its endpoints are called `POST batches`, `GET batches` (the list), `GET batches/id`, `GET batches/content` (the
    results), `DELETE batches/id`.
    """

    def _carry_out(self, method: str, parts: list[str], query: str, kind: str, body: bytes) -> tuple[int, bytes, str]:
        named = {batch.id: batch for batch in self.batches if batch.id not in self.deleted}
        match method, *parts:
            case "POST", "batches":
                assert kind == "application/json"
                batch = self._create_of(json.loads(body)["requests"])
                return self._json(self._told(batch))
            case "GET", "batches":
                # Newest first, ten a page at most.
                given = dict(pair.split("=") for pair in query.split("&") if "=" in pair)
                newest = [batch for batch in self.batches[::-1] if batch.id in named]
                after = given.get("after_id")
                first = next((place + 1 for place, batch in enumerate(newest) if batch.id == after), 0)
                last = first + min(10, int(given["limit"]))
                page = [self._told(batch) for batch in newest[first:last]]
                return self._json({"data": page, "has_more": len(newest) > last})
            case "GET", "batches", name if name in named:
                named[name].looks -= 1
                return self._json(self._told(named[name]))
            case "GET", "batches", name, "results" if name in named and named[name].looks <= 0:
                return 200, self.files[name], "application/x-jsonl"
            case "DELETE", "batches", name if name in named:
                self.deleted.append(name)
                return self._json({"id": name, "type": "message_batch_deleted"})
        return 404, json.dumps(_error("not_found_error", "no such thing")).encode(), "application/json"

    def _create_of(self, requests: list[dict[str, Any]]) -> Batch:
        end = self.ends[len(self.batches)] if len(self.batches) < len(self.ends) else "completed"
        name = f"msgbatch_{len(self.batches) + 1}"
        rows = [{"custom_id": request["custom_id"], "body": request["params"]} for request in requests]
        batch = Batch(name, "", {}, rows, end, self.looks)
        self.batches.append(batch)
        done = len(rows) if end == "completed" else self.finished
        results = [self._result(row["body"]) for row in rows[:done]]
        results += [{"type": "canceled" if end == "cancelled" else "expired"} for _ in rows[done:]]
        lines = [
            json.dumps({"custom_id": row["custom_id"], "result": result}).encode()
            for row, result in zip(rows, results, strict=True)
        ]
        batch.kinds = Counter(result["type"] for result in results)
        self.files[name] = b"".join(line + b"\n" for line in self.altered(lines[::-1]))
        return batch

    def _result(self, params: dict[str, Any]) -> dict[str, Any]:
        status, body = self.answer(as_chat(params))
        if status == 200:
            return {"type": "succeeded", "message": as_message(body)}
        return {"type": "errored", "error": _error(_KINDS.get(status, "api_error"), body["error"]["message"])}

    def _told(self, batch: Batch) -> dict[str, Any]:
        has_ended = batch.looks <= 0
        counts = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if has_ended else "in_progress",
            "request_counts": {
                "processing": 0 if has_ended else len(batch.rows),
                **counts,
                **(batch.kinds if has_ended else {}),
            },
            "created_at": batch.created.isoformat(),
            "results_url": "https://elsewhere.example/steals/the/key" if has_ended else None,
        }


_KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def as_message(completion: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion as Anthropic's Messages say it; what is one already stays."""
    if "choices" not in completion:
        return completion
    usage = completion.get("usage") or {}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": completion["model"],
        "content": [{"type": "text", "text": completion["choices"][0]["message"]["content"]}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.get("prompt_tokens", 1),
            "output_tokens": usage.get("completion_tokens", 1),
            "service_tier": "batch",
        },
    }


def as_chat(params: dict[str, Any]) -> dict[str, Any]:
    """Return a request to Anthropic's Messages as one for a chat completion, for scripts to read."""
    messages = [
        {**message, "content": "".join(part["text"] for part in message["content"])}
        if isinstance(message["content"], list)
        else message
        for message in params.get("messages", ())
    ]
    return {**params, "messages": messages}
