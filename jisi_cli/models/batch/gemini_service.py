"""The batch endpoints of the Gemini API, which takes a key and keeps files of its own.

A file of requests is uploaded, and a batch created of it under a name of ours, by which it is found again: to create
it twice would be to pay for it twice (https://ai.google.dev/gemini-api/docs/batch-api).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from jisi_cli.models.batch.outcome import Result
from jisi_cli.models.batch.service import (
    MOST_LISTED,
    NOT_FOUND,
    Match,
    RefusedError,
    State,
    batch_name,
    checked_id,
    client_of,
    lines_of,
    optional_id,
    row_in,
    told,
)
from jisi_cli.models.failure import ProviderFailure, one_line
from jisi_cli.models.redaction import Withheld, withheld_from

if TYPE_CHECKING:
    import httpx

    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

_PAGE = 100
_KIND: Final = "application/jsonl"
_UPLOAD = "x-goog-upload-"
_USUAL_HEADERS = frozenset(
    {
        *("accept", "connection", "content-length", "content-type", "host", "user-agent"),
        *(f"{_UPLOAD}{what}" for what in ("protocol", "command", "offset")),
        *(f"{_UPLOAD}header-content-{what}" for what in ("length", "type")),
    }
)
STATES = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
"""How a job of Google's ended, in the words of `State`; others are of jobs at work."""
_CANCELLED: Final = 1
_HTTP = {
    **{2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503},
    **{15: 500, 16: 401},
}
"""The HTTP status that goes with a code of `google.rpc.Code` in a live call."""


class GeminiService:
    """The batch endpoints at one address, for one model, with one key; an implementation of `Service`.

    Args:
        place: Where the model is, and what goes there with a call.
        timeout: Seconds without a byte.
    """

    most_requests: int = 200_000
    """No limit is told; as many as at Vertex AI."""
    most_bytes: int = 2 * 10**9
    """What one file may hold (https://ai.google.dev/gemini-api/docs/batch-api, "Input file": 2 GB)."""
    keeps_requests: bool = True

    def __init__(self, place: Place, timeout: float) -> None:
        import httpx

        self._http = client_of(place, timeout, _USUAL_HEADERS)
        self._base, self._model = place.address, place.model
        root, _, version = place.address.rpartition("/")
        self._upload, self._download = f"{root}/upload/{version}/files", f"{root}/download/{version}/files"
        self._query = dict(place.query)
        self.host = httpx.URL(place.address).host
        self._withheld: Withheld = withheld_from({"api_key": place.key, "extra_headers": dict(place.headers)})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a file."""
        return {"key": key, "request": body}

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Upload a file of requests; return the provider's name of it.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        announced = {"protocol": "resumable", "command": "start"}
        announced |= {"header-content-length": str(file.size), "header-content-type": _KIND}
        headers = {f"{_UPLOAD}{name}": value for name, value in announced.items()}
        async with self._told():
            about = {"file": {"displayName": batch_name(tag)}}
            begun = await self._answered("POST", self._upload, headers=headers, json=about)
            address = self._beside(begun.headers.get(f"{_UPLOAD}url", ""))
            headers = {f"{_UPLOAD}command": "upload, finalize", f"{_UPLOAD}offset": "0"}
            headers |= {"content-length": str(file.size), "content-type": _KIND}
            # What stands behind that address is its own.
            taken = await self._http.request("POST", address, headers=headers, content=pieces_of(file))
            taken.raise_for_status()
            return checked_id(_id_in(object_in(taken)["file"].get("name"), "files"), "file")

    async def is_ready(self, file_id: str) -> bool:
        """Whether a batch can be created of a file.

        Raises:
            ProviderFailure: It cannot be asked, or has no such file: it keeps one for two days.
            RefusedError: The file is of no use.
        """
        async with self._told():
            found = await self._json("GET", f"{self._base}/files/{checked_id(file_id, 'file')}")
        if found.get("state") == "FAILED":
            raise RefusedError("the file of its requests cannot be read there")
        return found.get("state") != "PROCESSING"

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have a file that was uploaded worked on; return the provider's name of the batch.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        source = {"fileName": f"files/{checked_id(batch.file_id, 'file')}"}
        body = {"batch": {"displayName": batch_name(batch.tag), "inputConfig": source}}
        async with self._told():
            made = await self._json("POST", f"{self._base}/models/{self._model}:batchGenerateContent", json=body)
            return checked_id(_id_in(made.get("name"), "batches"), "batch")

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return the batch that has our name.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        async with self._told():
            async for found in self._listed("batches", "operations"):
                about = found.get("metadata")
                if isinstance(about, dict) and about.get("displayName") == batch_name(batch.tag):
                    return Match(checked_id(_id_in(found.get("name"), "batches"), "batch"))
        return None

    async def look(self, batch_id: str) -> State:
        """Return how far a batch is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such batch.
        """
        async with self._told():
            found = await self._json("GET", f"{self._base}/batches/{checked_id(batch_id, 'batch')}")
            return self._state(found)

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of the file of results."""
        return [] if state.output_id is None else [self._lines(state.output_id)]

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of the results says; None where it is no result."""
        row = row_in(line)
        key = row.get("key")
        if not isinstance(key, str):
            return None
        answer = row.get("response")
        if isinstance(answer, dict):
            return Result(key, 200, json.dumps(answer).encode(), None)
        return failed(key, row.get("error") or row.get("status"))

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete the file of requests, that of the results, and the batch.

        Raises:
            ProviderFailure: One of them is not deleted.
        """
        uploaded = batch.file_id or await self._uploaded(batch.tag)
        # The batch comes last: a later run that has to delete the rest learns from it where the results are.
        there = [("files", uploaded), ("files", state.output_id), ("batches", batch.batch_id)]
        refused = None
        for kind, name in there:
            if name is None:
                continue
            try:
                async with self._told():
                    await self._answered("DELETE", f"{self._base}/{kind}/{checked_id(name, kind)}")
            except ProviderFailure as failure:
                if failure.retryable:
                    raise
                refused = refused or (None if failure.status == NOT_FOUND else failure)
        if refused is not None:
            raise refused

    async def _uploaded(self, tag: str) -> str | None:
        """Return the name of a file that arrived without our hearing of it; None where there is none."""
        async with self._told():
            async for found in self._listed("files", "files"):
                if found.get("displayName") == batch_name(tag):
                    return checked_id(_id_in(found.get("name"), "files"), "file")
        return None

    async def _listed(self, kind: str, field: str) -> AsyncIterator[Mapping[str, Any]]:
        async for found in listed(lambda more: self._json("GET", f"{self._base}/{kind}", params=more), field):
            yield found

    async def _lines(self, file_id: str) -> AsyncIterator[bytes]:
        url, params = f"{self._download}/{checked_id(file_id, 'file')}:download", {**self._query, "alt": "media"}
        async with self._told(), self._http.stream("GET", url, params=params) as response:
            if response.status_code != 200:
                await response.aread()
            response.raise_for_status()
            async for line in lines_of(response.aiter_bytes()):
                yield line

    def _state(self, found: Mapping[str, Any]) -> State:
        about = found["metadata"]
        output = found.get("response") or about.get("output") or {}
        file_name = output.get("responsesFile")
        error, counts = found.get("error") or {}, about.get("batchStats") or {}
        done = sum(number_in(counts.get(f"{kind}RequestCount")) for kind in ("successful", "failed"))
        return State(
            status=status_in(about.get("state"), "BATCH_STATE_"),
            output_id=None if file_name is None else optional_id(_id_in(file_name, "files")),
            total=number_in(counts.get("requestCount")),
            done=done,
            reason=one_line(str(error.get("message") or ""), self._withheld),
        )

    def _beside(self, address: str) -> httpx.URL:
        """Return an address that a provider names, which must be its own: questions go there, and the key with them."""
        import httpx

        named, own = httpx.URL(address), httpx.URL(self._base)
        if (named.scheme, named.host, named.port) != (own.scheme, own.host, own.port):
            raise ProviderFailure(f"{self.host} wants the requests sent to another server ({named.host or 'none'})")
        return named

    async def _answered(self, method: str, url: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - as httpx's
        response = await self._http.request(method, url, params={**self._query, **how.pop("params", {})}, **how)
        response.raise_for_status()
        return response

    async def _json(self, method: str, url: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401 - as httpx's
        return object_in(await self._answered(method, url, **how))

    def _told(self) -> AbstractAsyncContextManager[None]:
        return told(self._withheld)


async def pieces_of(file: RequestFile) -> AsyncIterator[bytes]:
    """Yield the bytes of a file of requests, from its beginning."""
    file.file.seek(0)
    while piece := file.file.read(2**20):
        yield piece


async def listed(
    page_of: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]], field: str
) -> AsyncIterator[Mapping[str, Any]]:
    """Yield what a list of Google's holds, page by page.

    Args:
        page_of: Brings a page, given the parameters that say which.
        field: Where its entries are.

    Raises:
        ProviderFailure: It goes on without end.
    """
    looked, which = 0, {"pageSize": str(_PAGE)}
    while True:
        page = await page_of(which)
        entries = page.get(field) or ()
        for found in entries:
            yield found
        # Pages may be empty, and more come all the same.
        looked += max(1, len(entries))
        token = page.get("nextPageToken")
        if not token:
            return
        if looked >= MOST_LISTED:
            # As at OpenAI: not to have found it is no proof that it is not there.
            raise ProviderFailure(f"its list of {field} goes on without end")
        which = {"pageSize": str(_PAGE), "pageToken": str(token)}


