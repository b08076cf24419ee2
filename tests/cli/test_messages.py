"""Lines with `messages` in `ask --input`, `route --input`, `eval --live` and `bank build --call`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.evaluation.results import content_key
from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.record import Question
from tests.cli.commands import MODELS, Run, jisi, says_one_error, write_lines
from tests.loopback import Loopback

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How many ways are there to order four books on a shelf?"},
    {"role": "assistant", "content": "24"},
    {"role": "user", "content": "and for n = 5?"},
]
ROUTED = "How many ways are there to order four books on a shelf?\n\nand for n = 5?"
PICTURE = "data:image/png;base64,iVBORw0KGgo="
LINE = {"messages": TALK, "gt": "120", "grader": "numeric"}
SUM = {"query": "What is 3 plus 6?", "gt": "9", "grader": "numeric"}


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "talks.jsonl", [LINE, SUM])


@pytest.fixture
def options(small_bank: Path, pool: Path, loopback: Loopback) -> tuple[str | Path, ...]:
    for model in MODELS:
        loopback.script(model, text="The answer is 120.")
    return ("--bank", small_bank, "--config", pool)


def sent(loopback: Loopback) -> list[list[tuple[str, str]]]:
    """Return the messages of every request, each kind once."""
    found = {json.dumps(request.body["messages"]) for request in loopback.requests}
    talks = [[(message["role"], message["content"]) for message in json.loads(text)] for text in found]
    return sorted(talks, key=len)


WHOLE = [(message["role"], message["content"]) for message in TALK]
BARE = [("user", "What is 3 plus 6?")]


def read(*rows: dict[str, Any]) -> tuple[list[Question], list[ImportIssue]]:
    issues: list[ImportIssue] = []
    lines = [json.dumps(row).encode() for row in rows]
    return list(read_questions(lines, issues.append)), issues


def test_models_get_the_whole_conversation_and_it_is_routed_by_its_last_turn(
    talks: Path, options: tuple[str | Path, ...], loopback: Loopback
) -> None:
    run = jisi("ask", "--input", talks, "--mode", "route", *options)
    assert run.exit_code == 0, run
    assert sent(loopback) == [BARE, WHOLE]
    assert [json.loads(line)["query"] for line in run.stdout.splitlines()] == [ROUTED, "What is 3 plus 6?"]
    routed = jisi("route", "--input", talks, "--explain", *options)
    (talk, bare) = map(json.loads, routed.stdout.splitlines())
    assert (talk["query"], talk["turn"], "turn" in bare) == (ROUTED, "and for n = 5?", False)
    assert "is routed with the turn before it: 1 question\n" in routed.stderr
    says_one_error(jisi("route", "--input", talks, "--probe", *options), 2, "leave it out")


def test_answers_to_conversations_are_kept_apart_and_resumed(
    tmp_path: Path, options: tuple[str | Path, ...], loopback: Loopback
) -> None:
    out, talks = tmp_path / "out.jsonl", tmp_path / "t.jsonl"
    write_lines(talks, [LINE])
    arguments = ("ask", "--input", talks, "--out", out, "--mode", "route", *options)
    jisi(*arguments)
    asked = loopback.count()
    assert "1 earlier" in jisi(*arguments).stderr
    assert loopback.count() == asked
    write_lines(talks, [{**LINE, "messages": [{"role": "system", "content": "Be long."}, *TALK[1:]]}])
    assert "earlier" not in jisi(*arguments).stderr
    assert loopback.count() > asked


def test_eval_live_grades_the_answer_to_a_conversation(
    talks: Path, options: tuple[str | Path, ...], loopback: Loopback
) -> None:
    run = jisi("eval", talks, "--live", "--method", "jisi-router", "--json", *options)
    assert run.exit_code == 0, run
    (method,) = run.json["methods"]
    assert (method["scored"], method["averages"]["weighted"]) == (2, 0.5)
    assert sent(loopback) == [BARE, WHOLE]


def test_a_bank_keeps_the_words_that_a_conversation_is_routed_by(
    talks: Path, pool: Path, options: tuple[str | Path, ...], tmp_path: Path, loopback: Loopback
) -> None:
    def build(source: Path, *more: str) -> Run:
        options = ("--call", "-o", tmp_path / "bank", "--config", pool, "--embedder", "hashing:64")
        return jisi("bank", "build", source, *options, *more)

    bare = write_lines(tmp_path / "bare.jsonl", [{**SUM, "query": "and for n = 5?"}, SUM])
    whole, less = (build(source, "--dry-run", "--json").json["total"]["prompt_tokens"] for source in (talks, bare))
    assert whole > less
    run = build(talks)
    assert run.exit_code == 0, run
    bank = Bank(tmp_path / "bank")
    assert [question.query for question in bank.questions] == [ROUTED, "What is 3 plus 6?"]
    assert bank.answers("ada").scores.tolist() == [1.0, 0.0]
    assert sent(loopback) == [BARE, WHOLE]


def test_a_conversation_of_one_turn_is_a_question_like_any_other() -> None:
    (bare,), _ = read({"query": "What is 3 plus 6?"})
    (alone,), _ = read({"messages": [{"role": "user", "content": "What is 3 plus 6?"}]})
    assert alone == bare and alone.conversation is None


def test_keys_of_questions_without_messages_are_as_before() -> None:
    (bare,), _ = read({"query": "What is 3 plus 6?"})
    assert bare.said_before() == ()
    key = content_key(bare.dataset, bare.index, bare.query, *bare.said_before())
    assert key == content_key("questions", "1", "What is 3 plus 6?")


def test_messages_win_over_a_query_beside_them_and_may_be_json_in_a_cell() -> None:
    (beside,), _ = read({**LINE, "query": "another text"})
    (cell,), _ = read({**LINE, "messages": json.dumps(TALK)})
    assert beside.query == cell.query == ROUTED
    assert beside.messages() == cell.messages() == TALK


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "at least one message"),
        (TALK[:3], "must be the user's"),
        ("no json", "JSON"),
        ({"role": "user"}, "at least one message"),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": PICTURE}}],
                }
            ],
            "pictures and calls of tools",
        ),
    ],
)
def test_messages_that_cannot_be_used_are_skipped_in_words(messages: object, words: str) -> None:
    found, issues = read({"messages": messages})
    assert found == []
    assert words in str(issues[0])
