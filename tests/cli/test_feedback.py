"""`jisi feedback` and `jisi bank build --feedback`: from what a person says of an answer to rows of a bank."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import jisi_cli
from jisi_cli.bank.bank import Bank
from jisi_cli.history.table import table_path
from tests.cli.commands import Run, jisi, pool_file, says_one_error, write_lines
from tests.loopback import Loopback

QUESTION = "What is 3 plus 6, and why is it that much?"


@pytest.fixture
def bank(small_bank: Path, tmp_path: Path) -> Path:
    """A bank of twelve questions that may be changed."""
    return Path(shutil.copytree(small_bank, tmp_path / "bank"))


@pytest.fixture
def ask(bank: Path, pool: Path, loopback: Loopback) -> Any:
    for model, text in (("ada", "The answer is 9."), ("bob", "It is \\boxed{9}."), ("cyd", "The answer is 10.")):
        loopback.script(model, text=text)

    def run(*arguments: str) -> Run:
        return jisi("ask", *arguments, "--bank", bank, "--config", pool)

    return run


def build(bank: Path, *more: str) -> Run:
    return jisi("bank", "build", "--append", "--feedback", "-o", bank, *more)


def rated(bank: Path) -> dict[str, float]:
    """Return the scores of the bank's last row."""
    opened = Bank(bank)
    found = {model: opened.answers(model) for model in opened.models}
    return {model: columns.scores[-1] for model, columns in found.items() if columns.present[-1]}


def test_what_is_said_of_an_answer_becomes_a_row_with_gaps(ask: Any, bank: Path) -> None:
    asked = ask(QUESTION, "--mode", "route", "--json").json
    said = jisi("feedback", "last", "0.7", "--note", "too long", "--json")
    assert said.json == {"id": asked["id"], "score": 0.7, "reference": None, "waiting": 1}
    assert "bank build --append --feedback" in said.stderr
    built = build(bank, "--json")
    assert (built.json["questions_added"], built.json["answers_added"]) == (1, {"ada": 1})
    row = Bank(bank).questions[-1]
    assert (row.dataset, row.index, row.query, row.split) == ("feedback", asked["id"], QUESTION, "train")
    assert rated(bank) == {"ada": 0.7}
    inspected = jisi("bank", "inspect", bank, "--json").json
    assert (inspected["feedback"], inspected["score_source"]["feedback"]) == (1, 1 / 49)
    assert "1 question from feedback" in jisi("bank", "inspect", bank).stdout
    says_one_error(build(bank), 2, "no feedback is waiting")


def test_the_questions_of_a_file_have_ids_and_the_last_answer_stays_a_persons(ask: Any, tmp_path: Path) -> None:
    mine = ask(QUESTION, "--json").json["id"]
    questions = write_lines(tmp_path / "questions.jsonl", [{"query": f"What is {n} plus 6?"} for n in range(3)])
    lines = [json.loads(line) for line in ask("--input", questions).stdout.splitlines()]
    assert len({line["id"] for line in lines} | {mine}) == 4
    assert jisi("feedback", lines[1]["id"], "good", "--json").json["id"] == lines[1]["id"]
    assert jisi("feedback", "last", "bad", "--json").json["id"] == mine
    (kept,) = (json.loads(line)["id"] for line in ask("--input", questions, "--no-store").stdout.splitlines()[:1])
    assert kept is None


def test_a_program_remembers_the_answers_that_it_wants_to(bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="9")
    with jisi_cli.open(bank, pool, mode="route") as opened:
        outcome = opened.ask(QUESTION)
        says_one_error(jisi("feedback", "last", "good"), 2, "no answer is remembered")
        name = opened.remember(QUESTION, outcome)
        assert jisi("feedback", "last", "good", "--json").json["id"] == name
        assert opened.remember([{"role": "user", "content": QUESTION}], outcome, is_last=False) not in (None, name)
        assert jisi("feedback", "last", "good", "--json").json["id"] == name
    with jisi_cli.open(bank, pool, mode="route", store=False) as opened:
        assert opened.remember(QUESTION, opened.ask(QUESTION)) is None


def test_the_votes_of_a_consensus_and_an_aggregators_own_words(ask: Any, bank: Path, loopback: Loopback) -> None:
    ask(QUESTION, "--switch", "consensus", "--u", "0.5", "--no-store")
    says_one_error(jisi("feedback", "last", "good"), 2, "no answer is remembered")
    ask(QUESTION, "--switch", "consensus", "--u", "0.5")
    jisi("feedback", "last", "good")
    build(bank)
    assert rated(bank) == {"ada": 1.0, "bob": 1.0}
    ask("Another question: what is 3 plus 6, please?", "--mode", "aggregate")
    jisi("feedback", "last", "bad")
    build(bank)
    assert rated(bank) == {"ada": 0.0}


