"""Anthropic's Message Batches: no files, one request that holds all others, and results by the name of the batch.

It keeps nothing that a client says of a batch, so one whose name did not reach us is found by elimination: it is newer
than the newest batch before it, is none of our others, and holds as many requests. While it is at work, no more is to
be known of it; when it has ended, its results name the requests.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jisi_cli.models.batch.outcome import Result
from jisi_cli.models.batch.service import (
    MOST_LISTED,
    NOT_FOUND,
    Match,
    State,
    checked_id,
    client_of,
    count_in,
    lines_of,
    row_in,
    told,
)
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.redaction import Withheld, withheld_from

if TYPE_CHECKING:
    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

_PATH: Final = "/v1/messages/batches"
_PAGE = 100
_USUAL_HEADERS = frozenset({"accept", "connection", "content-length", "content-type", "host", "user-agent"})
_NO_BATCH = "none"
"""Stands for the newest batch of an account that has none."""
_CLOCKS = timedelta(days=1)
"""By how much the clocks of the provider and of this machine may differ."""
_BEGIN, _BETWEEN, _END = b'{"requests":[', b",", b"]}"
_ENVELOPE = 1024
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status that goes with a kind of error in a live call (https://docs.claude.com/en/api/errors)."""
_UNWORKED = frozenset({"canceled", "expired"})
"""Kinds of results of requests whose turn did not come; they are not billed."""


class AnthropicService:
    """The batch endpoints at one address, with one key; an implementation of `Service`.

    Args:
        place: Where messages are, and what goes there with a call.
        timeout: Seconds without a byte.
    """

    most_requests: int = 100_000
    most_bytes: int = 256 * 10**6 - _ENVELOPE
    """What one batch may hold (https://docs.claude.com/en/docs/build-with-claude/batch-processing: 100,000, 256 MB)."""
    keeps_requests: bool = False

    def __init__(self, place: Place, timeout: float) -> None:
        import httpx

        self._http = client_of(place, timeout, _USUAL_HEADERS)
        self._base = f"{place.address}{_PATH}"
        self._query = dict(place.query)
        self.host = httpx.URL(place.address).host
        self._withheld: Withheld = withheld_from({"api_key": place.key, "extra_headers": dict(place.headers)})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a batch."""
        return {"custom_id": key, "params": body}

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Return the name of the newest batch, before ours.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        async with self._told():
            listed = _listed(await self._json("GET", params={"limit": 1}))
            return listed[0].id if listed else _NO_BATCH

    async def is_ready(self, file_id: str) -> bool:
        """Nothing has to be waited for."""
        return True

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have requests worked on; return the provider's name of the batch.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        if file is None:
            raise AssertionError("the requests do not lie at the provider")
        # A length that is told leaves the body in one piece for proxies that do not take chunks.
        length = len(_BEGIN) + file.size + len(_BETWEEN) * (len(file.worst) - 1) + len(_END)
        headers = {"content-type": "application/json", "content-length": str(length)}
        async with self._told():
            made = await self._json("POST", headers=headers, content=_body(file))
            return checked_id(made.get("id"), "batch")

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return the batch of these requests, or one that may be it as far as can be known before it ends.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        if batch.file_id is None:  # its creation was not tried
            return None
        likely = None
        async with self._told():
            async for found in self._newest_first():
                if found.id == batch.file_id or found.created < batch.began - _CLOCKS:
                    break
                if found.id in others or found.state.total != len(keys):
                    continue
                if not found.state.has_ended:
                    likely = found.id
                elif await self._is_about(found, keys):
                    return Match(found.id, is_deletable=False)
        return None if likely is None else Match(likely, is_sure=False, is_deletable=False)

    async def look(self, batch_id: str) -> State:
        """Return how far a batch is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such batch.
        """
        async with self._told():
            return _state(await self._json("GET", f"/{checked_id(batch_id, 'batch')}"))

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of the results.

        Their address is made of the name of the batch: what the provider says of it could lead the key elsewhere.
        """
        return [self._lines(batch_id)]

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of the results says; None where it is no result."""
        row = row_in(line)
        key, result = row.get("custom_id"), row.get("result")
        if not isinstance(key, str) or not isinstance(result, dict):
            return None
        kind = result.get("type")
        if kind == "succeeded":
            return Result(key, 200, json.dumps(result.get("message")).encode(), None)
        if kind in _UNWORKED:
            return Result(key, None, b"", ProviderFailure(f"the batch brought no answer to it ({kind})"), True)
        return _failed(key, result.get("error"))

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete a batch, its requests and results with it.

        Raises:
            ProviderFailure: It is not deleted.
        """
        if batch.batch_id is None:
            return
        try:
            async with self._told():
                await self._json("DELETE", f"/{checked_id(batch.batch_id, 'batch')}")
        except ProviderFailure as failure:
            if failure.status != NOT_FOUND:
                raise

    async def _newest_first(self) -> AsyncIterator[_Listed]:
        looked, after = 0, dict[str, str]()
        while True:
            page = await self._json("GET", params={"limit": _PAGE, **after})
            listed = _listed(page)
            for found in listed:
                yield found
            if page.get("has_more") is not True or not listed:
                return
            after = {"after_id": listed[-1].id}
            looked += len(listed)
            if looked >= MOST_LISTED:
                # As at OpenAI: not to have found it is no proof that it is not there.
                raise ProviderFailure("its list of batches goes on without end")

    async def _is_about(self, found: _Listed, keys: Collection[str]) -> bool:
        """Whether a batch that has ended is about these requests; where that is not to be known, it may be."""
        try:
            async for line in self._lines(found.id):
                result = self.result_in(line)
                if result is not None:
                    return result.key in keys
        except ProviderFailure as failure:
            # Results are kept for some weeks. What they were has been paid for, whoever asked for it.
            if failure.status != NOT_FOUND:
                raise
        return True

    async def _lines(self, batch_id: str) -> AsyncIterator[bytes]:
        url = f"{self._base}/{checked_id(batch_id, 'batch')}/results"
        async with self._told(), self._http.stream("GET", url, params=self._query) as response:
            if response.status_code != 200:
                await response.aread()
            response.raise_for_status()
            async for line in lines_of(response.aiter_bytes()):
                yield line

    async def _json(self, method: str, path: str = "", **how: Any) -> dict[str, Any]:  # noqa: ANN401 - as httpx's
        params = {**self._query, **how.pop("params", {})}
        response = await self._http.request(method, f"{self._base}{path}", params=params, **how)
        response.raise_for_status()
        found = response.json()
        if not isinstance(found, dict):
            raise ProviderFailure("the answer is JSON, but says nothing of a batch", retryable=True, most_retries=1)
        return found

    def _told(self) -> AbstractAsyncContextManager[None]:
        return told(self._withheld)


