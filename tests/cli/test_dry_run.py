"""`jisi bank build --call --dry-run`: what a collection would take, against what it then takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import Run, jisi, pool_file, says_one_error, write_lines
from tests.loopback import Loopback

HASHING = ("--embedder", "hashing:64")
QUESTIONS = [{"dataset": "sums", "index": n, "query": f"What is {n} plus {n}?", "gt": str(2 * n)} for n in range(4)]
GRADERS = ["numeric", "judge", "pairwise", "judge"]


def verdict(messages: list[dict[str, Any]]) -> str:
    """Judge as the rubric allows."""
    return "Verdict: tie" if "two answers" in messages[0]["content"] else "Verdict: right"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four questions; one is for nobody but a grader of numbers, three want a judge, one of them twice."""
    lines = [{**question, "grader": grader} for question, grader in zip(QUESTIONS, GRADERS, strict=True)]
    return write_lines(tmp_path / "questions.jsonl", lines)


@pytest.fixture
def pool(loopback: Loopback, tmp_path: Path) -> Path:
    """Two models and a judge, and an endpoint that embeds at 4 dollars per million tokens."""
    loopback.script("ada", text="The answer is 4.")
    loopback.script("bob", text="I say 6.")
    loopback.script("jud", text=verdict)
    loopback.script("vec", text="")
    embedder = f'[embedder]\nname = "litellm:openai/vec"\napi_base = "{loopback.api_base}"\nprice = {{ input = 4 }}\n'
    path = pool_file(tmp_path / "jisi.toml", loopback, ("ada", "bob", "jud"))
    path.write_text(path.read_text() + embedder)
    return path


def dry(source: Path, pool: Path, *arguments: str | Path) -> Any:
    run = forecast(source, pool, "--json", *arguments)
    assert run.exit_code == 0, run
    return {(row["model"], row["role"]): row for row in run.json["models"]} | {"total": run.json["total"]}


def forecast(source: Path, pool: Path, *arguments: str | Path) -> Run:
    call = ("--call", "--dry-run", "--models", "ada,bob", "--judge", "jud", "--config", pool)
    return jisi("bank", "build", source, *call, *arguments)


