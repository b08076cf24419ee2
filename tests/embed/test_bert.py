"""NumPy's vectors against those of sentence-transformers, and which folders NumPy takes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_info

from jisi_cli.embed.bert import Bert, Cores, Floats, attention, gelu
from jisi_cli.embed.local_bert import BertEncoder, BertFolder, NotThisShape, map_safetensors, recognise
from jisi_cli.embed.model_folder import inspect_folder
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.sentence_transformer import SentenceTransformerEncoder, load_quietly
from jisi_cli.embed.unit_embedder import UnitEmbedder
from tests.embed.folders import write_bert

VARIED = [
    "What is the capital of France?",
    "a",
    "?",
    "\u200b",
    "e\u0301 and é",
    "你好世界 " * 40,
    "مرحبا بالعالم",
    "🙂 five 🙃",
    "\x00\x01 control",
    "[CLS] a [SEP] [MASK]",
    "x" * 150,
    "def f(x):\n    return x ** 2  # é\n" * 30,
    "one two three four five six seven eight nine " * 300,
    " the  answer\tis\n12.5 ",
]


def reference(folder: Path, texts: list[str], prompt: str = "") -> np.ndarray:
    vectors = load_quietly(folder, "cpu").encode(texts, prompt=prompt, show_progress_bar=False)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def numpy_embedder(folder: Path, spec: EmbedderSpec | None = None, work: float = math.inf) -> UnitEmbedder:
    spec = spec or EmbedderSpec(str(folder))
    found, shape = inspect_folder(folder, None, folder), recognise(folder)
    assert shape is not None
    torch = SentenceTransformerEncoder(found, spec, None, None)
    return UnitEmbedder(spec, BertEncoder(found, shape, spec, torch, numpy_work=work))


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert (1 - np.sum(ours.astype(np.float64) * theirs, axis=1)).max() < 1e-5


@pytest.mark.big
def test_minilm_in_numpy_is_sentence_transformers_to_a_hundred_thousandth(minilm: Path) -> None:
    assert_same(numpy_embedder(minilm).embed(VARIED), reference(minilm, VARIED))


@pytest.mark.big
def test_minilm_through_torch_is_sentence_transformers_too(minilm: Path) -> None:
    assert_same(load_embedder(EmbedderSpec("minilm"), device="cpu").embed(VARIED), reference(minilm, VARIED))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_small_models_agree_for_both_poolings(tmp_path: Path, pooling: str) -> None:
    folder = write_bert(tmp_path / pooling, pooling=pooling, normalize=False)
    assert_same(numpy_embedder(folder).embed(VARIED), reference(folder, VARIED))


def test_a_folder_that_a_later_version_wrote_is_recognised_and_agrees(bert_folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    load_quietly(bert_folder, "cpu").save(str(saved))
    assert_same(numpy_embedder(saved).embed(VARIED), reference(bert_folder, VARIED))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_prompt_is_read_as_sentence_transformers_reads_it(bert_folder: Path, device: str | None) -> None:
    texts = [text for text in VARIED if len(text) < 40]
    embedder = load_embedder(EmbedderSpec(str(bert_folder), prompt="query: "), device=device)
    assert_same(embedder.embed(texts), reference(bert_folder, texts, "query: "))


def test_a_prompt_that_the_model_leaves_out_of_the_mean_is_left_out(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "instructed", pooling_more={"include_prompt": False})
    assert recognise(folder) is None
    texts = ["one two", "three"]
    embedder = load_embedder(EmbedderSpec(str(folder), prompt="query: "))
    assert_same(embedder.embed(texts), reference(folder, texts, "query: "))


def test_torch_takes_over_when_much_was_embedded_and_gives_the_same_vectors(bert_folder: Path) -> None:
    numpy_alone, torch_alone = numpy_embedder(bert_folder), numpy_embedder(bert_folder, work=0)
    shape = recognise(bert_folder)
    assert shape is not None
    taken_over = numpy_embedder(bert_folder, work=30 * shape.load().work)
    for text in VARIED:
        vectors = [embedder.embed([text]) for embedder in (numpy_alone, torch_alone, taken_over)]
        assert_same(vectors[0], vectors[1])
        assert_same(vectors[0], vectors[2])
    assert numpy_alone.truncated == torch_alone.truncated == taken_over.truncated > 0


@pytest.mark.parametrize(
    "how",
    [
        {"activation": "gelu_new"},
        {"pooling": "max"},
        {"pooling_more": {"pooling_mode_cls_token": True}},
        {"pooling_more": {"include_prompt": False}},
    ],
)
def test_a_folder_of_another_shape_is_left_to_torch(tmp_path: Path, how: dict[str, Any]) -> None:
    folder = write_bert(tmp_path / "other", **how)
    assert recognise(folder) is None
    assert_same(load_embedder(EmbedderSpec(str(folder))).embed(VARIED[:3]), reference(folder, VARIED[:3]))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("config.json", {"is_decoder": True}),
        ("config.json", {"hidden_size": "32"}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": 1000}),
        ("sentence_bert_config.json", {"query_expansion": {"length": 32}}),
        ("config_sentence_transformers.json", {"truncate_dim": 16}),
    ],
)
def test_a_folder_that_says_something_else_is_not_recognised(tmp_path: Path, file: str, change: dict[str, Any]) -> None:
    path = write_bert(tmp_path / "changed") / file
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, **change}))
    assert recognise(path.parent) is None


@pytest.mark.parametrize("file", ["config.json", "modules.json"])
def test_a_folder_whose_files_are_nested_beyond_reason_is_not_recognised(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("[" * 100_000)
    assert recognise(tmp_path) is None
    assert inspect_folder(tmp_path, "here", tmp_path).dimension is None


def test_half_precision_weights_are_left_to_torch(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "half", dtype=np.float16)
    shape = recognise(folder)
    assert shape is not None
    with pytest.raises(NotThisShape):
        shape.load()
    assert_same(load_embedder(EmbedderSpec(str(folder))).embed(["one two"]), reference(folder, ["one two"]))


def test_tokenizer_files_that_disagree_are_left_to_torch(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "cased", tokenizer_more={"do_lower_case": False})
    shape = recognise(folder)
    assert shape is not None
    with pytest.raises(NotThisShape, match="do_lower_case"):
        shape.tokenizer()
    assert_same(load_embedder(EmbedderSpec(str(folder))).embed(["One TWO"]), reference(folder, ["One TWO"]))


@pytest.mark.parametrize("damage", [b"", b"\x00" * 4, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]"])
def test_a_damaged_weights_file_is_never_mapped(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage)
    with pytest.raises(NotThisShape):
        map_safetensors(path)


def test_a_truncated_weights_file_is_never_mapped(bert_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((bert_folder / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(NotThisShape):
        map_safetensors(path)


def test_weights_of_other_sizes_than_the_configuration_says_are_not_taken(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "sizes")
    shape = recognise(folder)
    assert shape is not None
    with pytest.raises(NotThisShape, match="shape"):
        BertFolder(folder, shape.longest, shape.pooling, {**shape.config, "intermediate_size": 63}).load()


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-40, 40, width=32)))
def test_gelu_is_x_times_the_normal_distribution_function(x: np.ndarray) -> None:
    exact = [value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x.astype(np.float64)]
    np.testing.assert_allclose(gelu(x.copy()), exact, atol=2e-6, rtol=1e-6)


def test_gelu_does_its_blocks_alike() -> None:
    x = np.tile(np.linspace(-3, 3, 1000, dtype=np.float32), 50)
    np.testing.assert_array_equal(gelu(x.copy()), np.tile(gelu(x[:1000].copy()), 50))


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_attention_is_a_softmax_over_tokens_for_each_head(n: int, seed: int) -> None:
    query, key, value = np.random.default_rng(seed).normal(0, 2, (3, n, 6)).astype(np.float32)
    expected = np.zeros((n, 6))
    for head in (slice(0, 3), slice(3, 6)):
        for row in range(n):
            weights = [math.exp(query[row, head] @ key[other, head] / math.sqrt(3)) for other in range(n)]
            expected[row, head] = np.array(weights) @ value[:, head] / sum(weights)
    np.testing.assert_allclose(attention(query, key, value, 2), expected, atol=1e-4)


def test_texts_of_many_threads_have_the_bits_of_each_alone_and_one_thread_of_blas_which_is_given_back(
    bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, limits, cores = numpy_embedder(bert_folder), _blas_threads(), Cores(4)
    monkeypatch.setattr("jisi_cli.embed.bert._cores", lambda: cores)  # knows the libraries loaded by tests before
    alone = np.concatenate([embedder.embed([text]) for text in VARIED])
    encode, seen = Bert.encode, set[int]()

    def watched(self: Bert, token_ids: Sequence[int]) -> Floats:
        seen.update(_blas_threads())
        return encode(self, token_ids)

    monkeypatch.setattr(Bert, "encode", watched)
    with ThreadPoolExecutor(4) as threads:
        beside = np.concatenate(list(threads.map(lambda text: embedder.embed([text]), VARIED)))
    np.testing.assert_array_equal(beside, alone)
    np.testing.assert_array_equal(embedder.embed(VARIED), alone)
    assert seen == {1} and _blas_threads() == limits


def test_texts_of_one_list_and_of_several_threads_are_encoded_at_the_same_time(
    bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, cores = numpy_embedder(bert_folder), Cores(2)
    monkeypatch.setattr("jisi_cli.embed.bert._cores", lambda: cores)
    encode, both = Bert.encode, threading.Barrier(2, timeout=120)

    def meeting(self: Bert, token_ids: Sequence[int]) -> Floats:
        both.wait()
        return encode(self, token_ids)

    monkeypatch.setattr(Bert, "encode", meeting)
    listed = embedder.embed(["one", "two"])
    with ThreadPoolExecutor(2) as threads:
        beside = list(threads.map(lambda text: embedder.embed([text])[0], ["one", "two"]))
    np.testing.assert_array_equal(beside, listed)


def test_answers_that_come_one_by_one_never_bring_torch(bert_folder: Path) -> None:
    one = numpy_embedder(bert_folder).embed(["a word"])
    embedder = numpy_embedder(bert_folder, work=bert_work(bert_folder, 10))
    for _ in range(20):
        np.testing.assert_array_equal(embedder.embed(["a word"]), one)
    encoder = embedder._encoder
    assert isinstance(encoder, BertEncoder) and "_loaded" not in vars(encoder._torch)
    embedder.embed([f"word {number}" for number in range(20)])
    assert "_loaded" in vars(encoder._torch)


def bert_work(folder: Path, tokens: int) -> float:
    """Return the multiplications that so many tokens of a model take."""
    shape = recognise(folder)
    assert shape is not None
    return shape.load().work * tokens


def _blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
