"""What every kind of embedder has in common: equal texts once, the longest first, checked unit vectors in order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import EmbedderSpec, Encoder, OnProgress
from jisi_cli.errors import InputError

LONGEST = 1 << 19
"""Characters of a text that are looked at: more than any model reads, and tokenising 50 million takes 25 GB."""
_PROBE = "a"
"""Embedded to learn the width of a model that does not say it."""


class UnitEmbedder:
    """An `Embedder` around one kind of model; may be used from several threads.

    Args:
        spec: What was asked for; what it leaves open is filled in from the model.
        encoder: The model.
    """

    def __init__(self, spec: EmbedderSpec, encoder: Encoder) -> None:
        self._asked = spec
        self._encoder = encoder
        self._width = spec.dimension or encoder.dimension
        self._truncated = 0
        self._counting = threading.Lock()

    @property
    def spec(self) -> EmbedderSpec:
        """What decides the vectors, complete.

        A model that does not tell its width (an endpoint; some folders) embeds one word to show it, unless
        the width was asked for or something was embedded before.
        """
        if self._width is None:
            self.embed([_PROBE])
        return replace(self._asked, revision=self._encoder.revision, dimension=self._width)

    @property
    def truncated(self) -> int:
        """How many of the texts embedded so far were longer than what is read of a text."""
        return self._truncated

    @property
    def tokens(self) -> int:
        """Tokens that an endpoint has counted so far; 0 for a model on this machine."""
        return self._encoder.tokens

    def embed(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> NDArray[np.float32]:
        """Return unit row vectors (n, d), in the order of `texts`.

        Args:
            texts: None of them blank. Of one that is longer than `LONGEST`, the end that the spec keeps is read.
            on_progress: Called after every batch.

        Raises:
            InputError: A text is blank or has no usable vector (NaN, zero, wrong width), or the model cannot
                be loaded.
            NoAnswerError: An endpoint does not answer.
        """
        if not texts:
            return np.empty((0, self.spec.dimension or 0), dtype=np.float32)
        times = Counter(texts)
        for text in times:
            if not text.strip():
                raise InputError(f"{_where(texts, text)} is blank; leave texts without words out")
        distinct = list(times)
        readings = self._encoder.read([_readable(self._within_reach(text)) for text in distinct])
        order = sorted(range(len(distinct)), key=lambda place: -readings[place].length)
        units: list[NDArray[np.float32]] = []
        read = done = 0
        for raw in self._encoder.encode([readings[place] for place in order]):
            batch = [distinct[place] for place in order[read : read + len(raw)]]
            units.append(self._unit(raw, batch, texts))
            read += len(raw)
            done += sum(times[text] for text in batch)
            if on_progress is not None:
                on_progress(done, len(texts))
        with self._counting:
            pairs = zip(distinct, readings, strict=True)
            self._truncated += sum(times[text] for text, reading in pairs if reading.truncated or len(text) > LONGEST)
        rows = {distinct[place]: row for row, place in enumerate(order)}
        vectors: NDArray[np.float32] = np.concatenate(units)[[rows[text] for text in texts]]
        return vectors

    def _within_reach(self, text: str) -> str:
        if len(text) <= LONGEST:
            return text
        return text.rstrip()[-LONGEST:] if self._asked.truncation == "tail" else text.lstrip()[:LONGEST]

    def _unit(self, raw: NDArray[np.floating], batch: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        """Return rows of length 1, or say which text has none.

        Lengths are taken in float64: squares of large float32 components overflow.
        """
        name = self._asked.name
        if self._width is None:
            self._width = raw.shape[1]
        if raw.shape[1] != self._width:
            raise InputError(
                f"{name} gives {_where(texts, batch[0])} a vector of {raw.shape[1]} components, not {self._width}; "
                "its vectors cannot be compared with the others"
            )
        rows = raw.astype(np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if len(wrong):
            place = int(wrong[0])
            what = "a zero vector" if lengths[place] == 0 else "a vector with NaN or infinite components"
            raise InputError(f"{name} gives {_where(texts, batch[place])} {what}; leave this text out")
        unit: NDArray[np.float32] = (rows / lengths[:, None]).astype(np.float32)
        return unit


def _readable(text: str) -> str:
    """Return a text that is Unicode: halves of a character, which JSON can hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _where(texts: Sequence[str], text: str) -> str:
    """Name a text by its index and its beginning, without characters that could steer a terminal."""
    beginning = "".join(mark if mark.isprintable() else " " for mark in text[:60])
    return f"text {texts.index(text)} ({beginning!r})"
