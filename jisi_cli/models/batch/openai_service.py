"""OpenAI's files and batches endpoints, as its own client speaks them; Azure OpenAI has the same at its addresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
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
    count_in,
    lines_of,
    optional_id,
    row_in,
    told,
)
from jisi_cli.models.failure import ProviderFailure, one_line
from jisi_cli.models.redaction import Withheld, withheld_from

if TYPE_CHECKING:
    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

_WINDOW: Final = "24h"
"""The only one there is (https://platform.openai.com/docs/guides/batch)."""
_TAG = "jisi"
"""Under which key of a batch's metadata its tag is kept."""
_PAGE = 100
_USUAL_HEADERS = frozenset(
    {
        *("accept", "connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent"),
    }
)
_SHOWN_ERRORS = 3
_TOO_MUCH = "token_limit_exceeded"
"""The code of a batch with which the prompts under way for a model are more tokens than an account may have there
(https://platform.openai.com/docs/guides/batch, "Rate limits")."""
_UNWORKED = frozenset({"batch_expired", "batch_cancelled"})
"""Codes of requests whose turn did not come."""
_MAY_GO_WELL_LATER = frozenset({"rate_limit_exceeded", "server_error", "internal_error"})
_IN_WORK = frozenset({"pending", "running", "notrunning"})
_USELESS = frozenset({"error", "failed", "deleting", "deleted"})
"""States of a file at Azure
(https://learn.microsoft.com/azure/ai-services/openai/how-to/batch, "Track file upload status")."""


class OpenAIService:
    """The batch endpoints at one address, with one key; an implementation of `Service`.

    Args:
        place: Where chat completions are, and what goes there with a call.
        timeout: Seconds without a byte.
    """

    most_requests: int = 50_000
    most_bytes: int = 200 * 10**6
    """What one file may hold (https://platform.openai.com/docs/guides/batch, "Batch API": 50,000 requests, 200 MB).
    At Azure it may be 100,000 requests."""
    keeps_requests: bool = True

    def __init__(self, place: Place, timeout: float) -> None:
        import httpx
        import openai

        self._is_azure = place.protocol == "azure"
        # Azure writes it without a version where the address names one in its query; a batch is created with that in
        # any case (https://learn.microsoft.com/azure/ai-services/openai/how-to/batch, "Create batch job").
        self._url = "/chat/completions" if "api-version" in place.query else "/v1/chat/completions"
        self._endpoint: Any = "/chat/completions" if self._is_azure else self._url
        self._http = client_of(place, timeout, _USUAL_HEADERS)
        # From its release 3 on, openai is typed for httpx2 alone and takes clients of httpx as before.
        http: Any = self._http
        # It must not repeat what it sends: a batch that was created without our hearing of it would be paid for twice.
        # The key is among the headers of the place.
        self._client = openai.AsyncOpenAI(
            api_key="none", base_url=place.address, max_retries=0, http_client=http, default_query=dict(place.query)
        )
        self.host = httpx.URL(place.address).host
        self._withheld: Withheld = withheld_from({"api_key": place.key, "extra_headers": dict(place.headers)})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a file."""
        return {"custom_id": key, "method": "POST", "url": self._url, "body": body}

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Upload a file of requests; return the provider's name of it.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        file.file.seek(0)
        async with self._told():
            given = (_file_name(tag), file.file, "application/jsonl")
            made = await self._client.files.create(file=given, purpose="batch")
            return checked_id(made.id, "file")

    async def is_ready(self, file_id: str) -> bool:
        """Whether a batch can be created of a file; Azure takes some time over it, and refuses until then.

        Raises:
            ProviderFailure: It cannot be asked.
            RefusedError: The file is of no use.
        """
        if not self._is_azure:
            return True
        async with self._told():
            found = await self._client.files.retrieve(checked_id(file_id, "file"))
        status = str(found.status).lower()
        if status in _USELESS:
            words = one_line(str(found.status_details or ""), self._withheld)
            raise RefusedError(f"the file of its requests is in state `{status}`{words and f': {words}'}")
        return status not in _IN_WORK

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have a file that was uploaded worked on; return the provider's name of the batch.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        async with self._told():
            made = await self._client.batches.create(
                input_file_id=checked_id(batch.file_id, "file"),
                endpoint=self._endpoint,
                completion_window=_WINDOW,
                metadata={_TAG: batch.tag, "sha256": batch.content},
            )
            return checked_id(made.id, "batch")

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return the batch with the tag, or of the file, of ours; some servers keep no metadata, and with it no tag.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        async with self._told():
            looked = 0
            async for found in self._client.batches.list(limit=_PAGE):
                is_tagged = isinstance(found.metadata, Mapping) and found.metadata.get(_TAG) == batch.tag
                if is_tagged or (batch.file_id is not None and found.input_file_id == batch.file_id):
                    return Match(checked_id(found.id, "batch"))
                looked += 1
                if looked >= MOST_LISTED:
                    # Not to have found it is no proof that it is not there, and it would be paid for twice.
                    raise ProviderFailure("its list of batches goes on without end")
        return None

    async def look(self, batch_id: str) -> State:
        """Return how far a batch is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such batch.
        """
        async with self._told():
            return self._state(await self._client.batches.retrieve(checked_id(batch_id, "batch")))

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of the file of results, and of that of what failed."""
        return [self._lines(file_id) for file_id in (state.output_id, state.errors_id) if file_id is not None]

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of either file says; None where it is no result."""
        row = row_in(line)
        key = row.get("custom_id")
        if not isinstance(key, str):
            return None
        answer = row.get("response")
        status = answer.get("status_code") if isinstance(answer, dict) else None
        if isinstance(answer, dict) and type(status) is int:
            return Result(key, status, json.dumps(answer.get("body")).encode(), None)
        error = row.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return Result(key, None, b"", _failure_in(error), isinstance(code, str) and code in _UNWORKED)

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete the files of a batch: its requests, its results, and what failed.

        Raises:
            ProviderFailure: One is not deleted.
        """
        uploaded = batch.file_id or await self._uploaded(batch.tag)
        for file_id in (uploaded, state.output_id, state.errors_id):
            if file_id is None:
                continue
            try:
                async with self._told():
                    await self._client.files.delete(checked_id(file_id, "file"))
            except ProviderFailure as failure:
                if failure.status != NOT_FOUND:
                    raise

    async def _uploaded(self, tag: str) -> str | None:
        """Return the name of a file that arrived without our hearing of it; None where there is none."""
        async with self._told():
            looked = 0
            async for found in self._client.files.list(purpose="batch"):
                looked += 1
                if found.filename == _file_name(tag):
                    return checked_id(found.id, "file")
                if looked >= MOST_LISTED:
                    break
        return None

    async def _lines(self, file_id: str) -> AsyncIterator[bytes]:
        content = self._client.files.with_streaming_response.content
        async with self._told(), content(checked_id(file_id, "file")) as response:
            async for line in lines_of(response.iter_bytes()):
                yield line

    def _state(self, batch: Any) -> State:  # noqa: ANN401 - the client checks no types
        counts = batch.request_counts
        done = count_in(getattr(counts, "completed", 0)) + count_in(getattr(counts, "failed", 0))
        found = getattr(batch.errors, "data", None)
        errors = [error for error in (found if isinstance(found, list) else ()) if error is not None]
        words = [one_line(str(getattr(error, "message", "")), self._withheld) for error in errors[:_SHOWN_ERRORS]]
        return State(
            # Azure's documentation shows one that begins with a capital letter.
            status=batch.status.lower() if isinstance(batch.status, str) else "",
            output_id=optional_id(batch.output_file_id),
            errors_id=optional_id(batch.error_file_id),
            total=count_in(getattr(counts, "total", 0)),
            done=done,
            reason="; ".join(filter(None, dict.fromkeys(words))),
            is_too_much=any(getattr(error, "code", None) == _TOO_MUCH for error in errors),
        )

    def _told(self) -> AbstractAsyncContextManager[None]:
        return told(self._withheld)


def _file_name(tag: str) -> str:
    return f"{batch_name(tag)}.jsonl"


def _failure_in(error: Any) -> ProviderFailure:  # noqa: ANN401 - whatever the provider wrote
    said = error if isinstance(error, dict) else {}
    code, words = said.get("code"), said.get("message")
    reason = one_line(words) if isinstance(words, str) and words.strip() else "the batch brought no answer to it"
    return ProviderFailure(reason, retryable=code in _MAY_GO_WELL_LATER if isinstance(code, str) else False)
