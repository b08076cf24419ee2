"""`jisi eval --splits`: the same figures as split by split, resuming, what is refused, and Ctrl-C."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.comparing_splits import SplitRun, evaluate_splits
from jisi_cli.errors import InputError
from jisi_cli.evaluation.splits import Split
from tests.cli.commands import Run, jisi, says_one_error, write_lines
from tests.cli.evaluation_data import DATASETS, answers, build

METHODS = "best-single,jisi-router,jisi-cascade:tau=1,knn,elo,random"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with 28 train and 12 test questions; not to be changed."""
    return build(tmp_path_factory.mktemp("split"))


def splits_of(*arguments: str | Path) -> Any:
    run = jisi("eval", *arguments, "--json")
    assert run.exit_code == 0, run
    return run.json


def by_name(document: Any) -> dict[str, Any]:
    return {method["name"]: method for method in document["methods"]}


def timeless(document: Any) -> Any:
    return {**document, "methods": [{**method, "seconds": None} for method in document["methods"]]}


@pytest.mark.slow
def test_each_split_has_the_figures_of_a_bank_that_was_built_with_its_seed(bank: Path, tmp_path: Path) -> None:
    document = splits_of("--bank", bank, "--splits", "2", "--seed", "42", "--method", METHODS)
    for place, seed in enumerate((42, 43)):
        (tmp_path / str(seed)).mkdir()
        built = build(tmp_path / str(seed), "--seed", str(seed))
        alone = by_name(splits_of(built, "--method", METHODS, "--seed", "42"))
        for name, method in by_name(document).items():
            split = method["splits"][place]
            assert split["seed"] == seed
            assert (split["average"], split["calls"]) == (alone[name]["averages"]["average"], alone[name]["calls"]), (
                name
            )
            assert split["cost_usd"] == alone[name]["cost_usd"]
            assert split["calibration_error"] == alone[name]["calibration_error"]
            if name != "best-single":
                difference = split["differences"]["best-single"]
                assert difference == pytest.approx(alone[name]["versus"][0]["average"], abs=1e-12)


def test_the_document_has_means_spread_worst_and_what_makes_it_again(bank: Path) -> None:
    document = splits_of(bank, "--splits", "3", "--method", "knn", "--versus", "random")
    assert document["split"] == {"fraction": 0.7, "seeds": [42, 43, 44]}
    assert document["splits"] == [{"seed": seed, "train": 28, "test": 12} for seed in (42, 43, 44)]
    assert 12 < document["questions"] <= 36
    knn = by_name(document)["knn"]
    averages = [split["average"] for split in knn["splits"]]
    assert knn["averages"]["average"] == pytest.approx(np.mean(averages))
    assert knn["spread"] == pytest.approx(np.std(averages, ddof=1))
    assert knn["questions"] == 36
    for versus in knn["versus"]:
        found = [split["differences"][versus["versus"]] for split in knn["splits"]]
        assert versus["average"] == pytest.approx(np.mean(found))
        assert versus["low"] <= versus["average"] <= versus["high"]
        assert knn["worst"][versus["versus"]]["difference"] == min(found)
    assert set(knn["averages"]["datasets"]) == set(DATASETS)


@pytest.mark.slow
def test_the_table_shows_them_and_stderr_says_what_they_are(bank: Path) -> None:
    run = jisi("eval", bank, "--splits", "2", "--method", "knn,jisi")
    assert run.exit_code == 0
    header, *rows = run.stdout.split("\n\n")[0].splitlines()
    assert header.split() == [
        *("method", *DATASETS, "Avg", "weighted", "spread", "vs", "best-single", "worst", "vs", "best-single"),
        "win/tie/loss",
    ]
    assert [row.split()[0] for row in rows] == ["knn", "jisi", "best-single"]
    assert "needs --live" in rows[1]
    assert "split 2 of 2, seed 43: 28 train and 12 test questions" in run.stderr
    assert "intervals over splits and questions" in run.stderr
    assert jisi("eval", bank, "--splits", "2", "--method", "knn", "-q").stderr == ""


