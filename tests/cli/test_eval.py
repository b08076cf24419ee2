"""`jisi eval` on recorded answers: the table, the document, exit codes, resuming, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.methods.registry import all_methods
from tests.cli.commands import jisi, on_a_terminal, says_one_error, start, write_lines
from tests.cli.evaluation_data import DATASETS, PER_DATASET, SKILL, TEST_ROWS, answers, build
from tests.loopback import Loopback

METHODS = {name: info for name, info in all_methods().items() if not info.argument}

MANY = "jisi-router,jisi-query,jisi-vote,best-single,best-per-dataset-oracle,cheapest,random,knn,oracle"
"""Methods that need no call and no training."""

DEFAULT = ("best-single", "jisi-query", "jisi-router", "jisi-vote", "jisi", "oracle")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with 28 train and 12 test questions; not to be changed."""
    return build(tmp_path_factory.mktemp("evaluated"))


def evaluate(*arguments: str | Path, stdin: str | bytes | None = None) -> Any:
    """Return the document of a command that succeeds."""
    run = jisi("eval", *arguments, "--json", stdin=stdin)
    assert run.exit_code == 0, run
    return run.json


def by_name(document: Any) -> dict[str, Any]:
    return {method["name"]: method for method in document["methods"]}


def without_seconds(document: Any) -> Any:
    return {**document, "methods": [{**method, "seconds": None} for method in document["methods"]]}


def without_times(stdout: str) -> str:
    """The tables that are the same each time: scores and costs."""
    scores, costs, times = stdout.split("\n\n")
    assert times.split()[:3] == ["method", "training", "scoring"]
    return f"{scores}\n\n{costs}"


def of_the_test_rows(bank: Path) -> list[dict[str, Any]]:
    opened = Bank(bank)
    keys = {opened.questions[row].key for row in opened.test_rows.tolist()}
    return [line for line in answers() if (line["dataset"], str(line["index"])) in keys]


# The table and the document.


def test_the_table_has_a_row_per_method_and_a_column_per_dataset(bank: Path) -> None:
    run = jisi("eval", bank)
    assert run.exit_code == 0
    scores, costs, times = run.stdout.split("\n\n")
    header, *rows = scores.splitlines()
    assert header.split()[:5] == ["method", *DATASETS, "Avg", "weighted"]
    assert [row.split()[0] for row in rows] == list(DEFAULT)
    assert [row.split()[0] for row in costs.splitlines()[1:]] == list(DEFAULT)
    assert [row.split()[0] for row in times.splitlines()[1:]] == list(DEFAULT)
    document = by_name(evaluate(bank))
    for row in rows:
        name, *figures = row.split()
        averages = document[name]["averages"]
        if averages is None:
            assert figures == ["–"] * 4 + ["needs", "--live"]
        else:
            expected = [*averages["datasets"].values(), averages["average"], averages["weighted"]]
            assert figures[:4] == [f"{100 * value:.2f}" for value in expected]


def test_what_the_table_cannot_say_stands_on_stderr(bank: Path) -> None:
    run = jisi("eval", bank)
    assert re.search(r"jisi: \d+ of 12 questions need calls that were not recorded .*; add --live", run.stderr)
    assert "95 % paired bootstrap intervals" in run.stderr
    assert jisi("eval", bank, "-q").stderr == ""
    assert without_times(jisi("eval", bank, "-q").stdout) == without_times(run.stdout)


def test_averages_are_those_of_the_recorded_scores(bank: Path) -> None:
    document = by_name(evaluate(bank, "--method", "model:ada,model:bob,oracle"))
    rows = of_the_test_rows(bank)
    assert len(rows) == 2 * TEST_ROWS
    for name, score in [
        ("model:ada", lambda line: line["records"]["ada"]),
        ("model:bob", lambda line: line["records"]["bob"]),
        ("oracle", lambda line: max(line["records"].values())),
    ]:
        means = {
            dataset: sum(score(line) for line in rows if line["dataset"] == dataset) / TEST_ROWS for dataset in DATASETS
        }
        assert document[name]["averages"]["datasets"] == pytest.approx(means)
        assert document[name]["averages"]["average"] == pytest.approx(sum(means.values()) / 2)


