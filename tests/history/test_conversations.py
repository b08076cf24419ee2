"""Conversations that are kept: turns in their order, what others add, bounds, privacy and damage."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jisi_cli.conversation import as_conversation
from jisi_cli.errors import InputError
from jisi_cli.history import table
from jisi_cli.history.conversations import Talk, kept_conversations, past_questions
from jisi_cli.history.table import Table, table_path

ROOT = Path(__file__).parents[2]


def said(talk: Talk) -> list[str]:
    return [message["content"] for message in talk.messages("and now?")]


def test_a_conversation_goes_on_where_it_was() -> None:
    first = Talk()
    first.add("What is 3 plus 6?", "9")
    Talk().add("Of another one?", "yes")
    assert said(Talk(first.name)) == ["What is 3 plus 6?", "9", "and now?"]
    assert said(Talk(goes_on=True)) == ["Of another one?", "yes", "and now?"]
    first.add("times two?", "18")
    assert said(Talk(goes_on=True))[:-1] == ["What is 3 plus 6?", "9", "times two?", "18"]


def test_the_last_system_message_holds_from_then_on() -> None:
    talk = Talk()
    talk.add("one?", "1", "Be brief.")
    assert as_conversation(Talk(talk.name).messages("two?")).system == "Be brief."
    assert as_conversation(talk.messages("two?", "Be long.")).system == "Be long."
    talk.add("two?", "2", "Be long.")
    assert as_conversation(Talk(talk.name).messages("three?")).system == "Be long."


def test_what_two_write_at_the_same_time_is_all_there() -> None:
    mine = Talk()
    mine.add("first?", "1")
    theirs = Talk(mine.name)
    asked = mine.messages("mine?"), theirs.messages("theirs?")
    assert [len(messages) for messages in asked] == [3, 3]
    theirs.add("theirs?", "3")
    mine.add("mine?", "2")
    assert said(mine) == said(theirs) == ["first?", "1", "theirs?", "3", "mine?", "2", "and now?"]


def test_a_turn_that_cannot_be_written_is_still_said_and_written_with_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = Talk()
    talk.add("first?", "1")
    with monkeypatch.context() as full:
        full.setattr(Table, "add", _refuse)
        for question, answer, system in (("second?", "2", "Be brief."), ("third?", "3", None)):
            with pytest.raises(InputError, match="make room"):
                talk.add(question, answer, system)
        assert said(talk)[1:] == ["first?", "1", "second?", "2", "third?", "3", "and now?"]
        assert as_conversation(talk.messages("and now?")).system == "Be brief."
    talk.add("fourth?", "4")
    kept = said(Talk(talk.name))
    assert kept == said(talk) and kept[-3:] == ["fourth?", "4", "and now?"] and len(kept) == 10


def _refuse(table: Table, row: object) -> None:
    raise InputError(f"{table.path} cannot be written (disk full); make room, or move it away")


def test_parts_of_a_question_are_kept_as_they_are() -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    talk = Talk()
    talk.add(parts, "A dot.")
    assert Talk(talk.name).messages("why?")[0]["content"] == parts
    assert kept_conversations(5)[0]["question"] == "Look:"


def test_without_store_nothing_is_written_and_the_conversation_goes_on_in_memory() -> None:
    talk = Talk(store=False)
    talk.add("one?", "1", "Be brief.")
    assert [message["content"] for message in talk.messages("two?")] == ["Be brief.", "one?", "1", "two?"]
    assert not table_path("conversations").parent.exists()


def test_what_is_kept_is_its_owners_alone() -> None:
    Talk().add("one?", "1")
    path = table_path("conversations")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_conversations_written_longest_ago_are_deleted_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jisi_cli.history.conversations.MOST", 3)
    monkeypatch.setattr(table, "_OFTEN", 1)
    talks = [Talk() for _ in range(4)]
    for turn in range(2):
        for talk in talks[:3]:
            talk.add(f"turn {turn}?", "yes")
    talks[3].add("the fourth?", "yes")
    assert [found["turns"] for found in kept_conversations(10)] == [1, 2, 2]
    with pytest.raises(InputError, match="there is no conversation"):
        Talk(talks[0].name)


def test_bytes_are_bounded_but_the_conversation_under_way_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_OFTEN", 1)
    monkeypatch.setattr(table, "_ALL", 1000)
    old, new = Talk(), Talk()
    old.add("x" * 500, "yes")
    for _ in range(3):
        new.add("x" * 500, "yes")
    assert [found["turns"] for found in kept_conversations(10)] == [3]
    with pytest.raises(InputError, match="cannot be remembered"):
        new.add("x" * (17 << 20), "yes")


def test_past_questions_are_single_lines_the_latest_last() -> None:
    talk = Talk()
    for question in ("one?", "two\nlines?", "three?"):
        talk.add(question, "yes")
    assert past_questions(10) == ["one?", "three?"]


@pytest.mark.parametrize("messages", ["no json", "[1]", json.dumps({"role": "user"}), "[" * 50_000], ids=len)
def test_a_damaged_turn_is_said_in_one_line(messages: str) -> None:
    talk = Talk()
    talk.add("one?", "1")
    with closing(sqlite3.connect(table_path("conversations"))) as rows, rows:
        rows.execute("UPDATE conversations SET messages = ?", (messages,))
    with pytest.raises(InputError, match=r"cannot be read as conversations .* move it away"):
        talk.messages("two?")


def test_a_damaged_file_is_said_in_one_line(tmp_path: Path) -> None:
    path = table_path("conversations")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(InputError, match="cannot be read as conversations"):
        Talk(goes_on=True)
    with pytest.raises(InputError, match="cannot be written"):
        Talk().add("one?", "1")


ADDS = """
import sys
from jisi_cli.history.conversations import Talk
talk = Talk("shared-1")
for turn in range(20):
    talk.messages("more?")
    talk.add(f"{sys.argv[1]} {turn}", "yes")
"""


@pytest.mark.slow
def test_processes_that_go_on_with_one_conversation_at_once_lose_no_turn() -> None:
    first = Talk()
    first.name = "shared-1"
    first.add("first?", "yes")
    processes = [subprocess.Popen([sys.executable, "-c", ADDS, str(number)], cwd=ROOT) for number in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    asked = [message["content"] for message in Talk("shared-1").messages("and now?") if message["role"] == "user"]
    assert sorted(asked[1:-1]) == sorted(f"{number} {turn}" for number in range(4) for turn in range(20))
    assert [text for text in asked if text.startswith("2 ")] == [f"2 {turn}" for turn in range(20)]
