"""Labelling from Python: which questions, several people at a time, scores, and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import jisi_cli as jisi
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.manifest import Label, read_manifest
from jisi_cli.collect.labelling import LabelConflictError, Labelling
from jisi_cli.errors import InputError
from jisi_cli.methods.context import BankRows
from tests.bank.test_labels import keyless

FOUR = [f"The answer is {number}." for number in (1, 2, 3, 4)]
DOUBTED = [FOUR[0], FOUR[0], FOUR[1], FOUR[2]]
AGREED = ["The answer is 7."] * 4
ONE, TWO = ("sums", "1"), ("sums", "2")


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Three questions of which the second splits the models most, then the third, and nobody doubts the first."""
    return keyless(tmp_path / "bank", [AGREED, FOUR, DOUBTED], dataset="sums").path


def scores(bank: Path) -> list[list[float | None]]:
    opened = Bank(bank)
    columns = [opened.answers(model).scores.tolist() for model in opened.models]
    return [[None if np.isnan(score) else score for score in row] for row in zip(*columns, strict=True)]


def said(bank: Path) -> list[Label]:
    return list(read_manifest(bank).labels)


def test_it_is_public_and_asks_what_the_command_asks(bank: Path) -> None:
    labelling = jisi.Labelling(str(bank))
    first, second = labelling.questions(2)
    assert (first.key, first.query) == (ONE, Bank(bank).questions[1].query)
    assert [(group.answer, group.models) for group in second.answers] == [("1", 2), ("2", 1), ("3", 1)]
    assert (first.unread, len(labelling.questions())) == (0, 3)


def test_labels_are_kept_at_once_and_scores_when_they_are_asked_for(bank: Path) -> None:
    labelling = Labelling(bank)
    assert labelling.label(ONE, "3") is True
    assert labelling.label(TWO, None) is False
    assert said(bank) == [Label(*ONE, "3"), Label(*TWO)] and scores(bank)[1] == [None] * 4
    assert [question.key for question in labelling.questions()] == [("sums", "0")]
    scored = labelling.score()
    assert (scored.labels, scored.skipped, scored.left, scored.changed) == (2, 0, 1, 12)
    assert scores(bank) == [[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    labelling.keep(ONE, None)
    assert labelling.score().labels == 1 and scores(bank)[1] == [None] * 4


def test_an_answer_that_no_model_gave_is_told_and_one_that_is_none_is_refused(bank: Path) -> None:
    labelling = Labelling(bank)
    assert labelling.label(ONE, "12") is False
    for wrong in ("", " \x1b[0m", "I believe that it is " + "the second of these " * 9, "9" * 20_001):
        with pytest.raises(InputError, match="cannot be compared"):
            labelling.label(ONE, wrong)
    with pytest.raises(InputError, match="no question `9` of `sums` that no grader has scored"):
        labelling.label(("sums", "9"), "1")
    assert said(bank) == [Label(*ONE, "12")]


def test_of_two_people_the_later_is_told_and_changes_nothing_unless_they_say_so(bank: Path) -> None:
    one, other = Labelling(bank), Labelling(bank)
    one.label(ONE, "3")
    with pytest.raises(LabelConflictError, match="said meanwhile that 3 is right on question `1` of `sums`") as found:
        other.label(ONE, "4")
    assert found.value.label == Label(*ONE, "3") and said(bank) == [Label(*ONE, "3")]
    other.label(ONE, "4")  # now they know what the other one said
    assert said(bank) == [Label(*ONE, "4")]
    one.label(ONE, "2", replace=True)
    assert said(bank) == [Label(*ONE, "2")]


def test_a_skip_takes_no_label_away(bank: Path) -> None:
    one, other = Labelling(bank), Labelling(bank)
    one.label(TWO, "1")
    with pytest.raises(LabelConflictError):
        other.keep(TWO, Label(*TWO, skipped=True))
    assert said(bank) == [Label(*TWO, "1")]


def test_the_same_label_a_skip_or_another_question_is_no_conflict(bank: Path) -> None:
    one, other = Labelling(bank), Labelling(bank)
    one.label(ONE, "3")
    other.label(ONE, "3")
    one.keep(TWO, Label(*TWO, skipped=True))
    other.label(TWO, "1")
    assert said(bank) == [Label(*ONE, "3"), Label(*TWO, "1")]
    assert set(other.labels) == {ONE, TWO} and set(one.labels) == {ONE}


def test_what_is_exported_and_filled_in_is_taken_in_and_what_it_replaces_is_named(bank: Path, tmp_path: Path) -> None:
    labelling, file = Labelling(bank), tmp_path / "labels.jsonl"
    assert labelling.export(file, 2) == 2
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["label"], lines[1]["label"] = "4", 12345
    file.write_text("\n".join(map(json.dumps, lines)))
    Labelling(bank).label(ONE, "1")
    found = labelling.take_in(file)
    assert (found.labels, found.graded, found.unmatched, found.replaced) == (2, 0, 1, (Label(*ONE, "1"),))
    assert said(bank) == [Label(*ONE, "4"), Label(*TWO, "12345")]
    assert labelling.take_in(file).replaced == ()


def test_nothing_to_label_makes_no_file(bank: Path, tmp_path: Path) -> None:
    empty = keyless(tmp_path / "unread", [["It was done once.", "They say that it was twice."]]).path
    assert Labelling(empty).export(tmp_path / "none.jsonl") == 0
    assert not (tmp_path / "none.jsonl").exists()


def test_colours_in_answers_are_no_answers(tmp_path: Path) -> None:
    answers = [
        "\x1b[31mParis\x1b[0m",
        "The answer is \x1b[1mParis\x1b[0m.",
        "\x9b1mThe answer is paris",
        "\x1b[31m4\x1b[0m",
    ]
    labelling = Labelling(keyless(tmp_path / "bank", [answers]).path)
    (question,) = labelling.questions()
    assert [(group.answer, group.models) for group in question.answers] == [("paris", 3), ("4", 1)]
    assert question.unread == 0


def test_labels_beside_agreement_teach_the_cascade_nothing_and_a_whole_key_of_them_does(bank: Path) -> None:
    def left_out() -> list[bool] | None:
        opened = Bank(bank)
        found = BankRows(opened, opened.models, {}).unrepresentative
        return None if found is None else found.tolist()

    labelling = Labelling(bank)
    assert left_out() is None
    labelling.label(ONE, "3")
    labelling.score()
    assert left_out() == [True, True, True]  # agreement has scored the two others
    for question in labelling.questions():
        labelling.label(question.key, "7")
    labelling.score()
    assert left_out() is None
