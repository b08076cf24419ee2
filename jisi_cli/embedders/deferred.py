"""An embedder that is loaded when it first embeds: a replay whose vectors are all recorded never needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embedders.protocol import Embedder, EmbedderSpec, OnProgress


class DeferredEmbedder:
    """An `Embedder` known by its spec, loaded on first use.

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
            JisiError: It cannot be loaded, or the user has no say in it.
        """
        return self._embedder


def loaded(embedder: Embedder) -> Embedder:
    """Return an embedder after everything that may keep it from being used has been checked."""
    return embedder.loaded if isinstance(embedder, DeferredEmbedder) else embedder
