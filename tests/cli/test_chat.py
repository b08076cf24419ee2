"""`jisi chat`: turns at a terminal and in a pipe, Ctrl-C that stops an answer alone, and what is kept."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jisi_cli.history.conversations import kept_conversations
from jisi_cli.history.table import table_path
from tests.cli.commands import MODELS, ROOT, Run, finish, jisi, pool_file, says_one_error, start
from tests.loopback import Loopback

FIRST = "What is 3 plus 6, and why is it that much?"


class Person:
    """A person at a terminal who types and reads."""

    def __init__(self, *arguments: str | Path) -> None:
        self._master, slave = pty.openpty()
        command = [sys.executable, "-m", "jisi_cli", "chat", *map(str, arguments)]
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=env, start_new_session=True
        )
        os.close(slave)
        self.unread = ""

    def sees(self, words: str) -> None:
        """Wait until the terminal shows words, behind those that were seen before."""
        assert self._reads(words, 300), (words, self.unread)

    def _reads(self, words: str, seconds: float) -> bool:
        """Return whether the terminal shows words within some seconds; what is behind them stays unread."""
        deadline = time.monotonic() + seconds
        while words not in self.unread:
            if time.monotonic() > deadline:
                return False
            if select.select([self._master], [], [], 0.1)[0]:
                self.unread += os.read(self._master, 65536).decode(errors="replace")
        self.unread = self.unread.partition(words)[2]
        return True

    def sees_a_prompt(self) -> None:
        """Wait until a line can be typed."""
        self.sees("> ")

    def types(self, words: str) -> None:
        os.write(self._master, words.encode())

    def gets_a_prompt_by_ctrl_c(self) -> None:
        """Press Ctrl-C until a line can be typed, as people do.

        Once is not always enough: Python's `input` sees a signal only while it waits for a key, and one that comes
        between the prompt and that wait is noticed with the next key.
        """
        for _ in range(20):
            self.process.send_signal(signal.SIGINT)
            if self._reads("> ", 3):
                return
        raise AssertionError(self.unread)

    def leaves(self) -> int:
        """Return the exit code of a program that is ending; the terminal is read until it has."""
        deadline = time.monotonic() + 300
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.unread
            if select.select([self._master], [], [], 0.1)[0]:
                with suppress(OSError):  # how Linux tells that the other end has gone
                    os.read(self._master, 65536)
        os.close(self._master)
        return self.process.returncode


@pytest.fixture
def person(small_bank: Path, pool: Path) -> Iterator[Person]:
    found = Person("--mode", "route", "--bank", small_bank, "--config", pool)
    found.sees_a_prompt()
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.wait()


def texts(loopback: Loopback) -> list[str]:
    """Return what was said in the last request."""
    return [message["content"] for message in loopback.requests[-1].body["messages"]]


def chat(small_bank: Path, pool: Path, *arguments: str, stdin: str = "") -> Run:
    return jisi("chat", "--mode", "route", "--bank", small_bank, "--config", pool, *arguments, stdin=stdin)


def test_a_person_talks_and_goes_on_later(person: Person, small_bank: Path, pool: Path, loopback: Loopback) -> None:
    person.types(f"{FIRST}\n")
    person.sees("answered (route)")
    person.sees_a_prompt()
    person.types('"""and\nplus one?"""\n')
    person.sees("answered (route)")
    person.sees_a_prompt()
    assert texts(loopback) == [FIRST, "ada says so", "and\nplus one?"]
    person.types("/exit\n")
    assert person.leaves() == 0
    assert chat(small_bank, pool, "-c", stdin="and plus two?\n").stdout == "ada says so\n"
    assert texts(loopback)[0::2] == [FIRST, "and\nplus one?", "and plus two?"]


def test_ctrl_c_stops_the_answer_and_not_the_program(person: Person, loopback: Loopback) -> None:
    loopback.hold_after = 0
    person.types(f"{FIRST}\n")
    while not loopback.count():
        time.sleep(0.02)
    person.gets_a_prompt_by_ctrl_c()
    loopback.hold_after = None
    person.types("What is the capital of land number 5, please?\n")
    person.sees("answered (route)")
    person.sees_a_prompt()
    assert texts(loopback) == ["What is the capital of land number 5, please?"]
    person.types("half a li")
    person.sees("half a li")
    person.gets_a_prompt_by_ctrl_c()
    person.gets_a_prompt_by_ctrl_c()
    person.types("\x04")
    assert person.leaves() == 0
    assert [found["turns"] for found in kept_conversations(10)] == [1]


def test_the_arrow_keys_bring_back_what_was_asked_before(person: Person, small_bank: Path, pool: Path) -> None:
    person.types(f"{FIRST}\n")
    person.sees("answered (route)")
    person.sees_a_prompt()
    person.types("\x04")
    assert person.leaves() == 0
    again = Person("--mode", "route", "--bank", small_bank, "--config", pool)
    again.sees_a_prompt()
    again.types("\x1b[A")
    again.sees(FIRST)
    again.types("\x15")
    again.types("\x04")
    assert again.leaves() == 0


def test_a_dead_pool_does_not_end_the_conversation(person: Person, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="")
    person.types(f"{FIRST}\n")
    person.sees("error:")
    for model in MODELS:
        loopback.script(model, text="yes")
    person.sees_a_prompt()
    person.types("And the other one that I asked about?\n")
    person.sees("answered (route)")
    person.sees_a_prompt()
    assert texts(loopback) == ["And the other one that I asked about?"]
    person.types("/exit\n")
    assert person.leaves() == 0


def test_each_line_of_a_pipe_is_a_turn_and_stdout_the_answers(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    run = chat(small_bank, pool, stdin=f'{FIRST}\n\n"""and\n\nplus one?\n"""\n/exit\nnever asked\n')
    assert (run.exit_code, run.stdout) == (0, "ada says so\nada says so\n")
    assert run.stderr.count("answered (route)") == 2
    assert texts(loopback) == [FIRST, "ada says so", "and\n\nplus one?"]
    assert kept_conversations(10)[0]["turns"] == 2


def test_a_turn_of_a_pipe_that_fails_ends_it(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text="")
    run = chat(small_bank, pool, stdin=f"{FIRST}\nanother?\n")
    says_one_error(run, 4)
    assert {request.body["messages"][-1]["content"] for request in loopback.requests} == {FIRST}


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_is_no_text_is_refused_before_it_costs_anything(
    locale: str, small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    # In the locale C, Python makes halves of characters of such bytes, and no error.
    env = {"LC_ALL": locale}
    process = start("chat", "--bank", small_bank, "--config", pool, env=env, stdin=subprocess.PIPE)
    says_one_error(finish(process, b"gr\xfc\xdfe aus M\xfcnchen\n"), 2)
    assert loopback.requests == []


def test_a_picture_belongs_to_the_first_turn_and_a_schema_to_all(
    small_bank: Path, tmp_path: Path, loopback: Loopback
) -> None:
    for model in MODELS:
        loopback.script(model, text='{"n": 9}')
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    (tmp_path / "schema.json").write_text('{"type": "object", "required": ["n"]}')
    pool = pool_file(tmp_path / "jisi.toml", loopback, lines={"bob": "vision = true"})
    given = ("-a", str(tmp_path / "a.png"), "--schema", str(tmp_path / "schema.json"))
    run = chat(small_bank, pool, *given, stdin=f"{FIRST}\nand plus one?\n")
    assert (run.exit_code, run.stdout) == (0, '{"n": 9}\n{"n": 9}\n')
    first, second = (request.body for request in loopback.requests)
    assert [part["type"] for part in first["messages"][-1]["content"]] == ["text", "image_url"]
    assert second["messages"][:-1] == [*first["messages"], {"role": "assistant", "content": '{"n": 9}'}]
    assert second["messages"][-1]["content"] == "and plus one?"
    assert all("json_schema" in body["response_format"] for body in (first, second))
    (tmp_path / "schema.json").write_text("no schema")
    says_one_error(chat(small_bank, pool, *given, stdin=FIRST), 2, "--schema")


def test_without_store_it_goes_on_in_memory_alone(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    chat(small_bank, pool, "--no-store", "--system", "Be brief.", stdin=f"{FIRST}\nand plus one?\n")
    assert texts(loopback) == ["Be brief.", FIRST, "ada says so", "and plus one?"]
    assert not table_path("conversations").parent.exists()


def test_what_is_kept_is_listed(small_bank: Path, pool: Path) -> None:
    assert jisi("chat", "--list").stderr == "no conversation is kept\n"
    chat(small_bank, pool, stdin=f"{FIRST}\nand plus one?\n")
    (found,) = jisi("chat", "--list", "--json").json["conversations"]
    assert (found["turns"], found["question"]) == (2, FIRST)
    assert found["conversation"] in jisi("chat", "--list").stdout
    says_one_error(chat(small_bank, pool, "--json"), 2, "--list")
