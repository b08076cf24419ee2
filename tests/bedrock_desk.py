"""Amazon Bedrock on loopback: batch inference jobs over the bucket of `tests/object_store.py`, and live calls.

    with Bedrock(loopback, object_store) as bedrock:
        bedrock.ends = ["expired", "completed"]

Answers are those of the scripts of a `tests/loopback.py`; faults are those of `tests/batch_desk.py`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote

from tests.batch_desk import Batch, BatchDesk, as_message
from tests.loopback import Loopback
from tests.object_store import BUCKET, ObjectStore

ROLE = "arn:aws:iam::123456789012:role/batches"
FOLDER = "questions/of-tests"
STORE = f"s3://{BUCKET}/{FOLDER}"
_JOBS = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job"
_STATUS = {
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Stopped",
    "expired": "PartiallyCompleted",
    "in_progress": "InProgress",
}
_BEFORE = "2026-01-01T00:00:00Z"
_PAGE = 2


class Bedrock(BatchDesk):
    """The server, as long as its context is open.

    Its endpoints are called `POST batches`, `GET batches` (the list) and `GET batches/id`; those of the bucket are
    `PUT requests`, `GET results` and `DELETE requests`, and can only be held.

    Args:
        loopback: Has the scripts that answer.
        store: Has the bucket.

    Attributes:
        url: Where it is.
        live: The bodies of the calls that were made live.
        is_idempotent: Whether the same token brings the same job; else it is a conflict.
        results_in: Where a job says that its results are, instead of where they are.
    """

    def __init__(self, loopback: Loopback, store: ObjectStore) -> None:
        super().__init__(loopback._answer_row)
        self.store = store
        self.live: list[dict[str, Any]] = []
        self.is_idempotent = True
        self.results_in: str | None = None
        self.asked_for: dict[str, dict[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.bedrock = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the environment says of it, beside what it says of the bucket."""
        return {
            "AWS_ENDPOINT_URL_BEDROCK": self.url,
            "AWS_BEDROCK_RUNTIME_ENDPOINT": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> Self:
        self.store.before_answer = self._hold
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.store.before_answer = None
        self._server.shutdown()
        self._server.server_close()

    def asked(self) -> Counter[str]:
        """Return how often each record was submitted in a job that was taken."""
        return Counter(row["recordId"] for batch in self.batches if batch.end != "failed" for row in batch.rows)

    def call(self, model: str, operation: str, body: dict[str, Any]) -> tuple[int, bytes, str]:
        """Answer a live call."""
        self.live.append(body)
        return self._json_of(*self._answer(model, operation, body))

    def _hold(self, method: str, path: str) -> None:
        """Let a client wait for the bucket, as `handle` does for a job."""
        what = {"requests.jsonl": "requests", "requests.jsonl.out": "results"}.get(path.rpartition("/")[2])
        endpoint = f"{method} {what}"
        if endpoint in self.held:
            self.reached.set()
            while endpoint in self.held:
                threading.Event().wait(0.01)

    def _json_of(self, status: int, body: dict[str, Any]) -> tuple[int, bytes, str]:
        return status, json.dumps(body).encode(), "application/json"

    def _answer(self, model: str, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, found = self.answer(_as_chat(model, body))
        if status != 200:
            return status, {"message": found["error"]["message"]}
        return 200, _as_converse(found) if operation == "converse" else as_message(found)

    def _carry_out(self, method: str, parts: list[str], query: str, kind: str, body: bytes) -> tuple[int, bytes, str]:
        named = {batch.id: batch for batch in self.batches}
        match method, *parts:
            case "POST", "batches":
                return self._created(json.loads(body))
            case "GET", "batches":
                given = {name: values[0] for name, values in parse_qs(query).items()}
                jobs = [job for job in named.values() if given["nameContains"] in self.asked_for[job.id]["jobName"]]
                first = int(given.get("nextToken", 0))
                page = {"invocationJobSummaries": [self._job(job) for job in jobs[first : first + _PAGE]]}
                more = {"nextToken": str(first + _PAGE)} if len(jobs) > first + _PAGE else {}
                return self._json_of(200, {**page, **more})
            case "GET", "batches", name if name in named:
                named[name].looks -= 1
                return self._json_of(200, self._job(named[name]))
        return self._json_of(404, {"message": "no such job"})

    def _created(self, asked: dict[str, Any]) -> tuple[int, bytes, str]:
        known = {job["clientRequestToken"]: name for name, job in self.asked_for.items()}
        name = known.get(asked["clientRequestToken"])
        if name is not None and not self.is_idempotent:
            return 400, b'{"message": "it is there", "__type": "ConflictException"}', "application/json"
        if name is None:
            name = self._begin(asked)
        return self._json_of(200, {"jobArn": f"{_JOBS}/{name}"})

    def _begin(self, asked: dict[str, Any]) -> str:
        assert asked["roleArn"] == ROLE
        assert asked["timeoutDurationInHours"] == 24
        name = f"job{len(self.batches) + 1:09}"
        given = asked["inputDataConfig"]["s3InputDataConfig"]
        assert given["s3InputFormat"] == "JSONL"
        rows = [json.loads(line) for line in self.store.get(_key(given["s3Uri"])).splitlines()]
        end = self.ends[len(self.batches)] if len(self.batches) < len(self.ends) else "completed"
        batch = Batch(name, given["s3Uri"], {}, rows, end, self.looks)
        self.batches.append(batch)
        self.asked_for[name] = asked
        if end != "failed":
            self._work(batch)
        return name

    def _work(self, batch: Batch) -> None:
        asked = self.asked_for[batch.id]
        kind = asked.get("modelInvocationType", "InvokeModel")
        operation = {"Converse": "converse", "InvokeModel": "invoke"}[kind]
        done = len(batch.rows) if batch.end == "completed" else self.finished
        lines = []
        for row in batch.rows[:done]:
            status, found = self._answer(asked["modelId"], operation, row["modelInput"])
            error = {"error": {"errorCode": status, "errorMessage": found.get("message")}}
            lines.append(json.dumps({**row, **({"modelOutput": found} if status == 200 else error)}).encode())
            batch.failed += status != 200
        if not lines:
            return  # as of a job that did not begin
        folder = asked["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        place = _key(f"{folder}{batch.id}/")
        content = b"".join(line + b"\n" for line in self.altered(lines[::-1]))
        self.store.put(f"{place}{batch.input_file_id.rpartition('/')[2]}.out", content)
        self.store.put(f"{place}manifest.json.out", b"{}")

    def _job(self, batch: Batch) -> dict[str, Any]:
        asked = self.asked_for[batch.id]
        output = asked["outputDataConfig"]
        if self.results_in is not None:
            output = {"s3OutputDataConfig": {"s3Uri": self.results_in}}
        return {
            **{name: asked[name] for name in ("jobName", "clientRequestToken", "modelId", "roleArn")},
            "jobArn": f"{_JOBS}/{batch.id}",
            "status": _STATUS[batch.status],
            "submitTime": _BEFORE,
            "inputDataConfig": asked["inputDataConfig"],
            "outputDataConfig": output,
            "totalRecordCount": len(batch.rows),
            "processedRecordCount": 0 if batch.looks > 0 or batch.end == "failed" else len(batch.rows),
            **({"message": "less records than the required minimum of 100"} if batch.status == "failed" else {}),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("content-length", 0))))

    def _serve(self, body: bytes) -> None:
        bedrock: Bedrock = self.server.bedrock  # type: ignore[attr-defined]
        bedrock.headers.append({name.lower(): value for name, value in self.headers.items()})
        called = re.fullmatch(r"/model/([^/]+)/(converse|invoke)", self.path)
        path, _, query = self.path.partition("?")
        if called is not None:
            found = bedrock.call(unquote(called[1]), called[2], json.loads(body))
        else:
            names = unquote(path).removeprefix("/model-invocation-jobs").removeprefix("/model-invocation-job")
            name = names.rpartition("/")[2]
            found = bedrock.handle(
                self.command, f"/v1/batches{name and f'/{name}'}?{query}", self.headers.get("content-type", ""), body
            )
        if found is None:
            self.close_connection = True
            self.connection.close()
            return
        status, content, kind = found
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _key(uri: str) -> str:
    """Return the name of an object of the bucket."""
    assert uri.startswith(f"{STORE}/")
    return uri.removeprefix(f"s3://{BUCKET}/")


def _as_chat(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return a request to Bedrock as one for a chat completion, for scripts to read."""
    messages = [
        {**message, "content": "".join(part["text"] for part in message["content"])} for message in body["messages"]
    ]
    return {**body, "model": model, "messages": messages}


def _as_converse(completion: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion as Converse says it; what is one already stays."""
    if "choices" not in completion:
        return completion
    usage = completion.get("usage") or {}
    counts = {"inputTokens": usage.get("prompt_tokens", 1), "outputTokens": usage.get("completion_tokens", 1)}
    return {
        "output": {
            "message": {
                "role": "assistant",
                "content": [{"text": completion["choices"][0]["message"]["content"]}],
            }
        },
        "stopReason": "end_turn",
        "usage": {**counts, "totalTokens": sum(counts.values())},
        "metrics": {"latencyMs": 1},
    }