def test_the_document_says_all_that_is_needed_to_make_it_again(bank: Path) -> None:
    document = evaluate(bank, "--gamma", "0.8", "--seed", "7")
    assert set(document) >= {
        *("methods", "questions", "test", "bank", "bank_parts", "models", "embedder", "split", "settings", "seed"),
        *("live", "versions"),
    }
    assert document["questions"] == 12
    assert document["models"] == ["ada", "bob", "cyd"]
    assert document["split"] == {"fraction": 0.7, "seed": 42}
    assert document["settings"]["gamma"] == 0.8 and document["settings"]["n_base"] == 50
    assert (document["seed"], document["live"]) == (7, False)
    assert document["embedder"]["name"] == "hashing:64" and document["embedder"]["revision"]
    assert set(document["versions"]) >= {"jisi", "numpy"}
    assert [len(part) for part in document["bank_parts"]] == [64]
    router = by_name(document)["jisi-router"]
    assert set(router) >= {
        *("name", "questions", "scored", "unscored", "needs_live", "failed", "averages", "versus", "calls", "cost_usd"),
        *("winner_cost_usd", "modes", "selection", "support_size", "seconds"),
    }
    assert set(router["averages"]) == {"datasets", "average", "weighted"}
    (versus,) = router["versus"]
    assert set(versus) == {"versus", "average", "low", "high", "wins", "ties", "losses", "questions"}
    assert versus["versus"] == "best-single"
    assert set(router["selection"]) == {"*", *DATASETS}


def test_the_same_command_gives_the_same_document_but_for_the_seconds(bank: Path) -> None:
    first, second = (evaluate(bank, "--method", MANY) for _ in range(2))
    assert without_seconds(first) == without_seconds(second)


def test_another_seed_moves_the_intervals_and_nothing_else(bank: Path) -> None:
    first, second = (by_name(evaluate(bank, "--seed", seed)) for seed in ("1", "2"))
    oracle = first["oracle"]["versus"][0], second["oracle"]["versus"][0]
    assert oracle[0]["average"] == oracle[1]["average"]
    assert first["jisi-router"]["averages"] == second["jisi-router"]["averages"]