def test_a_bank_without_a_split_is_split_as_in_the_paper(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", answers())
    built = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    assert built.exit_code == 0
    document = splits_of(tmp_path / "bank", "--splits", "2", "--method", "knn")
    assert document["split"]["fraction"] == 0.7
    assert [split["test"] for split in document["splits"]] == [12, 12]


def test_datasets_limit_and_models_choose_what_is_tested(bank: Path) -> None:
    options = ("--datasets", "sums", "--limit", "2", "--models", "ada,bob")
    document = splits_of(bank, "--splits", "2", "--method", "knn", *options)
    assert [(split["train"], split["test"]) for split in document["splits"]] == [(28, 2), (28, 2)]
    assert document["models"] == ["ada", "bob"]
    assert set(by_name(document)["knn"]["averages"]["datasets"]) == {"sums"}


@pytest.mark.slow
def test_the_same_command_gives_the_same_document(bank: Path) -> None:
    arguments = (bank, "--splits", "2", "--method", METHODS)
    assert timeless(splits_of(*arguments)) == timeless(splits_of(*arguments))


@pytest.mark.slow
def test_methods_that_say_how_sure_they_are_have_a_calibration_error(bank: Path) -> None:
    run = jisi("eval", bank, "--splits", "2", "--method", "jisi-cascade")
    assert run.exit_code == 0
    header, sure, single = (line.split() for line in run.stdout.split("\n\n")[1].splitlines())
    assert header[-1] == "ECE" and 0 <= float(sure[-1]) <= 100 and single[-1] == "–"
    assert "ECE: expected calibration error" in run.stderr


# Results, resuming, Ctrl-C.


@pytest.mark.slow
def test_a_later_run_goes_on_with_the_splits_that_are_there(bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    splits_of(bank, "--splits", "2", "--method", "knn", "--out", out)
    before = out.read_text(encoding="utf-8")
    three = splits_of(bank, "--splits", "3", "--method", "knn", "--out", out)
    after = out.read_text(encoding="utf-8")
    assert after.startswith(before)
    added = [json.loads(line) for line in after.removeprefix(before).splitlines()]
    assert {line["split"] for line in added} == {44}
    assert timeless(three) == timeless(splits_of(bank, "--splits", "3", "--method", "knn"))
    splits_of(bank, "--splits", "3", "--method", "knn", "--out", out)
    assert out.read_text(encoding="utf-8") == after


@pytest.mark.slow
def test_what_a_split_brought_is_never_taken_for_the_banks_own(bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    splits_of(bank, "--splits", "2", "--method", "knn", "--out", out)
    lines = len(out.read_text(encoding="utf-8").splitlines())
    splits_of(bank, "--method", "knn", "--out", out)
    added = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()[lines:]]
    assert len(added) == 24 and {line["split"] for line in added} == {None}


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int, *arguments: str | Path) -> Run:
    """Run a command whose user presses Ctrl-C when so many splits are finished."""
    whole = SplitRun.finished

    def until(run: SplitRun) -> Iterator[Split]:
        for number, split in enumerate(whole(run), start=1):
            yield split
            if number == after:
                raise KeyboardInterrupt

    monkeypatch.setattr(SplitRun, "finished", until)
    return jisi("eval", *arguments)


@pytest.mark.slow
def test_ctrl_c_shows_the_splits_that_were_finished(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = interrupted(monkeypatch, 2, bank, "--splits", "4", "--method", "knn", "--json")
    assert run.exit_code == 130
    assert run.json["split"]["seeds"] == [42, 43]
    assert "interrupted: showing 2 of 4 splits; with --out a later run could go on" in run.warnings[0]


# What is refused, and --fail-under.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--splits", "2", "--live"), "without a call"),
        (("--splits", "2", "--ablate"), "--ablate and --splits are experiments of their own"),
        (("--splits", "2", "--sweep", "k=2"), "--sweep and --splits are experiments of their own"),
        (("--splits", "2", "--curve"), "--curve and --splits are experiments of their own"),
        (("--splits", "2", "--method", "moa"), "needs live calls"),
        (("--splits", "2", "--method", "nosuch"), "no method is called"),
        (("--splits", "2", "--fail-under", "50:nosuch"), "not among the methods"),
        (("--splits", "2", "--seed", "4294967295"), "beyond the largest seed"),
        (("--splits", "2", "--datasets", "nosuch"), "has no `nosuch`"),
    ],
)
def test_what_splits_cannot_do_is_refused(bank: Path, options: tuple[str, ...], words: str) -> None:
    assert words in says_one_error(jisi("eval", "--bank", bank, *options), 2)


@pytest.mark.parametrize("number", ["1", "0", "-3", "two"])
def test_fewer_than_two_splits_are_none(bank: Path, number: str) -> None:
    run = jisi("eval", bank, "--splits", number)
    assert run.exit_code == 2 and run.stdout == ""
    assert "--splits" in run.stderr


def test_the_library_refuses_fewer_than_two_splits(bank: Path) -> None:
    with pytest.raises(InputError, match="2 splits or more"):
        evaluate_splits(1, ["knn"], bank=bank)


def test_questions_from_a_file_leave_nothing_to_split(bank: Path, tmp_path: Path) -> None:
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": "How many?"}])
    run = jisi("eval", questions, "--bank", bank, "--splits", "2")
    assert "nothing else can be split" in says_one_error(run, 2)
    other = shutil.copytree(bank, tmp_path / "other")
    assert "nothing else can be split" in says_one_error(jisi("eval", other, "--bank", bank, "--splits", "2"), 2)


def test_test_rows_without_recorded_answers_are_refused(tmp_path: Path) -> None:
    lines = answers()
    for line in lines:
        line["split"] = "test" if line["index"] >= 14 else "train"
        if line["split"] == "test":
            line["records"] = dict.fromkeys(line["records"])
            del line["grader"]
    built = jisi(
        "bank", "build", write_lines(tmp_path / "a.jsonl", lines), "-o", tmp_path / "bank", "--embedder", "hashing:64"
    )
    assert built.exit_code == 0, built
    run = jisi("eval", tmp_path / "bank", "--splits", "2", "--method", "knn")
    assert "no recorded answers with a score" in says_one_error(run, 2)


@pytest.mark.slow
def test_fail_under_is_about_the_mean_over_splits(bank: Path) -> None:
    average = 100 * by_name(splits_of(bank, "--splits", "2", "--method", "knn"))["knn"]["averages"]["average"]
    options = ("eval", bank, "--splits", "2", "--method", "knn", "--fail-under")
    assert jisi(*options, f"{average}:knn").exit_code == 0
    assert jisi(*options, f"{average + 0.1}:knn").exit_code == 6


def test_a_calibrated_bank_is_said_to_flatter(bank: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bank, tmp_path / "bank")
    manifest = json.loads((copy / "bank.json").read_text(encoding="utf-8"))
    manifest["hyperparameters"] = {"n_base": 20}
    (copy / "bank.json").write_text(json.dumps(manifest), encoding="utf-8")
    run = jisi("eval", copy, "--splits", "2", "--method", "jisi-query")
    assert run.exit_code == 0 and "calibrated on rows that some splits test on" in run.warnings[0]
