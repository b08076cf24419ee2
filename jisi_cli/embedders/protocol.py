"""The seam between texts and vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Truncation = Literal["head", "tail"]
"""Which end of a text that is too long is kept."""

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

    A name says which model, never where it is: LiteLLM sends texts and keys to an address that stands in a name.
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
        parts += [f"revision {self.revision[:12]}"] if self.revision else []
        parts += [f"{self.truncation} {self.max_tokens} tokens"] if self.max_tokens else []
        parts += [f"prompt {self.prompt!r}"] if self.prompt else []
        return " ".join(parts)


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