def object_in(response: httpx.Response) -> dict[str, Any]:
    """Return the object that an answer of Google's is.

    Raises:
        ProviderFailure: It is something else.
    """
    found = response.json()
    if not isinstance(found, dict):
        raise ProviderFailure("the answer is JSON, but says nothing of a batch", retryable=True, most_retries=1)
    return found


def status_in(word: object, prefix: str) -> str:
    """Return the word of `State` for one of Google's; empty where it says none."""
    said = word.removeprefix(prefix).removeprefix("JOB_STATE_") if isinstance(word, str) else ""
    return STATES.get(said, said.lower())


def number_in(value: object) -> int:
    """Return a number of requests, which Google writes as a text; 0 for what is none."""
    return int(value) if isinstance(value, str | int) and str(value).isdecimal() else 0


def failed(key: str, error: Any) -> Result:  # noqa: ANN401 - whatever the provider wrote
    """Return the result of a request that failed, as a live call would have had it."""
    said = error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}
    code, words = said.get("code"), said.get("message")
    if code == _CANCELLED:
        return Result(key, None, b"", ProviderFailure("the batch was cancelled before its turn came"), True)
    status = _HTTP.get(code, code) if isinstance(code, int) else None
    if status is None or not 400 <= status < 600:
        reason = one_line(words) if isinstance(words, str) and words.strip() else "the batch brought no answer to it"
        return Result(key, None, b"", ProviderFailure(reason))
    return Result(key, status, json.dumps({"error": {**said, "code": status}}).encode(), None)


def _id_in(name: object, kind: str) -> object:
    """Return the last part of a provider's name of a thing, which begins with its kind."""
    return name.removeprefix(f"{kind}/") if isinstance(name, str) else name
