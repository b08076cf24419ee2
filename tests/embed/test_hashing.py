"""The embedder without a model."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

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
def test_without_scikit_learn_the_error_names_the_extra() -> None:
    script = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "from jisi_cli.embed.protocol import EmbedderSpec\n"
        "from jisi_cli.embed.registry import load_embedder\n"
        "from jisi_cli.errors import InputError\n"
        "try:\n    load_embedder(EmbedderSpec('hashing')).embed(['one'])\n"
        "except InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install scikit-learn" in done.stdout


def test_a_width_of_a_million_is_computed_a_few_texts_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number}" for number in range(5)]
    whole = load_embedder(EmbedderSpec("hashing:64")).embed(texts)
    monkeypatch.setattr("jisi_cli.embed.kinds.hashing._NUMBERS", 128)
    steps: list[tuple[int, int]] = []
    found = load_embedder(EmbedderSpec("hashing:64")).embed(texts, lambda done, total: steps.append((done, total)))
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert (found == whole).all()
