"""What failed, empty and unread answers count: in the arrays that decide, in every mean, in both readings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank, graded_questions
from jisi_cli.bank.inspect import inspect_bank
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.errors import BankError
from jisi_cli.formats.record import Record
from jisi_cli.formats.registry import read_records
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import Probes, coarse, fine
from tests.bank.making import build, failed, record
from tests.cli.commands import jisi
from tests.formats.reading import FIXTURES

FAILED_TOKENS = 7


def empty(answer: Record) -> Record:
    """The same call, paid for and without a word."""
    return replace(answer, response=" \n", score=None, status="unscored", completion_tokens=FAILED_TOKENS)


def unread(answer: Record) -> Record:
    return replace(answer, response="Who knows?", score=None, status="unscored")


def answers() -> list[Record]:
    """Six questions: ada knows them all; bob fails on 1, says nothing on 2, is unread on 3, was not asked 4."""
    found = [record(n, "ada", dataset="d", score=1.0) for n in range(6)]
    bob = [record(n, "bob/7b", dataset="d", score=1.0) for n in range(6)]
    return [*found, bob[0], failed(bob[1]), empty(bob[2]), unread(bob[3]), bob[5]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    build(tmp_path / "bank", answers())
    return tmp_path / "bank"


def test_a_failed_and_an_empty_answer_to_a_graded_question_score_0_in_the_arrays_that_decide(path: Path) -> None:
    arrays = Bank(path).arrays()
    assert arrays.model_names == ("ada", "bob/7b")
    assert arrays.present[:, 1].tolist() == [True, True, True, False, False, True]
    assert arrays.scores[:, 1].tolist() == [1, 0, 0, 0, 0, 1]
    assert arrays.mean_scores.tolist() == [1, 0.5]
    # There is no response to be like, and what was used for it says nothing about what an answer takes.
    assert np.isnan(arrays.completion_tokens[1:3, 1]).all()
    assert not np.asarray(arrays.response_vectors[1][np.array([1, 2])]).any()


def test_the_other_reading_leaves_them_out(path: Path) -> None:
    arrays = Bank(path, failed="unscored").arrays()
    assert arrays.present[:, 1].tolist() == [True, False, False, False, False, True]
    assert arrays.mean_scores.tolist() == [1, 1]


def test_in_stage_2_a_failed_answer_is_like_no_response_and_costs_like_none(path: Path) -> None:
    bank = Bank(path)
    arrays, settings = bank.arrays(), Hyperparameters(n_base=6, gamma=0.0)
    first = coarse(arrays, bank.query_vectors[0], settings)
    response = np.asarray(bank.response_vectors("bob/7b"))[0]
    second = fine(arrays, first, Probes((1,), response[np.newaxis], np.array([100.0])), settings)
    place = {row: at for at, row in enumerate(first.rows.tolist())}
    for row in (1, 2):
        assert second.response_similarities[place[row]] == second.cost_similarities[place[row]] == 0
    assert second.response_similarities[place[0]] == pytest.approx(1, abs=1e-5)


def test_a_bank_without_failed_answers_is_what_it_was_in_both_readings(tmp_path: Path) -> None:
    whole = [replace(answer, status="ok", score=answer.score or 0.0) for answer in answers()]
    build(tmp_path / "bank", whole)
    one, other = Bank(tmp_path / "bank").arrays(), Bank(tmp_path / "bank", failed="unscored").arrays()
    for name in ("scores", "present", "completion_tokens"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_a_score_that_was_recorded_for_an_empty_response_stays(tmp_path: Path) -> None:
    given = [record(0, "ada", dataset="d", response="", score=1.0), record(1, "ada", dataset="d", response=None)]
    build(tmp_path / "bank", [*given, replace(record(2, "ada", dataset="d"), response=None, score=0.5)])
    assert Bank(tmp_path / "bank").verdicts("ada").tolist()[::2] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("scored", "waiting", "referenced", "graded"),
    [
        ([1, 0], [0, 0], [0, 0], [1, 0]),  # somebody's answer has a score: graded, whatever is known of the reference
        ([1, 0], [0, 0], [0, 1], [1, 1]),  # all failed on a question with a reference
        ([1, 0], [0, 1], [0, 1], [1, 1]),  # one answer could not be read; the dataset was graded
        ([0, 0], [1, 0], [1, 1], [0, 0]),  # nothing was graded yet: a failed answer is not the only one that counts
        ([0, 0], [0, 0], [1, 1], [1, 1]),  # nothing was ever answered, so nothing waits to be graded
        ([0, 0], [0, 0], [0, 0], [0, 0]),
    ],
)
def test_a_question_is_graded_where_some_answer_is_or_its_reference_is_known(
    scored: list[int], waiting: list[int], referenced: list[int], graded: list[int]
) -> None:
    flags = [np.array(values, dtype=bool) for values in (scored, waiting, referenced)]
    assert graded_questions(*flags, np.zeros(2, dtype=np.intp)).tolist() == [bool(value) for value in graded]


def test_one_dataset_says_nothing_about_whether_another_is_graded() -> None:
    flags = [np.array(values, dtype=bool) for values in ([1, 0, 0], [0, 1, 0], [1, 1, 1])]
    assert graded_questions(*flags, np.array([0, 1, 1], dtype=np.intp)).tolist() == [True, False, False]


def test_no_question_is_no_obstacle() -> None:
    none = np.zeros(0, dtype=bool)
    assert graded_questions(none, none, none, np.zeros(0, dtype=np.intp)).tolist() == []


def test_inspection_counts_them_as_wrong_and_shows_unread_ones_beside(path: Path) -> None:
    found = inspect_bank(Bank(path), Hyperparameters())
    bob = next(model for model in found.models if model.model == "bob/7b")
    assert found.failed_answers == "wrong"
    assert (bob.average, bob.accuracy) == (0.5, {"d": 0.5})
    # Two right of the four that count, and of five where the unread one is wrong, too.
    assert bob.average_at_least == pytest.approx(2 / 5)
    assert (bob.answers, bob.counted_wrong, bob.unread, bob.missing, bob.failed, bob.empty) == (2, 2, 1, 1, 1, 1)
    other = inspect_bank(Bank(path, failed="unscored"), Hyperparameters())
    bob = next(model for model in other.models if model.model == "bob/7b")
    assert (bob.average, bob.counted_wrong, bob.unread) == (1.0, 0, 1)


def test_the_oracle_of_questions_that_everybody_failed_is_0(tmp_path: Path) -> None:
    build(tmp_path / "bank", [failed(record(0, dataset="d")), record(1, dataset="d", score=1.0)])
    assert inspect_bank(Bank(tmp_path / "bank"), Hyperparameters()).oracle == {"d": 0.5, "average": 0.5}


def test_the_table_of_inspect_says_what_counts(path: Path) -> None:
    run = jisi("bank", "inspect", path)
    header = next(line for line in run.stdout.splitlines() if line.startswith("model"))
    assert header.split("  ")[-1] and "no answer" in header and "unread wrong" in header
    bob = next(line for line in run.stdout.splitlines() if line.startswith("bob/7b"))
    assert bob.split()[:7] == ["bob/7b", "50.00", "50.00", "2", "2", "1", "40.00"]
    assert "failed or empty answers to graded questions; they count 0 (--failed unscored" in run.stderr
    run = jisi("bank", "inspect", path, "--failed", "unscored", "--json")
    assert run.json["failed_answers"] == "unscored"
    assert {model["model"]: model["average"] for model in run.json["models"]} == {"ada": 1.0, "bob/7b": 1.0}


def test_a_bank_keeps_the_reading_it_was_built_with_and_a_flag_wins_over_it(tmp_path: Path) -> None:
    lines = [
        {
            "dataset": "d",
            "index": str(n),
            "query": f"What is {n} plus {n}?",
            "gt": str(2 * n),
            "records": {"ada": 1.0} if n else {},
            "raw_output": {"ada": str(2 * n) if n else None},
            "errors": {} if n else {"ada": "HTTP 503"},
        }
        for n in range(4)
    ]
    source = tmp_path / "answers.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    usual, other = tmp_path / "usual", tmp_path / "other"
    assert jisi("bank", "build", source, "-o", usual, "--embedder", "hashing").exit_code == 0
    assert "failed" not in json.loads((usual / "bank.json").read_text())
    run = jisi("bank", "build", source, "-o", other, "--embedder", "hashing", "--failed", "unscored")
    assert run.exit_code == 0
    assert read_manifest(other).failed == "unscored"

    def average(*words: str | Path) -> float:
        return float(jisi("bank", "inspect", *words, "--json").json["models"][0]["average"])

    assert average(usual) == average(other, "--failed", "wrong") == 0.75
    assert average(other) == average(usual, "--failed", "unscored") == 1.0
    again = jisi("bank", "build", source, "-o", other, "--append")
    assert again.exit_code == 0 and read_manifest(other).failed == "unscored"


def test_another_word_for_it_is_refused_in_one_line(path: Path) -> None:
    run = jisi("bank", "inspect", path, "--failed", "zero")
    assert run.exit_code == 2
    assert "--failed is wrong (they count 0) or unscored (they do not count), not 'zero'" in run.stderr
    document = json.loads((path / "bank.json").read_text())
    (path / "bank.json").write_text(json.dumps({**document, "failed": "zero"}))
    with pytest.raises(BankError, match="`failed` must be one of wrong, unscored"):
        Bank(path)


def test_means_are_the_performance_that_llmrouterbench_wrote_into_its_files(tmp_path: Path) -> None:
    bench = FIXTURES / "llmrouterbench" / "results" / "bench"
    build(tmp_path / "bank", read_records(bench, "llmrouterbench", on_issue=lambda problem: None))
    found = {model.model: model.accuracy for model in inspect_bank(Bank(tmp_path / "bank"), Hyperparameters()).models}
    latest = {
        ("ada-7b-20240101", "sums"): "sums/test/ada-7b-20240101/sums-test-ada-7b-20240101-20260102_090000.json",
        ("bob", "sums"): "sums/test/bob/sums-test-bob-20260101_120500.json",
        ("bob", "letters/hard"): "letters/hard/bob/letters-hard-bob-20260101_130000.json",
        ("bob", "letters/test"): "letters/test/bob/letters-test-bob-20260101_140000.json",
    }
    for (model, dataset), file in latest.items():
        assert found[model][dataset] == json.loads((bench / file).read_text())["performance"]


def test_zeroevals_accuracy_counts_an_empty_output_as_wrong(tmp_path: Path) -> None:
    results = FIXTURES / "zeroeval" / "result_dirs" / "gsm"
    bank = tmp_path / "bank"
    build(bank, read_records(results, "zeroeval", on_issue=lambda problem: None))
    before = inspect_bank(Bank(bank), Hyperparameters()).models[0]
    assert (before.average, before.counted_wrong) == (None, 0)
    assert jisi("bank", "grade", bank).exit_code == 0
    after = inspect_bank(Bank(bank), Hyperparameters()).models[0]
    # One right, one without a word; the third has no output at all, as where a model was not asked.
    assert (after.accuracy, after.counted_wrong, after.missing) == ({"gsm": 0.5}, 1, 1)
