"""Checks and order around any kind of model, with a model that is told what to answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.embed.protocol import EmbedderSpec, Reading, batches
from jisi_cli.embed.unit_embedder import LONGEST, UnitEmbedder
from jisi_cli.errors import InputError


class ToldEncoder:
    """Gives each text the vector it was told, and remembers what it was asked."""

    revision = "told"
    dimension: int | None = None
    tokens = 0

    def __init__(self, vectors: dict[str, list[float]] | None = None, most: int = 2) -> None:
        self.vectors = vectors
        self.most = most
        self.asked: list[list[str]] = []

    def read(self, texts: Sequence[str]) -> list[Reading]:
        return [Reading(length=len(text), truncated=len(text) > 9, text=text) for text in texts]

    def encode(self, readings: Sequence[Reading]) -> Iterator[np.ndarray]:
        for batch in batches(readings, most=self.most, volume=None):
            self.asked.append([reading.text for reading in batch])
            yield np.array([self._vector(reading.text) for reading in batch])

    def _vector(self, text: str) -> list[float]:
        return [len(text), ord(text[0]), 1.0] if self.vectors is None else self.vectors[text]


def embedder(encoder: ToldEncoder, **spec: object) -> UnitEmbedder:
    return UnitEmbedder(EmbedderSpec("told", **spec), encoder)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truncation", "read"), [("head", "a" + "x" * (LONGEST - 1)), ("tail", "x" * (LONGEST - 1) + "z")]
)
def test_of_an_endless_text_only_one_end_reaches_the_model(truncation: str, read: str) -> None:
    encoder = ToldEncoder()
    found = embedder(encoder, truncation=truncation)
    found.embed([" a" + "x" * 2 * LONGEST + "z ", "short"])
    assert encoder.asked == [[read, "short"]]
    assert found.truncated == 1


def test_equal_texts_are_embedded_once_and_the_longest_first() -> None:
    encoder = ToldEncoder()
    embedder(encoder).embed(["b", "aaa", "b", "cc", "aaa"])
    assert encoder.asked == [["aaa", "cc"], ["b"]]


@given(st.lists(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=5), min_size=1))
def test_every_text_gets_its_own_vector_whatever_the_batches(texts: list[str]) -> None:
    raw = np.array([[len(text), ord(text[0]), 1.0] for text in texts])
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder(ToldEncoder()).embed(texts), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ([0.0, 0.0], "zero"),
        ([float("nan"), 1.0], "NaN"),
        ([float("inf"), 1.0], "infinite"),
        ([1.0, 2.0, 3.0], "3 components, not 2"),
    ],
)
def test_a_vector_that_cannot_be_used_is_an_error_that_names_the_text(vector: list[float], words: str) -> None:
    text = "bad \x1b[31m\n" + "x" * 100
    encoder = ToldEncoder({"good": [1.0, 0.0], text: vector}, most=1)
    with pytest.raises(InputError, match=words) as raised:
        embedder(encoder, dimension=2).embed(["good", "good", text])
    message = str(raised.value)
    assert "text 2 " in message
    assert "bad" in message
    assert "x" * 60 not in message
    assert message.isprintable()


def test_tiny_and_huge_vectors_still_become_unit_vectors() -> None:
    vectors = embedder(ToldEncoder({"a": [3e-30, 4e-30], "b": [3e30, 4e30]})).embed(["a", "b"])
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


def test_the_width_of_a_silent_model_is_learnt_from_one_word() -> None:
    encoder = ToldEncoder()
    found = embedder(encoder)
    assert found.spec == EmbedderSpec("told", revision="told", dimension=3)
    assert found.spec.dimension == 3
    assert len(encoder.asked) == 1
    assert found.truncated == 0


def test_the_width_that_a_first_text_shows_holds_for_the_next() -> None:
    found = embedder(ToldEncoder({"a": [1.0, 0.0], "b": [1.0, 0.0, 0.0]}))
    found.embed(["a"])
    with pytest.raises(InputError, match="not 2"):
        found.embed(["b"])


def test_several_threads_get_the_vectors_of_their_own_texts() -> None:
    found = embedder(ToldEncoder())
    found.embed(["a"])
    wrong: list[str] = []

    def work(letter: str) -> None:
        for length in range(1, 30):
            raw = np.array([length, ord(letter), 1.0])
            if not np.allclose(found.embed([letter * length])[0], raw / np.linalg.norm(raw)):
                wrong.append(letter)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert found.truncated == 4 * 20


@given(st.lists(st.integers(0, 50)), st.integers(1, 8), st.none() | st.integers(1, 200))
def test_batches_hold_every_reading_once_and_keep_to_their_limits(
    lengths: list[int], most: int, volume: int | None
) -> None:
    readings = [Reading(length, False) for length in sorted(lengths, reverse=True)]
    cut = [list(batch) for batch in batches(readings, most=most, volume=volume)]
    assert [reading for batch in cut for reading in batch] == readings
    for batch in cut:
        assert len(batch) <= most
        assert len(batch) == 1 or volume is None or len(batch) * batch[0].length <= volume
