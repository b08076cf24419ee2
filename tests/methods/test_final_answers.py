"""The final answers of a bank's train rows: read once, kept, and mapped to some rows and models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jisi_cli import paths
from jisi_cli.bank.bank import Bank
from jisi_cli.methods import final_answers
from jisi_cli.methods.final_answers import NO_ANSWER, NO_TEXT, BankAnswers, SomeAnswers, answer_code, final_answer
from tests.cli.evaluation_data import answers


def kept() -> list[Path]:
    folder = paths.cache_folder() / "trained"
    return sorted(folder.glob("answers-*")) if folder.exists() else []


def read_all(found: BankAnswers, bank: Bank) -> list[list[int]]:
    return [[found.code(row, model) for model in range(len(bank.models))] for row in range(len(bank.train_rows))]


def test_codes_are_those_of_the_recorded_responses(bank: Path) -> None:
    opened = Bank(bank)
    found = BankAnswers(opened, opened.models)
    lines = {(line["dataset"], str(line["index"])): line for line in answers()}
    for row, place in enumerate(opened.train_rows.tolist()):
        line = lines[opened.questions[place].key]
        for model, name in enumerate(opened.models):
            assert found.code(row, model) == answer_code(line["raw_output"][name], "numeric") > NO_ANSWER
        assert found.is_closed(row)


def test_what_was_read_is_kept_and_no_response_is_read_again(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Bank(bank)
    first = BankAnswers(opened, opened.models)
    codes = read_all(first, opened)
    assert kept() == []
    first.keep()
    assert len(kept()) == 3
    monkeypatch.setattr(Bank, "responses", lambda self, model: pytest.fail("a response was read again"))
    assert read_all(BankAnswers(Bank(bank), opened.models), opened) == codes


@pytest.mark.parametrize("damage", [b"", b"no array", None], ids=["empty", "something else", "another shape"])
def test_a_damaged_file_is_read_anew(bank: Path, damage: bytes | None) -> None:
    opened = Bank(bank)
    first = BankAnswers(opened, opened.models)
    codes = read_all(first, opened)
    first.keep()
    for path in kept():
        if damage is None:
            np.savez(path, codes=np.zeros((2, 2), dtype=np.int64))
        else:
            path.write_bytes(damage)
    assert read_all(BankAnswers(opened, opened.models), opened) == codes


def test_a_code_that_no_reading_gives_is_no_code(bank: Path) -> None:
    opened = Bank(bank)
    first = BankAnswers(opened, opened.models)
    codes = read_all(first, opened)
    first.keep()
    for path in kept():
        np.savez(path, codes=np.full(opened.rows, -5, dtype=np.int64))
    assert read_all(BankAnswers(opened, opened.models), opened) == codes


def test_some_rows_and_models_are_those_of_the_whole(bank: Path) -> None:
    opened = Bank(bank)
    whole = BankAnswers(opened, opened.models)
    some = SomeAnswers(SomeAnswers(whole, rows=np.array([5, 3, 8])), models=[2, 0])
    assert [[some.code(row, model) for model in (0, 1)] for row in range(3)] == [
        [whole.code(row, model) for model in (2, 0)] for row in (5, 3, 8)
    ]
    assert some.is_closed(1)
    identities = {whole.identity, some.identity, SomeAnswers(whole, rows=np.array([5, 3])).identity}
    identities |= {SomeAnswers(whole, models=[2, 0]).identity, SomeAnswers(whole, models=[0, 2]).identity}
    assert len(identities) == 5


def test_another_split_of_the_same_bank_finds_the_same_answers_on_its_own_rows(bank: Path) -> None:
    opened, other = Bank(bank), Bank(bank)
    first = BankAnswers(opened, opened.models)
    read_all(first, opened)
    first.keep()
    other.__dict__["train_rows"] = np.setdiff1d(np.arange(opened.rows), opened.train_rows[:12])
    second = BankAnswers(other, opened.models)
    lines = {(line["dataset"], str(line["index"])): line for line in answers()}
    for row, place in enumerate(other.train_rows.tolist()):
        text = lines[opened.questions[place].key]["raw_output"]["bob"]
        assert second.code(row, 1) == answer_code(text, "numeric")
    assert second.identity != first.identity


def test_what_another_version_of_the_reader_read_is_not_found_again(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Bank(bank)
    first = BankAnswers(opened, opened.models)
    codes = read_all(first, opened)
    first.keep()
    before, identity = kept(), first.identity
    monkeypatch.setattr(final_answers, "reader_hash", lambda: "another")
    monkeypatch.setattr(final_answers, "answer_code", lambda text, grader: NO_ANSWER)
    again = BankAnswers(opened, opened.models)
    assert read_all(again, opened) == [[NO_ANSWER] * 3] * len(codes)
    again.keep()
    assert len(kept()) == 6 and set(before) < set(kept())
    assert again.identity != identity


def test_other_models_and_other_responses_are_other_answers(bank: Path) -> None:
    opened = Bank(bank)
    assert BankAnswers(opened, ["ada"]).identity != BankAnswers(opened, ["bob"]).identity
    assert BankAnswers(opened, ["ada"]).identity == BankAnswers(Bank(bank), ["ada"]).identity


def test_codes_are_equal_where_final_answers_are() -> None:
    assert answer_code("The answer is 7.", None) == answer_code("So we get \\boxed{7.0}", None)
    assert answer_code("The answer is 7.", None) != answer_code("The answer is 8.", None)
    assert answer_code("How lovely!", None) == NO_ANSWER
    assert answer_code(None, None) == answer_code(" \n", None) == NO_TEXT
    assert answer_code("Surely (B).", "choice") == answer_code("B", "choice") != NO_ANSWER


def test_a_response_is_read_once_for_each_kind_of_question(monkeypatch: pytest.MonkeyPatch) -> None:
    from jisi_cli.grading import final_answer as grading

    text = "For once and for all: the answer is (B)."
    first = [final_answer(text, grader) for grader in (None, "choice", "numeric")]
    assert first == [grading.extract_any(text, grader) for grader in (None, "choice", "numeric")]
    monkeypatch.setattr(grading, "extract_any", lambda response, grader: pytest.fail("it was read again"))
    assert [final_answer(text, grader) for grader in (None, "choice", "numeric")] == first
