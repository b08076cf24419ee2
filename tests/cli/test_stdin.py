"""Standard input beside a question: what is meant for it is added, what is meant for others is left alone.

In a real shell, since what a loop hands on is the shell's doing.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.cli.output import Output
from jisi_cli.cli.question import read_question
from jisi_cli.errors import InputError
from tests.cli.commands import ROOT, finish, jisi, start

WAITING = "reading standard input"


@pytest.fixture
def file_of_questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("What is 1 plus 1?\nWhat is 2 plus 2?\nWhat is 3 plus 3?\n", encoding="utf-8")
    return path


def queries(script: str, bank: Path, **options: Any) -> tuple[list[str], str]:
    """Run a shell script in which `$JISI` is `jisi route --json` on a bank; return what was asked, and stderr."""
    command = f"{sys.executable} -m jisi_cli route --json --bank {bank}"
    streams = {"stdin": subprocess.DEVNULL, **options}
    run = subprocess.run(
        ["bash", "-c", f'jisi() {{ {command} "$@"; }}; {script}'],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **streams,
    )
    return [json.loads(line)["query"] for line in run.stdout.splitlines()], run.stderr


@pytest.mark.slow
def test_a_loop_over_a_file_asks_every_line_and_swallows_none(small_bank: Path, file_of_questions: Path) -> None:
    found, err = queries(f'while read -r q; do jisi "$q"; done < {file_of_questions}', small_bank)
    assert found == file_of_questions.read_text().splitlines()
    assert err.count("so it is left alone") == 2  # not at the last line, behind which nothing is left


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cat {file} | while {body}", "while {body} < <(cat {file})"])
def test_a_loop_over_a_pipe_is_warned_of_and_safe_with_dev_null(
    form: str, small_bank: Path, file_of_questions: Path
) -> None:
    body = 'read -r q; do jisi "$q"{rest}; done'
    lines = file_of_questions.read_text().splitlines()
    careless = form.format(file=file_of_questions, body=body.format(rest=""))
    found, err = queries(careless, small_bank)
    assert found == ["\n".join([lines[0], "", *lines[1:]])]
    assert "warning: standard input was added to the question, and looks like 2 more questions" in err
    careful = form.format(file=file_of_questions, body=body.format(rest=" < /dev/null"))
    found, err = queries(careful, small_bank)
    assert (found, "warning" in err) == (lines, False)


@pytest.mark.slow
def test_context_is_added_from_a_pipe_a_file_and_a_here_document(small_bank: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("one\ntwo\n", encoding="utf-8")
    script = f'cat {notes} | jisi "Sum up."; jisi "Sum up." < {notes}; jisi "Sum up." <<< "$(cat {notes})"'
    found, err = queries(script, small_bank)
    assert found == ["Sum up.\n\none\ntwo"] * 3
    assert "warning" not in err


@pytest.mark.slow
def test_what_has_no_input_waits_for_none(small_bank: Path) -> None:
    """Cron and CI: no stdin at all, the null device, a pipe that has ended."""
    found, err = queries('jisi "a" <&-; jisi "b" < /dev/null; : | jisi "c"; jisi "d" < /dev/zero', small_bank)
    assert found == ["a", "b", "c", "d"]
    assert WAITING not in err


@pytest.mark.slow
def test_a_dash_reads_the_rest_of_a_file(small_bank: Path, file_of_questions: Path) -> None:
    found, _ = queries(f"{{ read -r q; jisi -; }} < {file_of_questions}", small_bank)
    assert found == ["What is 2 plus 2?\nWhat is 3 plus 3?"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_that_stays_open_is_told_of_and_read_to_its_end(kind: str, small_bank: Path) -> None:
    """As under ssh, docker -i and other programs that keep the other end."""
    if kind == "pipe":
        theirs, place = os.pipe()
        ours = os.fdopen(place, "wb")
    else:
        left, right = socket.socketpair()
        theirs, ours = right.detach(), left.makefile("wb")
        left.close()
    process = start("route", "Sum up.", "--json", "--bank", small_bank, stdin=theirs)
    os.close(theirs)
    assert process.stderr is not None
    assert process.stderr.readline().decode().startswith("reading standard input until it ends")
    ours.write(b"late")
    ours.close()
    assert finish(process).json["query"] == "Sum up.\n\nlate"


# Without a process: what looks like more questions.


class Heard(Output):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize(
    ("question", "context", "warned"),
    [
        ("What is 1?", "What is 2?\n", True),
        ("Translate into German.", "Where is the station?\n", False),
        ("Name a tree.", "Who is it?\nWhy?\nName a fish.\n", True),
        ("Review this.", "diff --git a b\n+is this right?\n+x = 1\n", False),
        ("What is 1?", '{"query": "What is 2?"}\n{"query": "What is 3?"}\n', True),
        ("Sum up.", "", False),
    ],
)
def test_more_questions_than_context_are_warned_of(
    question: str, context: str, warned: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "stdin"
    path.write_text(context, encoding="utf-8")
    heard = Heard()
    with path.open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        read_question(question, heard)
    assert bool(heard.warnings) == warned


def test_an_empty_line_of_a_loop_takes_nothing_from_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "stdin"
    path.write_text("the next line\n", encoding="utf-8")
    with path.open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InputError, match="the question is empty"):
            read_question(" ", Heard())
        assert stdin.read() == "the next line\n"


def test_help_says_what_to_do_in_a_loop() -> None:
    assert "< /dev/null" in jisi("ask", "--help").stdout
