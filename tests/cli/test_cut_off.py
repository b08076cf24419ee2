"""Answers that were cut off are said to be, wherever they go, and are not taken for whole ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.inspect import inspect_bank
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.types import cut_off
from tests.cli.commands import MODELS, jisi, write_lines
from tests.loopback import Loopback

SAMPLE = Path(__file__).parents[2] / "sample_data" / "bank"
QUESTION = "What is 6 * 7?"
WORDS = {
    "ada": "the answer of ada was cut off at its longest length (`max_tokens`)",
    "bob": "the answer of bob was cut off by the provider's content filter",
}


@pytest.fixture
def cut(pool: Path, loopback: Loopback) -> Path:
    """A pool of which `ada` runs out of tokens, `bob` is filtered, `cyd` ends in time and `dee` says all in time."""
    loopback.script("ada", text="The answer is 4", finish_reason="length")
    loopback.script("bob", text="The answer", finish_reason="content_filter")
    loopback.script("cyd", text="The answer is 42.")
    loopback.script("dee", text="The answer is 40. To check, multiply", finish_reason="length")
    return pool


@pytest.fixture
def collected(cut: Path, tmp_path: Path) -> Any:
    line = {"dataset": "d", "index": "1", "query": QUESTION, "gt": "42", "grader": "numeric"}
    source = write_lines(tmp_path / "q.jsonl", [line])
    options = ("--embedder", "hashing", "--save-answers", tmp_path / "a.jsonl")
    return jisi("bank", "build", source, "--call", "--config", cut, "-o", tmp_path / "collected", *options)


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize("model", ["ada", "bob"])
def test_ask_says_that_an_answer_was_cut_off_now_and_from_the_cache(
    cut: Path, small_bank: Path, model: str, stream: str
) -> None:
    asked = ("ask", QUESTION, "--bank", small_bank, "--config", cut, "--method", f"model:{model}")
    for _ in range(2):
        run = jisi(*asked, stream)
        assert (run.exit_code, run.stdout) == (0, {"ada": "The answer is 4\n", "bob": "The answer\n"}[model])
        assert f"warning: {WORDS[model]}" in run.stderr
    found = jisi(*asked, "--json").json
    assert found["cut_off"] == found["calls"][0]["cut_off"] == {"ada": "length", "bob": "content_filter"}[model]


def test_ask_says_nothing_of_a_whole_answer(cut: Path, small_bank: Path) -> None:
    asked = ("ask", QUESTION, "--bank", small_bank, "--config", cut, "--method", "model:cyd")
    run = jisi(*asked, "--json")
    assert "cut off" not in run.stderr
    assert (run.json["finish_reason"], run.json["cut_off"]) == ("stop", None)


def test_a_collection_counts_them_and_scores_only_what_can_be_read(collected: Any, tmp_path: Path) -> None:
    assert collected.exit_code == 0
    for words in (
        "1 answer of ada cut off at its longest length (`max_tokens`)",
        "1 answer of bob cut off by the provider's content filter",
        "1 answer of dee cut off at its longest length (`max_tokens`)",
    ):
        assert f"warning: {words}" in collected.stderr
    saved = json.loads((tmp_path / "a.jsonl").read_text())
    # `The answer is 4` may have become 42; `The answer is 40.` was said to its end.
    assert saved["records"] == {"ada": None, "bob": None, "cyd": 1.0, "dee": 0.0}
    assert saved["finish_reasons"] == {"ada": "length", "bob": "content_filter", "cyd": "stop", "dee": "length"}


def test_bank_and_saved_answers_remember_them(collected: Any, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert jisi("bank", "build", tmp_path / "a.jsonl", "-o", again, "--embedder", "hashing").exit_code == 0
    for bank in (tmp_path / "collected", again):
        found = jisi("bank", "inspect", bank, "--json")
        counts = {model["model"]: model["cut_off"] for model in found.json["models"]}
        assert counts == {"ada": 1, "bob": 1, "cyd": 0, "dee": 1}
        assert "3 answers are cut off" in jisi("bank", "inspect", bank).stderr


def test_grading_again_leaves_them_unscored(collected: Any, tmp_path: Path) -> None:
    bank = tmp_path / "collected"
    assert jisi("bank", "grade", bank, "--grader", "numeric").exit_code == 0
    opened = Bank(bank)
    assert [opened.answers(model).status.tolist() for model in MODELS] == [["unscored"], ["unscored"], ["ok"], ["ok"]]
    assert opened.cut_off_responses("ada") == ["length"]


def test_a_bank_made_before_opens_and_grows(tmp_path: Path, cut: Path) -> None:
    bank = Path(shutil.copytree(SAMPLE, tmp_path / "bank"))
    model = Bank(bank).models[0]
    before = inspect_bank(Bank(bank), Hyperparameters())
    assert {summary.cut_off for summary in before.models} == {0}
    record = {"dataset": "new", "index": "1", "query": "q", "records": {model: 1.0}, "raw_output": {model: "cut"}}
    source = write_lines(tmp_path / "more.jsonl", [{**record, "finish_reasons": {model: "MAX_TOKENS"}}])
    assert jisi("bank", "build", source, "-o", bank, "--append").exit_code == 0
    after = {summary.model: summary.cut_off for summary in inspect_bank(Bank(bank), Hyperparameters()).models}
    assert after[model] == 1 and sum(after.values()) == 1


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("stop", None),
        ("end_turn", None),
        (None, None),
        ("tool_calls", None),
        ("anything", None),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("RECITATION", "content_filter"),
    ],
)
def test_what_cut_an_answer_off_is_read_from_many_providers_words(reason: str | None, found: str | None) -> None:
    assert cut_off(reason) == found
