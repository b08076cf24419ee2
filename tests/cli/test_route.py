"""`jisi route`: who would answer, and why; nobody is called unless --probe says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import MODELS, Run, finish, interrupt, jisi, says_one_error, start, wait_for, write_lines
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
KEYS = {
    "query",
    "support_size",
    "threshold",
    "kth_similarity",
    "unlike",
    "models",
    "candidates",
    "answered",
    "aggregator",
    "aggregatees",
    "confidence",
    "groups",
    "answers",
    "probes",
    "settings",
}


@pytest.fixture
def route(small_bank: Path, pool: Path) -> Any:
    """`jisi route` on the small bank with its pool."""

    def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Run:
        return jisi("route", *arguments, "--bank", small_bank, "--config", pool, stdin=stdin)

    return run


@pytest.mark.parametrize("words", [[], ["--json"], ["--jsonl"], ["--explain"], ["--json", "--explain", "-v"]])
def test_nobody_is_called_without_probe(words: list[str], route: Any, loopback: Loopback) -> None:
    assert route(QUESTION, *words).exit_code == 0
    assert loopback.requests == []
    assert not ledger_path().exists()


def test_no_pool_is_needed_without_probe(small_bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = jisi("route", QUESTION, "--bank", small_bank, "--json")
    assert (run.exit_code, run.json["candidates"]) == (0, ["ada", "bob", "cyd"])
    assert jisi("route", QUESTION, "--probe", "--bank", small_bank).exit_code == 2


def test_the_table_shows_rank_score_tokens_cost_and_roles(route: Any) -> None:
    run = route(QUESTION)
    header, *rows = run.stdout.splitlines()
    assert header.split() == ["rank", "model", "score", "tokens", "cost", "role"]
    assert [row.split()[:2] for row in rows] == [["1", "ada"], ["2", "bob"], ["3", "cyd"], ["4", "dee"]]
    assert [row.split("  ")[-1].strip() for row in rows[:3]] == ["candidate, aggregator", "candidate", "candidate"]
    assert "support set: 12 questions of 12" in run.stderr


def test_json_is_one_document(route: Any) -> None:
    found = route(QUESTION, "--json").json
    assert set(found) == KEYS
    assert found["query"] == QUESTION
    assert (found["candidates"], found["aggregator"]) == (["ada", "bob", "cyd"], "ada")
    assert (found["answered"], found["aggregatees"], found["probes"]) == ([], [], [])
    assert found["settings"] == {**Hyperparameters().to_json(), "aggregation": "auto"}
    assert [row["rank"] for row in found["models"]] == [1, 2, 3, 4]
    row = found["models"][1]
    assert {"model", "coarse_score", "fine_score", "expected_completion_tokens", "expected_cost_usd"} <= set(row)
    assert row["fine_score"] is None
    # bob's answers take 40 to 51 tokens; at 1 and 2 dollars per million with prompts of 10 to 21.
    assert 40 <= row["expected_completion_tokens"] <= 51
    assert (10 + 2 * 40) / 1e6 <= row["expected_cost_usd"] <= (21 + 2 * 51) / 1e6


def test_explain_adds_the_nearest_questions(route: Any) -> None:
    found = route(QUESTION, "--json", "--explain").json
    similarities = [row["similarity"] for row in found["neighbours"]]
    assert similarities == sorted(similarities, reverse=True)
    assert len(similarities) == 10
    nearest = found["neighbours"][0]
    assert (nearest["dataset"], nearest["index"], nearest["query"]) == ("sums", "0", "What is 0 plus 3?")
    assert nearest["solved_by"] == list(MODELS)
    run = route(QUESTION, "--explain")
    assert "What is 0 plus 3?" in run.stdout
    assert "similarity" in run.stdout


def test_probe_calls_the_candidates_alone_and_completes_the_decision(route: Any, loopback: Loopback) -> None:
    found = route(QUESTION, "--probe", "--t", "0", "--json").json
    assert sorted(request.model for request in loopback.requests) == ["ada", "bob", "cyd"]
    assert found["answered"] == ["ada", "bob", "cyd"]
    assert [row["model"] for row in found["aggregatees"]] == ["ada", "bob", "cyd"]
    assert all(row["fine_score"] is not None for row in found["models"])
    assert sorted((row["model"], row["error"], row["tokens"]) for row in found["probes"]) == [
        ("ada", None, 3),
        ("bob", None, 3),
        ("cyd", None, 3),
    ]
    assert "aggregatee" in route(QUESTION, "--probe").stdout


def test_answers_are_shown_and_compared(route: Any, loopback: Loopback, tmp_path: Path) -> None:
    for model, text in (("ada", "The answer is <9>."), ("bob", "The answer is 9."), ("cyd", "The answer is 9.")):
        loopback.script(model, text=text)
    run = route(QUESTION, "--probe", "--answers")
    assert "--- bob · agrees · promised" in run.stdout and "The answer is <9>." in run.stdout
    assert "of 3 agree" in run.stderr
    found = route(QUESTION, "--probe", "--json").json["answers"]
    assert [answer["model"] for answer in found] == ["ada", "bob", "cyd"]
    assert route(QUESTION, "--json").json["answers"] == []
    refused = route(QUESTION, "--answers")
    assert (refused.exit_code, "add --probe" in refused.stderr) == (2, True)


def test_the_page_shows_the_answers_and_how_they_agree(route: Any, loopback: Loopback, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="the extra `report` is not installed")
    for model in MODELS:
        loopback.script(model, text="<b>Thus</b> the \x1b[31manswer is 9.")
    assert route(QUESTION, "--probe", "--html", tmp_path / "one.html").exit_code == 0
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "<h1>3 of 3 agree; " in page
    assert page.count("&lt;b&gt;Thus&lt;/b&gt; the answer is 9.") == 3
    assert "<h2>Promised</h2>" in page
    assert route(QUESTION, "--probe", "--method", "jisi-cascade", "--html", tmp_path / "two.html").exit_code == 0
    assert "% sure: " in (tmp_path / "two.html").read_text(encoding="utf-8")


def test_a_dead_candidate_is_a_warning_and_in_the_document(route: Any, loopback: Loopback) -> None:
    loopback.script("bob", every=1, every_fault=Fault("status", status=400, message="gone"))
    run = route(QUESTION, "--probe")
    assert (run.exit_code, run.warnings) == (0, ["warning: bob did not answer: HTTP 400: gone"])
    found = route(QUESTION, "--probe", "--json").json
    assert found["answered"] == ["ada", "cyd"]
    assert {row["model"]: row["error"] for row in found["probes"]}["bob"] == "HTTP 400: gone"


def test_probing_dead_candidates_is_no_answer(route: Any, loopback: Loopback) -> None:
    for model in ("ada", "bob", "cyd"):
        loopback.script(model, every=1, every_fault=Fault("status", status=400, message="gone"))
    run = route(QUESTION, "--probe")
    assert (run.exit_code, run.stdout, len(run.errors)) == (4, "", 1)


QUESTIONS = [
    {"query": QUESTION, "dataset": "mine", "index": "a-1"},
    {"query": "What is the capital of land number 3?"},
    {"query": "Why?", "index": 7},
]


@pytest.mark.parametrize("words", [[], ["--jsonl"]])
@pytest.mark.parametrize("through", ["file", "stdin"])
def test_a_batch_is_one_document_a_line_in_the_file_s_order(
    words: list[str], through: str, route: Any, loopback: Loopback, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "questions.jsonl", QUESTIONS)
    if through == "file":
        run = route("--input", source, *words)
    else:
        run = route("--input", "-", *words, stdin=source.read_bytes())
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert (run.exit_code, loopback.count()) == (0, 0)
    assert [row["query"] for row in found] == [row["query"] for row in QUESTIONS]
    assert [row["index"] for row in found] == ["a-1", "2", "7"]
    assert found[0]["dataset"] == "mine"
    for row in found:
        alone = route(row["query"], "--json").json
        assert {key: value for key, value in row.items() if key not in ("dataset", "index")} == alone


def test_a_bad_line_of_a_batch_is_told_with_its_number(route: Any, tmp_path: Path) -> None:
    source = tmp_path / "questions.jsonl"
    source.write_text('{"query": "one?"}\n{"query": ""}\nnonsense\n\n[1]\n{"query": "two?"}\n')
    run = route("--input", source)
    assert (run.exit_code, len(run.stdout.splitlines())) == (0, 2)
    assert len(run.warnings) == 3
    assert [line for line in (2, 3, 5) if any(f":{line}:" in warning for warning in run.warnings)] == [2, 3, 5]


def test_a_batch_of_probes_keeps_one_budget_for_the_whole_run(route: Any, loopback: Loopback, tmp_path: Path) -> None:
    """Each answer costs 1805 millionths of a dollar, each question three answers."""
    for model in MODELS:
        loopback.script(model, text=" ".join([model] * 900))
    source = write_lines(tmp_path / "questions.jsonl", [{"query": f"What is {n} plus {n}?"} for n in range(6)])
    run = route("--input", source, "--probe", "--max-cost", "0.013")
    assert (run.exit_code, len(run.errors)) == (5, 1)
    assert 1 <= len(run.stdout.splitlines()) < 6
    spent = sum(row.cost_usd or 0.0 for row in Ledger(ledger_path(), warn=pytest.fail).rows())
    assert spent <= 0.013


def test_models_leaves_the_others_out(route: Any) -> None:
    found = route(QUESTION, "--json", "--models", "cyd,dee", "--models", "bob").json
    assert [row["model"] for row in found["models"]] == ["bob", "cyd", "dee"]


def test_a_question_and_a_batch_exclude_each_other(route: Any, tmp_path: Path) -> None:
    assert route(QUESTION, "--input", tmp_path / "x.jsonl").exit_code == 2


def test_a_batch_that_is_not_there_is_an_input_error(route: Any, tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere.jsonl", tmp_path):
        run = route("--input", place)
        assert (run.exit_code, len(run.errors)) == (2, 1)
        assert str(place) in run.errors[0]


def test_ctrl_c_ends_a_long_batch(small_bank: Path, pool: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "questions.jsonl", [{"query": f"What is {n} plus {n}?"} for n in range(20_000)])
    written = tmp_path / "routed.jsonl"
    with written.open("wb") as stdout:
        process = start("route", "--input", source, "--bank", small_bank, "--config", pool, stdout=stdout)
        wait_for(process, lambda: written.stat().st_size > 0)
        run = interrupt(process)
    assert (run.exit_code, run.stderr) == (130, "interrupted\n")
    assert len(written.read_bytes().splitlines()) < 20_000


def test_the_decision_does_not_depend_on_how_a_question_is_handed_over(
    route: Any, small_bank: Path, pool: Path
) -> None:
    alone = route(QUESTION, "--json").json
    assert route("-", "--json", stdin=f"{QUESTION}\n").json == alone
    assert route("--json", stdin=QUESTION).json == alone
    assert finish(start("route", QUESTION, "--json", "--bank", small_bank, "--config", pool)).json == alone


def test_a_map_says_which_columns_of_a_table_hold_the_questions(route: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("nr,frage\nx,What is 3 plus 6?\n")
    (line,) = route("--input", table, "--map", "query=frage,index=nr").stdout.splitlines()
    assert (json.loads(line)["dataset"], json.loads(line)["index"]) == ("table", "x")
    lines = write_lines(tmp_path / "lines.jsonl", [{"frage": "What is 3 plus 6?"}])
    (line,) = route("--input", lines, "--map", "query=frage").stdout.splitlines()
    assert (json.loads(line)["dataset"], json.loads(line)["index"]) == ("questions", "1")
    says_one_error(route(QUESTION, "--map", "query=frage"), 2, "--map is about the questions of a file")
