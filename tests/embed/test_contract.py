"""What every embedder promises, whatever its kind."""

from __future__ import annotations

import numpy as np
import pytest

from jisi_cli.errors import InputError
from tests.embed.conftest import Make

TEXTS = [
    "what is the answer of two and three?",
    "one",
    "é",
    "7",
    "你",
    "nine eight seven six five four three two one " * 5,
    "how (the) answer - 12.5 + 3!",
    "a\nb\tc",
]


def test_rows_are_unit_vectors_of_the_width_that_the_spec_names(make: Make) -> None:
    embedder = make()
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.spec.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-6)


def test_the_order_and_the_company_of_texts_change_no_vector(make: Make) -> None:
    embedder = make()
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    backwards = embedder.embed(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_different_texts_get_different_vectors(make: Make) -> None:
    vectors = make().embed(TEXTS)
    similarities = vectors @ vectors.T - np.eye(len(TEXTS))
    assert similarities.max() < 0.999


def test_equal_texts_get_equal_vectors(make: Make) -> None:
    vectors = make().embed(["two", "one", "two", "two"])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert not np.array_equal(vectors[0], vectors[1])


def test_no_texts_give_no_rows(make: Make) -> None:
    embedder = make()
    assert embedder.embed([]).shape == (0, embedder.spec.dimension)


def test_progress_grows_to_the_number_of_texts_repetitions_included(make: Make) -> None:
    seen: list[tuple[int, int]] = []
    make().embed(["one", "two", "one", "three"], lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_a_blank_text_is_an_error_that_names_its_place(make: Make, blank: str) -> None:
    with pytest.raises(InputError, match="text 1 "):
        make().embed(["one", blank])


def test_the_head_of_a_long_text_is_read(make: Make) -> None:
    embedder = make(max_tokens=3)
    first, second, other = embedder.embed(
        ["one two three four five six", "one two three seven eight nine", "two two three four five six"]
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert first @ other < 0.999
    assert embedder.truncated == 3


def test_the_tail_of_a_long_text_is_read(make: Make) -> None:
    embedder = make(max_tokens=3, truncation="tail")
    first, second, other = embedder.embed(
        ["one two three four five six", "seven eight nine four five six", "one two three four five five"]
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert first @ other < 0.999
    assert embedder.truncated == 3


def test_truncated_texts_are_counted_with_repetitions_and_over_calls(make: Make) -> None:
    embedder = make(max_tokens=2)
    embedder.embed(["one two", "one two three", "one two three", "four"])
    assert embedder.truncated == 2
    embedder.embed(["one two three"])
    assert embedder.truncated == 3


@pytest.mark.parametrize("truncation", ["head", "tail"])
def test_the_prompt_is_read_even_before_a_truncated_text(make: Make, truncation: str) -> None:
    text = ["one two three four five six seven"]
    plain, asked, answered = (
        make(max_tokens=3, truncation=truncation, prompt=prompt).embed(text)[0]
        for prompt in (None, "query: ", "answer: ")
    )
    assert max(plain @ asked, plain @ answered, asked @ answered) < 0.9999


def test_a_wanted_width_that_the_model_does_not_have_is_an_error_with_both_numbers(make: Make) -> None:
    width = make().spec.dimension
    with pytest.raises(InputError, match=rf"{width}\D.*77|77\D.*{width}"):
        make(dimension=77).embed(["one"])


def test_a_wanted_revision_that_the_model_does_not_have_is_an_error(make: Make) -> None:
    with pytest.raises(InputError, match="0badc0de"):
        make(revision="0badc0de").embed(["one"])


def test_the_complete_spec_loads_the_same_embedder(make: Make) -> None:
    spec = make().spec
    again = make(revision=spec.revision, dimension=spec.dimension)
    assert again.spec == spec
    np.testing.assert_array_equal(again.embed(["one two"]), make().embed(["one two"]))


def test_half_a_character_is_embedded_and_not_an_error(make: Make) -> None:
    assert make().embed(["one \ud83d two"]).shape[0] == 1


def test_fewer_than_one_token_cannot_be_asked_for(make: Make) -> None:
    with pytest.raises(InputError, match="max_tokens"):
        make(max_tokens=0).embed(["one"])