def test_it_counts_answers_grading_and_embedding_and_asks_nobody(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    found = dry(source, pool, "-o", tmp_path / "bank")
    calls = {key: row["calls"] for key, row in found.items()}
    assert calls == {
        ("ada", "expert"): 4,
        ("bob", "expert"): 4,
        ("jud", "judge"): 2 * (1 + 2 + 1),
        ("litellm:openai/vec", "embedding"): 1,
        "total": 17,
    }
    assert loopback.count() == 0
    assert not (tmp_path / "bank").exists()
    assert not ledger_path().exists()
    ada = found["ada", "expert"]
    assert (ada["completion_tokens"], ada["length_basis"]) == (4 * 1000, "max_tokens")
    assert ada["cost_usd"] == pytest.approx((ada["prompt_tokens"] * 1 + 4000 * 2) / 1e6)
    embedded = found["litellm:openai/vec", "embedding"]
    assert embedded["cost_usd"] == pytest.approx(embedded["prompt_tokens"] * 4 / 1e6)
    assert embedded["prompt_tokens"] >= 8 * 1000


def test_a_collection_makes_the_calls_that_were_foretold_and_costs_no_more(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    bank = tmp_path / "bank"
    found = dry(source, pool, "-o", bank)
    build = ("bank", "build", source, "--call", "--models", "ada,bob", "--judge", "jud", "--config", pool)
    assert jisi(*build, "-o", bank).exit_code == 0
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    paid = {role: sum(row.cost_usd or 0 for row in rows if row.role == role) for role in ("expert", "judge")}
    assert {name: loopback.count(name) for name in ("ada", "bob")} == {"ada": 4, "bob": 4}
    # The judge reads the same answer to the same question once, and each pair in both orders.
    assert loopback.count("jud") == found["jud", "judge"]["calls"]
    assert 0 < paid["expert"] <= found["ada", "expert"]["cost_usd"] + found["bob", "expert"]["cost_usd"]
    assert 0 < paid["judge"] <= found["jud", "judge"]["cost_usd"]
    again = dry(source, pool, "-o", bank, "--append")
    assert [row["calls"] for row in again.values()] == [0] * 5
    assert [again[model, "expert"]["in_bank"] for model in ("ada", "bob")] == [4, 4]


def test_what_the_cache_has_is_not_counted_again(source: Path, pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    build = ("bank", "build", source, "--call", "--models", "ada", "--judge", "jud", "--config", pool)
    assert jisi(*build, "-o", tmp_path / "bank").exit_code == 0
    found = dry(source, pool, "-o", tmp_path / "another")
    ada, judge = found["ada", "expert"], found["jud", "judge"]
    assert (ada["calls"], ada["in_cache"], ada["completion_tokens"]) == (0, 4, 0)
    assert (judge["calls"], judge["in_cache"]) == (4, 4)
    assert found["bob", "expert"]["calls"] == 4


def test_an_extended_bank_foretells_lengths_by_its_own_answers(
    source: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    bank = tmp_path / "bank"
    build = ("bank", "build", source, "--call", "--models", "ada", "--judge", "jud", "--config", pool, *HASHING)
    assert jisi(*build, "-o", bank).exit_code == 0
    more = write_lines(tmp_path / "more.jsonl", [{"query": "What is 9 plus 9?", "gt": "18", "grader": "numeric"}])
    found = dry(more, pool, "-o", bank, "--append")
    assert (found["ada", "expert"]["completion_tokens"], found["ada", "expert"]["length_basis"]) == (4.0, "bank")
    assert found["bob", "expert"]["length_basis"] == "max_tokens"
    assert all(role != "embedding" for _, role in (key for key in found if key != "total"))


def test_the_table_says_what_each_is_for_and_that_a_limit_would_stop_it(
    source: Path, pool: Path, tmp_path: Path
) -> None:
    run = forecast(source, pool, "-o", tmp_path / "bank", "--max-cost", "0.001")
    assert [line.split()[:2] for line in run.stdout.splitlines()] == [
        ["model", "for"],
        ["ada", "answers"],
        ["bob", "answers"],
        ["jud", "grading"],
        ["litellm:openai/vec", "embedding"],
        ["total", "17"],
    ]
    assert "no model was called" in run.stderr
    assert "--max-cost 0.001 would stop it before the end" in run.stderr


def test_a_price_that_nobody_knows_is_unknown_and_never_0(source: Path, pool: Path, tmp_path: Path) -> None:
    pool.write_text(pool.read_text().replace("price = { input = 1, output = 2 }", "", 1))
    found = dry(source, pool, "-o", tmp_path / "bank")
    assert found["ada", "expert"]["cost_usd"] is None
    assert found["total"]["cost_usd"] is None
    assert "unknown" in forecast(source, pool, "-o", tmp_path / "bank").stdout.splitlines()[1]


def test_where_nothing_bounds_an_answer_it_says_what_would(source: Path, loopback: Loopback, tmp_path: Path) -> None:
    pool = tmp_path / "endless.toml"
    model = '[[models]]\nname = "{0}"\nlitellm = "openai/{0}-of-ours"\napi_base = "{1}"\n'
    pool.write_text("".join(model.format(name, loopback.api_base) for name in ("ada", "jud")), encoding="utf-8")
    build = ("bank", "build", source, "--call", "--models", "ada", "--judge", "jud", "-o", tmp_path / "bank")
    run = jisi(*build, "--config", pool, "--dry-run")
    assert "how long the answers of ada" in run.stderr
    assert "params = { max_tokens = … } in the pool file says it" in run.stderr


def test_without_call_there_is_nothing_to_foretell(source: Path, tmp_path: Path) -> None:
    says_one_error(jisi("bank", "build", source, "-o", tmp_path / "bank", "--dry-run"), 2, "--call")


def test_a_judge_that_the_pool_lacks_is_told(source: Path, pool: Path, tmp_path: Path) -> None:
    arguments = ("bank", "build", source, "-o", tmp_path / "bank", "--call", "--dry-run", "--config", pool)
    says_one_error(jisi(*arguments, "--judge", "zoe"), 2, "zoe")


def test_its_document_holds_no_number_that_is_not_one(source: Path, pool: Path, tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(forecast(source, pool, "-o", tmp_path / "bank", "--json").stdout, parse_constant=refuse)