def test_without_test_the_test_rows_of_the_bank_in_force_are_meant(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = without_seconds(evaluate(bank, "-m", "jisi-router"))
    assert without_seconds(evaluate("--bank", bank, "-m", "jisi-router")) == expected
    monkeypatch.setenv("JISI_BANK", str(bank))
    assert without_seconds(evaluate("-m", "jisi-router")) == expected


def test_recorded_answers_are_evaluated_like_the_test_rows_of_a_bank(bank: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", of_the_test_rows(bank))
    from_file = evaluate(path, "--bank", bank, "--method", MANY)
    from_bank = evaluate(bank, "--method", MANY)
    assert without_seconds(from_file)["methods"] == without_seconds(from_bank)["methods"]
    assert from_file["test"] == str(path)


# Failed, empty and unread answers.


def unreliable(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let ada fail on every third question, say nothing to another third, and be unread on one; else she is right."""
    for number, line in enumerate(lines):
        line["records"]["ada"] = 1.0
        if number % 3 < 2:
            del line["records"]["ada"]
            line["raw_output"]["ada"] = None if number % 3 == 0 else "  "
            line["errors"] = {"ada": "HTTP 503"} if number % 3 == 0 else {}
    del lines[2]["records"]["ada"]
    return lines


def test_a_model_that_fails_is_no_better_for_it(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", unreliable(answers()))
    build_it = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert jisi(*build_it).exit_code == 0
    document = evaluate(tmp_path / "bank", "--method", "best-single,model:ada,oracle")
    assert document["failed_answers"] == "wrong"
    found = by_name(document)
    # Of the answers that are there she has all right, of the questions a third: bob is the better single model.
    assert set(found["best-single"]["selection"]["*"]) == {"bob"}
    ada = found["model:ada"]
    assert ada["failed"] + ada["scored"] + ada["unscored"] == 12
    assert ada["averages"]["weighted"] == pytest.approx(ada["scored"] / (12 - ada["unscored"]))
    lenient = evaluate(tmp_path / "bank", "--method", "best-single,model:ada", "--failed", "unscored")
    assert (lenient["failed_answers"], lenient["settings"]["failed"]) == ("unscored", "unscored")
    found = by_name(lenient)
    assert "ada" in found["best-single"]["selection"]["*"]
    assert found["model:ada"]["averages"]["average"] == 1.0
    assert found["model:ada"]["failed_left_out"] == found["model:ada"]["failed"] == ada["failed"]


def test_the_table_counts_failed_and_unread_answers_beside_the_means(bank: Path, tmp_path: Path) -> None:
    lines = of_the_test_rows(bank)
    path = write_lines(tmp_path / "test.jsonl", unreliable(lines))
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada,model:bob")
    header, *rows = (line.split() for line in run.stdout.split("\n\n")[0].splitlines())
    assert header[4:7] == ["weighted", "failed", "unscored"]
    assert {row[0]: row[5:7] for row in rows} == {
        "model:ada": ["8", "1"],
        "model:bob": ["0", "0"],
        "best-single": ["0", "1"],
    }
    assert "model:ada: no model answered 8 questions; they count as wrong" in run.stderr
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada", "--failed", "unscored")
    assert "8 questions; left out of its means, where they would count 0 with --failed wrong" in run.stderr


def test_results_of_another_reading_are_not_taken_for_this_one(bank: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", unreliable(of_the_test_rows(bank)))
    words = (path, "--bank", bank, "--method", "model:ada,oracle", "--out", tmp_path / "results.jsonl")
    wrong, unscored = evaluate(*words), evaluate(*words, "--failed", "unscored")
    assert by_name(wrong)["model:ada"]["averages"] != by_name(unscored)["model:ada"]["averages"]
    assert without_seconds(evaluate(*words)) == without_seconds(wrong)


def test_a_differently_written_file_of_the_same_answers_is_evaluated_the_same(bank: Path, tmp_path: Path) -> None:
    long = [
        {
            **{key: line[key] for key in ("dataset", "index", "query", "gt", "grader")},
            "model": model,
            "score": score,
            "response": line["raw_output"][model],
            **{key: line["usages"][model][key] for key in ("prompt_tokens", "completion_tokens", "cost")},
        }
        for line in reversed(of_the_test_rows(bank))
        for model, score in line["records"].items()
    ]
    path = write_lines(tmp_path / "long.jsonl", long)
    assert without_seconds(evaluate(path, "--bank", bank))["methods"] == without_seconds(evaluate(bank))["methods"]


def test_gaps_in_the_answers_are_answered_by_others_and_counted(bank: Path, tmp_path: Path) -> None:
    lines = of_the_test_rows(bank)
    for line in lines[:3]:
        for part in ("records", "usages", "raw_output"):
            del line[part]["ada"]
    path = write_lines(tmp_path / "test.jsonl", lines)
    document = by_name(evaluate(path, "--bank", bank, "--method", "best-single,model:ada,jisi-vote"))
    assert document["model:ada"]["failed"] == 3
    assert document["model:ada"]["modes"] == {"failed": 0.25, "route": 0.75}
    assert document["best-single"]["modes"] == {"fallback": 0.25, "route": 0.75}
    assert document["jisi-vote"]["scored"] == 12
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada")
    assert "warning: model:ada: no model answered 3 questions; they count as wrong" in run.stderr


def test_versus_adds_a_method_and_a_column(bank: Path) -> None:
    document = by_name(evaluate(bank, "--method", "jisi-router", "--versus", "model:cyd", "--versus", "best-single"))
    assert list(document) == ["jisi-router", "model:cyd", "best-single"]
    assert [row["versus"] for row in document["jisi-router"]["versus"]] == ["best-single", "model:cyd"]
    (versus,) = document["model:cyd"]["versus"]
    assert versus["wins"] + versus["ties"] + versus["losses"] == 12
    header = jisi("eval", bank, "--method", "jisi-router", "--versus", "model:cyd").stdout.splitlines()[0]
    assert "vs model:cyd" in header


def test_models_datasets_and_limit_leave_out(bank: Path) -> None:
    document = evaluate(bank, "--models", "bob,cyd", "--method", "best-single,oracle")
    assert document["models"] == ["bob", "cyd"]
    assert set(by_name(document)["best-single"]["selection"]["*"]) == {"bob"}
    document = evaluate(bank, "--datasets", "trees", "--method", "best-single")
    assert list(by_name(document)["best-single"]["averages"]["datasets"]) == ["trees"]
    assert document["questions"] == TEST_ROWS
    assert evaluate(bank, "--limit", "2", "--method", "best-single")["questions"] == 4


@pytest.mark.parametrize("name", [name for name, info in METHODS.items() if info.needs == "recorded"])
def test_every_method_that_needs_no_call_has_an_average(bank: Path, name: str) -> None:
    found = by_name(evaluate(bank, "--method", name))[name]
    assert 0 <= found["averages"]["average"] <= 1
    assert found["scored"] == 12


def test_all_takes_everything_that_a_replay_can_do_and_lists_what_needs_calls(bank: Path, loopback: Loopback) -> None:
    document = by_name(evaluate(bank, "--method", "all,model:bob"))
    assert list(document) == [*METHODS, "model:bob"]
    for name, method in document.items():
        untried = name != "model:bob" and METHODS[name].needs == "live"
        # Never approximated: no score, no cost, no place in a comparison.
        assert (method["needs_live"] == 12) == untried or name.startswith("jisi")
        if untried:
            assert (method["averages"], method["calls"], method["cost_usd"], method["versus"]) == (None, None, None, [])
    run = jisi("eval", bank, "--method", "all")
    rows = [row.split() for row in run.stdout.split("\n\n")[0].splitlines()]
    (moa,) = [row for row in rows if row[0] == "moa"]
    assert moa[1:] == ["–"] * 4 + ["needs", "--live"]
    assert re.search(r"need --live, for calls that were not recorded: .*moa, moa-lite", run.stderr)
    # What was not tried cost nothing and took no time.
    assert not [row for part in run.stdout.split("\n\n")[1:] for row in part.splitlines() if row.startswith("moa ")]
    says_one_error(jisi("eval", bank, "--method", "moa"), 2, "`moa` needs live calls; add --live")
    # A curve is of what can be scored.
    curve = jisi("eval", bank, "--method", "all", "--curve", "-q")
    assert "moa" not in curve.stdout + curve.stderr
    assert loopback.count() == 0


def test_all_goes_without_the_cheapest_where_nobody_knows_a_price(tmp_path: Path) -> None:
    lines = [{**line, "usages": {}} for line in answers()]
    source = write_lines(tmp_path / "answers.jsonl", lines)
    built = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert built.exit_code == 0
    run = jisi("eval", tmp_path / "bank", "--method", "all", "--json")
    assert run.exit_code == 0
    document = by_name(run.json)
    assert "cheapest" not in document and "random" in document
    assert "cheapest is left out: `cheapest` needs prices" in run.stderr
    assert {method["cost_usd"] for method in document.values()} == {None}
    says_one_error(jisi("eval", tmp_path / "bank", "-m", "cheapest"), 2, "needs prices", "--prices")
    # Unknown stays unknown, and is not $0.
    assert "unknown" in jisi("eval", tmp_path / "bank", "-m", "best-single").stdout
    # Tokens are unknown too, so list prices cannot help.
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({model: {"input": 1, "output": 2} for model in SKILL}))
    says_one_error(jisi("eval", tmp_path / "bank", "-m", "cheapest", "--prices", prices), 2, "needs prices")


def test_list_methods_names_them_all_without_a_bank() -> None:
    run = jisi("eval", "--list-methods")
    assert run.exit_code == 0
    assert [line.split()[0] for line in run.stdout.splitlines()] == ["method", *METHODS, "model:NAME"]
    document = jisi("eval", "--list-methods", "--json").json
    assert [info["name"] for info in document] == [*METHODS, "model:NAME"]
    assert all(info["description"] and info["needs"] and info["source"] for info in document)
    trained = {info["name"] for info in document if info["training_seconds"] is not None}
    assert trained >= {"embedllm", "zooter", "model-sat", "routerdc", "routellm", "graphrouter", "avengers"}
    assert not trained & {"knn", "jisi", "moa", "majority-voting", "model:NAME"}
    differs = {info["name"]: info["departures"] for info in document}
    assert "n_init" in differs["avengers"] and not differs["jisi"]
    assert differs["embedllm"] in run.stdout
    shown = on_a_terminal("-m", "jisi_cli", "eval", "--list-methods", COLUMNS="110", PYTHONUTF8="1")
    assert f"embedllm differs from its source: {differs['embedllm'][:30]}" in " ".join(shown.split())


# What training and scoring took.


def test_the_seconds_of_training_and_of_scoring_are_told_and_where_training_was_kept(bank: Path) -> None:
    names = ("zooter", "knn")
    first, second = (by_name(evaluate(bank, "--method", ",".join(names))) for _ in range(2))
    trained, kept = first["zooter"]["seconds"], second["zooter"]["seconds"]
    assert set(trained) == {"make", "train", "train_from_cache", "plan", "answer", "score"}
    assert 0 < trained["train"] <= trained["make"] and trained["train_from_cache"] is False
    assert trained["score"] == trained["plan"] + trained["answer"] > 0
    # It says what training took then, not what reading it takes now.
    assert kept["train"] == trained["train"] and kept["train_from_cache"] is True
    assert first["knn"]["seconds"]["train"] is None and first["knn"]["seconds"]["train_from_cache"] is False
    run = jisi("eval", bank, "--method", ",".join(names))
    rows = {row.split()[0]: row.split()[1:] for row in run.stdout.split("\n\n")[2].splitlines()[1:]}
    assert rows["zooter"][0] == f"{trained['train']:.2f}" and rows["zooter"][2:] == ["from", "the", "cache"]
    assert rows["knn"][0] == "–" and len(rows["knn"]) == 2
    assert "training and scoring are in seconds" in run.stderr


def test_other_train_rows_are_trained_on_anew(bank: Path) -> None:
    evaluate(bank, "--method", "zooter")
    (fewer,) = (method for method in evaluate(bank, "--method", "zooter", "--models", "ada,bob")["methods"][:1])
    assert fewer["seconds"]["train_from_cache"] is False


def test_training_shows_how_far_it_is_on_a_terminal_alone(bank: Path) -> None:
    shown = evaluated_on_a_terminal(100, bank, "--method", "routerdc", moving=True)
    assert re.search(r"training routerdc\W+[\d,]+/1,000 \d:\d\d:\d\d", shown)
    again = jisi("eval", bank, "--method", "routerdc")
    assert "training routerdc" not in again.stderr + again.stdout


# What nobody sees.


def test_poisoned_labels_of_the_test_rows_move_no_choice(tmp_path: Path) -> None:
    lines = {(line["dataset"], line["index"]): line for line in answers()}
    (tmp_path / "honest").mkdir()
    honest = build(tmp_path / "honest")
    opened = Bank(honest)
    keys = [opened.questions[row].key for row in opened.test_rows.tolist()]
    for line in (line for key, line in lines.items() if (key[0], str(key[1])) in keys):
        line["records"] = {model: 1.0 - score for model, score in line["records"].items()}
        line["gt"] = "poison"
    source = write_lines(tmp_path / "poisoned.jsonl", list(lines.values()))
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert run.exit_code == 0, run
    chosen = {}
    for bank in (honest, tmp_path / "bank"):
        path = tmp_path / f"{bank.parent.name}.jsonl"
        document = evaluate(bank, "--method", "all", "--out", path)
        assert document["questions"] == 12
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        chosen[bank] = {
            (row["method"], row["dataset"], row["index"]): (row["model"], row["mode"], row["calls"], row["cost_usd"])
            for row in rows
            if row["method"] != "oracle"
        }
    replayed = [name for name, info in METHODS.items() if info.needs not in ("live", "labels")]
    assert {name for name, *_ in chosen[honest]} == set(replayed)
    assert chosen[honest] == chosen[tmp_path / "bank"]


# --fail-under.


def average(bank: Path, name: str) -> float:
    return 100 * float(by_name(evaluate(bank, "--method", name))[name]["averages"]["average"])


def test_an_average_below_the_threshold_ends_with_6_after_the_table(bank: Path) -> None:
    reached = average(bank, "model:cyd")
    run = jisi("eval", bank, "--method", "model:cyd,model:ada", "--fail-under", str(reached + 0.01))
    assert run.exit_code == 6
    shown = jisi("eval", bank, "--method", "model:cyd,model:ada").stdout
    assert without_times(run.stdout) == without_times(shown)
    (error,) = run.errors
    assert error.startswith("error: model:cyd reached ")
    as_json = jisi("eval", bank, "--method", "model:cyd", "--json", "--fail-under", "100")
    assert as_json.exit_code == 6 and as_json.json["questions"] == 12


def test_an_average_at_the_threshold_is_not_below_it(bank: Path) -> None:
    for name in SKILL:
        reached = average(bank, f"model:{name}")
        for wanted in (repr(reached), "0"):
            assert jisi("eval", bank, "--method", f"model:{name}", "--fail-under", wanted).exit_code == 0


def test_the_threshold_is_demanded_of_the_method_that_it_names(bank: Path) -> None:
    better, worse = average(bank, "oracle"), average(bank, "model:cyd")
    assert worse < better
    wanted = (better + worse) / 2
    methods = ("--method", "model:cyd,oracle")
    assert jisi("eval", bank, *methods, "--fail-under", f"{wanted}:oracle").exit_code == 0
    assert jisi("eval", bank, *methods, "--fail-under", f"{wanted}:model:cyd").exit_code == 6
    assert (
        jisi("eval", bank, "--method", "model:cyd", "--versus", "oracle", "--fail-under", f"{wanted}:oracle").exit_code
        == 0
    )


def test_a_method_without_an_average_is_below_every_threshold(bank: Path) -> None:
    run = jisi("eval", bank, "--method", "jisi", "--t", "0", "--fail-under", "0")
    assert run.exit_code == 6
    assert "jisi reached no average" in run.errors[0]


@pytest.mark.parametrize("wanted", ["much", "", "nan", "inf", "-1", "101", ":oracle", "50:knn", "50:"])
def test_a_threshold_that_says_nothing_is_refused(bank: Path, wanted: str) -> None:
    run = jisi("eval", bank, "--method", "model:cyd,oracle", "--fail-under", wanted)
    if wanted == "50:":
        assert run.exit_code in (0, 6)  # no method is named: the first
    else:
        says_one_error(run, 2, "--fail-under")


# --out.


def test_results_are_one_line_per_question_and_method_and_are_used_again(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first = evaluate(bank, "--out", path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 12 * len(DEFAULT)
    assert {(line["dataset"], line["index"], line["method"]) for line in lines} == {
        (line["dataset"], str(line["index"]), method) for line in of_the_test_rows(bank) for method in DEFAULT
    }
    content = path.read_bytes()
    assert without_seconds(evaluate(bank, "--out", path)) == without_seconds(first)
    assert path.read_bytes() == content


def test_a_file_that_ends_in_half_a_line_is_gone_on_with(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    expected = without_seconds(evaluate(bank, "--out", path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:30]) + lines[30][:40])
    assert without_seconds(evaluate(bank, "--out", path)) == expected
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_a_file_of_somebody_else_is_refused_and_kept(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    for content in (b"my thesis", b"my thesis\n", b'{"query": "q"}\n'):
        path.write_bytes(content)
        says_one_error(jisi("eval", bank, "--out", path), 2, "thesis.txt:1", "not a result", "--out")
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    "changes",
    [("--gamma", "0.8"), ("--seed", "43"), ("--models", "ada,bob"), ("--compat", "openjisi")],
    ids=lambda changes: changes[0],
)
def test_results_under_other_settings_are_not_used(bank: Path, tmp_path: Path, changes: Sequence[str]) -> None:
    path = tmp_path / "results.jsonl"
    evaluate(bank, "-m", "jisi-router", "--out", path)
    kept = path.read_bytes()
    with_old = evaluate(bank, "-m", "jisi-router", *changes, "--out", path)
    assert without_seconds(with_old) == without_seconds(evaluate(bank, "-m", "jisi-router", *changes))
    assert path.read_bytes().startswith(kept)
    assert len(lines_of("jisi-router", path)) == 24


def lines_of(method: str, path: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if line["method"] == method]


def test_results_of_another_bank_or_of_other_answers_are_not_used(bank: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    test = of_the_test_rows(bank)
    first = write_lines(tmp_path / "first.jsonl", test)
    second = write_lines(tmp_path / "second.jsonl", [{**line, "records": dict.fromkeys(SKILL, 1.0)} for line in test])
    # Where all were right anyway, nothing is another.
    others = sum(0.0 in line["records"].values() for line in test)
    evaluate(first, "--bank", bank, "-m", "jisi-router", "--out", path)
    found = evaluate(second, "--bank", bank, "-m", "jisi-router", "--out", path)
    assert found["methods"][0]["averages"]["average"] == 1.0
    other = build(tmp_path, "--models", "ada,bob")
    evaluate(first, "--bank", other, "-m", "jisi-router", "--out", path)
    assert len(lines_of("jisi-router", path)) == 12 + others + 12


def test_results_of_votes_that_an_earlier_version_could_not_count_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.1 read no `[[17]]`: what hangs on such answers is reckoned anew, and nothing else."""
    lines = [{key: value for key, value in line.items() if key != "grader"} for line in answers()]
    for line in lines[:PER_DATASET]:  # one data set asks for brackets
        line["raw_output"] = {
            model: f"I say [[{text.split()[-1]}]] then." for model, text in line["raw_output"].items()
        }
    source, path = write_lines(tmp_path / "answers.jsonl", lines), tmp_path / "results.jsonl"
    assert (
        jisi("bank", "build", source, "-o", tmp_path / "b", "--embedder", "hashing:64", "--split", "0.7").exit_code == 0
    )
    voting = {"jisi-vote": 6, "jisi-consensus": 6, "majority-voting-3": 6, "jisi-cascade": 12}
    methods = ",".join([*voting, "jisi-router", "jisi", "best-single", "knn"])
    with monkeypatch.context() as patch:
        patch.setattr("jisi_cli.evaluation.one_question._reading", lambda *_: ())
        patch.setattr("jisi_cli.evaluation.entries._reading", lambda *_: ())
        evaluate(tmp_path / "b", "-m", methods, "--out", path)
    before = Counter(line["method"] for line in map(json.loads, path.read_text().splitlines()))
    evaluate(tmp_path / "b", "-m", methods, "--out", path)
    after = Counter(line["method"] for line in map(json.loads, path.read_text().splitlines()))
    assert set(before.values()) == {12} and after - before == voting


def test_the_best_single_model_stands_beside_whatever_was_asked_for(bank: Path) -> None:
    methods = evaluate(bank, "-m", "knn")["methods"]
    assert [method["name"] for method in methods] == ["knn", "best-single"]
    assert [difference["versus"] for difference in methods[0]["versus"]] == ["best-single"]


# What is refused, and what a reader sees.


def test_questions_without_recorded_answers_need_live_calls(bank: Path, tmp_path: Path) -> None:
    line = json.dumps({"query": "What is 2 plus 2?"}) + "\n"
    says_one_error(jisi("eval", "-", "--bank", bank, stdin=line), 2, "standard input", "add --live")
    path = tmp_path / "questions.jsonl"
    path.write_text(line)
    says_one_error(jisi("eval", path, "--bank", bank), 2, "questions.jsonl", "add --live")


@pytest.mark.parametrize("stdin", ["", "\n\n", "What is 2 plus 2?\n", b"\xff\xfe\x00", "[]\n"])
def test_standard_input_without_a_question_is_told(bank: Path, stdin: str | bytes) -> None:
    says_one_error(jisi("eval", "-", "--bank", bank, stdin=stdin), 2, "standard input: no question in it", "`question`")


def test_a_bank_of_another_embedder_is_refused_with_both_names(bank: Path, tmp_path: Path) -> None:
    other = build(tmp_path, embedder="hashing:32")
    says_one_error(jisi("eval", other, "--bank", bank), 3, "hashing:32", "hashing:64")
    # The same width is not the same embedder.
    same_width = Path(shutil.copytree(bank, tmp_path / "same width"))
    manifest = json.loads((same_width / "bank.json").read_text())
    manifest["embedder"]["max_tokens"] = 3
    (same_width / "bank.json").write_text(json.dumps(manifest))
    says_one_error(jisi("eval", same_width, "--bank", bank), 3, "3 tokens")


def test_a_test_bank_without_one_of_the_models_says_so_and_lets_the_others_answer(bank: Path, tmp_path: Path) -> None:
    other = build(tmp_path, "--models", "bob,cyd")
    run = jisi("eval", other, "--bank", bank, "--method", "best-single", "--json")
    assert run.exit_code == 0
    assert by_name(run.json)["best-single"]["modes"] == {"fallback": 1.0}
    (warning,) = run.warnings
    assert "no answer of ada" in warning and "--models" in warning
    stranger = write_lines(tmp_path / "stranger.jsonl", [{**answers()[0], "records": {"eve": 1}, "raw_output": {}}])
    says_one_error(jisi("eval", stranger, "--bank", bank), 2, "no answer of the models ada, bob, cyd")


def test_answers_that_the_bank_was_built_from_are_evaluated_with_a_warning(bank: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "all.jsonl", answers())
    run = jisi("eval", path, "--bank", bank, "--method", "best-single")
    assert run.exit_code == 0
    (warning,) = run.warnings
    assert f"28 questions of 40 in {path} are train rows of {bank}" in warning
    assert jisi("eval", bank, "--method", "best-single").warnings == []


def refusals(bank: Path) -> dict[str, tuple[list[str | Path], int, str]]:
    return {
        "no bank": (["eval"], 2, "no bank was named"),
        "no such file": (["eval", "nowhere.jsonl", "--bank", bank], 2, "nowhere.jsonl"),
        "no such file or bank": (["eval", "my-bnak"], 2, "my-bnak: no such file or folder"),
        "no such bank": (["eval", "--bank", "nowhere"], 3, "no bank at nowhere"),
        "no such method": (["eval", bank, "-m", "jisi-best"], 2, "no method is called `jisi-best`"),
        "no such model": (["eval", bank, "-m", "model:eve"], 2, "the bank has no such model"),
        "no such reading": (["eval", bank, "-m", "jisi@mine"], 2, "jisi@mine"),
        "a reading in an experiment": (
            ["eval", bank, "-m", "jisi-query@paper", "--curve"],
            2,
            "without @; set --compat",
        ),
        "no method": (["eval", bank, "-m", ","], 2, "empty list"),
        "no such dataset": (["eval", bank, "--datasets", "law"], 2, "has no `law`"),
        "a live method": (["eval", bank, "-m", "jisi-static"], 2, "add --live"),
        "a bound, live": (["eval", bank, "-m", "oracle", "--live"], 2, "oracle"),
        "no pool": (["eval", bank, "--live"], 2, "no models to call"),
        "no such format": (
            ["eval", bank / "bank.json", "--bank", bank, "--format", "xml"],
            2,
            "no format called `xml`",
        ),
        "no such setting": (["eval", bank, "--k", "0"], 2, "k must be"),
        "weights": (["eval", bank, "--sigma", "0.9"], 2, "must be 1"),
        "two experiments": (["eval", bank, "--ablate", "--sweep", "gamma=0.9"], 2, "one of them"),
        "a sweep and a threshold": (["eval", bank, "--sweep", "gamma=0.9", "--fail-under", "90"], 2, "--fail-under"),
        "a sweep and a file": (["eval", bank, "--sweep", "gamma=0.9", "--out", "r.jsonl"], 2, "ignores --out"),
        "a sweep and calls": (["eval", bank, "--sweep", "gamma=0.9", "--live"], 2, "ignores --live"),
        "no place for the page": (["eval", bank, "--report", "nowhere/r.html"], 2, "there is no folder nowhere"),
        "no prices": (["eval", bank, "--prices", "nowhere.json"], 2, "nowhere.json"),
        "nowhere to write": (["eval", bank, "--out", "nowhere/r.jsonl"], 2, "nowhere/r.jsonl"),
    }


@pytest.mark.parametrize("case", refusals(Path()))
def test_what_cannot_be_done_is_one_line_with_a_remedy(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    command, exit_code, words = refusals(bank)[case]
    says_one_error(jisi(*command), exit_code, words)


@pytest.mark.parametrize(
    "arguments",
    [("--seed", "-1"), ("--seed", "4294967296"), ("--limit", "0"), ("--concurrency", "0"), ("--limit", "x")],
)
def test_options_out_of_bounds_are_usage_errors(bank: Path, arguments: tuple[str, str]) -> None:
    run = jisi("eval", bank, *arguments)
    assert run.exit_code == 2
    assert arguments[0] in run.stderr


def test_a_reader_who_has_seen_enough_ends_it_quietly(bank: Path) -> None:
    process = start("eval", bank, "--method", MANY)
    assert process.stdout is not None
    process.stdout.close()
    err = process.stderr.read() if process.stderr is not None else b""
    assert process.wait() == 0
    assert b"Traceback" not in err and b"BrokenPipe" not in err


def evaluated_on_a_terminal(columns: int, *arguments: str | Path, moving: bool = False) -> str:
    """Return what a terminal of so many columns shows, with what moves on it if that is wanted."""
    variables = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm", "NO_COLOR": "" if moving else "1"}
    stderr = None if moving else subprocess.DEVNULL
    shown = on_a_terminal("-m", "jisi_cli", "eval", *arguments, stderr=stderr, **variables)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [45, 60, 80, 100, 200])
def test_a_terminal_of_any_width_shows_whole_numbers(bank: Path, columns: int) -> None:
    methods = ("--method", "jisi-router,jisi-vote,oracle,best-single")
    document = by_name(evaluate(bank, *methods))
    table = evaluated_on_a_terminal(columns, bank, *methods)
    assert max(map(len, table.splitlines())) <= columns
    words = table.split()
    for name, method in document.items():
        averages = method["averages"]
        figures = [*averages["datasets"].values(), averages["average"], averages["weighted"]]
        differences = [figure for row in method["versus"] for figure in (row["average"], row["low"], row["high"])]
        shown = [f"{100 * figure:.2f}" for figure in figures] + [f"{100 * figure:+.2f}" for figure in differences]
        for figure in shown:
            assert any(word.strip("[],") == figure for word in words), (name, figure)
        assert f"{method['calls']:.2f}" in words
        for row in method["versus"]:
            assert f"{row['wins']}/{row['ties']}/{row['losses']}" in words
    # Nothing is left out for want of room, either.
    assert all(title in words for title in (*DATASETS, "Avg", "weighted", "support", "modes"))


def test_a_table_that_fits_is_one_table(bank: Path) -> None:
    shown = evaluated_on_a_terminal(200, bank, "--method", "jisi-router,oracle")
    assert shown.split().count("method") == 3  # scores, costs, and times


def test_a_pool_grows_model_by_model_and_each_bound_is_its_pools_own(bank: Path, tmp_path: Path) -> None:
    order = tmp_path / "order.txt"
    order.write_text("cyd\nbob\n\nada\n")
    found = by_name(evaluate(bank, "--method", "oracle,best-single", "--grow", order, "--grow-from", "1"))
    tested = of_the_test_rows(bank)
    for size, pool in ((1, ["cyd"]), (2, ["cyd", "bob"]), (3, ["cyd", "bob", "ada"])):
        best = [max(line["records"][model] for model in pool) for line in tested]
        assert found[f"oracle · {size} models"]["averages"]["weighted"] == sum(best) / len(best)
        assert set(found[f"best-single · {size} models"]["selection"]["*"]) <= set(pool)
    assert len(found) == 6
