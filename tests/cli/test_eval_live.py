"""`jisi eval --live`: graded answers, what they cost, budgets, failing servers, and a client that is killed."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.methods.registry import all_methods
from jisi_cli.models.ledger import Ledger, ledger_path
from jisi_cli.models.live import query_hash
from tests.cli.commands import Run, jisi, pool_file, says_one_error
from tests.cli.evaluation_data import SKILL, build
from tests.faults.forked import given, start_here
from tests.loopback import Fault, Loopback

MODELS = tuple(SKILL)
DEFAULT = ("best-single", "jisi-query", "jisi-router", "jisi-vote", "jisi")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("live"))


@pytest.fixture
def pool(tmp_path: Path, loopback: Loopback) -> Path:
    """Three models; the question is a number, which ada and bob repeat and cyd does not."""
    loopback.script("ada", "The answer is {question}")
    loopback.script("bob", "I think so too. The answer is {question}")
    loopback.script("cyd", "The answer is 1{question}")
    return pool_file(tmp_path / "jisi.toml", loopback, MODELS)


def questions(count: int, **fields: object) -> list[dict[str, Any]]:
    """Return questions that are their own answers."""
    return [
        {"dataset": ("odd", "even")[n % 2], "index": n, "query": str(100 + n), "gt": str(100 + n), "grader": "numeric"}
        | fields
        for n in range(count)
    ]


def lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def live(bank: Path, pool: Path, *arguments: str | Path, stdin: str, test: str = "-") -> Run:
    return jisi("eval", test, "--bank", bank, "--config", pool, "--live", "--json", *arguments, stdin=stdin)


def by_name(run: Run) -> dict[str, Any]:
    assert run.exit_code == 0, run
    return {method["name"]: method for method in run.json["methods"]}


def results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_are_asked_graded_and_kept(bank: Path, pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    run = live(bank, pool, "--method", "model:ada,model:cyd", "--out", path, stdin=lines(questions(6)))
    document = by_name(run)
    assert document["model:ada"]["averages"] == {"datasets": {"even": 1.0, "odd": 1.0}, "average": 1.0, "weighted": 1.0}
    assert document["model:cyd"]["averages"]["average"] == 0.0
    assert run.json["live"] is True and run.json["test"] == "standard input"
    assert loopback.count() == 12
    assert {line["answer"] for line in results(path) if line["method"] == "model:ada"} == {
        f"The answer is {100 + n}" for n in range(6)
    }


def test_a_question_that_no_grader_can_grade_is_refused_before_anything_is_paid(
    bank: Path, pool: Path, loopback: Loopback
) -> None:
    for missing, remedy in (("gt", "add `gt`"), ("grader", "--grader NAME")):
        rows = questions(4)
        del rows[1][missing]
        run = live(bank, pool, "--method", "model:ada", stdin=lines(rows))
        says_one_error(run, 2, "-:2: ", remedy, "--grader agreement")
    assert loopback.count() == 0


def test_the_default_methods_run_live_and_share_their_calls(bank: Path, pool: Path, loopback: Loopback) -> None:
    document = by_name(live(bank, pool, stdin=lines(questions(5))))
    assert tuple(document) == DEFAULT
    assert {method["scored"] for method in document.values()} == {5}
    asked = Counter(json.dumps(request.body["messages"]) + request.model for request in loopback.requests)
    assert max(asked.values()) == 1


def test_every_method_that_only_lives_is_scored_live(bank: Path, pool: Path, loopback: Loopback) -> None:
    names = [name for name, info in all_methods().items() if info.needs == "live"]
    # Whatever stands around it, a prompt with the question in it is answered with the question.
    for model in MODELS:
        loopback.script(model, lambda messages: f"The answer is {re.findall(r'10[01]', str(messages))[-1]}")
    document = by_name(live(bank, pool, "--method", ",".join(names), stdin=lines(questions(2))))
    assert list(document) == names and len(names) == 10
    for name, method in document.items():
        assert (method["scored"], method["needs_live"], method["averages"]["average"]) == (2, 0, 1.0), name
        assert method["calls"] >= 4 and method["cost_usd"] > 0 and method["seconds"]["score"] > 0


def test_calls_are_booked_with_their_data_set_their_question_and_their_role(bank: Path, pool: Path) -> None:
    by_name(live(bank, pool, "--method", "jisi", "--t", "0", stdin=lines(questions(2))))
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    booked = {(row.command, row.dataset, row.query_hash, row.role) for row in rows}
    assert booked == {
        ("eval", dataset, query_hash(query), role)
        for dataset, query in (("odd", "100"), ("even", "101"))
        for role in ("probe", "aggregator")
    }


def test_dollars_are_those_of_the_pool_file_whether_cached_or_not(bank: Path, pool: Path) -> None:
    first = by_name(live(bank, pool, "--method", "model:ada,jisi-vote", stdin=lines(questions(3))))
    second = by_name(live(bank, pool, "--method", "model:ada,jisi-vote", stdin=lines(questions(3))))
    # One word of prompt at 1 dollar and four of answer at 2, per million.
    assert first["model:ada"]["cost_usd"] == first["model:ada"]["winner_cost_usd"] == pytest.approx(9e-6)
    for name, method in first.items():
        assert {**second[name], "seconds": None} == {**method, "seconds": None}


def test_a_dead_model_is_stood_in_for_and_its_failure_costs_nothing(bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", every=1)
    document = by_name(live(bank, pool, "--method", "best-single,model:ada,jisi-vote", stdin=lines(questions(4))))
    assert document["best-single"]["modes"] == {"fallback": 1.0}
    assert document["best-single"]["averages"]["average"] == 1.0
    assert document["best-single"]["cost_usd"] == document["best-single"]["winner_cost_usd"] is not None
    assert document["model:ada"]["failed"] == 4
    assert document["model:ada"]["averages"]["average"] == 0.0
    assert document["jisi-vote"]["failed"] == 0


def test_a_grader_that_does_not_exist_is_told_before_anything_is_paid(
    bank: Path, pool: Path, loopback: Loopback
) -> None:
    run = live(bank, pool, stdin=lines(questions(4, grader="bleurt")))
    says_one_error(run, 2, "-:1: no grader is called `bleurt`")
    assert loopback.count() == 0


def test_a_page_that_has_no_place_is_told_before_anything_is_paid(
    bank: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    for place, words in ((tmp_path / "none" / "r.html", "there is no folder"), (tmp_path, "is a folder")):
        run = live(bank, pool, "--report", place, stdin=lines(questions(2)))
        says_one_error(run, 2, str(place), words)
        page = ("--html", place, "--bank", bank, "--config", pool)
        says_one_error(jisi("route", "What is 1?", "--probe", *page), 2, str(place), words)
    assert loopback.count() == 0


def test_a_budget_stops_the_run_with_5_and_more_money_goes_on(
    bank: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    path, rows = tmp_path / "r.jsonl", lines(questions(20))
    # The worst case of a call is 1,000 tokens of answer, $0.002; it costs $0.000009.
    stopped = live(bank, pool, "-m", "model:ada", "--out", path, "--max-cost", "0.0021", stdin=rows)
    says_one_error(stopped, 5, "--max-cost")
    assert 0 < len(results(path)) == loopback.count() < 20
    document = by_name(live(bank, pool, "-m", "model:ada", "--out", path, "--max-cost", "1", stdin=rows))
    assert document["model:ada"]["scored"] == 20
    assert loopback.count() == 20


def test_a_bank_is_asked_live_on_its_test_rows(bank: Path, pool: Path, loopback: Loopback) -> None:
    document = by_name(live(bank, pool, "-m", "model:bob", stdin="", test=str(bank)))
    assert document["model:bob"]["questions"] == 12
    assert loopback.count("bob") == 12


def test_another_model_behind_a_name_is_asked_anew(bank: Path, pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    path, rows = tmp_path / "r.jsonl", lines(questions(3))
    by_name(live(bank, pool, "-m", "model:ada", "--out", path, stdin=rows))
    loopback.script("eve", "The answer is 0")
    pool.write_text(pool.read_text().replace('litellm = "openai/ada"', 'litellm = "openai/eve"'))
    document = by_name(live(bank, pool, "-m", "model:ada", "--out", path, stdin=rows))
    assert document["model:ada"]["averages"]["average"] == 0.0
    assert loopback.count("eve") == 3


# A client that is killed. Its requests have a key of their own, as the server may answer some of them much later.

COUNT = 24
AT_ONCE = 4


def paid(server: Loopback, key: str = "") -> Counter[str]:
    """Return how often each request was answered in full; of those with a key, where one is given."""
    found = [request for request in server.complete if key in request.headers["authorization"]]
    return Counter(json.dumps(request.body, sort_keys=True) for request in found)


@pytest.mark.parametrize("killed_after", [5, 40])
def test_killed_in_the_middle_the_second_run_finishes_the_rest_and_pays_nothing_twice(
    bank: Path, tmp_path: Path, loopback: Loopback, killed_after: int
) -> None:
    texts = {"ada": "The answer is {question}", "bob": "It is 7. The answer is {question}", "cyd": "The answer is 7"}
    for model, text in texts.items():
        loopback.script(model, text, delay=0.02, every=10, every_fault=Fault("status", status=503, retry_after=0))
    pool, path, source = tmp_path / "jisi.toml", tmp_path / "r.jsonl", tmp_path / "questions.jsonl"
    entry = 'name = "{0}"\nlitellm = "openai/{0}"\napi_base = "{1}"\nprice = {{ input = 1, output = 2 }}\n'
    entry += 'api_key_env = "OPENAI_API_KEY"\n'
    pool.write_text("\n".join("[[models]]\n" + entry.format(model, loopback.api_base) for model in MODELS))
    source.write_text(lines(questions(COUNT)))
    command = ["eval", "-", "--bank", bank, "--config", pool, "--live", "--out", path, "--json"]
    command += ["--concurrency", str(AT_ONCE)]

    loopback.hold_after = killed_after + 3 * AT_ONCE
    first = start_here(*command, prepare=partial(given, source), env={"OPENAI_API_KEY": "sk-first"})
    first.until(lambda: len(loopback.complete) >= killed_after)
    first.kill()
    assert first.finish().exit_code == -signal.SIGKILL
    loopback.hold_after = None
    # What stands in the file was paid for once and for all.
    kept = path.read_bytes() if path.exists() else b""
    kept = kept[: kept.rfind(b"\n") + 1]

    second = start_here(*command, prepare=partial(given, source), env={"OPENAI_API_KEY": "sk-second"}).finish()
    document = by_name(second)
    assert tuple(document) == DEFAULT
    for method in document.values():
        assert (method["questions"], method["scored"], method["failed"]) == (COUNT, COUNT, 0)
    found = results(path)
    assert path.read_bytes().startswith(kept)
    assert Counter((line["method"], line["index"]) for line in found) == Counter(
        (name, str(n)) for name in DEFAULT for n in range(COUNT)
    )
    # Only a call that was out when the client died can have been answered to nobody.
    assert len(paid(loopback, "sk-first") & paid(loopback, "sk-second")) <= AT_ONCE
    assert max(paid(loopback, "sk-first").values()) == max(paid(loopback, "sk-second").values()) == 1

    third = start_here(*command, prepare=partial(given, source), env={"OPENAI_API_KEY": "sk-third"}).finish()
    assert [{**method, "seconds": None} for method in by_name(third).values()] == [
        {**method, "seconds": None} for method in document.values()
    ]
    assert not any("sk-third" in request.headers["authorization"] for request in loopback.requests)


def test_interrupted_it_ends_with_130_and_goes_on_later(bank: Path, tmp_path: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, "The answer is {question}", delay=0.05)
    pool, path, source = tmp_path / "jisi.toml", tmp_path / "r.jsonl", tmp_path / "questions.jsonl"
    pool_file(pool, loopback, MODELS)
    source.write_text(lines(questions(30)))
    command = ["eval", source, "--bank", bank, "--config", pool, "--live", "--out", path, "-m", "model:ada"]
    loopback.hold_after = 6
    process = start_here(*command, "--concurrency", "2")
    process.until(lambda: loopback.count() == 6 + 2)
    process.send_signal(signal.SIGINT)
    run = process.finish()
    assert run.exit_code == 130
    assert run.stdout == "" and "Traceback" not in run.stderr
    assert not re.search("never|Unclosed|destroyed|ResourceWarning|LiteLLM", run.stderr)
    loopback.hold_after = None
    assert start_here(*command, "--concurrency", "2").finish().exit_code == 0
    assert loopback.count() == 30 + 2
    assert sorted(int(line["index"]) for line in results(path)) == list(range(30))
