"""Vectors that are found on disk."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.embed.protocol import Embedder, EmbedderSpec, OnProgress
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.vector_cache import CachedEmbedder, _key, cache_vectors
from jisi_cli.errors import InputError
from jisi_cli.models.json_disk import open_cache


class CountingEmbedder:
    """Passes everything to another embedder and remembers the texts."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.asked: list[str] = []

    @property
    def spec(self) -> EmbedderSpec:
        return self.embedder.spec

    @property
    def truncated(self) -> int:
        return self.embedder.truncated

    def embed(self, texts: Sequence[str], on_progress: OnProgress | None = None) -> np.ndarray:
        self.asked += texts
        return self.embedder.embed(texts, on_progress)


def hashing(**changes: object) -> CountingEmbedder:
    return CountingEmbedder(load_embedder(replace(EmbedderSpec("hashing:64"), **changes)))  # type: ignore[arg-type]


def cached(embedder: Embedder, folder: Path) -> CachedEmbedder:
    return cache_vectors(embedder, folder, warn=pytest.fail)


def test_what_was_embedded_once_is_found_again_bit_for_bit(tmp_path: Path) -> None:
    first, second = hashing(), hashing()
    made = cached(first, tmp_path).embed(["one", "two"])
    found = cached(second, tmp_path).embed(["two", "three", "one", "two"])
    np.testing.assert_array_equal(found[[2, 0, 3]], made[[0, 1, 1]])
    np.testing.assert_array_equal(found, hashing().embed(["two", "three", "one", "two"]))
    assert first.asked == ["one", "two"]
    assert second.asked == ["three"]


@pytest.mark.parametrize(
    "change", [{"name": "hashing:32"}, {"max_tokens": 1}, {"truncation": "tail"}, {"prompt": "q "}]
)
def test_another_spec_never_gets_these_vectors(tmp_path: Path, change: dict[str, object]) -> None:
    cached(hashing(), tmp_path).embed(["one two"])
    other = hashing(**change)
    np.testing.assert_array_equal(cached(other, tmp_path).embed(["one two"]), hashing(**change).embed(["one two"]))
    assert other.asked == ["one two"]


def test_a_damaged_vector_is_made_anew(tmp_path: Path) -> None:
    made = cached(hashing(), tmp_path).embed(["one"])
    rows = open_cache(tmp_path, warn=pytest.fail)
    with closing(sqlite3.connect(tmp_path / "cache.db")) as database:
        ((key,),) = database.execute("SELECT key FROM Cache")
    for damage in ("", "!", "AAAA", "AACAPw==", 3, None, ["x"], {"a": 1}):
        rows.set(key, damage)
        again = hashing()
        np.testing.assert_array_equal(cached(again, tmp_path).embed(["one"]), made)
        assert again.asked == ["one"]


def test_progress_counts_what_was_found(tmp_path: Path) -> None:
    embedder = cached(hashing(), tmp_path)
    embedder.embed(["one", "two"])
    seen: list[tuple[int, int]] = []
    embedder.embed(["one", "three", "two"], lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]


def test_a_text_with_half_a_character_can_be_kept(tmp_path: Path) -> None:
    cached(hashing(), tmp_path).embed(["one \ud83d"])
    again = hashing()
    cached(again, tmp_path).embed(["one \ud83d"])
    assert again.asked == []


def test_no_texts_give_no_rows(tmp_path: Path) -> None:
    assert cached(hashing(), tmp_path).embed([]).shape == (0, 64)


def test_a_folder_that_cannot_be_used_is_told_once_and_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    notes: list[str] = []
    embedder = cache_vectors(hashing(), tmp_path / "file", warn=notes.append)
    np.testing.assert_array_equal(embedder.embed(["one"]), hashing().embed(["one"]))
    embedder.embed(["one"])
    assert len(notes) == 1


def test_the_cache_speaks_for_its_embedder(tmp_path: Path) -> None:
    inner = hashing(max_tokens=1)
    embedder = cached(inner, tmp_path)
    embedder.embed(["one two"])
    assert embedder.spec == inner.spec
    assert embedder.truncated == 1


def test_vectors_of_one_address_are_not_those_of_another(tmp_path: Path) -> None:
    asked = []
    for address in (None, {"api_base": "http://a.example"}, {"OPENAI_BASE_URL": "http://b.example"}):
        for _ in range(2):
            embedder = hashing()
            cache_vectors(embedder, tmp_path, warn=pytest.fail, address=address).embed(["one"])
            asked.append(embedder.asked)
    assert asked == [["one"], []] * 3


def test_vectors_without_an_address_keep_the_key_that_they_had() -> None:
    key = _key(EmbedderSpec("litellm:openai/v"), "one", {})
    assert key.startswith("98bb098148eca2d8ca5564a3a6a8aaadf8f12c0a5ecd67b20f12ed154904fb98:7692c3ad")


def test_of_equal_texts_that_are_asked_for_at_once_one_is_embedded_and_a_failure_is_each_askers_own(
    tmp_path: Path,
) -> None:
    inner, begun, may_end = hashing(), threading.Event(), threading.Event()

    def embed(texts: Sequence[str], on_progress: OnProgress | None = None) -> np.ndarray:
        inner.asked += texts
        begun.set()
        may_end.wait()
        return inner.embedder.embed(texts)

    inner.embed = embed  # type: ignore[method-assign]
    both = cached(inner, tmp_path)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(both.embed, ["one", "one"])
        begun.wait()
        second = threads.submit(both.embed, ["two", "one"])
        while "two" not in inner.asked:
            time.sleep(0.001)
        may_end.set()
        np.testing.assert_array_equal(second.result()[1], first.result()[0])
        assert inner.asked == ["one", "one", "two"]
        begun.clear(), may_end.clear()
        failed = [threads.submit(both.embed, [" "])]
        begun.wait()
        failed.append(threads.submit(both.embed, [" "]))
        may_end.set()
        assert [type(one.exception()) for one in failed] == [InputError, InputError]
