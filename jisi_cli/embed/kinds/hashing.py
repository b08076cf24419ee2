"""Counts of hashed words and letter groups: no model, no download; for trying jisi and for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.protocol import EmbedderSpec, EncoderOptions, Reading, batches
from jisi_cli.errors import InputError

DEFAULT_DIMENSION = 1024
_RECIPE = "words 1-2, letters 3-5"
"""What decides the vectors beside the width; a change of the recipe is a change of this name."""
_TEXTS = 512
_NUMBERS = 2**24
"""Components in memory at a time; a bank may name a width of a million."""
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

    With n_g the count of n-gram g in a text, h its hash and s its sign (scikit-learn's HashingVectorizer,
    MurmurHash3), component j counts c_j = sum of s(g) n_g over all g with h(g) = j (Weinberger et al. 2009,
    arXiv:0902.2206), and is sign(c_j) log(1 + |c_j|), once for words and once for letters, added up.

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
        for batch in batches(readings, most=max(1, min(_TEXTS, _NUMBERS // self._dimension)), volume=None):
            texts = [reading.text for reading in batch]
            words, letters = self._vectorizers
            yield self._counted(words, texts) + self._counted(letters, texts)

    def _reading(self, text: str) -> Reading:
        words, most = list(_WORD.finditer(text)), self._spec.max_tokens
        truncated = most is not None and len(words) > most
        if most is not None and truncated:
            tail = self._spec.truncation == "tail"
            text = text[words[-most].start() :] if tail else text[: words[most - 1].end()]
        return Reading(length=len(words), truncated=truncated, text=(self._spec.prompt or "") + text)

    def _counted(self, vectorizer: Any, texts: list[str]) -> NDArray[np.float64]:  # noqa: ANN401 - scikit-learn has no types
        counts = vectorizer.transform(texts)
        counts.data = np.sign(counts.data) * np.log1p(np.abs(counts.data))
        dense: NDArray[np.float64] = counts.toarray()
        return dense

    @cached_property
    def _vectorizers(self) -> tuple[Any, Any]:
        try:
            from sklearn.feature_extraction.text import HashingVectorizer
        except ModuleNotFoundError as error:
            raise InputError("the embedder hashing needs scikit-learn: pip install scikit-learn") from error
        width, raw = self._dimension, None
        # scikit-learn's own pattern leaves out words of one letter, and with them most of arithmetic.
        words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", n_features=width, norm=raw)
        letters = HashingVectorizer(ngram_range=(3, 5), analyzer="char_wb", n_features=width, norm=raw)
        return words, letters
