"""What a folder's files say, and what happens when they say nothing usable."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.embed.model_folder import content_hash, inspect_folder, weights_of
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
from tests.embed.folders import D, write_bert


@pytest.mark.big
def test_minilm_is_pinned_by_the_hash_of_its_weights(minilm: Path) -> None:
    weights = (minilm / "model.safetensors").read_bytes()
    expected = EmbedderSpec("minilm", revision=hashlib.sha256(weights).hexdigest(), dimension=384)
    assert load_embedder(EmbedderSpec("minilm")).spec == expected
    assert load_embedder(expected).spec == expected


@pytest.mark.big
@pytest.mark.parametrize("change", [{"revision": "abc"}, {"dimension": 385}])
def test_another_minilm_than_the_pinned_one_is_refused_with_both_values(
    minilm: Path, change: dict[str, object]
) -> None:
    here = load_embedder(EmbedderSpec("minilm")).spec
    with pytest.raises(InputError) as raised:
        load_embedder(replace(here, **change))  # type: ignore[arg-type]
    for name, wanted in change.items():
        assert str(wanted) in str(raised.value)
        assert str(getattr(here, name)) in str(raised.value)


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    weights, cache = tmp_path / "model.safetensors", tmp_path / "cache"
    weights.write_bytes(b"one")
    first = content_hash(tmp_path, cache)
    (note,) = (cache / "weights").iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), "sha256": "remembered"}))
    assert content_hash(tmp_path, cache) == "remembered"
    weights.write_bytes(b"two")
    os.utime(weights, ns=(1, 1))
    assert content_hash(tmp_path, cache) == hashlib.sha256(b"two").hexdigest() != first


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"sha256": 3}'])
def test_a_damaged_note_is_ignored(tmp_path: Path, damage: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = content_hash(tmp_path, tmp_path / "cache")
    (note,) = (tmp_path / "cache" / "weights").iterdir()
    note.write_text(damage)
    assert content_hash(tmp_path, tmp_path / "cache") == first


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    (tmp_path / "file").write_text("not a folder")
    assert content_hash(tmp_path, tmp_path / "file") == hashlib.sha256(b"one").hexdigest()


def test_several_weight_files_are_hashed_as_sha256sum_lists_them(tmp_path: Path) -> None:
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"one")
    (tmp_path / "2_Dense" / "model.safetensors").write_bytes(b"two")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.safetensors").write_bytes(b"left out")
    one, two = (hashlib.sha256(part).hexdigest() for part in (b"one", b"two"))
    listing = f"{two}  2_Dense/model.safetensors\n{one}  model.safetensors\n"
    assert content_hash(tmp_path, tmp_path / "cache") == hashlib.sha256(listing.encode()).hexdigest()


def test_pytorch_weights_count_only_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"old")
    assert weights_of(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.safetensors").write_bytes(b"new")
    assert weights_of(tmp_path) == [tmp_path / "model.safetensors"]


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model weights"):
        load_embedder(EmbedderSpec(str(tmp_path)))


@pytest.mark.parametrize(
    ("pooling", "width"),
    [
        ({"pooling_mode_cls_token": True}, 2 * D),
        ({"embedding_dimension": D, "pooling_mode": "mean"}, D),
        ({"embedding_dimension": D, "pooling_mode": ["mean", "max", "cls"]}, 3 * D),
    ],
)
def test_the_width_is_read_from_the_pooling(tmp_path: Path, pooling: dict[str, object], width: int) -> None:
    folder = write_bert(tmp_path / "model", pooling_more=pooling)
    assert inspect_folder(folder, "commit", tmp_path).dimension == width


def test_the_width_that_the_files_say_is_that_of_the_vectors(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model", pooling_more={"pooling_mode_max_tokens": True})
    embedder = load_embedder(EmbedderSpec(str(folder)))
    assert embedder.spec.dimension == 2 * D == embedder.embed(["one"]).shape[1]


def test_a_model_that_cuts_its_vectors_says_so_in_its_files(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "model")
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"truncate_dim": 16}))
    embedder = load_embedder(EmbedderSpec(str(folder)))
    assert embedder.spec.dimension == 16 == embedder.embed(["one"]).shape[1]
    np.testing.assert_allclose(np.linalg.norm(embedder.embed(["one two"])), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/no/where", "openai:x", "litelm:x", "", "a/b/c"])
def test_a_name_that_is_no_embedder_is_an_error_that_lists_the_kinds(name: str) -> None:
    with pytest.raises(InputError, match=r"embedders are minilm, .*hashing"):
        load_embedder(EmbedderSpec(name))


def test_an_endpoint_without_a_model_says_how_one_is_written() -> None:
    with pytest.raises(InputError, match="an endpoint is written litellm:<provider>/<model>"):
        load_embedder(EmbedderSpec("litellm"))
