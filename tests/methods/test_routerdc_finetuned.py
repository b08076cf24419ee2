"""RouterDC with its encoder trained: the packaged MiniLM, on the processor, on a bank that it learns in seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jisi_cli import paths
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.protocol import Query
from jisi_cli.methods.registry import make_method
from jisi_cli.methods.training import Training
from tests.methods.planted import planted, rankings
from tests.methods.synthetic import changed, setting

NAME = "routerdc:finetune=cpu:steps=8:batch=8:rate=0.0003:clusters=2"
THINGS = ["river", "bread", "engine", "violin", "planet", "shoes", "winter", "garden", "teacher", "money"]
KINDS = ["Translate the word {} into Greek.", "How much is {} times {}?"]
"""Whoever is right on one is wrong on the other."""


def texts(first: int, last: int) -> list[str]:
    pairs = list(zip(THINGS[first:last], range(first + 3, last + 3), strict=True))
    return [KINDS[0].format(thing) for thing, _ in pairs] + [KINDS[1].format(n, n + 4) for _, n in pairs]


def questions(first: int, last: int) -> tuple[list[Query], list[int]]:
    """Questions of both kinds, and which model is right on each."""
    asked = texts(first, last)
    vectors = load_embedder(EmbedderSpec("minilm")).embed(asked)
    half = len(asked) // 2
    return [Query(text, vector) for text, vector in zip(asked, vectors, strict=True)], [0] * half + [1] * half


@pytest.fixture(scope="module")
def context() -> MethodContext:
    queries, right = questions(0, 7)
    given = planted(models=2, rows=len(queries)).context
    vectors = np.stack([query.vector for query in queries])
    bank = replace(
        given.bank,
        query_vectors=vectors,
        response_vectors=[np.zeros_like(vectors)] * 2,
        scores=np.eye(2)[right],
    )
    embedder = load_embedder(EmbedderSpec("minilm"))
    return changed(given, bank=bank, texts=[query.text for query in queries], embedder=embedder)


def test_the_encoder_learns_who_is_right_where_once(context: MethodContext) -> None:
    steps: list[tuple[int, int]] = []
    first = Training(lambda done, total: steps.append((done, total)))
    queries, right = questions(7, 10)
    found = rankings(NAME, replace(context, training=first), queries)
    assert [ranking[0] for ranking in found] == [context.bank.model_names[place] for place in right]
    assert steps[-1] == (8, 8) and first.seconds and not first.from_cache
    # What was learned is kept, and it is the encoder that learned: its weights are others than the embedder's.
    (path,) = (paths.cache_folder() / "trained").iterdir()
    with np.load(path, allow_pickle=False) as kept:
        trained = {name for name in kept.files if name.startswith("encoder.")}
        original = original_weights()
        assert trained == set(original)
        assert any(np.abs(kept[name] - original[name]).max() > 1e-4 for name in trained)
        assert {kept[name].dtype for name in trained} == {np.dtype(np.float32)}
    again = Training()
    assert rankings(NAME, replace(context, training=again), queries) == found
    assert again.from_cache
    assert rankings(NAME, context, queries[::-1]) == found[::-1]
    # The texts are part of what is learned from, not their vectors alone.
    other = Training()
    renamed = changed(context, texts=[text.replace("Greek", "Latin") for text in context.texts], training=other)
    make_method(NAME.replace("steps=8", "steps=1"), renamed)
    assert not other.from_cache


def original_weights() -> dict[str, np.ndarray]:
    from jisi_cli.embed.sentence_transformer import TrainableEncoder

    return TrainableEncoder(EmbedderSpec("minilm"), "cpu").weights()


def test_the_embedders_own_weights_give_the_embedders_own_vectors() -> None:
    from jisi_cli.embed.sentence_transformer import TrainableEncoder

    encoder = TrainableEncoder(EmbedderSpec("minilm"), "cpu")
    asked = texts(0, 2)
    own = load_embedder(EmbedderSpec("minilm")).embed(asked)
    vectors = encoder.vectors_under(encoder.weights(), asked)
    assert vectors / np.linalg.norm(vectors, axis=1, keepdims=True) == pytest.approx(own, abs=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so_rather_than_train_for_hours(context: MethodContext) -> None:
    with pytest.raises(InputError, match="finetune=yes trains an encoder and needs a GPU"):
        make_method("routerdc:finetune=yes", context)


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(InputError, match="finetune is no, yes or cpu, not 'maybe'"):
        make_method("routerdc:finetune=maybe", setting().context)
    with pytest.raises(InputError, match="hashing:16 is no sentence-transformers model"):
        make_method("routerdc:finetune=cpu", setting().context)
