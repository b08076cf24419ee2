"""What a model's folder may hold before anything of it is loaded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.embed.model_folder import LARGEST_JSON, folder_hash, require_harmless
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder, load_module
from jisi_cli.errors import InputError
from tests.embed.folders import write_bert


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "model")


def change(path: Path, **values: Any) -> None:
    """Set some keys of a JSON object, which is made if it is not there."""
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **values}))


def modules(*kinds: str) -> str:
    return json.dumps([{"idx": n, "name": str(n), "path": f"{n}_X" * (n > 0), "type": k} for n, k in enumerate(kinds)])


def refused(model: Path, *words: str) -> None:
    """Check that a model is refused by every way in, in one line that says where and why."""
    for load in (lambda spec: load_embedder(spec), lambda spec: load_module(spec, "cpu")):
        with pytest.raises(InputError) as raised:
            load(EmbedderSpec(str(model)))
        assert "\n" not in str(raised.value)
        for word in words:
            assert word in str(raised.value)


@pytest.mark.parametrize(
    "kind",
    [
        "evil.Evil",
        "modeling_evil.CustomTransformer",
        "os.system",
        "sentence_transformers.util.import_from_string",
        "sentence_transformers.base.model.torch",
        "sentence_transformers.models.Transformer.evil",
        "sentence_transformers.models.evil",
        "sentence_transformers_evil.models.Pooling",
        "sentence_transformers.models.Pooling ",
    ],
)
def test_a_module_that_sentence_transformers_does_not_have_is_refused(model: Path, kind: str) -> None:
    (model / "modules.json").write_text(modules(kind, "sentence_transformers.models.Pooling"))
    refused(model, "modules.json", "class of its own", kind.strip())


@pytest.mark.parametrize(
    "kind",
    [
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Transformer.Transformer",
        "sentence_transformers.base.modules.transformer.Transformer",
        "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding",
        "sentence_transformers.models.Asym",
    ],
)
def test_the_modules_of_every_release_are_let_in(model: Path, kind: str) -> None:
    (model / "modules.json").write_text(modules(kind, "sentence_transformers.models.Normalize"))
    require_harmless(model)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Evil"}}),
        ("config.json", {"text_config": {"auto_map": {"AutoModel": "stranger/repo--evil.Evil"}}}),
        ("config.json", {"_attn_implementation": "stranger/kernel"}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "evil.Evil"}}),
        ("sentence_bert_config.json", {"model_args": {"trust_remote_code": True}}),
        ("sentence_bert_config.json", {"model_kwargs": {"attn_implementation": "stranger/kernel:run"}}),
        ("sentence_bert_config.json", {"config_kwargs": {"allow_all_kernels": True}}),
        ("adapter_config.json", {"base_model_name_or_path": "stranger/model"}),
        ("router_config.json", {"types": {"query": "evil.Evil"}}),
        ("1_Pooling/config.json", {"activation_function": "evil.Evil"}),
        ("1_Pooling/config.json", {"tokenizer_class": "evil.Evil"}),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}),
    ],
)
def test_a_setting_that_leads_to_other_code_models_or_files_is_refused(
    model: Path, file: str, values: dict[str, Any]
) -> None:
    change(model / file, **values)
    refused(model, file)


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b", "C:\\other", "..\\other"])
def test_a_part_that_lies_outside_of_the_folder_is_refused(model: Path, path: str) -> None:
    found = json.loads((model / "modules.json").read_text())
    found[1]["path"] = path
    (model / "modules.json").write_text(json.dumps(found))
    refused(model, "modules.json", "outside of its folder")


def test_what_models_of_the_hub_are_wont_to_say_is_let_in(model: Path) -> None:
    change(
        model / "tokenizer_config.json",
        special_tokens_map_file="/home/somebody/.cache/huggingface/transformers/0123.json",
        tokenizer_file=None,
        name_or_path="/home/somebody/model",
        tokenizer_class="BertTokenizer",
        auto_map=None,
    )
    change(
        model / "config.json", _name_or_path="somebody/base", attn_implementation="sdpa", transformers_version="4.1.0"
    )
    change(model / "config_sentence_transformers.json", similarity_fn_name="cosine", model_type="SentenceTransformer")
    (model / "3_Dense").mkdir()
    (model / "3_Dense" / "config.json").write_text('{"activation_function": "torch.nn.modules.activation.Tanh"}')
    assert load_embedder(EmbedderSpec(str(model))).embed(["one"]).shape == (1, 32)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "1_Pooling/config.json", "vocab.txt"])
def test_a_link_out_of_the_folder_is_not_followed(model: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (model / name).rename(elsewhere)
    (model / name).symlink_to(elsewhere)
    refused(model, name, "a link out of")


def test_a_circle_of_links_is_not_followed(model: Path) -> None:
    (model / "vocab.txt").unlink()
    (model / "vocab.txt").symlink_to("vocab.txt")
    refused(model, "vocab.txt", "circle of links")


def test_a_linked_folder_out_of_it_is_not_followed(model: Path, tmp_path: Path) -> None:
    (model / "1_Pooling").rename(tmp_path / "elsewhere")
    (model / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    refused(model, "1_Pooling", "a link out of")


def test_links_inside_of_it_and_the_hubs_own_are_followed(model: Path, tmp_path: Path) -> None:
    (model / "config.json").rename(model / "real.json")
    (model / "config.json").symlink_to("real.json")
    inside = load_embedder(EmbedderSpec(str(model))).embed(["one"])
    cache = tmp_path / "models--small--bert"
    snapshot = cache / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    other = write_bert(tmp_path / "other")
    for number, file in enumerate([file for file in other.rglob("*") if file.is_file()]):
        place = snapshot / file.relative_to(other)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(shutil.move(file, cache / "blobs" / str(number)))
    assert (load_embedder(EmbedderSpec(str(snapshot))).embed(["one"]) == inside).all()


def test_a_folder_that_is_only_called_like_the_hubs_may_not_lead_out(model: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    place = model.rename(tmp_path / "snapshots" / "0123")
    (place / "vocab.txt").rename(tmp_path / "elsewhere")
    (place / "vocab.txt").symlink_to(tmp_path / "elsewhere")
    refused(place, "a link out of")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "unheard-of", "config.json"])
def test_a_pipe_is_not_opened(model: Path, name: str) -> None:
    (model / name).unlink(missing_ok=True)
    os.mkfifo(model / name)
    refused(model, name, "no regular file")


def test_files_that_are_larger_than_any_of_their_kind_are_not_read(model: Path) -> None:
    with (model / "config.json").open("ab") as file:
        file.truncate(LARGEST_JSON + 1)
    refused(model, "config.json", "larger than")


def test_a_vocabulary_may_be_larger_but_not_endless(model: Path) -> None:
    with (model / "vocab.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    require_harmless(model)
    with (model / "vocab.json").open("ab") as file:
        file.truncate(2**40)
    refused(model, "vocab.json", "larger than")


def test_nesting_beyond_reason_is_refused(model: Path) -> None:
    (model / "extra.json").write_text("[" * 100_000)
    refused(model, "extra.json", "nested")


def test_a_folder_of_everything_is_no_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jisi_cli.embed.model_folder._MOST_FILES", 5)
    refused(model, "more than 5 files")


def test_the_hash_of_a_folder_is_that_of_names_and_contents(model: Path, tmp_path: Path) -> None:
    first = folder_hash(model, tmp_path / "cache")
    assert folder_hash(model, tmp_path / "cache") == first
    assert folder_hash(write_bert(tmp_path / "same"), tmp_path / "cache") == first
    (model / "vocab.txt").rename(model / "words.txt")
    renamed = folder_hash(model, tmp_path / "cache")
    (model / "words.txt").write_text("other")
    assert len({first, renamed, folder_hash(model, tmp_path / "cache")}) == 3


def test_weights_that_change_and_set_their_clock_back_have_another_hash(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    with weights.open("ab") as file:
        file.truncate(2**20 + 8)
    state = weights.stat()
    first = folder_hash(model, tmp_path / "cache")
    with weights.open("r+b") as file:
        file.seek(2**20)
        file.write(b"other")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert folder_hash(model, tmp_path / "cache") != first
