"""What a misspelt name was probably meant to be: the rule, and every place of the command line that uses it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jisi_cli.errors import did_you_mean
from tests.cli.commands import jisi, says_one_error, write_lines
from tests.loopback import Loopback

MODELS = ["openai/gpt-4o", "anthropic/claude-4.5", "GLM-5"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("anthropic/claude-45", "anthropic/claude-4.5"),
        ("gpt-4o", "openai/gpt-4o"),  # part of another
        ("glm5", "GLM-5"),  # letters alone, whatever their case
        ("GLM-6", "GLM-5"),
    ],
)
def test_the_nearest_name_is_suggested(name: str, meant: str) -> None:
    assert did_you_mean(name, MODELS) == f" (did you mean `{meant}`?)"


@pytest.mark.parametrize(("name", "known"), [("zebra", MODELS), ("", MODELS), ("o", MODELS), ("gpt-4o", [])])
def test_nothing_is_suggested_where_nothing_is_near(name: str, known: list[str]) -> None:
    assert did_you_mean(name, known) == ""


def test_names_from_a_hostile_file_take_no_time() -> None:
    names = [f"{number:06}" + "ab" * 100_000 for number in range(100)]
    before = time.process_time()
    did_you_mean("ba" * 100_000, names)
    assert time.process_time() - before < 0.5


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("aks", "q"), "ask"),
        (("bank", "buld"), "build"),
        (("ask", "q", "--methd", "x"), "--method"),
        (("--versio",), "--version"),
        (("ask", "q", "--method", "jsi-vote"), "jisi-vote"),
        (("ask", "q", "--method", "moa:layrs=2"), "layers"),
        (("ask", "q", "--mode", "rout"), "route"),
        (("ask", "q", "--models", "adda"), "ada"),
        (("ask", "q", "--compat", "papr"), "paper"),
        (("ask", "q", "--failed", "worng"), "wrong"),
        (("eval", "{answers}", "--method", "model:adda"), "ada"),
        (("eval", "--datasets", "sum"), "sums"),
        (("eval", "{answers}", "--method", "best-single", "--fail-under", "70:best-singel"), "best-single"),
        (("bank", "grade", "{bank}", "--grader", "nummeric", "--dry-run"), "numeric"),
        (("bank", "grade", "{bank}", "--datasets", "capital", "--dry-run"), "capitals"),
        (("bank", "calibrate", "{bank}", "--method", "jisi-routr"), "jisi-router"),
        (("bank", "build", "{answers}", "-o", "{new}", "--format", "jissi"), "jisi"),
        (("bank", "build", "{answers}", "-o", "{new}", "--embedder", "hashng:64"), "hashing"),
        (("bank", "build", "{answers}", "-o", "{new}", "--vector-dtype", "float61"), "float16"),
        (
            ("bank", "build", "{questions}", "-o", "{new}", "--call", "--dry-run", "--models", "bobb"),
            "bob",
        ),
        (("bank", "build", "{questions}", "-o", "{new}", "--call", "--judge", "bobb", "--dry-run"), "bob"),
        (("cost", "--by", "modle"), "model"),
        (("init", "--output", "{new}", "--providers", "opnai"), "openai"),
        (("models", "--models", "adda"), "ada"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_misspelt_name_of_the_command_line_is_answered_with_the_near_one(
    words: tuple[str, ...], meant: str, small_bank: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JISI_BANK", str(small_bank))
    monkeypatch.setenv("JISI_CONFIG", str(pool))
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": "1 + 1?", "gt": "2", "grader": "numeric"}])
    places = {"bank": small_bank, "answers": small_bank.parent / "answers.jsonl", "questions": questions}
    run = jisi(*(word.format(new=tmp_path / "new", **places) for word in words))
    says_one_error(run, 2, f"(did you mean `{meant}`?)")


@pytest.mark.parametrize(
    ("table", "meant"),
    [
        ("[embeder]\n", "embedder"),
        ('[[models]]\nname = "x"\nlitelm = "openai/x"\n', "litellm"),
        ("[budget]\nmax_csot = 1\n", "max_cost"),
        ('[embedder]\nname = "hashing"\ntruncation = "hed"\n', "head"),
        ("[routing]\nn_bse = 9\n", "n_base"),
    ],
)
def test_so_is_a_misspelt_key_of_the_pool_file(table: str, meant: str, small_bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "jisi.toml"
    path.write_text(table)
    says_one_error(jisi("route", "q", "--bank", small_bank, "--config", path), 2, f"(did you mean `{meant}`?)")


def test_a_misspelt_embedder_is_answered_with_the_near_one_when_the_hub_has_none(
    small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: Loopback
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answers = small_bank.parent / "answers.jsonl"
    run = jisi("bank", "build", answers, "-o", tmp_path / "new", "--embedder", "minilmm")
    says_one_error(run, 2, "(did you mean `minilm`?)")
