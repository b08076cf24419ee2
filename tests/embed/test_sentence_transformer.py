"""Models that need torch: other kinds of module, broken folders, quiet loading."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.embed.sentence_transformer import load_quietly
from jisi_cli.errors import InputError
from tests.embed.folders import write_bert


@pytest.fixture(scope="module")
def static_folder(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a Transformer: one vector per token, averaged."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bert_folder / "tokenizer.json"))
    weights = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("static") / "model"
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return folder


def test_a_model_without_a_transformer_reads_whole_texts(static_folder: Path) -> None:
    texts = ["one two", "three", "one " * 100]
    embedder = load_embedder(EmbedderSpec(str(static_folder), prompt="query "))
    expected = load_quietly(static_folder, "cpu").encode(texts, prompt="query ", show_progress_bar=False)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-6)
    assert embedder.spec.dimension == 16
    assert embedder.truncated == 0


def test_a_limit_on_a_model_that_reads_whole_texts_is_an_error(static_folder: Path) -> None:
    with pytest.raises(InputError, match="max_tokens"):
        load_embedder(EmbedderSpec(str(static_folder), max_tokens=2)).embed(["one two three"])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_no_vector(tanh_bert_folder: Path, batch_size: int) -> None:
    texts = [f"{'one two three ' * (number % 7)}{number}" for number in range(40)]
    spec = EmbedderSpec(str(tanh_bert_folder))
    ours = load_embedder(spec, batch_size=batch_size).embed(texts)
    np.testing.assert_allclose(ours, load_embedder(spec).embed(texts), atol=1e-5)


def test_embedding_leaves_the_number_of_torch_threads_as_it_was(tanh_bert_folder: Path) -> None:
    import torch

    before = torch.get_num_threads()
    load_embedder(EmbedderSpec(str(tanh_bert_folder)), batch_size=2).embed([str(number) for number in range(20)])
    assert torch.get_num_threads() == before


def test_a_text_that_is_longer_than_the_model_reads_is_counted(tanh_bert_folder: Path) -> None:
    embedder = load_embedder(EmbedderSpec(str(tanh_bert_folder)))
    embedder.embed(["one " * 22, "one " * 23])
    assert embedder.truncated == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.safetensors", b"\x00" * 100), ("config.json", b"{"), ("modules.json", b"[{}]"), ("tokenizer.json", b"{")],
)
def test_a_damaged_folder_is_one_line(tmp_path: Path, file: str, content: bytes) -> None:
    folder = write_bert(tmp_path / "model", activation="gelu_new")
    (folder / file).write_bytes(content)
    (folder / "vocab.txt").unlink()
    with pytest.raises(InputError, match="sentence-transformers cannot load") as raised:
        load_embedder(EmbedderSpec(str(folder))).embed(["one"])
    assert "\n" not in str(raised.value)


def test_loading_and_embedding_write_nothing_to_the_terminal(tanh_bert_folder: Path) -> None:
    script = (
        "import sys\n"
        "from jisi_cli.embed.protocol import EmbedderSpec\n"
        "from jisi_cli.embed.registry import load_embedder\n"
        "load_embedder(EmbedderSpec(sys.argv[1], max_tokens=4)).embed(['one two', 'three ' * 200])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    command = [sys.executable, "-c", script, str(tanh_bert_folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")