def test_a_reference_has_the_answers_of_all_models_graded(ask: Any, bank: Path) -> None:
    asked = ask(QUESTION, "--mode", "aggregate", "--json").json
    assert jisi("feedback", asked["id"], "--reference", "9").exit_code == 0
    build(bank)
    assert rated(bank) == {"ada": 1.0, "bob": 1.0, "cyd": 0.0}
    question = Bank(bank).questions[-1]
    assert (question.reference, question.grader) == ("9", "numeric")
    assert jisi("bank", "inspect", bank, "--json").json["feedback"] == 0


def test_a_short_turn_is_kept_with_the_question_before_it(ask: Any, bank: Path, pool: Path) -> None:
    jisi("chat", "--mode", "route", "--bank", bank, "--config", pool, stdin=f"{QUESTION}\nand plus one?\n")
    jisi("feedback", "last", "good")
    build(bank)
    assert Bank(bank).questions[-1].query == f"{QUESTION}\n\nand plus one?"


def test_a_build_that_is_run_again_adds_nothing_twice(ask: Any, bank: Path) -> None:
    ask(QUESTION, "--mode", "route")
    jisi("feedback", "last", "good")
    inbox = table_path("feedback").read_bytes(), table_path("feedback").with_name("feedback.sqlite-wal")
    before = inbox[1].read_bytes() if inbox[1].exists() else None
    build(bank)
    table_path("feedback").write_bytes(inbox[0])  # as after a kill between the bank and the inbox
    if before is not None:
        inbox[1].write_bytes(before)
    again = build(bank, "--json").json
    assert (again["questions_added"], again["answers_known"]) == (0, 1)
    assert Bank(bank).rows == 13


def test_the_last_word_counts_after_the_bank_took_the_first(ask: Any, bank: Path) -> None:
    asked = ask(QUESTION, "--mode", "route", "--json").json
    jisi("feedback", "last", "good")
    build(bank)
    jisi("feedback", asked["id"], "0.25")
    build(bank)
    assert rated(bank) == {"ada": 0.25}
    assert jisi("bank", "inspect", bank, "--json").json["feedback"] == 1


def test_models_that_the_bank_lacks_wait(bank: Path, tmp_path: Path, loopback: Loopback) -> None:
    for model in ("zoe", "yan"):
        loopback.script(model, text=f"{model} says so")
    other = pool_file(tmp_path / "other.toml", loopback, ["zoe", "yan"])
    assert jisi("ask", QUESTION, "--config", other, "--k", "1").exit_code == 0
    jisi("feedback", "last", "good")
    says_one_error(build(bank), 2, "1 are about models", str(bank))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("last",), "give either a score"),
        (("last", "good", "--reference", "9"), "give either a score"),
        (("last", "fine"), "good, bad, or a number from 0 to 1"),
        (("last", "1.5"), "good, bad, or a number from 0 to 1"),
        (("last", "--reference", " "), "--reference is empty"),
        (("nowhere", "good"), "no answer 'nowhere' is remembered"),
    ],
)
def test_what_says_nothing_is_refused(arguments: tuple[str, ...], words: str) -> None:
    says_one_error(jisi("feedback", *arguments), 2, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--feedback",), "add --append"),
        (("--feedback", "--append", "sample_data/answers.jsonl"), "leave out SOURCE"),
        (("--feedback", "--append", "--call"), "leave out --call"),
        (("--feedback", "--append", "--split", "0.5"), "leave out --split"),
        (("--feedback", "--append", "--grader", "exact"), "--grader"),
    ],
)
def test_feedback_is_taken_in_alone(bank: Path, arguments: tuple[str, ...], words: str) -> None:
    says_one_error(jisi("bank", "build", "-o", bank, *arguments), 2, words)


def test_agreement_and_labels_leave_rows_of_feedback_alone(ask: Any, bank: Path) -> None:
    ask(QUESTION, "--mode", "route")
    jisi("feedback", "last", "bad")
    build(bank)
    run = jisi("bank", "grade", bank, "--grader", "agreement")
    assert run.exit_code == 0, run
    assert rated(bank) == {"ada": 0.0}


def test_a_damaged_inbox_is_one_line(bank: Path) -> None:
    path = table_path("feedback")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    says_one_error(build(bank), 2, str(path), "move it away")
