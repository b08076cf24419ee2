"""Vertex AI's batch jobs, which take requests of Gemini and Claude models from a bucket and leave results there.

A job has a name of ours, by which it is found again. It tells of a Claude row what we called it; of a Gemini row it
repeats the request, and in it the labels that Vertex AI lets one put there, which tell which one it was
(https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage,
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/batch).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jisi_cli.models.batch.gemini_service import failed, listed, number_in, object_in, status_in
from jisi_cli.models.batch.google_storage import Folder, Storage, are_results, storage_address
from jisi_cli.models.batch.outcome import Result
from jisi_cli.models.batch.service import NOT_FOUND, Match, State, batch_name, checked_id, client_of, row_in, told
from jisi_cli.models.failure import ProviderFailure, one_line
from jisi_cli.models.redaction import withheld_from

if TYPE_CHECKING:
    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

_USUAL_HEADERS = frozenset(
    {"accept", "authorization", "connection", "content-length", "content-type", "host", "user-agent"}
)
_LABELS = ("jisi-1", "jisi-2")
"""A label has 63 characters at most, and a cache key has 64."""
_PHRASES = {status.phrase.lower(): int(status) for status in HTTPStatus if status >= 400}


class VertexService:
    """The batch jobs of one project and region, for one model; an implementation of `Service`.

    Args:
        place: Where the model is, which bucket is used, and how to come by a token, which is good for an hour.
        timeout: Seconds without a byte.
    """

    most_requests: int = 200_000
    most_bytes: int = 10**9
    """What one job may hold
    (https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini, "Quotas and limits")."""
    keeps_requests: bool = True

    def __init__(self, place: Place, timeout: float) -> None:
        import httpx

        if place.renewed is None or place.store is None:
            raise AssertionError("neither a token nor a bucket")
        self._renewed, self._store = place.renewed, place.store
        self._jobs = f"{place.address}/batchPredictionJobs"
        self._query, self._model = dict(place.query), place.model
        self._is_claude = place.model.startswith("publishers/anthropic/")
        self._http = client_of(place, timeout, _USUAL_HEADERS)
        # Headers that the pool file names are for the model.
        self._http_of_storage = client_of(replace(place, headers={}), timeout, _USUAL_HEADERS)
        self._storage = Storage(self._http_of_storage, storage_address())
        self.host = httpx.URL(place.address).host

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._http_of_storage.aclose()

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a file."""
        if self._is_claude:
            return {"custom_id": key, "request": body}
        labels = dict(zip(_LABELS, (key[:32], key[32:]), strict=True))
        return {"request": {**body, "labels": {**body.get("labels", {}), **labels}}}

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Write a file of requests into the bucket; return its address.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        folder = Folder.of(self._store, tag)
        async with self._told() as headers:
            await self._storage.put(folder, file, headers)
        return folder.requests

    async def is_ready(self, file_id: str) -> bool:
        """Nothing has to be waited for."""
        return True

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have a file in the bucket worked on; return the name of the job.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        folder = Folder.at(batch.file_id)
        body = {
            "displayName": batch_name(batch.tag),
            "model": self._model,
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [folder.requests]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": folder.address},
            },
        }
        async with self._told() as headers:
            made = await self._json("POST", self._jobs, headers=headers, json=body)
            return _id_of(made)

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return the job that has our name.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        name = batch_name(batch.tag)
        async with self._told() as headers:

            async def page(which: Mapping[str, str]) -> Mapping[str, Any]:
                params = {**which, "filter": f'display_name="{name}"'}
                return await self._json("GET", self._jobs, headers=headers, params=params)

            async for found in listed(page, "batchPredictionJobs"):
                if found.get("displayName") == name:
                    return Match(_id_of(found))
        return None

    async def look(self, batch_id: str) -> State:
        """Return how far a job is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such job.
        """
        async with self._told() as headers:
            url = f"{self._jobs}/{checked_id(batch_id, 'batch')}"
            found = await self._json("GET", url, headers=headers)
            counts, error = found.get("completionStats") or {}, found.get("error") or {}
            good, bad, open_ = (
                number_in(counts.get(f"{kind}Count")) for kind in ("successful", "failed", "incomplete")
            )
            return State(
                status=status_in(found.get("state"), "JOB_STATE_"),
                output_id=Folder.at(found["outputConfig"]["gcsDestination"]["outputUriPrefix"]).address,
                total=good + bad + open_,
                done=good + bad,
                reason=one_line(str(error.get("message") or ""), withheld_from({"extra_headers": dict(headers)})),
            )

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of all results in the folder of a job; one that was ended has left what it had."""
        return [] if state.output_id is None else [self._lines(Folder.at(state.output_id))]

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of the results says; None where it is no result."""
        row = row_in(line)
        key = row.get("custom_id") if self._is_claude else _key_in(row.get("request"))
        if not isinstance(key, str):
            return None
        answer, status = row.get("response"), row.get("status")
        if isinstance(answer, dict) and not status:
            return Result(key, 200, json.dumps(answer).encode(), None)
        return failed(key, _error_in(status))

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete what is in the folder of a batch; the job itself holds neither questions nor answers.

        Raises:
            ProviderFailure: Something of it is not deleted.
        """
        folder = Folder.of(self._store, batch.tag) if batch.file_id is None else Folder.at(batch.file_id)
        async with self._told() as headers:
            names = await self._storage.names(folder, headers)
        for name in names:
            try:
                async with self._told() as headers:
                    await self._storage.delete(folder, name, headers)
            except ProviderFailure as failure:
                if failure.status != NOT_FOUND:
                    raise

    async def _lines(self, folder: Folder) -> AsyncIterator[bytes]:
        async with self._told() as headers:
            names = await self._storage.names(folder, headers)
        for name in filter(are_results, names):
            async with self._told() as headers:
                async for line in self._storage.lines(folder, name, headers):
                    yield line

    async def _json(self, method: str, url: str, *, headers: Mapping[str, str], **how: Any) -> dict[str, Any]:  # noqa: ANN401 - as httpx's
        params = {**self._query, **how.pop("params", {})}
        response = await self._http.request(method, url, params=params, headers=headers, **how)
        response.raise_for_status()
        return object_in(response)

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[Mapping[str, str]]:
        """Give the headers of a live call, and tell what a client raises as a failure."""
        headers = await self._renewed()
        async with told(withheld_from({"extra_headers": dict(headers)})):
            yield headers


def _key_in(request: object) -> str | None:
    """Return the cache key in the labels of a request; None where they have none."""
    labels = request.get("labels") if isinstance(request, dict) else None
    parts = [labels.get(name) for name in _LABELS] if isinstance(labels, dict) else [None]
    return "".join(map(str, parts)) if None not in parts else None


def _error_in(status: Any) -> Any:  # noqa: ANN401 - whatever the provider wrote
    """Return the error that a row's status is: an object, or a phrase of HTTP's before the body that came with it."""
    if not isinstance(status, str):
        return status
    phrase, _, rest = status.partition(":")
    said = row_in(rest.encode("utf-8", "replace"))
    inner = said.get("error")
    if isinstance(inner, dict):
        return inner
    code = _PHRASES.get(phrase.strip().lower())
    return status if code is None else {"code": code, "message": rest.strip() or phrase}


def _id_of(job: Mapping[str, Any]) -> str:
    name = job.get("name")
    return checked_id(name.rpartition("/")[2] if isinstance(name, str) else name, "batch")
