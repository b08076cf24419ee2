"""Feedback: of whom an answer's score speaks, what is remembered, and what a bank takes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest

from jisi_cli.errors import InputError
from jisi_cli.history.answers import Answers, read_said
from jisi_cli.history.feedback import Inbox, read_score
from jisi_cli.history.table import table_path
from jisi_cli.history.to_bank import grader_for, take
from jisi_cli.methods.protocol import Mode, Outcome
from jisi_cli.types import Answer, Role

MODELS = ("ada", "bob", "cyd")


def call(model: str, text: str, role: Role = "probe") -> Answer:
    return Answer(model, text=text, role=role, prompt_tokens=5, completion_tokens=3, list_cost_usd=1e-5)


CALLS = [call("ada", "The answer is 9."), call("bob", "The answer is 9."), call("cyd", "The answer is 10.")]


def outcome(mode: Mode, answer: Answer, calls: Sequence[Answer] = CALLS) -> Outcome:
    return Outcome(answer, mode, "because", tuple(calls))


def remembered(found: Outcome, name: str = "one", run: str | None = "run") -> Answers:
    answers = Answers()
    answers.add(name, "What is 3 plus 6?", found, run)
    return answers


def scores(score: float | None, reference: str | None = None, models: Sequence[str] = MODELS) -> dict[str, object]:
    """Return what a bank takes of what is said of the last answer: scores by model."""
    inbox = Inbox()
    inbox.add(Answers(), "last", score, reference=reference)
    taken = asyncio.run(take(inbox.waiting(), models))
    return {record.model: record.score for record in taken.records}


def test_a_routed_answer_scores_its_model_alone() -> None:
    remembered(outcome("route", CALLS[0]))
    assert scores(1.0) == {"ada": 1.0}


def test_a_consensus_scores_all_that_agree() -> None:
    remembered(outcome("consensus", CALLS[0]))
    assert scores(0.0) == {"ada": 0.0, "bob": 0.0}


def test_an_aggregation_scores_the_aggregator_for_what_it_wrote() -> None:
    written = call("ada", "Both say 9, so 9.", "aggregator")
    remembered(outcome("aggregate", written, [*CALLS, written]))
    inbox = Inbox()
    inbox.add(Answers(), "last", 0.7)
    (record,) = asyncio.run(take(inbox.waiting(), MODELS)).records
    assert (record.model, record.response, record.score, record.score_source) == (
        "ada",
        "Both say 9, so 9.",
        0.7,
        "feedback",
    )
    assert (record.query, record.split, record.completion_tokens, record.cost_usd) == (
        "What is 3 plus 6?",
        "train",
        3,
        1e-5,
    )


def test_a_reference_grades_what_every_model_said_itself() -> None:
    written = call("ada", "Both say 9, so 9.", "aggregator")
    remembered(outcome("aggregate", written, [*CALLS, written]))
    assert scores(None, "9") == {"ada": 1.0, "bob": 1.0, "cyd": 0.0}
    assert [grader_for(text) for text in ("1,024", "-3.5", "(B)", "Paris")] == ["numeric", "numeric", "choice", "exact"]


def test_models_that_the_bank_lacks_are_left_out() -> None:
    remembered(outcome("route", CALLS[0]))
    inbox = Inbox()
    inbox.add(Answers(), "one", 1.0)
    taken = asyncio.run(take(inbox.waiting(), ["bob"]))
    assert (taken.pieces, taken.left, taken.records) == ([], 1, [])


def test_the_last_word_on_an_answer_counts_and_what_is_taken_goes() -> None:
    answers, inbox = remembered(outcome("route", CALLS[0])), Inbox()
    inbox.add(answers, "one", 1.0)
    inbox.add(answers, "run", 0.0)
    waiting = inbox.waiting()
    assert [(piece.name, piece.score) for piece in waiting] == [("one", 0.0)]
    inbox.add(answers, "last", 0.5)
    inbox.remove(waiting)
    assert [(piece.name, piece.score) for piece in inbox.waiting()] == [("one", 0.5)]


def test_the_last_answer_is_never_one_of_a_server() -> None:
    remembered(outcome("route", CALLS[0]))
    answers = remembered(outcome("route", CALLS[1]), "chatcmpl-1", None)
    assert answers.find("last")[0] == "one"
    assert answers.find("chatcmpl-1")[0] == "chatcmpl-1"
    with pytest.raises(InputError, match="no answer 'nowhere' is remembered"):
        answers.find("nowhere")


def test_an_answer_without_words_and_one_to_a_picture_alone_are_not_remembered() -> None:
    answers = remembered(outcome("route", call("ada", " ")))
    answers.add("two", "", outcome("route", CALLS[0]), "run")
    with pytest.raises(InputError, match="no answer is remembered"):
        answers.find("last")


@pytest.mark.parametrize(("given", "score"), [("good", 1), ("BAD", 0), ("0.7", 0.7), (1, 1), (0.25, 0.25)])
def test_scores_are_words_or_numbers(given: object, score: float) -> None:
    assert read_score(given) == score


@pytest.mark.parametrize("given", ["fine", "", "nan", float("nan"), "1.5", -0.1, True, None, [1], 10**400])
def test_anything_else_is_no_score(given: object) -> None:
    with pytest.raises(InputError, match="good, bad, or a number"):
        read_score(given)


def test_half_a_character_in_a_note_does_no_harm() -> None:
    Inbox().add(remembered(outcome("route", call("ada", "half \ud800"))), "last", 1.0, note="half \ud800")
    assert Inbox().waiting()[0].said.responses[0].model == "ada"


@pytest.mark.parametrize(
    "said",
    [
        "no json",
        "{}",
        json.dumps({"query": "q", "responses": []}),
        json.dumps({"query": "q", "responses": [{"model": "ada", "text": "t", "is_answer": "yes"}]}),
        json.dumps({"query": "q", "responses": [{"model": "ada", "text": "t", "is_answer": True, "cost_usd": -1}]}),
        json.dumps({"query": "q", "responses": [{"model": "ada", "text": "t", "is_answer": True, "path": "/"}]}),
    ],
)
def test_a_damaged_answer_is_said_in_one_line(said: str) -> None:
    inbox = Inbox()
    inbox.add(remembered(outcome("route", CALLS[0])), "one", 1.0)
    with closing(sqlite3.connect(table_path("feedback"))) as rows, rows:
        rows.execute("UPDATE feedback SET said = ?", (said,))
    assert read_said(said) is None
    with pytest.raises(InputError, match="move it away"):
        inbox.waiting()