class _Listed(NamedTuple):
    """A batch in the provider's list."""

    id: str
    created: datetime
    state: State


async def _body(file: RequestFile) -> AsyncIterator[bytes]:
    file.file.seek(0)
    yield _BEGIN
    for number, line in enumerate(file.file):
        yield _BETWEEN + line if number else line
    yield _END


def _listed(page: Mapping[str, Any]) -> list[_Listed]:
    rows = page.get("data")
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [_Listed(checked_id(row.get("id"), "batch"), _moment(row.get("created_at")), _state(row)) for row in found]


def _moment(value: object) -> datetime:
    """Return when a batch was created; now where that is not to be read, so that it is not passed over."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else datetime.now(UTC)
    except ValueError:
        return datetime.now(UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _state(batch: Mapping[str, Any]) -> State:
    given = batch.get("request_counts")
    counts = given if isinstance(given, dict) else {}
    ended = {kind: count_in(counts.get(kind)) for kind in ("succeeded", "errored", "canceled", "expired")}
    status = batch.get("processing_status")
    if status == "ended":
        # Of a batch it says no more; what became of its requests tells how it ended.
        status = "cancelled" if ended["canceled"] else "expired" if ended["expired"] else "completed"
    done = sum(ended.values())
    total = done + count_in(counts.get("processing"))
    return State(status if isinstance(status, str) else "", total=total, done=done)


def _failed(key: str, error: Any) -> Result:  # noqa: ANN401 - whatever the provider wrote
    """Return the result of a request that failed, as a live call would have had it."""
    told = error if isinstance(error, dict) else {}
    inner = told.get("error")
    kind = inner.get("type") if isinstance(inner, dict) else None
    status = _STATUS.get(kind) if isinstance(kind, str) else None
    if status is None:
        return Result(key, None, b"", ProviderFailure("the batch brought no answer to it"))
    return Result(key, status, json.dumps(told).encode(), None)
