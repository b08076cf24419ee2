"""OpenAI's files and batches endpoints, as its own client speaks them, and what of their words is believed.

What a provider says decides nothing but its own content: an id that goes into an address has the shape of one, a
status is one of a few words, results are read line by line within bounds, and no redirect is followed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from jisi_cli.models.failure import ProviderFailure, failure_from, one_line
from jisi_cli.models.redaction import Withheld, withheld_from
from jisi_cli.models.unpacking import ENCODINGS, bound_body

if TYPE_CHECKING:
    import httpx

MOST_REQUESTS: Final = 50_000
MOST_BYTES: Final = 200 * 10**6
"""What one file may hold (https://platform.openai.com/docs/guides/batch, "Batch API": 50,000 requests, 200 MB)."""
ENDPOINT: Final = "/v1/chat/completions"
WINDOW: Final = "24h"
"""The only one there is (as above)."""
TAG = "jisi"
"""Under which key of a batch's metadata its tag is kept."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
GONE: Final = "gone"
"""Our word for a batch that the provider has not."""
_ENDED = frozenset({"completed", "failed", "expired", "cancelled", GONE})
_MOST_OUTPUT = 16 * 2**30
"""Bytes of the results of one batch."""
_LONGEST_LINE = 96 * 2**20
_MOST_LISTED = 10_000
"""Batches that are looked through for one of ours."""
_PAGE = 100
_USUAL_HEADERS = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding"),
        "user-agent",
    }
)
_SHOWN_ERRORS = 3
_TOO_MUCH = "token_limit_exceeded"
"""The code of a batch with which the prompts under way for a model are more tokens than an account may have there
(https://platform.openai.com/docs/guides/batch, "Rate limits")."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a batch is.

    Attributes:
        status: The provider's word, or `gone`.
        output_id: The file of its results; None without one.
        errors_id: The file of what failed; None without one.
        total: Its requests, as the provider counts them; 0 before it does.
        done: Those that have ended, failed ones included.
        reason: What the provider says of a batch that it refused as a whole; empty where it says nothing.
        is_too_much: Whether it refused it because of all that is under way for that model.
    """

    status: str
    output_id: str | None = None
    errors_id: str | None = None
    total: int = 0
    done: int = 0
    reason: str = ""
    is_too_much: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in _ENDED


class Service:
    """The batch endpoints at one address, with one key.

    Args:
        address: Where `/chat/completions` is, without it.
        key: The key that goes there with calls.
        headers: What else goes there with calls.
        timeout: Seconds without a byte.
    """

    def __init__(self, address: str, key: str, headers: Mapping[str, str], timeout: float) -> None:
        import httpx
        import openai

        self._headers = _USUAL_HEADERS.union(name.lower() for name in headers)
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [self._prepare], "response": [_bounded]}
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False, event_hooks=hooks)
        # From its release 3 on, openai is typed for httpx2 alone and takes clients of httpx as before.
        http: Any = self._http
        # It must not repeat what it sends: a batch that was created without our hearing of it would be paid for twice.
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=address, max_retries=0, http_client=http, default_headers=dict(headers)
        )
        self.host = self._http.base_url.host or httpx.URL(address).host
        self._withheld: Withheld = withheld_from({"api_key": key, "extra_headers": dict(headers)})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload(self, file: IO[bytes], name: str) -> str:
        """Upload a file of requests; return the provider's name of it.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        async with self._told():
            made = await self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch")
            return _id(made.id, "file")

    async def create(self, file_id: str, tag: str, content: str) -> str:
        """Have a file worked on; return the provider's name of the batch.

        Args:
            file_id: The provider's name of the file.
            tag: Our own name of the batch.
            content: SHA-256 of the file.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        async with self._told():
            made = await self._client.batches.create(
                input_file_id=_id(file_id, "file"),
                endpoint=ENDPOINT,
                completion_window=WINDOW,
                metadata={TAG: tag, "sha256": content},
            )
            return _id(made.id, "batch")

    async def find(self, tag: str, file_id: str | None) -> str | None:
        """Return the provider's name of the batch with a tag, or with a file, of ours; None where it has none.

        Some servers keep no metadata, and with it no tag.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        async with self._told():
            looked = 0
            async for batch in self._client.batches.list(limit=_PAGE):
                is_tagged = isinstance(batch.metadata, Mapping) and batch.metadata.get(TAG) == tag
                if is_tagged or (file_id is not None and batch.input_file_id == file_id):
                    return _id(batch.id, "batch")
                looked += 1
                if looked >= _MOST_LISTED:
                    # Not to have found it is no proof that it is not there, and it would be paid for twice.
                    raise ProviderFailure("its list of batches goes on without end")
        return None

    async def look(self, batch_id: str) -> State:
        """Return how far a batch is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such batch.
        """
        async with self._told():
            return self._state(await self._client.batches.retrieve(_id(batch_id, "batch")))

    async def lines(self, file_id: str) -> AsyncIterator[bytes]:
        """Yield the lines of a file of results as they arrive.

        Raises:
            ProviderFailure: It cannot be read to its end.
        """
        async with (
            self._told(),
            self._client.files.with_streaming_response.content(_id(file_id, "file")) as response,
        ):
            rest = bytearray()
            async for piece in response.iter_bytes():
                *ended, last = piece.split(b"\n")
                if ended:
                    ended[0] = bytes(rest) + ended[0]
                    rest.clear()
                    for line in ended:
                        yield line
                rest += last
                if len(rest) > _LONGEST_LINE:
                    raise ProviderFailure("a line of the results goes on without end")
            if rest:
                yield bytes(rest)

    async def _prepare(self, request: httpx.Request) -> None:
        """Take out what OpenAI's client adds of the environment, whoever the server belongs to."""
        for name in request.headers.keys() - self._headers:
            if not name.startswith("x-stainless-"):
                del request.headers[name]
        request.headers["accept-encoding"] = ENCODINGS

    def _state(self, batch: Any) -> State:  # noqa: ANN401 - the client checks no types
        counts = batch.request_counts
        done = _count(getattr(counts, "completed", 0)) + _count(getattr(counts, "failed", 0))
        found = getattr(batch.errors, "data", None)
        errors = [error for error in (found if isinstance(found, list) else ()) if error is not None]
        words = [one_line(str(getattr(error, "message", "")), self._withheld) for error in errors[:_SHOWN_ERRORS]]
        return State(
            status=batch.status if isinstance(batch.status, str) else "",
            output_id=_optional_id(batch.output_file_id),
            errors_id=_optional_id(batch.error_file_id),
            total=_count(getattr(counts, "total", 0)),
            done=done,
            reason="; ".join(filter(None, dict.fromkeys(words))),
            is_too_much=any(getattr(error, "code", None) == _TOO_MUCH for error in errors),
        )

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """Tell what the client raises as a failure, in the provider's words without secrets."""
        try:
            yield
        except (ProviderFailure, GeneratorExit):
            raise
        except Exception as error:  # Its client raises many kinds, and what it meets in odd answers besides.
            raise failure_from(error, self._withheld) from error


async def _bounded(response: httpx.Response) -> None:
    bound_body(response, _MOST_OUTPUT if response.request.url.path.endswith("/content") else None)


def _id(value: object, what: str) -> str:
    """Return an id that may stand in an address.

    Raises:
        ProviderFailure: It has not the shape of one.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise ProviderFailure(f"the provider's name of a {what} is none that can be used: {value!r:.60}", billable=True)


def _optional_id(value: object) -> str | None:
    return None if value is None else _id(value, "file")


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
