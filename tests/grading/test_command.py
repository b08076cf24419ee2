"""The user's own program as a grader."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from jisi_cli.grading.command import Command
from jisi_cli.grading.registry import Ungraded
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


STARTS = """
import subprocess, time
def start(**options):
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    return subprocess.Popen(words, stdin=-3, stdout=-3, stderr=-3, **options).pid
pids = [os.getpid(), start(), start(start_new_session=True)]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(PIDS, "a").write(f"{os.getpid()} ")
        time.sleep(600)
    os._exit(0)
while not os.path.exists(PIDS):
    time.sleep(0.01)
open(PIDS, "a").write(" ".join(map(str, pids)) + " ")
"""


@pytest.mark.parametrize("ending", ["print(1)", "sys.exit(3)", "os.kill(os.getpid(), 9)", "time.sleep(600)"])
def test_nothing_that_a_program_started_outlives_it(tmp_path: Path, ending: str) -> None:
    pids = tmp_path / "pids"
    command = program(tmp_path, STARTS.replace("PIDS", repr(str(pids))) + ending)
    if ending == "print(1)":
        assert grade(command) == 1.0
    else:
        with pytest.raises(Ungraded):
            grade(command, seconds=5.0)
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 4
    assert all([_is_gone(pid) for pid in found])


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_jisi_even_where_that_is_killed(tmp_path: Path, signal_number: int) -> None:
    pids = tmp_path / "pids"
    command = program(tmp_path, STARTS.replace("PIDS", repr(str(pids))) + "time.sleep(600)")
    script = "import sys; from tests.grading.test_command import grade; grade(sys.argv[1], seconds=600.0)"
    process = subprocess.Popen([sys.executable, "-c", script, command], cwd=Path(__file__).parents[2])
    while not (pids.exists() and len(pids.read_text().split()) == 4):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal_number)
    process.wait(timeout=60)
    assert all([_is_gone(int(pid)) for pid in pids.read_text().split()])


@pytest.mark.parametrize(
    "flood",
    [
        "while True: os.write(1, bytes(2**16))",
        "while True: os.write(2, bytes(2**16))",
        "import tempfile\nwhile True: tempfile.NamedTemporaryFile(delete=False).write(bytes(2**20))",
        "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    while True: file.write(bytes(2**20))",
        "import tempfile\nwhile True: tempfile.mkdtemp()",
        "file = open('large', 'wb')\nwhile True: file.write(bytes(2**20))",
    ],
)
def test_a_program_that_floods_the_disk_is_ended_long_before_its_time(
    tmp_path: Path, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = shutil.disk_usage(tmp_path).free
    with pytest.raises(Ungraded):
        grade(program(tmp_path, flood), seconds=600.0)
    assert list(temporary.iterdir()) == []
    (tmp_path / "large").unlink(missing_ok=True)
    assert before - shutil.disk_usage(tmp_path).free < 2**30


def test_temporary_files_of_a_program_are_gone_with_it(tmp_path: Path) -> None:
    code = "import tempfile; print(json.dumps(len(tempfile.mkdtemp()) / 1000)); open('/dev/null')"
    assert grade(program(tmp_path, code + f"; open({str(tmp_path / 'where')!r}, 'w').write(tempfile.gettempdir())"))
    assert not Path((tmp_path / "where").read_text()).exists()


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
