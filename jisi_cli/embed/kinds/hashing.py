"""Counts of hashed words and letter groups: no model, no download; for trying jisi and for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.grams import Grams, letter_grams, word_grams
from jisi_cli.embed.protocol import EmbedderSpec, EncoderOptions, Reading
from jisi_cli.errors import InputError

DEFAULT_DIMENSION = 1024
_RECIPE = "words 1-2, letters 3-5"
"""What decides the vectors beside the width; a change of the recipe is a change of this name."""
_TEXTS = 512
_NUMBERS = 2**24
"""Components in memory at a time; a bank may name a width of a million."""
_CHARACTERS = 2**19
"""Characters of a batch of several texts."""
_WORD = re.compile(r"\S+")


def open_encoder(spec: EmbedderSpec, argument: str, options: EncoderOptions) -> HashingEncoder:
    """Return the encoder that `hashing` or `hashing:<width>` names.

    Raises:
        InputError: The width is not one.
    """
    if ":" in spec.name and not (argument.isdecimal() and 0 < int(argument) <= 2**20):
        raise InputError(f"the embedder {spec.name} is written hashing:<width>, for example hashing:512")
    return HashingEncoder(spec, int(argument) if argument else DEFAULT_DIMENSION)


class HashingEncoder:
    """An `Encoder` of word 1-2-grams and letter 3-5-grams within words, hashed into d signed counts.

    With n_g the count of n-gram g in a text, h its hash and s its sign (MurmurHash3), component j counts
    c_j = sum of s(g) n_g over all g with h(g) = j (Weinberger et al. 2009, arXiv:0902.2206), and is
    sign(c_j) log(1 + |c_j|), once for words and once for letters, added up. n-grams, hashes and signs are those of
    scikit-learn's HashingVectorizer, whose import takes ten times as long as a question.

    Args:
        spec: Its `max_tokens` counts words; `truncation` and `prompt` apply.
        dimension: Width d of the vectors.
    """

    tokens = 0
    revision = _RECIPE

    def __init__(self, spec: EmbedderSpec, dimension: int) -> None:
        self._spec = spec
        self._dimension = dimension

    @property
    def dimension(self) -> int | None:
        """The width that was asked for."""
        return self._dimension

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the words read of each text."""
        return [self._reading(text) for text in texts]

    def encode(self, readings: Sequence[Reading]) -> Iterator[NDArray[np.floating]]:
        """Yield raw row vectors, a batch at a time."""
        for batch in _batches([reading.text for reading in readings], max(1, min(_TEXTS, _NUMBERS // self._dimension))):
            lowered = [text.lower() for text in batch]
            words, letters = word_grams(lowered, self._dimension), letter_grams(lowered, self._dimension)
            yield self._damped(words, len(batch)) + self._damped(letters, len(batch))

    def _reading(self, text: str) -> Reading:
        length, most = len(text.split()), self._spec.max_tokens
        truncated = most is not None and length > most
        if most is not None and truncated:
            words = list(_WORD.finditer(text))
            tail = self._spec.truncation == "tail"
            text = text[words[-most].start() :] if tail else text[: words[most - 1].end()]
        return Reading(length=length, truncated=truncated, text=(self._spec.prompt or "") + text)

    def _damped(self, grams: Grams, count: int) -> NDArray[np.float64]:
        """Return the damped counts (n, d) of the n-grams of n texts.

        Sums of whole numbers are exact, so neither the order of the n-grams nor the batch shows in them.
        """
        sums = np.bincount(grams.places, grams.counts, count * self._dimension).astype(np.intp)
        most = int(np.abs(sums).max())
        counts = np.arange(-most, most + 1, dtype=np.float64)
        damped = np.sign(counts) * np.log1p(np.abs(counts))  # few different counts fill all rows
        return damped[sums + most].reshape(count, self._dimension)


def _batches(texts: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Cut texts into batches of bounded characters, as each has several n-grams; a single text may have more."""
    start = characters = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == most or characters + len(text) > _CHARACTERS):
            yield texts[start:end]
            start, characters = end, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]
