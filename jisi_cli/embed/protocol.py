"""What an embedder is: the spec that decides its vectors, the `Embedder` that the rest of jisi uses, and the `Encoder`.

An `Encoder` is one kind of model, which reads texts and gives raw vectors. `UnitEmbedder` puts around every kind what
all of them share: equal texts once, order, checks, unit length.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import asyncio

    from jisi_cli.embed.account import Account

Truncation = Literal["head", "tail"]
"""Which end of a text that is too long is read."""

OnProgress = Callable[[int, int], None]
"""Called with (texts done, texts in all)."""

ENDPOINT = "litellm:"
"""How the name of an embedder begins that is an endpoint; the rest is LiteLLM's name of the model."""

_ENDPOINT_NAME = re.compile(r"litellm:\w[\w.:@+-]*(/\w[\w.:@+-]*)*", re.ASCII)
_LONGEST_NAME = 1024
LONGEST_PROMPT = 20_000
"""Characters; a prompt goes before every text, and an endpoint is paid for it every time."""


def name_problem(name: str) -> str | None:
    """Return why no embedder can have this name; None where one can.

    A name says which model, never where it is: LiteLLM would send texts and keys to an address in a name.
    """
    if len(name) > _LONGEST_NAME:
        return f"it is longer than {_LONGEST_NAME} characters"
    if not name.isprintable() or name != name.strip():
        return "it has blanks around it, or characters that cannot be seen"
    if re.search(r"https?:|//|^[\\][\\]", name, re.IGNORECASE):
        return "it holds an address; the address of an endpoint is `api_base` in [embedder] of your jisi.toml"
    if name.startswith(ENDPOINT) and (".." in name or not _ENDPOINT_NAME.fullmatch(name)):
        return "an endpoint is written litellm:<provider>/<model>"
    return None


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Everything that decides which vector a text gets; recorded in a bank and compared with a query's.

    Attributes:
        name: `minilm`, a hub id or a folder, `litellm:<model>`, or `hashing`.
        revision: What pins the weights: a hub commit, a content hash, or a library version.
        dimension: Width d of the vectors.
        max_tokens: Tokens of a text that are read; None for the model's own limit.
        truncation: Which end of a longer text is kept.
        prompt: Text put before every input (an instruction), or None.
    """

    name: str
    revision: str | None = None
    dimension: int | None = None
    max_tokens: int | None = None
    truncation: Truncation = "head"
    prompt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain data."""
        return asdict(self)

    def describe(self) -> str:
        """Name what tells this embedder from another, in a few words."""
        parts = [self.name, f"{self.dimension or '?'}-d"]
        parts += [f"revision {_shortened(self.revision)}"] if self.revision else []
        parts += [f"{self.truncation} {self.max_tokens} tokens"] if self.max_tokens else []
        parts += [f"prompt {self.prompt!r}"] if self.prompt else []
        return " ".join(parts)


def _shortened(revision: str) -> str:
    """Return the first digits of a hash; a revision in words is told in full."""
    return revision[:12] if re.fullmatch(r"[0-9a-f]{12,}", revision) else revision


class Embedder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def spec(self) -> EmbedderSpec:
        """What decides the vectors, complete (revision and dimension filled in)."""
        ...

    def embed(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> NDArray[np.float32]:
        """Return unit row vectors (n, d), in the order of `texts`.

        Raises:
            InputError: A text has no usable vector (NaN, zero, wrong width), or the model cannot be loaded.
        """
        ...

    @property
    def truncated(self) -> int:
        """How many of the texts embedded so far were longer than `max_tokens`."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model gets to read of one text.

    Attributes:
        length: Its size, for sorting and for batches: tokens where they are counted, else characters.
        truncated: Whether a part of the text was left out.
        text: What is sent, prompt included; empty for a model that gets tokens.
        token_ids: What is sent, special tokens and prompt included; empty for a model that gets text.
    """

    length: int
    truncated: bool
    text: str = ""
    token_ids: Sequence[int] = ()


class Encoder(Protocol):
    """One kind of model."""

    @property
    def revision(self) -> str | None:
        """What pins the weights; None for an endpoint, which cannot be pinned."""
        ...

    @property
    def dimension(self) -> int | None:
        """Width of the vectors where it is known without loading or calling the model."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that were paid for so far; 0 for a model on this machine."""
        ...

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return what is read of each text: truncated, then with the prompt before it."""
        ...

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch (k, d) at a time, in the order of `readings`.

        Args:
            readings: Longest first.
        """
        ...


class EncoderOptions(TypedDict, total=False):
    """How an encoder computes; none of it changes a vector.

    Attributes:
        device: torch's name of where to compute; without it that is left open, and whether torch is needed at all.
        batch_size: Texts embedded at once, or in one request; without it a choice by length.
        concurrency: Requests to an endpoint at one time.
        api_base: Address of an endpoint; without it LiteLLM's default.
        api_key_env: The environment variable that holds an endpoint's key; without it its provider's own.
        account: Pays for the requests to an endpoint and keeps the books; without it they happen unbooked.
    """

    device: str | None
    batch_size: int | None
    concurrency: int
    api_base: str | None
    api_key_env: str | None
    account: Account | None


def batches(readings: Sequence[Reading], *, most: int, volume: int | None) -> Iterator[Sequence[Reading]]:
    """Cut readings, longest first, into batches whose padding is small.

    Args:
        readings: Longest first.
        most: Readings in a batch.
        volume: Readings in a batch times the length of its longest; None for no limit. A single reading
            may exceed it.
    """
    start = 0
    while start < len(readings):
        longest = max(1, readings[start].length)
        size = most if volume is None else max(1, min(most, volume // longest))
        yield readings[start : start + size]
        start += size


_MOST_AT_ONCE = min(32, (os.cpu_count() or 1) + 4) // 2
"""Half of the threads that an event loop has. A thread that embeds through an endpoint may wait for budget reserved by
calls, and those calls need the other half to find their host and to count tokens before they release it."""

_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def embed_async(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed in a thread: return unit row vectors (n, d), in the order of `texts`, without blocking the event loop.

    Raises:
        JisiError: As the embedder does.
    """
    import asyncio  # 50 ms, and every command that opens a bank reads this module

    turns = _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE))
    async with turns:
        return await asyncio.to_thread(embedder.embed, texts)


class LazyEmbedder:
    """An `Embedder` known by its spec, loaded on first use: a replay whose vectors are all recorded never needs it.

    Args:
        spec: What decides its vectors.
        load: Loads it.
    """

    def __init__(self, spec: EmbedderSpec, load: Callable[[], Embedder]) -> None:
        self._spec, self._load = spec, load

    @property
    def spec(self) -> EmbedderSpec:
        """What decides the vectors."""
        return self._spec

    @property
    def truncated(self) -> int:
        """How many of the texts embedded so far were too long."""
        return self._embedder.truncated if "_embedder" in self.__dict__ else 0

    def embed(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> NDArray[np.float32]:
        """Return unit row vectors (n, d), in the order of `texts`.

        Raises:
            InputError: The embedder cannot be loaded, or a text has no usable vector.
        """
        return self._embedder.embed(texts, on_progress)

    @cached_property
    def _embedder(self) -> Embedder:
        return self._load()

    @property
    def loaded(self) -> Embedder:
        """The embedder itself, loaded now.

        Raises:
            JisiError: It cannot be loaded, or the user has not allowed it.
        """
        return self._embedder


def loaded(embedder: Embedder) -> Embedder:
    """Return an embedder after everything that may keep it from being used has been checked."""
    return embedder.loaded if isinstance(embedder, LazyEmbedder) else embedder
