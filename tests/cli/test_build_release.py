"""`jisi bank build` of the authors' release: its vectors are taken and nothing is embedded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from tests.cli.commands import Run, jisi, recorded_answers, says_one_error, write_lines
from tests.embed.folders import write_bert
from tests.loopback import Loopback

MODELS = ("ada", "bob", "cyd", "dee")
WIDTH = 64
EMBEDDER = "litellm:openai/vec"


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*shape, WIDTH))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write_release(root: Path, dtype: str = "float64", *, test_queries: bool = False) -> dict[str, np.ndarray]:
    """Write nine train and three test questions with vectors as the authors save them; return what was saved."""
    import torch

    folder = root / "example_data" / "seed42_split0.7"
    folder.mkdir(parents=True)
    lines = recorded_answers()
    sides = {"train": lines[:9], "test": lines[9:]}
    saved: dict[str, np.ndarray] = {}
    for seed, (side, rows) in enumerate(sides.items()):
        write_lines(folder / f"{side}.jsonl", rows)
        saved[f"{side}_response"] = unit(len(rows), len(MODELS), seed=seed)
        if side == "train" or test_queries:
            saved[f"{side}_query"] = unit(len(rows), seed=seed + 10)
    for name, vectors in saved.items():
        torch.save(torch.tensor(vectors).to(getattr(torch, dtype)), folder.parent / f"{name}_embed.tar")
    return saved


def build(root: Path, *words: str) -> Run:
    return jisi("bank", "build", root / "release", "-o", root / "bank", *words)


@pytest.mark.parametrize("words", [["--embedder", EMBEDDER], ["--embedder", "Alibaba-NLP/gte-Qwen2-7B-instruct"]])
def test_the_vectors_are_taken_and_no_embedder_is_loaded_or_called(
    tmp_path: Path, loopback: Loopback, words: list[str]
) -> None:
    saved = write_release(tmp_path / "release")
    run = build(tmp_path, *words, "--json")
    assert run.exit_code == 0, run
    assert run.json["texts_embedded"] == 0
    assert loopback.requests == []
    assert any("3 test questions left out" in line for line in run.warnings)
    bank = Bank(tmp_path / "bank")
    assert bank.manifest.embedder.name == words[1]
    assert (bank.manifest.embedder.revision, bank.dimension) == (None, WIDTH)
    rows = {(line["dataset"], str(line["index"])): row for row, line in enumerate(recorded_answers()[:9])}
    order = [rows[question.key] for question in bank.questions]
    assert sorted(order) == list(range(9))
    np.testing.assert_array_equal(bank.query_vectors, saved["train_query"][order].astype(np.float32))
    for place, model in enumerate(MODELS):
        expected = saved["train_response"][order, place].astype(np.float32)
        np.testing.assert_array_equal(bank.response_vectors(model), expected)


def test_a_question_then_needs_that_embedder_and_the_error_names_it(tmp_path: Path, loopback: Loopback) -> None:
    write_release(tmp_path / "release")
    run = build(tmp_path, "--embedder", "small/embedder")
    assert "need the embedder small/embedder" in run.stderr
    route = ("route", "What is 3 plus 6?", "--bank", tmp_path / "bank")
    says_one_error(jisi(*route), 3, "small/embedder", "--embedder", "--trust-embedder")
    says_one_error(jisi(*route, "--embedder", "small/embedder"), 2, "small/embedder", "cannot fetch")
    says_one_error(jisi(*route, "--embedder", "minilm"), 3, "was embedded by small/embedder 64-d", "minilm")


def test_the_endpoint_that_is_named_answers_questions_to_the_bank(tmp_path: Path, loopback: Loopback) -> None:
    loopback.script("vec", width=WIDTH)
    write_release(tmp_path / "release")
    config = tmp_path / "embedder.toml"
    config.write_text(f'[embedder]\nname = "{EMBEDDER}"\napi_base = "{loopback.api_base}"\n')
    assert build(tmp_path, "--config", str(config)).exit_code == 0
    assert loopback.requests == []
    route = ("route", "--bank", tmp_path / "bank", "--config", config)
    assert jisi(*route, "What is 3 plus 6?").exit_code == 0
    assert len(loopback.requests) == 1
    loopback.script("vec", width=32)
    says_one_error(jisi(*route, "What is 3 plus 7?"), 2, EMBEDDER, "32 components, not 64")


def test_a_release_that_says_no_embedder_asks_for_its_name(tmp_path: Path) -> None:
    write_release(tmp_path / "release")
    says_one_error(build(tmp_path), 2, "does not say which embedder", "--embedder", "gte-Qwen2-7B-instruct")
    assert not (tmp_path / "bank" / "bank.json").exists()


def test_an_embedder_of_another_width_is_not_the_one_that_made_them(tmp_path: Path) -> None:
    write_release(tmp_path / "release")
    says_one_error(build(tmp_path, "--embedder", "hashing:32"), 2, "64 wide", "hashing:32 makes 32")
    assert build(tmp_path, "--embedder", "hashing:64").exit_code == 0


def test_both_sides_enter_where_both_have_vectors(tmp_path: Path) -> None:
    saved = write_release(tmp_path / "release", test_queries=True)
    assert build(tmp_path, "--embedder", EMBEDDER).warnings == []
    bank = Bank(tmp_path / "bank")
    assert (len(bank.train_rows), len(bank.test_rows)) == (9, 3)
    (row,) = (row for row in bank.test_rows.tolist() if bank.questions[row].index == "10")
    np.testing.assert_array_equal(bank.vectors_of(np.array([row]))[0], saved["test_query"][1].astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounded_vectors_are_unit_vectors_in_the_bank(tmp_path: Path, dtype: str) -> None:
    saved = write_release(tmp_path / "release", dtype)["train_response"][:, 1]
    assert build(tmp_path, "--embedder", EMBEDDER).exit_code == 0
    vectors = Bank(tmp_path / "bank").response_vectors("bob")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=5e-3)
    assert (np.max(vectors @ saved.T, axis=1) > 0.99).all()


def test_vectors_that_are_not_of_length_one_are_made_so_and_those_without_a_length_are_refused(tmp_path: Path) -> None:
    import torch

    saved = write_release(tmp_path / "release")
    path = tmp_path / "release" / "example_data" / "train_query_embed.tar"
    torch.save(torch.tensor(7 * saved["train_query"]), path)
    assert build(tmp_path, "--embedder", EMBEDDER).exit_code == 0
    vectors = Bank(tmp_path / "bank").query_vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    saved["train_query"][4] = np.nan
    torch.save(torch.tensor(saved["train_query"]), path)
    index = str(recorded_answers()[4]["index"])
    said = says_one_error(build(tmp_path, "--embedder", EMBEDDER, "--force"), 2, "vectors of the questions")
    assert f"/{index} has norm nan" in said


@pytest.mark.parametrize("name", ["train_query", "train_response"])
def test_half_of_the_vectors_are_none(tmp_path: Path, name: str) -> None:
    write_release(tmp_path / "release")
    (tmp_path / "release" / "example_data" / f"{name}_embed.tar").unlink()
    says_one_error(build(tmp_path, "--embedder", EMBEDDER), 2, "release", "without")


def test_without_vectors_the_texts_are_embedded(tmp_path: Path) -> None:
    write_release(tmp_path / "release")
    for path in (tmp_path / "release" / "example_data").glob("*.tar"):
        path.unlink()
    run = build(tmp_path, "--embedder", "hashing:64", "--json")
    assert run.json["texts_embedded"] > 9
    assert len(Bank(tmp_path / "bank").test_rows) == 3


def test_a_release_with_vectors_is_built_alone(tmp_path: Path) -> None:
    write_release(tmp_path / "release")
    more = write_lines(tmp_path / "more.jsonl", recorded_answers())
    run = jisi("bank", "build", tmp_path / "release", more, "-o", tmp_path / "bank", "--embedder", EMBEDDER)
    says_one_error(run, 2, "build it alone", "--append")


def test_models_and_datasets_may_be_chosen_and_an_answer_without_text_has_no_vector(tmp_path: Path) -> None:
    saved = write_release(tmp_path / "release")
    path = tmp_path / "release" / "example_data" / "seed42_split0.7" / "train.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[2]["raw_output"]["cyd"] = ""
    write_lines(path, lines)
    assert build(tmp_path, "--embedder", EMBEDDER, "--models", "cyd", "--datasets", "sums").exit_code == 0
    bank = Bank(tmp_path / "bank")
    rows = {str(line["index"]): row for row, line in enumerate(lines)}
    expected = saved["train_response"][[rows[question.index] for question in bank.questions], 2].astype(np.float32)
    expected[[question.index == str(lines[2]["index"]) for question in bank.questions]] = 0
    np.testing.assert_array_equal(bank.response_vectors("cyd"), expected)


def test_given_vectors_of_an_endpoint_ask_it_for_none(tmp_path: Path, loopback: Loopback) -> None:
    lines = recorded_answers()
    source = write_lines(tmp_path / "answers.jsonl", lines)
    arrays = {
        "query": unit(12).astype(np.float32),
        "response": unit(12, 4).astype(np.float32),
        "dataset": np.array([line["dataset"] for line in lines]),
        "index": np.array([str(line["index"]) for line in lines]),
        "models": np.array(MODELS),
    }
    np.savez(tmp_path / "vectors.npz", **arrays)
    for number, name in enumerate((EMBEDDER, "small/embedder")):
        bank = tmp_path / f"bank{number}"
        run = jisi("bank", "build", source, "-o", bank, "--embedder", name, "--vectors", tmp_path / "vectors.npz")
        assert run.exit_code == 0, run
        assert Bank(bank).manifest.embedder.name == name
    assert loopback.requests == []


def test_a_bank_of_given_vectors_is_extended_by_its_embedder_once_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = recorded_answers()
    source = write_lines(tmp_path / "answers.jsonl", lines[:6])
    arrays = {"query": unit(6)[:, :32], "response": unit(6, 4)[..., :32]}
    arrays = {name: vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for name, vectors in arrays.items()}
    arrays["dataset"] = np.array([line["dataset"] for line in lines[:6]])
    arrays["index"] = np.array([str(line["index"]) for line in lines[:6]])
    np.savez(tmp_path / "vectors.npz", **arrays, models=np.array(MODELS))
    bank, embedder = tmp_path / "bank", ("--embedder", "small/bert")
    assert jisi("bank", "build", source, "-o", bank, *embedder, "--vectors", tmp_path / "vectors.npz").exit_code == 0
    recorded = Bank(bank).manifest.embedder
    assert (recorded.name, recorded.revision, recorded.dimension) == ("small/bert", None, 32)
    write_bert(tmp_path / "small" / "bert")
    monkeypatch.chdir(tmp_path)
    more = write_lines(tmp_path / "more.jsonl", lines)
    says_one_error(jisi("bank", "build", more, "-o", bank, "--append"), 3, "small/bert", "not loaded")
    assert jisi("bank", "build", more, "-o", bank, "--append", *embedder).exit_code == 0
    assert len(Bank(bank).questions) == 12
    assert Bank(bank).manifest.embedder == recorded
