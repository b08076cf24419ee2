"""What a provider's batch endpoints can do, as jisi uses them, and what of a provider's words is believed.

What a provider says decides nothing but its own content: an id that goes into an address has the shape of one, a
status is one of a few words, results are read line by line within bounds, and no redirect is followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from jisi_cli.models.failure import ProviderFailure, failure_from
from jisi_cli.models.redaction import Withheld
from jisi_cli.models.unpacking import ENCODINGS, bound_body

if TYPE_CHECKING:
    import httpx

    from jisi_cli.models.batch.journal import OpenBatch
    from jisi_cli.models.batch.outcome import Result
    from jisi_cli.models.batch.request_file import RequestFile
    from jisi_cli.models.batch.rows import Place

GONE: Final = "gone"
"""Our word for a batch that the provider has not."""
NOT_FOUND: Final = 404
MOST_LISTED: Final = 10_000
"""Batches that are looked through for one of ours."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_ENDED = frozenset({"completed", "failed", "expired", "cancelled", GONE})
_LONGEST_LINE = 96 * 2**20
MOST_OUTPUT: Final = 16 * 2**30
"""Bytes of the results of one batch."""
_RESULTS = ("/content", "/results", ":download", ".jsonl")
"""How the addresses of results end."""


class RefusedError(Exception):
    """A provider took no batch; the message says why."""


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


@dataclass(frozen=True, slots=True)
class Match:
    """A batch at a provider that is, or may be, one of ours.

    Attributes:
        batch_id: The provider's name of it.
        is_sure: Whether it is ours; where it only may be, its results will tell.
        is_deletable: Whether it is nobody else's: two machines that ask the same at the same time may be given one.
    """

    batch_id: str
    is_sure: bool = True
    is_deletable: bool = True


class Service(Protocol):
    """The batch endpoints at one address, with one key.

    Attributes:
        host: Where they are, for messages.
        most_requests: Requests that a batch may hold.
        most_bytes: Bytes that its requests may take.
        keeps_requests: Whether the requests lie at the provider before there is a batch of them, which can then be
            created without sending them again.
    """

    host: str
    most_requests: int
    most_bytes: int
    keeps_requests: bool

    def row(self, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as it stands in a batch."""
        ...

    async def prepare(self, file: RequestFile, tag: str) -> str:
        """Do what comes before a batch is created and costs nothing, so that it may be done again.

        Returns:
            What the batch can be created of, or found by, later: the provider's name of a file of ours, or of the
            newest batch that it has.
        """
        ...

    async def is_ready(self, file_id: str) -> bool:
        """Whether a batch can be created of what was prepared.

        Raises:
            RefusedError: It never will be.
        """
        ...

    async def create(self, batch: OpenBatch, file: RequestFile | None) -> str:
        """Have requests worked on; return the provider's name of the batch.

        Args:
            batch: What is known of it.
            file: The requests; None where they lie at the provider.

        Raises:
            ProviderFailure: It was not taken, or that is not known.
        """
        ...

    async def find(self, batch: OpenBatch, keys: Collection[str], others: Collection[str]) -> Match | None:
        """Return what the provider has of a batch whose name there is not known; None where it has none.

        Args:
            batch: What is known of it.
            keys: All its requests, by cache key.
            others: The provider's names of other batches of ours.

        Raises:
            ProviderFailure: It cannot be asked.
        """
        ...

    async def look(self, batch_id: str) -> State:
        """Return how far a batch is.

        Raises:
            ProviderFailure: It cannot be asked, or has no such batch.
        """
        ...

    def results(self, batch_id: str, state: State) -> list[AsyncIterator[bytes]]:
        """Return the lines of each file of results; reading one raises `ProviderFailure` where that fails."""
        ...

    def result_in(self, line: bytes) -> Result | None:
        """Return what a line of the results says; None where it is no result."""
        ...

    async def delete(self, batch: OpenBatch, state: State) -> None:
        """Delete what holds questions and answers of a batch that has ended, or that was not created.

        Raises:
            ProviderFailure: It is not deleted, or not all of it.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def service_at(place: Place, timeout: float) -> Service:
    """Return the batch endpoints beside where a model's calls go.

    Args:
        place: Where, and what goes there with a call.
        timeout: Seconds without a byte.
    """
    if place.protocol == "anthropic":
        from jisi_cli.models.batch.anthropic_service import AnthropicService

        return AnthropicService(place, timeout)
    if place.protocol == "gemini":
        from jisi_cli.models.batch.gemini_service import GeminiService

        return GeminiService(place, timeout)
    if place.protocol == "bedrock":
        from jisi_cli.models.batch.bedrock_service import BedrockService

        return BedrockService(place, timeout)
    if place.protocol == "vertex_ai":
        from jisi_cli.models.batch.vertex_service import VertexService

        return VertexService(place, timeout)
    from jisi_cli.models.batch.openai_service import OpenAIService

    return OpenAIService(place, timeout)


def client_of(place: Place, timeout: float, usual_headers: Collection[str]) -> httpx.AsyncClient:
    """Return an HTTP client that follows no redirect and sends what calls to a place send, and nothing else.

    Args:
        place: Where, and what goes there with a call.
        timeout: Seconds without a byte.
        usual_headers: Names of headers, in small letters, that say nothing of the user.
    """
    import httpx

    async def prepare(request: httpx.Request) -> None:
        # OpenAI's client adds what the environment says, whoever the server belongs to.
        for name in request.headers.keys() - usual_headers:
            if not name.startswith("x-stainless-"):
                del request.headers[name]
        request.headers.update({**place.headers, "accept-encoding": ENCODINGS})

    async def bound(response: httpx.Response) -> None:
        bound_body(response, MOST_OUTPUT if response.request.url.path.endswith(_RESULTS) else None)

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [prepare], "response": [bound]}
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, event_hooks=hooks)


@asynccontextmanager
async def told(withheld: Withheld) -> AsyncIterator[None]:
    """Tell what a client raises as a failure, in the provider's words without secrets."""
    try:
        yield
    except (ProviderFailure, RefusedError, GeneratorExit):
        raise
    except (AttributeError, LookupError, TypeError) as error:
        # OpenAI's client gives out what is no JSON as a text, and checks no types.
        reason = "the answer is none of a batch endpoint; look at the model's `api_base`"
        raise ProviderFailure(reason, retryable=True, billable=True, most_retries=1) from error
    except Exception as error:  # Clients raise many kinds, and what they meet in odd answers besides.
        raise failure_from(error, withheld) from error


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a body as they arrive.

    Raises:
        ProviderFailure: One goes on without end.
    """
    rest = bytearray()
    async for piece in pieces:
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


def batch_name(tag: str) -> str:
    """Return what a batch is called at a provider that lets us name it."""
    return f"jisi-{tag}"


def row_in(line: bytes) -> Mapping[str, Any]:
    """Return the object that a line of results is; an empty one where it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def checked_id(value: object, what: str) -> str:
    """Return an id that may stand in an address.

    Raises:
        ProviderFailure: It has not the shape of one.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise ProviderFailure(f"the provider's name of a {what} is none that can be used: {value!r:.60}", billable=True)


def optional_id(value: object) -> str | None:
    """Return an id that may stand in an address; None for none.

    Raises:
        ProviderFailure: It has not the shape of one.
    """
    return None if value is None else checked_id(value, "file")


def count_in(value: object) -> int:
    """Return a number of requests; 0 for what is none."""
    return value if type(value) is int and value >= 0 else 0
