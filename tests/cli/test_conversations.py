"""`jisi ask -c`: a conversation goes on, from one command to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jisi_cli.history.table import table_path
from tests.cli.commands import Run, jisi, says_one_error
from tests.loopback import Loopback

FIRST = "What is 3 plus 6, and why is it that much?"


@pytest.fixture
def ask(small_bank: Path, pool: Path) -> Any:
    def run(*arguments: str) -> Run:
        return jisi("ask", *arguments, "--mode", "route", "--bank", small_bank, "--config", pool)

    return run


def sent(loopback: Loopback) -> list[tuple[str, str]]:
    """Return the messages of the last request."""
    return [(message["role"], message["content"]) for message in loopback.requests[-1].body["messages"]]


def test_the_last_conversation_goes_on(ask: Any, loopback: Loopback) -> None:
    first = ask(FIRST, "--system", "Be brief.", "--json").json
    second = ask("and plus one?", "-c", "--json").json
    assert sent(loopback) == [
        ("system", "Be brief."),
        ("user", FIRST),
        ("assistant", first["answer"]),
        ("user", "and plus one?"),
    ]
    assert second["conversation"] == first["conversation"]
    ask("Another thing entirely?")
    ask("and plus two?", "--conversation", first["conversation"])
    assert [said for _, said in sent(loopback)][1::2] == [FIRST, "and plus one?", "and plus two?"]


def test_without_store_nothing_is_kept_but_what_was_said_is_still_sent(ask: Any, loopback: Loopback) -> None:
    first = ask(FIRST, "--json").json
    before = table_path("conversations").read_bytes()
    assert ask("and plus one?", "-c", "--no-store", "--json").json["conversation"] is None
    assert len(sent(loopback)) == 3
    ask("and plus two?", "-c")
    assert [said for _, said in sent(loopback)] == [FIRST, first["answer"], "and plus two?"]
    assert b"plus one" not in before + table_path("conversations").read_bytes()


def test_a_question_that_no_model_answered_is_not_part_of_it(ask: Any, loopback: Loopback) -> None:
    ask(FIRST)
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text="")
    assert ask("and plus one?", "-c").exit_code == 4
    for model in ("ada", "bob", "cyd", "dee"):
        loopback.script(model, text="yes")
    ask("and plus two?", "-c")
    assert "and plus one?" not in [said for _, said in sent(loopback)]


def test_what_cannot_go_on_is_refused_before_a_model_is_called(ask: Any, loopback: Loopback) -> None:
    says_one_error(ask("and?", "-c"), 2, "there is no conversation to continue")
    says_one_error(
        ask("and?", "--conversation", "nowhere"), 2, "there is no conversation 'nowhere'", "jisi chat --list"
    )
    says_one_error(ask("and?", "-c", "--conversation", "nowhere"), 2, "give one of them")
    says_one_error(ask("-c", "--input", "sample_data/questions.jsonl"), 2, "--continue is about one question")
    assert loopback.requests == []


def test_an_answer_is_given_where_it_cannot_be_kept(ask: Any) -> None:
    path = table_path("conversations")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    run = ask(FIRST)
    assert (run.exit_code, run.stdout) == (0, "ada says so\n")
    assert any("this turn is not kept" in line for line in run.warnings)
    says_one_error(ask(FIRST, "-c"), 2, str(path), "move it away")


def test_explain_says_when_a_short_turn_is_routed_with_the_one_before(ask: Any) -> None:
    first = ask(FIRST, "--explain")
    assert "is routed with the turn before it" not in first.stderr
    assert (
        f"is routed with the turn before it: {FIRST} and plus one?\n" in ask("and plus one?", "-c", "--explain").stderr
    )
    assert ask("and plus two?", "-c", "--json").json["routed_by"] == "and plus one?\n\nand plus two?"
    long = "And what would it be with four instead of six?"
    assert ask(long, "-c", "--json").json["routed_by"] == long
