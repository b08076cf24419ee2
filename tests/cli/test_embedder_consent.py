"""Whose word lets an embedder be used: never that of a bank alone, which may come from anybody."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jisi_cli import trust
from tests.cli.commands import Run, jisi, pool_file, recorded_answers, says_one_error, write_lines
from tests.embed.folders import write_bert
from tests.loopback import Loopback

QUESTION = "What is 3 plus 6?"
CODE = "from pathlib import Path\nPath({marker!r}).write_text('run')\nclass Evil:\n    pass\n"


def bank_of(folder: Path, embedder: str | Path) -> Path:
    """Build a bank with an embedder that the command line names."""
    source = write_lines(folder / "answers.jsonl", recorded_answers())
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", embedder)
    assert run.exit_code == 0, run
    return folder / "bank"


def rewrite(bank: Path, **embedder: object) -> Path:
    """Give a bank another embedder, as anybody can who passes one on."""
    manifest = json.loads((bank / "bank.json").read_text())
    manifest["embedder"] |= embedder
    (bank / "bank.json").write_text(json.dumps(manifest))
    return bank


def evil_model(folder: Path, marker: Path) -> Path:
    """Write a model whose first module is a class of its own, in a file beside it."""
    write_bert(folder)
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "evil.Evil"
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "model")


@pytest.fixture
def bank(tmp_path: Path, model: Path) -> Path:
    """A bank whose embedder is a folder."""
    return bank_of(tmp_path, model)


def route(bank: Path, *words: str | Path) -> Run:
    return jisi("route", QUESTION, "--bank", bank, *words)


COMMANDS: dict[str, Callable[[Path, Path], tuple[str | Path, ...]]] = {
    "route": lambda bank, more: ("route", QUESTION, "--bank", bank),
    "route --input": lambda bank, more: ("route", "--input", more, "--bank", bank),
    "eval": lambda bank, more: ("eval", more, "--bank", bank, "--method", "jisi-router"),
    "append": lambda bank, more: ("bank", "build", more, "-o", bank, "--append"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_embedder_that_only_a_bank_names_is_not_loaded(name: str, bank: Path, tmp_path: Path, model: Path) -> None:
    (model / "modules.json").unlink()  # whoever opened the folder would say something of this
    line = {"query": "new?", "gt": "1", "records": {"ada": 1}, "raw_output": {"ada": "yes"}}
    more = write_lines(tmp_path / "more.jsonl", [line])
    run = jisi(*COMMANDS[name](bank, more))
    says_one_error(run, 3, str(bank), str(model), "not loaded", f"--embedder {model}", "--trust-embedder")


def test_no_model_is_asked_a_question_whose_embedder_only_the_bank_names(
    bank: Path, tmp_path: Path, loopback: Loopback
) -> None:
    pool = pool_file(tmp_path / "jisi.toml", loopback)
    for words in (["--stream"], ["--json"], ["--method", "jisi-router"], ["--method", "moa"]):
        run = jisi("ask", QUESTION, "--bank", bank, "--config", pool, *words)
        says_one_error(run, 3, "not loaded", "--trust-embedder")
    assert loopback.requests == []


def test_the_command_line_and_the_users_own_file_may_name_it(bank: Path, model: Path, tmp_path: Path) -> None:
    assert route(bank, "--embedder", model).exit_code == 0
    own = tmp_path / "jisi_config"
    own.mkdir()
    (own / "jisi.toml").write_text(f'[embedder]\nname = "{model}"\n')
    assert route(bank).exit_code == 0


def test_a_file_that_merely_lies_in_the_current_folder_names_no_embedder(
    bank: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "jisi.toml").write_text(f'[embedder]\nname = "{model}"\n')
    monkeypatch.chdir(planted)
    says_one_error(route(bank), 3, "not loaded")
    source = tmp_path / "answers.jsonl"
    says_one_error(jisi("bank", "build", source, "-o", tmp_path / "new"), 3, "jisi.toml", "not loaded")
    assert route(bank, "--config", "jisi.toml").exit_code == 0


def test_a_folder_with_the_name_of_a_configured_model_is_not_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, own = tmp_path / "here", tmp_path / "jisi_config"
    write_bert(here / "small" / "bert")
    monkeypatch.chdir(here)
    bank = bank_of(tmp_path, "small/bert")
    own.mkdir()
    (own / "jisi.toml").write_text('[embedder]\nname = "small/bert"\n')
    says_one_error(route(bank), 3, "small/bert", "not loaded")
    assert route(bank, "--embedder", "small/bert").exit_code == 0


def test_what_was_allowed_once_stays_allowed_until_a_file_changes(bank: Path, model: Path, tmp_path: Path) -> None:
    assert route(bank, "--trust-embedder").exit_code == 0
    assert list(trust.trusted("embedders").values()) == [str(model)]
    assert route(bank).exit_code == 0
    before = (model / "tokenizer_config.json").read_bytes()
    (model / "tokenizer_config.json").write_bytes(before + b"\n")
    says_one_error(route(bank), 3, "not what it was when you allowed it", "--trust-embedder")
    assert route(bank, "--trust-embedder").exit_code == 0
    assert route(bank).exit_code == 0
    (model / "more.json").write_text("{}")
    says_one_error(route(bank), 3, "not what it was")


def test_what_was_allowed_is_no_other_model_of_that_content_elsewhere(bank: Path, model: Path, tmp_path: Path) -> None:
    assert route(bank, "--trust-embedder").exit_code == 0
    copy = write_bert(tmp_path / "copy")
    says_one_error(route(rewrite(bank, name=str(copy))), 3, str(copy), "you do not name")


def test_a_copy_of_the_model_in_another_folder_may_be_named_where_the_weights_are_pinned(
    bank: Path, model: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    model.rename(elsewhere)
    assert route(bank, "--embedder", elsewhere).exit_code == 0
    other = write_bert(tmp_path / "other", seed=1)
    says_one_error(route(bank, "--embedder", other), 3, "is wanted at revision")
    says_one_error(route(rewrite(bank, revision=None), "--embedder", elsewhere), 3, "was embedded by", str(model))


def test_building_with_an_embedder_may_allow_it_at_once(tmp_path: Path, model: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    build = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", model, "--trust-embedder")
    assert jisi(*build).exit_code == 0
    assert route(tmp_path / "bank").exit_code == 0


@pytest.mark.parametrize("embedder", ["hashing:64", pytest.param("minilm", marks=pytest.mark.big)])
def test_what_comes_with_jisi_needs_nobodys_word(tmp_path: Path, embedder: str) -> None:
    assert route(bank_of(tmp_path, embedder)).exit_code == 0
    assert trust.trusted("embedders") == {}


def test_a_replay_that_needs_no_embedder_asks_for_none(tmp_path: Path, model: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    build = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", model, "--split", "0.7")
    assert jisi(*build).exit_code == 0
    assert jisi("eval", tmp_path / "bank", "--method", "jisi,jisi-router").exit_code == 0
    run = jisi("eval", tmp_path / "bank", "--method", "routerdc:finetune=cpu:steps=1:clusters=1")
    says_one_error(run, 3, str(model), "not loaded")


# Code of a model's own


@pytest.mark.parametrize("way", ["--embedder", "--trust-embedder", "bank build"])
def test_a_class_of_the_models_own_is_never_imported(tmp_path: Path, bank: Path, way: str) -> None:
    marker = tmp_path / "marker"
    evil = evil_model(tmp_path / "evil", marker)
    rewrite(bank, name=str(evil))
    if way == "bank build":
        source = tmp_path / "answers.jsonl"
        run = jisi("bank", "build", source, "-o", tmp_path / "new", "--embedder", evil)
    else:
        run = route(bank, way, *([evil] if way == "--embedder" else []))
    says_one_error(run, 2, "modules.json", "evil.Evil", "class of its own")
    assert not marker.exists()
    assert trust.trusted("embedders") == {}


# Endpoints


@pytest.fixture
def endpoint_bank(tmp_path: Path, loopback: Loopback) -> Path:
    """A bank whose embedder is an endpoint that its owner's configuration describes."""
    loopback.script("vec")
    config = tmp_path / "embedder.toml"
    config.write_text(f'[embedder]\nname = "litellm:openai/vec"\napi_base = "{loopback.api_base}"\n')
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    assert jisi("bank", "build", source, "-o", tmp_path / "bank", "--config", config).exit_code == 0
    loopback.requests.clear()
    return tmp_path / "bank"


