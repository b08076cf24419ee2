"""The n-grams of many texts, hashed as they lie in one buffer: no object is made for each."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embed.murmur import murmur3

_TOKEN = re.compile(r"\w+")
_GROUPS = (3, 4, 5)
_BLANK, _NEW_LINE = ord(" "), ord("\n")

Places = NDArray[np.intp]


class Grams(NamedTuple):
    """n-grams of n texts, in any order; equal ones may be there several times.

    Attributes:
        places: Component of each in the rows (n, d) of all texts, counted through (g,).
        counts: How often it is in its text, with the sign of its hash (g,).
    """

    places: Places
    counts: NDArray[np.float64]


def word_grams(texts: Sequence[str], width: int) -> Grams:
    """Return the words of each text, those of one letter too, and each two that follow each other.

    Args:
        texts: The texts (n).
        width: Components d of a row.
    """
    # A word holds neither blanks nor line ends, so two of a text that follow each other lie together in the buffer.
    lines = "\n".join([" ".join(_TOKEN.findall(text)) for text in texts])
    data = np.frombuffer(lines.encode(), dtype=np.uint8)
    ends = np.flatnonzero((data == _BLANK) | (data == _NEW_LINE))
    texts_of = np.concatenate([[0], np.cumsum(data[ends] == _NEW_LINE)])
    starts, ends = np.concatenate([[0], ends + 1]), np.concatenate([ends, [len(data)]])
    words = ends > starts  # a text without words is an empty line
    starts, ends, texts_of = starts[words], ends[words], texts_of[words]
    pairs = np.flatnonzero(texts_of[1:] == texts_of[:-1])
    hashes = murmur3(data, np.concatenate([starts, starts[pairs]]), np.concatenate([ends, ends[pairs + 1]]))
    columns, signs = _components(hashes, width)
    return Grams(np.concatenate([texts_of, texts_of[pairs]]) * width + columns, signs)


def letter_grams(texts: Sequence[str], width: int) -> Grams:
    """Return the groups of 3 to 5 letters of each text's words with a blank on either side.

    Each different word is hashed once.

    Args:
        texts: The texts (n).
        width: Components d of a row.
    """
    counted = [Counter(text.split()) for text in texts]
    distinct = [len(found) for found in counted]
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    which = np.fromiter(map(numbers.__getitem__, chain.from_iterable(counted)), dtype=np.intp, count=sum(distinct))
    times = np.fromiter(chain.from_iterable(map(dict.values, counted)), dtype=np.float64, count=len(which))
    lengths, hashes = _letters(list(numbers))
    columns, signs = _components(hashes, width)
    each = lengths[which]
    found = _ranges((np.cumsum(lengths) - lengths)[which], each)
    rows = np.repeat(np.arange(len(texts)) * width, distinct)
    return Grams(np.repeat(rows, each) + columns[found], np.repeat(times, each) * signs[found])


def _components(hashes: NDArray[np.int32], width: int) -> tuple[Places, NDArray[np.float64]]:
    """Return the component that each hash stands for, and its sign (g,)."""
    sizes = np.where(hashes < 0, -hashes.view(np.uint32), hashes.view(np.uint32))
    return (sizes % np.uint32(width)).astype(np.intp), np.where(hashes < 0, -1.0, 1.0)


def _letters(words: Sequence[str]) -> tuple[Places, NDArray[np.int32]]:
    """Return how many groups of letters each word has (w,), and the hashes of all, word by word."""
    data = np.frombuffer(" ".join(["", *words, ""]).encode(), dtype=np.uint8)
    # Groups are of characters, of which each takes one to four bytes; all but the first look like 10xxxxxx.
    characters = np.flatnonzero((data & 0xC0) != 0x80)
    blanks = np.flatnonzero(data[characters] == _BLANK)
    characters = np.append(characters, len(data))
    widths = np.diff(blanks) + 1
    counts = np.maximum(widths[:, None] - np.array(_GROUPS) + 1, 0)
    firsts = _ranges(np.repeat(blanks[:-1], len(_GROUPS)), counts.reshape(-1))
    sizes = np.repeat(np.tile(_GROUPS, len(words)), counts.reshape(-1))
    return counts.sum(axis=1), murmur3(data, characters[firsts], characters[firsts + sizes])


def _ranges(starts: Places, lengths: Places) -> Places:
    """Return the whole numbers from each start on, as many as its length, one range after another."""
    ends = np.cumsum(lengths)
    found: Places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return found
