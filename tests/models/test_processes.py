"""Several processes, killed and interrupted ones, over one cache and one ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jisi_cli.models.call import CUT_OFF
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.faults.scene import ROOT, Server, serving
from tests.loopback import Fault, Loopback

CONCURRENCY = 4


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server in a process of its own; its answers take a moment."""
    with serving(tmp_path, {"a": {"text": "answer to {question}", "delay": 0.05}}) as running:
        yield running


def lines(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """Wait for a process; return the lines it printed, sorted, and its stderr."""
    out, err = process.communicate(timeout=600)
    return sorted(out.splitlines(), key=lambda line: int(line.split("\t")[0])), err


EXPECTED = [f"{number}\tanswer to question {number}" for number in range(40)]


def test_two_processes_share_cache_and_ledger(server: Server) -> None:
    both = [start("tests.models.asking_process", server.api_base, "40") for _ in range(2)]
    for process in both:
        out, err = lines(process)
        assert (process.returncode, out, err) == (0, EXPECTED, "")
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    assert len(rows) == 80
    assert server.count("received") == sum(not row.cached for row in rows) == 40
    third = start("tests.models.asking_process", server.api_base, "40")
    assert lines(third)[0] == EXPECTED
    assert server.count("received") == 40


@pytest.fixture
def owner(loopback: Loopback) -> Iterator[subprocess.Popen[str]]:
    """A process whose one call hangs, as no later call does."""
    loopback.script("a", text="answer to {question}", faults=[Fault("hang")])
    process = start("tests.models.asking_process", loopback.api_base, "1")
    while loopback.count() < 1:
        assert process.poll() is None
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()


def waiting_for(loopback: Loopback) -> subprocess.Popen[str]:
    """Start a process that asks the same, and wait until it waits."""
    process = start("tests.models.asking_process", loopback.api_base, "1", "told")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


def test_a_process_that_is_killed_is_waited_for_by_nobody(loopback: Loopback, owner: subprocess.Popen[str]) -> None:
    waiting = waiting_for(loopback)
    assert loopback.count() == 1
    os.kill(owner.pid, signal.SIGKILL)
    assert lines(waiting) == (EXPECTED[:1], "")
    assert loopback.count() == 2


def test_ctrl_c_ends_the_waiting_for_another_process(loopback: Loopback, owner: subprocess.Popen[str]) -> None:
    waiting = waiting_for(loopback)
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=300)
    assert (out, err.rstrip().splitlines()[-1]) == ("", "KeyboardInterrupt")
    assert owner.poll() is None
    assert loopback.count() == 1


def test_waiting_for_another_process_holds_up_no_other_question(
    loopback: Loopback, owner: subprocess.Popen[str]
) -> None:
    both = start("tests.models.asking_process", loopback.api_base, "2", "told")
    assert both.stdout is not None
    assert sorted(both.stdout.readline() for _ in range(2)) == [f"{EXPECTED[1]}\n", "waiting\n"]
    owner.kill()
    assert lines(both) == (EXPECTED[:1], "")


def test_killed_at_any_moment_only_the_calls_in_flight_are_asked_again(server: Server) -> None:
    for printed in (1, 11):
        process = start("tests.models.asking_process", server.api_base, "40")
        assert process.stdout is not None
        for _ in range(printed):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    out, err = lines(start("tests.models.asking_process", server.api_base, "40"))
    assert (out, err) == (EXPECTED, "")
    assert server.count("received") <= 40 + 2 * CONCURRENCY


@pytest.mark.parametrize("streamed", ["", "streamed"])
def test_ctrl_c_ends_the_calls_without_a_word_from_the_libraries(loopback: Loopback, streamed: str) -> None:
    loopback.script("a", text="slow as can be", delay=0.0 if streamed else 30.0, piece_delay=30.0)
    process = start("tests.models.asking_process", loopback.api_base, "8", streamed)
    while loopback.count() < CONCURRENCY:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert out == ""
    # Python's own traceback of the interrupt, and nothing about tasks, sessions or coroutines.
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert not any(word in err for word in ("never", "Unclosed", "destroyed", "ResourceWarning", "LiteLLM"))
    assert loopback.count() == CONCURRENCY
    # What was out is booked, though none of it was answered.
    rows = list(Ledger(ledger_path(), warn=pytest.fail).rows())
    assert [(row.error, row.cost_usd) for row in rows] == [(CUT_OFF, None)] * CONCURRENCY


def test_streaming_and_failing_write_nothing_to_the_terminal(loopback: Loopback) -> None:
    odd = {"prompt_tokens": 1.5, "completion_tokens": "many", "total_tokens": -1}
    loopback.script("a", text="answer to {question}", usage=odd, every=3)
    out, err = lines(start("tests.models.asking_process", loopback.api_base, "6", "streamed"))
    assert out == EXPECTED[:6]
    assert err == ""