def test_an_endpoint_that_only_a_bank_names_is_not_called(
    endpoint_bank: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", loopback.api_base)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-precious")
    run = route(endpoint_bank)
    says_one_error(run, 3, "litellm:openai/vec", "not called", "--trust-embedder", secrets=["sk-precious"])
    assert loopback.requests == []
    assert route(endpoint_bank, "--embedder", "litellm:openai/vec").exit_code == 0
    assert len(loopback.requests) == 1
    assert route(endpoint_bank, "--trust-embedder", "--no-store").exit_code == 0
    assert route(endpoint_bank, "--no-store").exit_code == 0
    says_one_error(route(rewrite(endpoint_bank, name="litellm:openai/vec2")), 3, "not called")


def test_a_forecast_asks_nobody_about_an_embedder_that_only_a_bank_names(
    endpoint_bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    pool = pool_file(tmp_path / "jisi.toml", loopback)
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": "new?", "gt": "1", "grader": "numeric"}])
    command = ("bank", "build", questions, "-o", endpoint_bank, "--append", "--call", "--dry-run", "--config", pool)
    says_one_error(jisi(*command), 3, "litellm:openai/vec", "not called")


@pytest.mark.parametrize(
    "name",
    [
        "litellm:huggingface/http://127.0.0.1:9/x",
        "litellm:huggingface/HTTPS://evil.example/x",
        "litellm:huggingface/http:/evil.example",
        "litellm:openai//evil.example/v1",
        "litellm:sagemaker/../../x",
        "litellm:openai/x?api_base=evil",
        "litellm:openai/x y",
        "litellm:openai/x\n",
        "http://evil.example/model",
        "\\\\evil.example\\share\\model",
        "model\u200b",
        " model",
        "m" * 2000,
    ],
)
def test_a_name_that_leads_anywhere_is_refused_wherever_it_stands(
    name: str, tmp_path: Path, loopback: Loopback
) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    says_one_error(jisi("bank", "build", source, "-o", tmp_path / "new", "--embedder", name), 2, "embedder")
    config = tmp_path / "embedder.toml"
    config.write_text(f"[embedder]\nname = {json.dumps(name)}\n")
    says_one_error(jisi("bank", "build", source, "-o", tmp_path / "new", "--config", config), 2, "embedder")
    bank = rewrite(bank_of(tmp_path, "hashing:64"), name=name)
    for words in ([], ["--embedder", name], ["--trust-embedder"]):
        says_one_error(route(bank, *words), 3, "bank.json", "embedder")
    assert loopback.requests == []


@pytest.mark.parametrize("name", ["m" * 300, "a/b--c", "a/b.git", "a/b..c", "a/-b", "./a"])
def test_a_name_that_no_folder_and_no_hub_can_have_is_one_line(name: str, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    says_one_error(jisi("bank", "build", source, "-o", tmp_path / "new", "--embedder", name), 2, name)


@pytest.mark.parametrize(
    "change", [{"revision": "\x1b[2J"}, {"revision": "r" * 300}, {"prompt": "p" * 30_000}], ids=str
)
def test_what_a_bank_says_of_its_embedder_is_bounded(change: dict[str, Any], tmp_path: Path) -> None:
    says_one_error(route(rewrite(bank_of(tmp_path, "hashing:64"), **change)), 3, "bank.json")


def test_a_bank_has_no_place_on_the_disk_looked_at(tmp_path: Path, bank: Path) -> None:
    pipe = tmp_path / "pipe"
    pipe.mkdir()
    os.mkfifo(pipe / "modules.json")
    os.mkfifo(pipe / "model.safetensors")
    rewrite(bank, name=str(pipe))
    says_one_error(route(bank), 3, "not loaded")
    says_one_error(route(bank, "--trust-embedder"), 2, "no regular file")
    says_one_error(route(bank, "--embedder", pipe), 2, "no regular file")
