"""The Gemini API's files and batches, and Vertex AI's jobs with their buckets, for `tests/loopback.py`.

Their faults are those of `tests/batch_desk.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from tests import batch_desk
from tests.batch_desk import Batch, BatchDesk

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14}
"""Codes of `google.rpc.Code`, by the HTTP status of a live call."""
_PAGE = 10


class GeminiDesk(BatchDesk):
    """Files and batches of the Gemini API at one server.

    Its endpoints are called `POST uploads` (which announces a file), `POST files`, `GET files/id`, `GET files` (the
    list), `POST batches`, `GET batches` (the list), `GET batches/id`, `GET files/content`, `DELETE files/id` and
    `DELETE batches/id`.

    Attributes:
        uploads_to: Where files are to be sent instead of here; None for here.
    """

    uploads_to: str | None = None

    def _parts_of(self, path: str) -> list[str]:
        path = re.sub(r"^/(upload/|download/)?v1beta/", "", path).rstrip("/")
        path = re.sub(r"^models/([^/:]+):batchGenerateContent$", r"batches", path)
        return path.removesuffix(":download").split("/") + (["content"] if path.endswith(":download") else [])

    def handle(self, method: str, path: str, kind: str, body: bytes) -> tuple[Any, ...] | None:
        if method == "POST" and path.startswith("/upload/") and "upload_id=" not in path:
            path = "/upload/v1beta/uploads?" + self.headers[-1]["host"]
        if path.endswith(":batchGenerateContent"):
            self._model = path.rpartition("/")[2].partition(":")[0]
        return super().handle(method, path, kind, body)

    def _carry_out(self, method: str, parts: list[str], query: str, kind: str, body: bytes) -> tuple[Any, ...]:
        created = {batch.id: batch for batch in self.batches if batch.id not in self.deleted}
        page = int(dict(pair.split("=") for pair in query.split("&") if "=" in pair).get("pageToken", 0))
        match method, *parts:
            case "POST", "uploads":
                return self._announce(query, json.loads(body))
            case "POST", "files":
                return self._receive(query, body)
            case "GET", "files":
                there = [self._file(name) for name in self.files]
                return self._json(_paged("files", there, page))
            case "GET", "files", name if name in self.files:
                self.reading -= 1
                return self._json(self._file(name))
            case "GET", "files", name, "content" if name in self.files:
                assert query == "alt=media"
                return 200, self.files[name], "application/octet-stream"
            case "DELETE", "files", name if name in self.files:
                del self.files[name]
                self.deleted.append(name)
                return self._json({})
            case "POST", "batches":
                return self._json(self._operation(self._create_from(json.loads(body)["batch"])))
            case "GET", "batches":
                there = [self._operation(batch) for batch in created.values()]
                return self._json(_paged("operations", there[::-1], page))
            case "GET", "batches", name if name in created:
                created[name].looks -= 1
                return self._json(self._operation(created[name]))
            case "DELETE", "batches", name if name in created:
                self.deleted.append(name)
                return self._json({})
        return 404, json.dumps(failure(404, "no such thing")).encode(), "application/json"

    def _announce(self, host: str, about: dict[str, Any]) -> tuple[Any, ...]:
        headers = self.headers[-1]
        assert headers["x-goog-upload-protocol"] == "resumable"
        assert headers["x-goog-upload-command"] == "start"
        number = len(self.names) + 1
        self.names[f"{number:012x}"] = about["file"]["displayName"]
        to = self.uploads_to or f"http://{host}"
        return 200, b"", "text/plain", {"X-Goog-Upload-URL": f"{to}/upload/v1beta/files?upload_id={number}"}

    def _receive(self, query: str, content: bytes) -> tuple[Any, ...]:
        assert self.headers[-1]["x-goog-upload-command"] == "upload, finalize"
        assert int(self.headers[-1]["content-length"]) == len(content)
        name = f"{int(query.removeprefix('upload_id=')):012x}"
        self.files[name] = content
        return self._json({"file": self._file(name)})

    def _file(self, name: str) -> dict[str, Any]:
        state = "PROCESSING" if self.reading > 0 else "ACTIVE"
        return {"name": f"files/{name}", "displayName": self.names.get(name), "state": state}

    def _create_from(self, asked: dict[str, Any]) -> Batch:
        source = asked["inputConfig"]["fileName"].removeprefix("files/")
        rows = [json.loads(line) for line in self.files[source].splitlines()]
        end = self.ends[len(self.batches)] if len(self.batches) < len(self.ends) else "completed"
        name = f"b{len(self.batches) + 1:035x}"
        kept = [{"custom_id": row["key"], "body": row["request"]} for row in rows]
        batch = Batch(name, source, {"displayName": asked["displayName"]}, kept, end, self.looks)
        self.batches.append(batch)
        if end in ("completed", "cancelled"):
            done = len(rows) if end == "completed" else self.finished
            lines = [self._line(row, is_done=number < done) for number, row in enumerate(kept)]
            batch.output_file_id = f"batch-{name}"
            batch.failed = sum("error" in line for line in lines)
            encoded = self.altered([json.dumps(line).encode() for line in lines[::-1]])
            self.files[batch.output_file_id] = b"".join(line + b"\n" for line in encoded)
        return batch

    def _line(self, row: dict[str, Any], *, is_done: bool) -> dict[str, Any]:
        if not is_done:
            return {"key": row["custom_id"], "error": {"code": 1, "message": "cancelled"}}
        status, body = self.answer(as_chat(row["body"], self._model))
        if status == 200:
            return {"key": row["custom_id"], "response": as_candidates(body)}
        return {"key": row["custom_id"], "error": {"code": _CODES[status], "message": body["error"]["message"]}}

    def _operation(self, batch: Batch) -> dict[str, Any]:
        has_ended = batch.looks <= 0
        good = len(batch.rows) - batch.failed if has_ended and batch.output_file_id else 0
        about = {
            "name": f"batches/{batch.id}",
            "displayName": batch.metadata["displayName"],
            "state": f"BATCH_STATE_{_STATES[batch.end] if has_ended else 'RUNNING'}",
            "batchStats": {"requestCount": str(len(batch.rows)), "successfulRequestCount": str(good)},
        }
        found = {"name": f"batches/{batch.id}", "metadata": about, "done": has_ended}
        if has_ended and batch.output_file_id:
            found["response"] = {"responsesFile": f"files/{batch.output_file_id}"}
        if has_ended and batch.end == "failed":
            found["error"] = {"code": 3, "message": "the file is not one of ours"}
        return found


class VertexDesk(BatchDesk):
    """Batch jobs of Vertex AI at one server, the buckets they read and write, and the tokens of service accounts.

    Its endpoints are called `POST token`, `POST objects`, `GET objects` (the list), `GET objects/content`,
    `DELETE objects/id`, `POST batches`, `GET batches` (the list) and `GET batches/id`. Its files are the objects of all
    buckets, by bucket and name.

    Attributes:
        lasts: Seconds for which a token is good.
        tokens: How many were given out.
    """

    lasts: int = 3600
    tokens: int = 0

    def _parts_of(self, path: str) -> list[str]:
        if path == "/token":
            return ["token"]
        found = re.fullmatch(r"(?:/upload)?/storage/v1/b/([^/]+)/o(?:/(.+))?", path)
        if found:
            return ["objects", *([f"{found[1]}/{unquote(found[2])}"] if found[2] else [found[1]])]
        _, is_ours, rest = path.partition("/v1/projects/p-1/locations/us-central1/batchPredictionJobs")
        return ["batches", *filter(None, rest.split("/"))] if is_ours else ["nothing"]

    def _endpoint(self, method: str, parts: list[str], query: str) -> str:
        if parts[0] == "objects" and method != "DELETE":
            return f"{method} objects" + ("/content" if "alt=media" in query else "")
        return super()._endpoint(method, parts, query)

    def _carry_out(self, method: str, parts: list[str], query: str, kind: str, body: bytes) -> tuple[Any, ...]:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if parts == ["token"]:
            self.tokens += 1
            return self._json(
                {"access_token": f"{TOKEN}-{self.tokens}", "expires_in": self.lasts, "token_type": "Bearer"}
            )
        if not self.headers[-1].get("authorization", "").startswith(f"Bearer {TOKEN}-"):
            return 401, json.dumps(failure(401, "this token is none")).encode(), "application/json"
        created = {batch.id: batch for batch in self.batches}
        page = int(asked.get("pageToken", 0))
        match method, *parts:
            case "POST", "objects", bucket:
                assert asked["uploadType"] == "media"
                assert int(self.headers[-1]["content-length"]) == len(body)
                self.files[f"{bucket}/{asked['name']}"] = body
                return self._json({"name": asked["name"], "bucket": bucket})
            case "GET", "objects", name if asked.get("alt") == "media" and name in self.files:
                return 200, self.files[name], "application/octet-stream"
            case "GET", "objects", bucket if "prefix" in asked:
                there = [name.removeprefix(f"{bucket}/") for name in self.files if name.startswith(f"{bucket}/")]
                found = [{"name": name} for name in there if name.startswith(asked["prefix"])]
                return self._json(_paged("items", found, page))
            case "DELETE", "objects", name if name in self.files:
                del self.files[name]
                self.deleted.append(name)
                return 204, b"", "application/json"
            case "POST", "batches":
                return self._json(self._job(self._create_from(json.loads(body))))
            case "GET", "batches":
                there = [self._job(batch) for batch in self.batches]
                wanted = [job for job in there if asked["filter"] == f'display_name="{job["displayName"]}"']
                return self._json(_paged("batchPredictionJobs", wanted, page))
            case "GET", "batches", name if name in created:
                created[name].looks -= 1
                return self._json(self._job(created[name]))
        return 404, json.dumps(failure(404, "no such thing")).encode(), "application/json"

    def _create_from(self, asked: dict[str, Any]) -> Batch:
        assert asked["inputConfig"]["instancesFormat"] == asked["outputConfig"]["predictionsFormat"] == "jsonl"
        (source,) = asked["inputConfig"]["gcsSource"]["uris"]
        folder = asked["outputConfig"]["gcsDestination"]["outputUriPrefix"]
        rows = [json.loads(line) for line in self.files[source.removeprefix("gs://")].splitlines()]
        end = self.ends[len(self.batches)] if len(self.batches) < len(self.ends) else "completed"
        kept = [{"custom_id": key_of(row), "body": row["request"], "row": row} for row in rows]
        about = {"displayName": asked["displayName"], "model": asked["model"], "folder": folder}
        batch = Batch(f"{len(self.batches) + 1:019}", source, about, kept, end, self.looks)
        self.batches.append(batch)
        if end != "failed":
            done = len(rows) if end == "completed" else self.finished
            lines = [self._line(row["row"], asked["model"]) for row in kept[:done]]
            batch.failed = sum(bool(line["status"]) for line in lines)
            encoded = self.altered([json.dumps(line).encode() for line in lines[::-1]])
            name = f"{folder.removeprefix('gs://')}/prediction-model-2026-01-01T00:00:00.000Z/predictions.jsonl"
            self.files[name] = b"".join(line + b"\n" for line in encoded)
        return batch

    def _line(self, row: dict[str, Any], model: str) -> dict[str, Any]:
        name, is_claude = model.rpartition("/")[2], "publishers/anthropic/" in model
        request = row["request"]
        asked = {**batch_desk.as_chat(request), "model": name} if is_claude else as_chat(request, name)
        status, body = self.answer(asked)
        line = {**row, "status": "", "response": {}, "processed_time": "2026-01-01T00:00:00.000+00:00"}
        if status == 200:
            return {**line, "response": batch_desk.as_message(body) if is_claude else as_candidates(body)}
        error = json.dumps(failure(status, body["error"]["message"]))
        return {**line, "status": f"{_PHRASES.get(status, 'Internal Server Error')}: {error}"}

    def _job(self, batch: Batch) -> dict[str, Any]:
        has_ended = batch.looks <= 0
        job = {
            "name": f"projects/123/locations/us-central1/batchPredictionJobs/{batch.id}",
            "displayName": batch.metadata["displayName"],
            "model": batch.metadata["model"],
            "state": f"JOB_STATE_{_STATES[batch.end] if has_ended else 'RUNNING'}",
            "outputConfig": {"gcsDestination": {"outputUriPrefix": batch.metadata["folder"]}},
        }
        if has_ended and batch.end == "failed":
            job["error"] = {"code": 3, "message": "the file is not one of ours"}
        if has_ended and batch.end == "completed":
            job["completionStats"] = {"successfulCount": str(len(batch.rows) - batch.failed), "incompleteCount": "-1"}
        return job


TOKEN = "a-token-of-the-lab"
_PHRASES = {400: "Bad Request", 429: "Too Many Requests"}


def key_of(row: dict[str, Any]) -> str:
    """Return what tells a row of a job from others."""
    if "custom_id" in row:
        return str(row["custom_id"])
    return "".join(row["request"]["labels"].values())


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def service_account(folder: Path, address: str, project: str = "p-1") -> Path:
    """Write the key of a service account whose tokens a server gives out; return where it is."""
    about = {"type": "service_account", "project_id": project, "private_key_id": "k", "private_key": _private_key()}
    path = folder / "account.json"
    path.write_text(json.dumps({**about, "client_email": "a@p-1.example", "token_uri": f"{address}/token"}))
    return path


_STATES = {"completed": "SUCCEEDED", "failed": "FAILED", "cancelled": "CANCELLED", "expired": "EXPIRED"}


def _paged(field: str, there: list[dict[str, Any]], first: int) -> dict[str, Any]:
    """Return ten a page whatever was asked for, as a list that does not end at once."""
    more = {"nextPageToken": str(first + _PAGE)} if len(there) > first + _PAGE else {}
    return {field: there[first : first + _PAGE], **more}


def failure(status: int, message: str) -> dict[str, Any]:
    """Return an error as Google words it."""
    return {"error": {"code": status, "message": message, "status": "FAILED_PRECONDITION"}}


def as_chat(request: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a request to generate content as one for a chat completion, for scripts to read."""
    system = request.get("system_instruction") or request.get("systemInstruction")
    said = [("system", system)] if system else []
    said += [("assistant" if turn["role"] == "model" else "user", turn) for turn in request["contents"]]
    messages = [{"role": role, "content": "".join(part["text"] for part in turn["parts"])} for role, turn in said]
    return {**request, "model": model, "messages": messages}


def as_candidates(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat completion as generated content; what is that already stays."""
    if "choices" not in completion:
        return dict(completion)
    usage, text = completion.get("usage") or {}, completion["choices"][0]["message"]["content"]
    prompt, response = usage.get("prompt_tokens", 1), usage.get("completion_tokens", 1)
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": response,
            "totalTokenCount": prompt + response,
        },
        "modelVersion": completion["model"],
        "responseId": "r",
    }
