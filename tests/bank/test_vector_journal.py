"""The vectors of a build under way: what was appended is there, whatever end the build came to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jisi_cli.bank import vector_journal
from jisi_cli.bank.vector_journal import VectorJournal, text_key

WIDTH = 3
ENTRY = 32 + 4 * WIDTH


def vectors(*numbers: int) -> NDArray[np.float32]:
    return np.array([[number, number + 0.25, -number] for number in numbers], dtype=np.float32)


def lacking(journal: VectorJournal, texts: list[str]) -> list[str]:
    return [texts[place] for place in journal.missing(texts).tolist()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "down" / "journal.vectors"


def test_what_was_appended_is_read_back_in_any_order(path: Path) -> None:
    with VectorJournal(path, WIDTH) as journal:
        journal.append(["a", "b"], vectors(1, 2))
        journal.append(["c"], vectors(3))
        np.testing.assert_array_equal(journal.vectors(["c", "a", "c", "b"]), vectors(3, 1, 3, 2))
        assert journal.vectors([]).shape == (0, WIDTH)
    assert path.stat().st_size == 3 * ENTRY


def test_a_later_build_goes_on_with_it(path: Path) -> None:
    with VectorJournal(path, WIDTH) as journal:
        journal.append(["a", "b"], vectors(1, 2))
    with VectorJournal(path, WIDTH) as journal:
        assert len(journal) == 2
        assert journal.missing(["c", "a", "c", "d", "b"]).tolist() == [0, 3]
        journal.append(["c"], vectors(3))
    with VectorJournal(path, WIDTH) as journal:
        np.testing.assert_array_equal(journal.vectors(["a", "b", "c"]), vectors(1, 2, 3))


@pytest.mark.parametrize("cut", range(1, 2 * ENTRY + 1))
def test_a_half_written_end_is_cut_off_and_written_anew(path: Path, cut: int) -> None:
    with VectorJournal(path, WIDTH) as journal:
        journal.append(["a", "b", "c"], vectors(1, 2, 3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with VectorJournal(path, WIDTH) as journal:
        missing = lacking(journal, ["a", "b", "c"])
        assert missing == ["a", "b", "c"][3 - -(-cut // ENTRY) :]
        journal.append(missing, vectors(*({"a": 1, "b": 2, "c": 3}[text] for text in missing)))
    assert path.read_bytes() == whole


def test_of_a_text_that_was_written_twice_the_later_vector_counts(path: Path) -> None:
    with VectorJournal(path, WIDTH) as journal:
        journal.append(["a", "b"], vectors(1, 2))
        journal.append(["a"], vectors(7))
        np.testing.assert_array_equal(journal.vectors(["a", "b"]), vectors(7, 2))
        assert len(journal) == 2
    with VectorJournal(path, WIDTH) as journal:
        np.testing.assert_array_equal(journal.vectors(["a", "b"]), vectors(7, 2))


def test_an_empty_file_is_an_empty_journal(path: Path) -> None:
    for _ in range(2):
        with VectorJournal(path, WIDTH) as journal:
            assert (len(journal), lacking(journal, ["a"])) == (0, ["a"])
            assert journal.vectors([]).shape == (0, WIDTH)


def test_texts_with_halves_of_characters_have_keys_of_their_own() -> None:
    assert len({text_key(text) for text in ("\ud800", "\udc00", "\ufffd", "?", "")}) == 5


@given(st.lists(st.text(max_size=4), max_size=20), st.integers(1, 5))
def test_any_texts_in_any_pieces_are_all_there(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], piece: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "any.vectors"
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    for start in range(0, len(texts), piece):
        with VectorJournal(path, WIDTH) as journal:
            fresh = lacking(journal, texts[start : start + piece])
            journal.append(fresh, vectors(*(numbers[text] for text in fresh)).reshape(-1, WIDTH))
    with VectorJournal(path, WIDTH) as journal:
        assert lacking(journal, texts) == []
        assert len(journal) == len(numbers)
        np.testing.assert_array_equal(
            journal.vectors(texts), vectors(*(numbers[text] for text in texts)).reshape(-1, WIDTH)
        )


def test_texts_whose_hashes_begin_alike_are_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_journal, "text_key", lambda text: bytes(8) + text_key(text)[8:])
    texts = [chr(97 + number) for number in range(20)]
    with VectorJournal(path, WIDTH) as journal:
        journal.append(texts, vectors(*range(20)))
        journal.append(texts[3:5], vectors(30, 40))
        assert journal.missing(["z", *texts, "y", "z"]).tolist() == [0, 21]
        expected = [number * 10 if number in (3, 4) else number for number in range(20)]
        np.testing.assert_array_equal(journal.vectors(texts), vectors(*expected))
        with pytest.raises(KeyError, match="y"):
            journal.vectors(["a", "y"])
