"""What a machine refuses, memory before all, said in one line: memory runs out for real, below a limit."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.cli.app import refusal
from jisi_cli.errors import ExitCode
from tests.cli.commands import ROOT, Run, finish, jisi, recorded_answers, says_one_error, start, write_lines

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Every thread reserves some of what the limit allows."""

WIDEST = 2**20
"""The largest vectors of the hashing embedder: 8 MiB each while they are made, 4 on disk."""

REMEDY = ("out of memory", "raise the limit", "work on less")


def at_most(megabytes: int) -> Callable[[], None]:
    """Let a child have so much address space."""
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def test_a_question_without_end_ends_with_one_line(small_bank: Path) -> None:
    with Path("/dev/zero").open("rb") as endless:
        run = finish(start("route", "-", "--bank", small_bank, stdin=endless, preexec_fn=at_most(300)))
    says_one_error(run, ExitCode.INPUT, "more than 64 MiB")


def test_vectors_too_large_for_numpy_end_a_build_with_one_line_and_no_bank(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers({"ada": 100}, questions=200))
    command = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", f"hashing:{WIDEST}")
    run = finish(start(*command, env=ONE_THREAD, preexec_fn=at_most(1500)))
    says_one_error(run, ExitCode.FAILED, *REMEDY, "Unable to allocate")
    assert not (tmp_path / "bank" / "bank.json").exists()
    assert jisi(*command[:-1], "hashing:64").exit_code == 0


SPARE = 28
"""MiB: enough for a thread and for the command, too little for the bank's vectors."""
IN_LITTLE_ROOM = """
import asyncio, resource, sys
from pathlib import Path
from jisi_cli.bank.bank import Bank
from jisi_cli.cli.app import main
warm, spare, *command = sys.argv[1:]
Bank(Path(warm)).arrays(("ada",))  # what is imported and started by now needs no more room
pages = int(Path("/proc/self/statm").read_text().split()[0])
room = pages * resource.getpagesize() + (int(spare) << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
sys.argv = ["jisi", *command]
main()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs to know how much memory a process has")
def test_a_bank_that_memory_is_too_small_for_is_not_called_broken(small_bank: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers({"ada": 3}, questions=6))
    bank = tmp_path / "bank"
    assert jisi("bank", "build", source, "-o", bank, "--embedder", f"hashing:{WIDEST}").exit_code == 0

    def run(spare: int, *command: str | Path) -> Run:
        script = [sys.executable, "-c", IN_LITTLE_ROOM, small_bank, str(spare), *command]
        done = subprocess.run(script, env=os.environ | ONE_THREAD, cwd=ROOT, capture_output=True)
        return Run(done.returncode, done.stdout.decode(), done.stderr.decode())

    grade = ("bank", "grade", bank, "--dry-run")
    says_one_error(run(SPARE, *grade), ExitCode.FAILED, "is whole", "more memory")
    assert run(4000, *grade).exit_code == 0
    (part,) = bank.glob("queries*.parquet")
    with part.open("r+b") as file:
        file.seek(part.stat().st_size // 2)
        file.write(b"\xff")
    says_one_error(run(SPARE, *grade), ExitCode.BANK, "is broken", "--force")


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number), "the/path")


def allocate(size: int) -> None:
    import pyarrow as pa

    pa.allocate_buffer(size)


@pytest.mark.parametrize("take", [lambda: np.zeros(1 << 56), lambda: allocate(1 << 60), lambda: b"x" * (1 << 62)])
def test_every_library_s_word_for_it_is_understood_also_out_of_tasks(take: Callable[[], object]) -> None:
    with pytest.raises(MemoryError) as found:
        take()
    for error in (found.value, ExceptionGroup("tasks", [ExceptionGroup("tasks", [found.value])])):
        words = refusal(error)
        assert words is not None
        assert words.startswith("out of memory (")
        assert "\n" not in words


@pytest.mark.parametrize(
    "error",
    [
        refused(errno.ENOMEM),
        OSError("Memory mapping file failed: Cannot allocate memory"),
        ImportError("libparquet.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
)
def test_the_system_s_words_for_it_are_understood(error: Exception) -> None:
    assert (refusal(error) or "").startswith("out of memory (")


def test_a_path_that_went_wrong_and_a_full_disk_have_other_remedies() -> None:
    assert (
        refusal(refused(errno.ENOSPC))
        == "the/path: No space left on device; make room or allow it, and run the command again"
    )
    assert (
        refusal(refused(errno.ENOENT))
        == "the/path: No such file or directory; check the path, and run the command again"
    )


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("without a number"), refused(errno.ECHILD)])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert refusal(error) is None


def test_a_name_that_is_too_long_for_the_file_system_is_no_traceback(tmp_path: Path) -> None:
    source, name = write_lines(tmp_path / "answers.jsonl", recorded_answers()), "x" * 300
    for words in (("bank", "build", source, "-o", tmp_path / name), ("cost", tmp_path / name)):
        says_one_error(jisi(*words), ExitCode.FAILED, name, "File name too long", "check the path")
