"""The embedder without a model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.embed.kinds.hashing import HashingEncoder
from jisi_cli.embed.murmur import murmur3
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError


def test_similar_texts_are_closer_than_others() -> None:
    vectors = load_embedder(EmbedderSpec("hashing")).embed(
        ["How many apples are left?", "how many apple trees are left", "Name the capital of France."]
    )
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2]


def test_the_width_is_1024_unless_the_name_says_otherwise() -> None:
    assert load_embedder(EmbedderSpec("hashing")).spec.dimension == 1024
    assert load_embedder(EmbedderSpec("hashing:64")).embed(["one"]).shape == (1, 64)


@pytest.mark.parametrize("name", ["hashing:", "hashing:0", "hashing:-3", "hashing:many", "hashing:99999999999"])
def test_a_width_that_is_no_width_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="hashing:<width>"):
        load_embedder(EmbedderSpec(name))


def test_the_recipe_gives_the_vectors_it_has_always_given() -> None:
    vector = load_embedder(EmbedderSpec("hashing:16")).embed(["What is 12 + 7?"])[0]
    recorded = [
        0.0,
        -0.4295167,
        0.2147583,
        0.0,
        0.0,
        0.0,
        -0.5551422,
        -0.2147583,
        0.4295167,
        0.2147583,
        0.0,
        0.2147583,
        0.2147583,
        0.2147583,
        -0.2147583,
        0.0,
    ]
    np.testing.assert_allclose(vector, recorded, atol=1e-6)


@pytest.mark.slow
def test_scikit_learn_is_not_imported() -> None:
    script = (
        "import sys\n"
        "from jisi_cli.embed.protocol import EmbedderSpec\n"
        "from jisi_cli.embed.registry import load_embedder\n"
        "load_embedder(EmbedderSpec('hashing')).embed(['one'])\n"
        "print('sklearn' in sys.modules or 'scipy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow  # imports scikit-learn
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=4), st.integers(1, 2**17))
def test_vectors_are_those_of_scikit_learns_vectorizers_to_the_last_bit(texts: list[str], width: int) -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    words = text.HashingVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", n_features=width, norm=None)
    letters = text.HashingVectorizer(ngram_range=(3, 5), analyzer="char_wb", n_features=width, norm=None)
    expected = np.zeros((len(texts), width))
    for vectorizer in (words, letters) if texts else ():
        counts = vectorizer.transform(texts).toarray()
        expected += np.sign(counts) * np.log1p(np.abs(counts))
    encoder = HashingEncoder(EmbedderSpec(f"hashing:{width}"), width)
    found = list(encoder.encode(encoder.read(texts)))
    np.testing.assert_array_equal(np.concatenate(found) if found else np.zeros((0, width)), expected)


@pytest.mark.parametrize(
    ("key", "expected"),  # with seed 0, of another implementation
    [
        (b"", 0),
        (b"test", 0xBA6BD213),
        (b"Hello, world!", 0xC0363E43),
        (b"The quick brown fox jumps over the lazy dog", 0x2E4FF723),
    ],
)
def test_the_hash_is_murmurhash3(key: bytes, expected: int) -> None:
    data = np.frombuffer(b"before" + key + b"behind", dtype=np.uint8)
    start, end = np.array([6]), np.array([6 + len(key)])
    assert int(murmur3(data, start, end).view(np.uint32)[0]) == expected


def test_keys_of_any_lengths_are_hashed_as_each_alone() -> None:
    data = np.random.default_rng(0).integers(0, 256, 60).astype(np.uint8)
    starts, ends = np.array([(start, end) for start in range(0, 60, 7) for end in range(start, 61)]).T
    alone = [murmur3(data, starts[key : key + 1], ends[key : key + 1])[0] for key in range(len(starts))]
    assert murmur3(data, starts, ends).tolist() == alone
    assert murmur3(data, starts[:0], ends[:0]).tolist() == []


def test_a_width_of_a_million_is_computed_a_few_texts_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number}" for number in range(5)]
    whole = load_embedder(EmbedderSpec("hashing:64")).embed(texts)
    monkeypatch.setattr("jisi_cli.embed.kinds.hashing._NUMBERS", 128)
    steps: list[tuple[int, int]] = []
    found = load_embedder(EmbedderSpec("hashing:64")).embed(texts, lambda done, total: steps.append((done, total)))
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert (found == whole).all()
