"""Counts of hashed words and letter groups: no model, no download; for trying jisi and for tests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.murmur import murmur3
from jisi_cli.embed.protocol import EmbedderSpec, EncoderOptions, Reading, batches
from jisi_cli.errors import InputError

DEFAULT_DIMENSION = 1024
_RECIPE = "words 1-2, letters 3-5"
"""What decides the vectors beside the width; a change of the recipe is a change of this name."""
_TEXTS = 512
_NUMBERS = 2**24
"""Components in memory at a time; a bank may name a width of a million."""
_WORD = re.compile(r"\S+")
_TOKEN = re.compile(r"\w+")
_GROUPS = (3, 4, 5)


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
        for batch in batches(readings, most=max(1, min(_TEXTS, _NUMBERS // self._dimension)), volume=None):
            texts = [reading.text for reading in batch]
            lowered = [text.lower() for text in texts]
            words = self._counted([Counter(_words(text)) for text in lowered], lambda words: [words])
            yield words + self._counted([Counter(text.split()) for text in lowered], _letters)

    def _reading(self, text: str) -> Reading:
        words, most = list(_WORD.finditer(text)), self._spec.max_tokens
        truncated = most is not None and len(words) > most
        if most is not None and truncated:
            tail = self._spec.truncation == "tail"
            text = text[words[-most].start() :] if tail else text[: words[most - 1].end()]
        return Reading(length=len(words), truncated=truncated, text=(self._spec.prompt or "") + text)

    def _counted(self, texts: list[Counter[str]], split: Callable[[str], list[str]]) -> NDArray[np.float64]:
        """Return the damped counts (n, d) of the n-grams of n texts.

        Args:
            texts: How often each part of a text is in it.
            split: Returns the n-grams of a part; each different part is split and hashed once.
        """
        parts = {part: place for place, part in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
        grams = [split(part) for part in parts]
        lengths = np.fromiter(map(len, grams), dtype=np.intp, count=len(grams))
        starts = np.cumsum(lengths) - lengths
        hashes = murmur3([gram.encode() for gram in chain.from_iterable(grams)]).astype(np.int64)
        columns, signs = np.abs(hashes) % self._dimension, np.where(hashes >= 0, 1.0, -1.0)
        sums = np.zeros((len(texts), self._dimension))
        for row, text in zip(sums, texts, strict=True):
            those = np.fromiter(map(parts.__getitem__, text), dtype=np.intp, count=len(text))
            numbers = np.fromiter(text.values(), dtype=np.float64, count=len(text))
            each = lengths[those]
            within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
            found = np.repeat(starts[those], each) + within
            row += np.bincount(columns[found], signs[found] * np.repeat(numbers, each), self._dimension)
        return np.sign(sums) * np.log1p(np.abs(sums))


def _words(text: str) -> list[str]:
    """Return the words of a text, those of one letter too, and each two that follow each other."""
    words = _TOKEN.findall(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def _letters(word: str) -> list[str]:
    """Return the groups of 3 to 5 letters of a word with a blank on either side."""
    word = f" {word} "
    return [word[start : start + size] for size in _GROUPS for start in range(len(word) - size + 1)]
