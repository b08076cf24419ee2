"""The user's own program as a grader."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.grading.command import Command
from jisi_cli.grading.protocol import Ungraded
from tests.grading.submissions import submission


def program(folder: Path, code: str) -> str:
    """Write a program and return the command that runs it."""
    path = folder / "a grader.py"
    path.write_text("import json, os, sys\n" + code)
    return f"'{sys.executable}' '{path}'"


def grade(command: str, response: str = "4", seconds: float = 20.0) -> float | None:
    return Command(command, seconds).grade(submission(response, "4"))


def test_a_program_gets_query_reference_and_response_and_says_the_score(tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    command = program(
        tmp_path, f"given = json.load(sys.stdin)\njson.dump(given, open({str(seen)!r}, 'w'))\nprint(0.25)"
    )
    assert grade(command, "half \ud83d\nor 'four'") == 0.25
    assert json.loads(seen.read_text()) == {
        "query": "What is it?",
        "reference": "4",
        "response": "half \ud83d\nor 'four'",
    }


@pytest.mark.parametrize(
    ("printed", "score"), [("1", 1.0), ("0", 0.0), (" 0.5\n", 0.5), ("1e-3", 0.001), ("null", None)]
)
def test_what_it_prints_is_the_score(tmp_path: Path, printed: str, score: float | None) -> None:
    assert grade(program(tmp_path, f"print({printed!r})")) == score


@pytest.mark.parametrize(
    "printed", ["", "yes", "true", "2", "-0.1", "NaN", "Infinity", '"1"', "[1]", "1 2", "[" * 100_000, "\udc80"]
)
def test_anything_else_leaves_the_response_unscored(tmp_path: Path, printed: str) -> None:
    code = f"sys.stdout.buffer.write({printed.encode('utf-8', 'surrogateescape')!r})"
    with pytest.raises(Ungraded, match="number from 0 to 1, or null"):
        grade(program(tmp_path, code))


def test_a_program_that_fails_says_so_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(Ungraded, match=r"exit code 3: no such reference"):
        grade(program(tmp_path, "print('trace\\nno such reference', file=sys.stderr); print(1); sys.exit(3)"))


def test_a_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(Ungraded, match="longer than 2 s"):
        grade(program(tmp_path, code), seconds=2.0)
    for pid in map(int, pids.read_text().split()):
        assert _is_gone(pid)


def _is_gone(pid: int) -> bool:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if (
            Path(f"/proc/{pid}/stat").exists()
            and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        ):
            return True
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_program_that_reads_nothing_or_floods_its_output_holds_nobody_up(tmp_path: Path) -> None:
    assert grade(program(tmp_path, "os.close(0); print(1)"), "x" * 5_000_000) == 1.0
    with pytest.raises(Ungraded):
        grade(program(tmp_path, "sys.stdout.write('1' * 50_000_000)"))


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    with pytest.raises(Ungraded):
        grade(f"{sys.executable} -c 'import sys; print(sys.argv)' ; touch {tmp_path}/x $(touch {tmp_path}/y)")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["no-such-program-anywhere", "", "   ", "'unclosed", "/etc/passwd"])
def test_a_command_that_cannot_be_run_is_refused_before_anything_is_graded(command: str) -> None:
    with pytest.raises(InputError, match="grader command"):
        Command(command)
