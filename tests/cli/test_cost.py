"""`jisi cost`: every column and key by hand, over the ledger and over result files, and against a reference model."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from jisi_cli import days
from jisi_cli.models.batch.journal import BatchJournal, journal_folder
from jisi_cli.models.ledger import Ledger, LedgerEntry, ledger_path
from jisi_cli.models.live import Run, query_hash
from jisi_cli.models.outstanding import Mark
from tests.cli.commands import jisi, pool_file, recorded_answers, says_one_error, write_lines
from tests.faults.forked import start_here
from tests.loopback import Loopback

ASK = LedgerEntry(
    run="aaaa1111",
    time="2026-01-31T12:00:00.000+00:00",
    command="ask",
    role="probe",
    model="ada",
    litellm="openai/ada",
    prompt_tokens=100,
    completion_tokens=50,
    tokens_source="provider",
    cost_usd=0.5,
    list_cost_usd=0.5,
    price_source="pool",
    seconds=1.0,
    cached=False,
    attempts=1,
    error=None,
    dataset=None,
    query_hash=query_hash("What is 0 plus 3?"),
)
BUILD = replace(ASK, run="bbbb2222", time="2026-01-30T12:00:00.000+00:00", command="bank build", role="expert")

ROWS = (
    replace(BUILD, dataset="sums", cost_usd=2.0, list_cost_usd=2.0),
    replace(BUILD, dataset="sums", model="bob", cost_usd=None, list_cost_usd=None, price_source=None),
    replace(BUILD, dataset="facts", role="judge", model="judy", price_source="litellm"),
    ASK,
    replace(ASK, cached=True, cost_usd=0.0, list_cost_usd=0.125, model="bob", attempts=0),
    replace(
        ASK,
        model="cyd",
        prompt_tokens=None,
        completion_tokens=None,
        cost_usd=0.0,
        list_cost_usd=None,
        price_source=None,
        error="HTTP 503: busy",
    ),
    replace(ASK, role="aggregator", prompt_tokens=300, completion_tokens=80, cost_usd=0.25, list_cost_usd=0.25),
    replace(
        ASK, role="embedding", model="litellm:openai/v", completion_tokens=0, cost_usd=0.0625, list_cost_usd=0.0625
    ),
)

TOTAL = {
    "calls": 8,
    "cached_calls": 1,
    "failed_calls": 1,
    "prompt_tokens": 900,
    "completion_tokens": 330,
    "uncounted_calls": 0,
    "cost_usd": None,
    "known_cost_usd": 3.3125,
    "unknown_price_calls": 1,
    "unknown_failure_calls": 0,
    "list_cost_usd": None,
    "cached_list_cost_usd": 0.125,
    "cached_unknown_price_calls": 0,
    "price_sources": {"litellm": 1, "pool": 5},
    "most_cost_usd": None,
}
"""The sums of `ROWS`, by hand."""


@pytest.fixture
def ledger() -> None:
    write(*ROWS)


def write(*rows: LedgerEntry) -> None:
    book = Ledger(ledger_path(), warn=pytest.fail)
    for row in rows:
        book.append(row)
    book.close()


def groups(*arguments: str | Path) -> dict[Any, dict[str, Any]]:
    """Return the groups of a bill by their names."""
    run = jisi("cost", "--json", *arguments)
    assert run.exit_code == 0, run
    by = run.json["by"]
    return {tuple(group[name] for name in by): group for group in run.json["groups"]}


def lines_of_csv(*arguments: str | Path) -> list[dict[str, str]]:
    run = jisi("cost", "--csv", *arguments)
    assert run.exit_code == 0, run
    return list(csv.DictReader(io.StringIO(run.stdout)))


# An empty ledger


@pytest.mark.parametrize("format", [[], ["--json"], ["--csv"]])
def test_an_empty_ledger_is_an_empty_bill_and_none_is_made(format: list[str]) -> None:
    run = jisi("cost", *format)
    assert run.exit_code == 0
    assert "no call was made yet" in run.stderr
    assert not ledger_path().parent.exists()
    if format == ["--json"]:
        assert (run.json["groups"], run.json["total"]["calls"], run.json["total"]["cost_usd"]) == ([], 0, 0.0)
    else:
        assert len(run.stdout.splitlines()) == (1 if format else 0)


# The ledger, by hand


def test_json_has_the_documented_keys_and_the_sums(ledger: None) -> None:
    document = jisi("cost", "--json").json
    assert set(document) == {"ledger", "by", "groups", "total", "batches", "out", "against"}
    assert (document["ledger"], document["by"], document["against"]) == (str(ledger_path()), ["model"], None)
    assert document["total"] == TOTAL
    assert [group["model"] for group in document["groups"]] == ["ada", "judy", "bob", "litellm:openai/v", "cyd"]
    for group in document["groups"]:
        assert set(group) == {"model", *TOTAL}


def test_by_model(ledger: None) -> None:
    found = groups("--by", "model")
    assert found["ada",]["known_cost_usd"] == found["ada",]["cost_usd"] == 2.75
    assert (found["ada",]["prompt_tokens"], found["ada",]["completion_tokens"]) == (500, 180)
    # One answer of bob's was paid for at an unknown price, the other came from the cache.
    assert (found["bob",]["cost_usd"], found["bob",]["known_cost_usd"]) == (None, 0.0)
    assert (found["bob",]["unknown_price_calls"], found["bob",]["cached_list_cost_usd"]) == (1, 0.125)
    assert (found["cyd",]["failed_calls"], found["cyd",]["cost_usd"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("role", {("expert",): 2.0, ("probe",): 0.5, ("judge",): 0.5, ("aggregator",): 0.25, ("embedding",): 0.0625}),
        ("dataset", {("sums",): 2.0, ("facts",): 0.5, (None,): 0.8125}),
        ("day", {("2026-01-30",): 2.5, ("2026-01-31",): 0.8125}),
        ("run", {("bbbb2222",): 2.5, ("aaaa1111",): 0.8125}),
        ("command", {("bank build",): 2.5, ("ask",): 0.8125}),
        ("day,role", {("2026-01-30", "expert"): 2.0, ("2026-01-30", "judge"): 0.5, ("2026-01-31", "probe"): 0.5}),
    ],
)
def test_by_every_other_dimension(ledger: None, by: str, expected: dict[tuple[str | None, ...], float]) -> None:
    found = groups("--by", by)
    assert {key: found[key]["known_cost_usd"] for key in expected} == expected
    assert sum(group["known_cost_usd"] for group in found.values()) == TOTAL["known_cost_usd"]


def test_days_come_in_their_order_however_they_were_written(ledger: None) -> None:
    assert list(groups("--by", "day")) == [("2026-01-30",), ("2026-01-31",)]


def test_the_table_shows_every_column_and_says_unknown(ledger: None) -> None:
    run = jisi("cost")
    head, *rows = (line.split() for line in run.stdout.splitlines())
    assert " ".join(head) == "model calls cached failed prompt completion paid cached would cost price from"
    assert rows[0] == ["ada", "3", "500", "180", "$2.75", "pool"]
    assert rows[2] == ["bob", "2", "1", "200", "100", "unknown", "(1)", "$0.125", "pool"]
    assert rows[4] == ["cyd", "1", "1", "0", "0", "$0"]
    assert " ".join(rows[5]) == "total 8 1 1 900 330 $3.31 + 1 unknown $0.125 litellm 1, pool 5"
    first, last = (days.local(f"2026-01-{day}T12:00:00+00:00") for day in (30, 31))
    assert f"2 runs from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (your time)" in run.stderr
    assert "the price of 1 answer is unknown" in run.stderr


def test_csv_has_a_line_of_names_and_every_digit(ledger: None) -> None:
    write(replace(ASK, run="cccc3333", model="dee", cost_usd=0.1 + 0.2, list_cost_usd=0.1 + 0.2, dataset='a, "b"'))
    head = jisi("cost", "--csv").stdout.splitlines()[0]
    assert head == ",".join(["model", *TOTAL])
    by_model = {line["model"]: line for line in lines_of_csv("--by", "model")}
    assert float(by_model["dee"]["cost_usd"]) == 0.1 + 0.2
    # Unknown is empty, and nothing is 0.
    assert (by_model["bob"]["cost_usd"], by_model["cyd"]["cost_usd"]) == ("", "0.0")
    assert by_model["ada"]["price_sources"] == "pool"
    assert {line["dataset"] for line in lines_of_csv("--by", "dataset")} == {"sums", "facts", "", 'a, "b"'}


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1+1", "'＝1+1"),
        ("\t=1+1", "'=1+1"),
        ("\r\n =1+1", "'=1+1"),
        ("\x1b]52;c;aGk=\x07=1+1", "'=1+1"),
        ("\u202e@x\x9b2J", "'@x"),
        ("a=1, 2024-01-31", "a=1, 2024-01-31"),
    ],
)
def test_no_cell_of_csv_is_a_formula_or_steers_a_terminal(name: str, cell: str) -> None:
    write(replace(ASK, model=name, dataset=name, price_source=name))
    (line,) = lines_of_csv("--by", "model,dataset")
    assert (line["model"], line["dataset"], line["price_sources"]) == (cell, cell, cell)


def test_a_run_is_chosen_by_its_name_its_beginning_or_as_the_last(ledger: None) -> None:
    for name in ("bbbb2222", "bbbb"):
        assert jisi("cost", name, "--json").json["total"]["known_cost_usd"] == 2.5
    assert jisi("cost", "last", "--json").json["total"] == jisi("cost", "--run", "aaaa1111", "--json").json["total"]
    assert jisi("cost", "last", "bbbb", "--json").json["total"] == TOTAL
    says_one_error(jisi("cost", "nobody"), 2, "no run and no file `nobody`", "aaaa1111")


def test_days_limit_the_bill_at_both_ends(ledger: None) -> None:
    for arguments, dollars in (
        (["--since", "2026-01-31"], 0.8125),
        (["--until", "2026-01-30"], 2.5),
        (["--since", "2026-01-30", "--until", "2026-01-31"], 3.3125),
        (["--since", "2026-02-01"], 0.0),
    ):
        assert jisi("cost", "--json", *arguments).json["total"]["known_cost_usd"] == dollars
    says_one_error(jisi("cost", "--since", "tomorrow"), 2, "--since takes a day")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "colour"], "--by: no `colour`"),
        (["--by", "method"], "the ledger does not record the method"),
        (["--json", "--csv"], "--json and --csv"),
        (["missing.jsonl"], "cannot be read"),
        (["--against", "nobody"], "no price is known for `nobody`"),
    ],
)
def test_what_cannot_be_done_is_one_line(ledger: None, arguments: list[str], words: str) -> None:
    says_one_error(jisi("cost", *arguments), 2, words)


def test_runs_that_were_cut_off_are_one_note_however_many_they_are(ledger: None) -> None:
    for number in range(3):
        left = Mark(Run(f"{number}a", "ask", None if number else "first"))
        left.add(0.125)  # and never booked: written down as twice as much
        left.close()
    run = jisi("cost")
    (said,) = [line for line in run.stderr.splitlines() if "not in these sums" in line]
    assert "up to $0.750 for calls that were out when their runs were cut off (3 of them, the last: ask; " in said
    assert [row["usd"] for row in jisi("cost", "--json").json["out"]] == [0.25] * 3


# Against a reference model


def test_a_model_of_the_pool_that_has_no_price_is_not_guessed_to_be_itself(ledger: None, tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text('[[models]]\nname = "cy"\nlitellm = "openai/cy-of-ours"\napi_base = "http://127.0.0.1:9/v1"\n')
    run = jisi("cost", "--against", "cy", "--config", pool)
    says_one_error(run, 2, f"--against: `cy` has no price in {pool}; add price = {{ input = …, output = … }}")


def prices(folder: Path, **by_model: tuple[float, float]) -> Path:
    path = folder / "prices.json"
    path.write_text(json.dumps({name: {"input": put, "output": got} for name, (put, got) in by_model.items()}))
    return path


def test_against_prices_each_question_once_from_the_works_own_tokens(ledger: None, tmp_path: Path) -> None:
    # Ours: a probe at 0.5, a cached one at 0.125, the aggregator at 0.25, the embedder at 0.0625, a free failure.
    # The other: 100 tokens of the bare question at 1,000 dollars a million, 80 of the aggregator's at 5,000.
    found = jisi("cost", "--json", "--against", "big", "--prices", prices(tmp_path, big=(1000, 5000)))
    assert found.json["against"] == {
        "model": "big",
        "by": [],
        "groups": [],
        "total": {
            "questions": 1,
            "recorded_questions": 0,
            "own_token_questions": 1,
            "left_out": {},
            "cost_usd": 0.9375,
            "reference_cost_usd": 0.5,
            "saving": -0.875,
        },
        "other_calls": {"bank build": 3},
    }


def test_against_takes_the_tokens_that_the_bank_recorded_of_the_model_and_says_so(
    ledger: None, tmp_path: Path, small_bank: Path
) -> None:
    # The bank recorded 10 and 40 tokens of bob for "What is 0 plus 3?".
    arguments = ["--against", "bob", "--bank", small_bank, "--prices", prices(tmp_path, bob=(1000, 50000))]
    total = jisi("cost", "--json", *arguments).json["against"]["total"]
    assert (total["recorded_questions"], total["own_token_questions"]) == (1, 0)
    assert total["reference_cost_usd"] == pytest.approx(0.01 + 2.0)
    assert total["saving"] == pytest.approx(1 - 0.9375 / 2.01)
    shown = jisi("cost", *arguments)
    assert "1 question from recorded tokens of bob, 0 from this work's own tokens at its price" in shown.stderr
    assert "3 calls of bank build left out: they make a bank and answer no question" in shown.stderr
    assert shown.stdout.splitlines()[-1].split() == ["total", "1", "$0.938", "$2.01", "53.4", "%"]


def test_a_question_that_the_bank_lacks_is_priced_from_the_works_own_tokens(
    ledger: None, tmp_path: Path, small_bank: Path
) -> None:
    write(replace(ASK, run="dddd4444", query_hash=query_hash("Something else?")))
    arguments = ["--against", "bob", "--bank", small_bank, "--prices", prices(tmp_path, bob=(1000, 50000))]
    run = jisi("cost", "--by", "run", *arguments)
    assert "1 question from recorded tokens of bob, 1 from this work's own tokens" in run.stderr
    by_run = {line["run"]: line for line in lines_of_csv("--by", "run", *arguments)}
    assert {name: (line["recorded_questions"], line["own_token_questions"]) for name, line in by_run.items()} == {
        "bbbb2222": ("", ""),
        "aaaa1111": ("1", "0"),
        "dddd4444": ("0", "1"),
    }
    line = by_run["dddd4444"]
    assert (line["questions"], line["compared_cost_usd"]) == ("1", "0.5")
    assert float(line["reference_cost_usd"]) == pytest.approx(0.1 + 2.5)
    assert float(line["saving"]) == pytest.approx(1 - 0.5 / 2.6)


def test_a_question_with_an_unpriced_call_is_left_out_and_not_free(ledger: None, tmp_path: Path) -> None:
    write(replace(ASK, cost_usd=None, list_cost_usd=None, price_source=None))
    run = jisi("cost", "--against", "big", "--prices", prices(tmp_path, big=(1000, 5000)))
    assert "1 question left out: the cost of a call is unknown" in run.stderr
    assert run.stdout.splitlines()[-1].split() == ["total", "0", "–", "–", "–"]


def test_the_price_of_the_reference_may_be_litellms_alone(ledger: None) -> None:
    total = jisi("cost", "--json", "--against", "gpt-4o").json["against"]["total"]
    # 2.50 and 10 dollars a million tokens, for 100 and 80.
    assert total["reference_cost_usd"] == pytest.approx(100 * 2.5e-6 + 80 * 10e-6)


# Over result files


def test_a_replay_costs_nothing_and_says_what_it_would_have_cost(small_bank: Path, tmp_path: Path) -> None:
    # Twelve answers of a micro-dollar each, and the other method asks the same model.
    test, results = write_lines(tmp_path / "test.jsonl", recorded_answers()), tmp_path / "r.jsonl"
    run = jisi("eval", test, "--bank", small_bank, "-m", "model:ada,model:bob", "--out", results)
    assert run.exit_code == 0, run
    found = groups(results)
    assert list(found) == [("best-single",), ("model:ada",), ("model:bob",)]
    for group in found.values():
        assert (group["calls"], group["cached_calls"], group["cost_usd"]) == (12, 12, 0.0)
        assert group["cached_list_cost_usd"] == pytest.approx(12e-6)
        assert group["price_sources"] == {"recorded": 12}
    assert found["model:ada",]["completion_tokens"] == 12 * 20 + 66
    assert set(jisi("cost", results, "--json").json) == {"files", "by", "groups", "total", "batches", "out", "against"}


def test_the_table_of_the_paper_by_method_and_dataset(small_bank: Path, tmp_path: Path) -> None:
    test, results = write_lines(tmp_path / "test.jsonl", recorded_answers()), tmp_path / "r.jsonl"
    assert jisi("eval", test, "--bank", small_bank, "-m", "model:ada", "--out", results).exit_code == 0
    # bob's six sums took 10 + number tokens of prompt and 40 + number of response, for the even numbers to 10.
    arguments = ["--against", "bob", "--bank", small_bank, "--prices", prices(tmp_path, bob=(1, 2))]
    run = jisi("cost", results, "--by", "method,dataset", "--json", *arguments)
    found = {(line["method"], line["dataset"]): line for line in run.json["against"]["groups"]}
    sums = found["model:ada", "sums"]
    assert (sums["questions"], sums["recorded_questions"]) == (6, 6)
    assert sums["cost_usd"] == pytest.approx(6e-6)
    assert sums["reference_cost_usd"] == pytest.approx((90 + 2 * 270) / 1e6)
    assert sums["saving"] == pytest.approx(1 - 6 / 630)
    shown = jisi("cost", results, "--by", "method,dataset", *arguments)
    bill, comparison = shown.stdout.split("\n\n")
    # Both tables name the groups in the same order.
    order = [line.split()[:2] for line in bill.splitlines()[1:-1]]
    assert [line.split()[:2] for line in comparison.splitlines()[1:-1]] == order


def test_a_file_without_results_is_an_empty_bill_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").touch()
    run = jisi("cost", tmp_path / "r.jsonl")
    assert (run.exit_code, run.stdout) == (0, "")
    assert "holds no results" in run.stderr


def test_a_result_file_is_not_the_ledger(small_bank: Path, tmp_path: Path, ledger: None) -> None:
    test, results = write_lines(tmp_path / "test.jsonl", recorded_answers()), tmp_path / "r.jsonl"
    assert jisi("eval", test, "--bank", small_bank, "-m", "model:ada,oracle", "--out", results).exit_code == 0
    assert "oracle: 12 questions without calls" in jisi("cost", results).stderr
    says_one_error(jisi("cost", results, "--by", "day"), 2, "a result file does not record the day")
    says_one_error(jisi("cost", results, "aaaa"), 2, "hold the same calls")
    says_one_error(jisi("cost", results, "--since", "2026-01-01"), 2, "no dates")


# For real: what a server counted is what the ledger has


def test_an_ask_and_asking_it_again(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    arguments = ["ask", "What is it?", "--bank", small_bank, "--config", pool, "--mode", "aggregate", "--t", "0"]
    assert jisi(*arguments).exit_code == jisi(*arguments).exit_code == 0
    first, again = groups("--by", "run").values()
    # Three candidates and an aggregator, at 1 and 2 dollars a million tokens of what the server counted.
    asked = sum(sum(len(m["content"].split()) for m in r.body["messages"]) for r in loopback.requests)
    assert loopback.count() == 4
    assert (first["calls"], first["prompt_tokens"], first["completion_tokens"]) == (4, asked, 12)
    assert first["cost_usd"] == first["list_cost_usd"] == pytest.approx((asked + 2 * 12) / 1e6)
    assert (again["calls"], again["cached_calls"], again["cost_usd"]) == (4, 4, 0.0)
    assert again["cached_list_cost_usd"] == pytest.approx(first["cost_usd"])
    assert groups("--by", "role").keys() == {("probe",), ("aggregator",)}


def test_a_build_that_is_killed_has_booked_whole_rows_and_the_next_goes_on(tmp_path: Path, loopback: Loopback) -> None:
    loopback.script("ada", "The answer is 3", delay=0.02)
    loopback.script("bob", "The answer is 3", delay=0.02)
    pool = pool_file(tmp_path / "jisi.toml", loopback, ("ada", "bob"))
    lines = [{"dataset": "d", "index": n, "query": f"question {n}", "gt": "3", "grader": "numeric"} for n in range(60)]
    source = write_lines(tmp_path / "q.jsonl", lines)
    command = ["bank", "build", source, "--call", "-o", tmp_path / "bank", "--config", pool]
    command += ["--embedder", "hashing:64", "--concurrency", "4"]
    for killed_at in (10, 40, 80):
        loopback.hold_after = killed_at + 10
        process = start_here(*command)
        process.until(lambda killed_at=killed_at: loopback.count() >= killed_at)  # type: ignore[misc]
        process.kill()
        process.communicate()
        # The ledger can be read in the middle of it all, and holds no more paid calls than were made.
        total = jisi("cost", "--json").json["total"]
        assert total["calls"] - total["cached_calls"] <= loopback.count()
    loopback.hold_after = None
    assert jisi(*command).exit_code == 0
    paid = jisi("cost", "--json").json["total"]
    by_run = groups("--by", "run")
    assert len(by_run) == 4
    last = list(by_run.values())[-1]
    assert last["calls"] == 120
    # An answer is booked and then kept: a kill between the two, in each of three runs, has it paid for again.
    assert 0 <= paid["calls"] - paid["cached_calls"] - 120 <= 3 * 4
    assert last["cached_list_cost_usd"] + last["cost_usd"] == pytest.approx(120 * (2 + 2 * 4) / 1e6)


def test_by_run_says_when_each_began_its_command_and_its_label(ledger: None) -> None:
    write(replace(ASK, run="cccc3333", label="nightly", time="2026-01-31T13:00:00.000+00:00"))
    run = jisi("cost", "--by", "run")
    head, *rows = run.stdout.splitlines()
    assert head.split()[:4] == ["run", "began", "command", "label"]
    began = days.local("2026-01-30T12:00:00+00:00")
    assert rows[0].split()[:6] == ["bbbb2222", f"{began:%Y-%m-%d}", f"{began:%H:%M}", "bank", "build", "–"]
    assert "nightly" in rows[2]
    found = groups("--by", "run")
    assert found["cccc3333",]["label"] == "nightly" and found["cccc3333",]["command"] == "ask"
    assert found["bbbb2222",]["began"] == "2026-01-30T12:00:00.000+00:00"
    assert set(groups("--by", "label")) == {(None,), ("nightly",)}


def test_a_time_that_means_nothing_is_refused_where_no_call_was_made_either() -> None:
    says_one_error(jisi("cost", "--since", "nonsense"), 2, "--since", "nonsense")
    says_one_error(jisi("cost", "--until", "nonsense"), 2, "--until", "nonsense")


def test_since_takes_days_as_people_say_them(ledger: None) -> None:
    now = days.now()
    for hours, run in ((1, "new"), (26, "older"), (24 * 9, "oldest")):
        write(replace(ASK, run=run, time=(now - timedelta(hours=hours)).astimezone(UTC).isoformat()))
    assert set(groups("--by", "run", "--since", "7d")) == {("new",), ("older",)}
    assert set(groups("--by", "run", "--since", "2h")) == {("new",)}
    assert set(groups("--by", "run", "--since", "7d", "--until", "2h")) == {("older",)}
    run = jisi("cost", "--since", "yesterdy")
    assert run.exit_code == 2 and "did you mean `yesterday`" in run.stderr


def test_a_label_is_booked_by_every_command_that_calls_and_changes_no_cached_answer(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    ask = ("ask", "What is 3 plus 6?", "--bank", small_bank, "--config", pool)
    assert jisi(*ask).exit_code == 0
    asked = loopback.count()
    assert jisi(*ask, "--label", "again").exit_code == 0
    assert jisi("route", "What is 3 plus 6?", "--probe", "--label", "probe", *ask[2:]).exit_code == 0
    assert loopback.count() == asked  # all from the cache
    assert {label for (label,) in groups("--by", "label")} == {None, "again", "probe"}
    for label in ("", "two\nlines", "x" * 101, "\x1b[2J"):
        assert jisi(*ask, "--label", label).exit_code == 2


@pytest.mark.parametrize("added", [("most_cost_usd",), ("label", "most_cost_usd")], ids=["0.3", "0.2"])
def test_a_ledger_of_an_older_version_is_read_and_goes_on(ledger: None, added: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(ledger_path())) as old, old:
        for column in added:
            old.execute(f"ALTER TABLE calls DROP COLUMN {column}")
    ledger_path().chmod(0o400)
    assert len(groups("--by", "run")) == 2
    ledger_path().chmod(0o600)
    write(replace(ASK, run="cccc3333", label="new", cost_usd=None, most_cost_usd=0.75))
    found = groups("--by", "run")
    assert found["cccc3333",]["label"] == "new" and found["bbbb2222",]["label"] is None
    assert (found["cccc3333",]["most_cost_usd"], found["bbbb2222",]["most_cost_usd"]) == (0.75, None)


def test_what_a_call_that_was_cut_off_can_have_cost_is_shown_as_the_most() -> None:
    write(ASK, replace(ASK, cost_usd=None, list_cost_usd=None, error="cut off", most_cost_usd=0.25))
    run = jisi("cost")
    assert "$0.500 to $0.750" in run.stdout
    assert "1 call may have cost more than is known (failed or cut off" in run.stderr
    assert "limits a day and a month count $0.750" in run.stderr
    total = jisi("cost", "--json").json["total"]
    assert (total["cost_usd"], total["known_cost_usd"], total["most_cost_usd"]) == (None, 0.5, 0.75)
    # Of one more nothing at all is known.
    write(replace(ASK, cost_usd=None, list_cost_usd=None, error="HTTP 500"))
    assert "$0.500 + 2 unknown" in jisi("cost").stdout
    assert jisi("cost", "--json").json["total"]["most_cost_usd"] is None


def test_what_was_submitted_by_batch_and_not_collected_is_told(ledger: None) -> None:
    journal = BatchJournal(journal_folder())
    journal.about_to_submit("0" * 32, "openai/ada", "c" * 64, 1, {"a": 2.0, "b": 0.5, "c": 0.25})
    journal.created("0" * 32, "batch_7")
    journal.settle("0" * 32, ["c"])
    journal.about_to_submit("1" * 32, "openai/bob", "c" * 64, 1, {"a": 2.0, "b": None})
    run = jisi("cost")
    assert "not in these sums: up to $2.50 for 2 requests to openai/ada by batch" in run.stderr
    assert ", batch_7); the command that submitted them collects the answers" in run.stderr
    assert "not in these sums: an unknown amount for 2 requests to openai/bob by batch" in run.stderr
    first, second = jisi("cost", "--json").json["batches"]
    assert first == {**first, "model": "openai/ada", "batch_id": "batch_7", "requests": 2, "most_usd": 2.5}
    assert (second["batch_id"], second["most_usd"]) == (None, None)
    for key in ("a", "b"):
        journal.booked("0" * 32, key)
    assert "still at the provider: 2 requests to openai/ada by batch" in jisi("cost").stderr, "they cost no more"
    assert days.local(first["since"]) is not None
    assert jisi("cost", "--run", "aaaa1111", "--json").json["batches"] == []
    for file in journal_folder().iterdir():
        file.write_text("not a journal")
    run = jisi("cost", "--json")
    assert (run.exit_code, run.json["batches"]) == (0, [])
    assert "cannot be read as a journal of batches" in run.stderr
