"""Ctrl-C acts at every moment, whatever the main thread is held up by, and says one short line at most."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.commands import ROOT

QUESTION = "What is 12 times 12?"

HEEDING = "import time\nfrom jisi_cli.cli.interrupts import give_time, heed_interrupts\nheed_interrupts()\n"
READY = "print('ready', flush=True)"
IN_GOOD_TIME = 120
"""Seconds for what takes a third of one on a machine that is not busy, and for ever where Ctrl-C is not heeded."""


def started(script: str) -> subprocess.Popen[str]:
    """Start Python on a script that heeds Ctrl-C, and wait until it says that it is ready."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HEEDING + script], cwd=ROOT, text=True, **pipes)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Press Ctrl-C; return the exit code, and what the process wrote."""
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=IN_GOOD_TIME)
    finally:
        process.kill()
    return process.returncode, out.replace("ready\n", ""), err


HELD_UP = {
    "by a computation in C": (
        f"import hashlib\nwhile True:\n    try:\n        {READY}\n"
        "        hashlib.pbkdf2_hmac('sha256', b'', b'', 2**30)\n    except KeyboardInterrupt:\n        pass"
    ),
    "by an ending that takes long": f"try:\n    {READY}\n    time.sleep(600)\nfinally:\n    time.sleep(600)",
    "by a thread that cannot be cancelled": (
        "import threading\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"try:\n    {READY}\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    raise SystemExit(130)"
    ),
    "by a library that takes it for an error": (
        f"while True:\n    try:\n        {READY}\n        time.sleep(600)\n    except BaseException:\n        pass"
    ),
}


@pytest.mark.parametrize("script", HELD_UP.values(), ids=HELD_UP)
def test_a_process_that_is_held_up_ends_all_the_same(script: str) -> None:
    assert interrupted(started(script)) == (130, "", "interrupted\n")


def test_an_interrupt_while_a_class_is_made_is_no_error() -> None:
    script = (
        "import typer\nfrom jisi_cli.cli.app import JisiGroup\n"
        "class Slow:\n"
        "    def __set_name__(self, *_):\n"
        f"        {READY}\n"
        "        time.sleep(600)\n"
        "app = typer.Typer(cls=JisiGroup)\n"
        "app.callback()(lambda: None)\n"
        "@app.command()\n"
        "def make():\n"
        "    class Made:\n"
        "        slow = Slow()\n"
        "app(['make'])\n"
    )
    assert interrupted(started(script)) == (130, "", "interrupted\n")


def test_an_interrupt_that_python_cannot_pass_on_is_heeded_without_a_word_about_it() -> None:
    script = (
        f"import os, signal\n{READY}\n"
        "class Collected:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(600)\n"
        "one = Collected()\n"
        "del one\n"
        "time.sleep(600)\n"
    )
    process = started(script)
    out, err = process.communicate(timeout=IN_GOOD_TIME)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_an_ending_that_is_given_time_takes_it() -> None:
    script = (
        f"try:\n    {READY}\n    time.sleep(600)\nexcept KeyboardInterrupt:\n"
        "    give_time(); time.sleep(1); print('shown'); raise SystemExit(130)"
    )
    assert interrupted(started(script)) == (130, "shown\n", "")


def test_a_second_ctrl_c_ends_what_was_given_time() -> None:
    script = (
        f"try:\n    {READY}\n    time.sleep(600)\nexcept KeyboardInterrupt:\n"
        "    give_time(); print('once', flush=True); time.sleep(600)"
    )
    process = started(script)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None and process.stdout.readline() == "once\n"
    assert interrupted(process) == (130, "", "interrupted\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_signal_to_a_forked_process_is_not_its_parents() -> None:
    script = (
        f"import os, signal\n{READY}\n"
        "read, write = os.pipe()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.signal(signal.SIGINT, lambda *_: os._exit(7))\n"
        "    os.write(write, b'.')\n"
        "    time.sleep(600)\n"
        "os.read(read, 1)\n"
        "os.kill(child, signal.SIGINT)\n"
        "_, status = os.waitpid(child, 0)\n"
        "time.sleep(1)\n"
        "print(os.waitstatus_to_exitcode(status))\n"
    )
    process = started(script)
    out, err = process.communicate(timeout=IN_GOOD_TIME)
    assert (process.returncode, out, err) == (0, "7\n", "")


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5, 1.0, 2.0])
def test_a_command_that_is_starting_ends_at_once(seconds: float, small_bank: Path, pool: Path) -> None:
    command = ["jisi", "ask", QUESTION, "--bank", str(small_bank), "--config", str(pool)]
    process = started(
        f"import sys\nsys.argv = {command}\ntry:\n    {READY}\n"
        "    from jisi_cli.__main__ import main\n    main()\nexcept KeyboardInterrupt:\n    raise SystemExit(130)"
    )
    time.sleep(seconds)
    exit_code, out, err = interrupted(process)
    if exit_code != 0:  # a machine that is quick has answered by then
        assert exit_code == 130
        assert "Traceback" not in err
        if not out:  # else it was ending already, its answer said
            assert err in ("", "interrupted\n")


PRESSES = """
import os, sys
class Presser:
    sought = 0
    def find_spec(self, name, path=None, target=None):
        if name not in sys.builtin_module_names and "jisi_cli.__main__" in sys.modules:
            Presser.sought += 1
            if Presser.sought == {number}:
                os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Presser())
sys.argv = ["jisi", "--version"]
from jisi_cli.__main__ import main
main()
"""
"""The console script, with Ctrl-C pressed just when the command line looks for its n-th file."""


@pytest.mark.parametrize("number", [1, 2, 3, 5, 10, 20, 50])
def test_ctrl_c_at_an_import_ends_quietly(number: int) -> None:
    command = [sys.executable, "-c", PRESSES.format(number=number)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=IN_GOOD_TIME, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr in ("", "interrupted\n")


SURVIVING = (
    "import hashlib\nfrom jisi_cli.cli.interrupts import surviving\n"
    "with surviving() as begin:\n"
    "    for work in (lambda: time.sleep(600), lambda: time.sleep(600), {work}):\n"
    "        begin()\n"
    "        try:\n"
    f"            {READY}\n"
    "            work()\n"
    "        except KeyboardInterrupt:\n"
    "            print('stopped', flush=True)\n"
)


def pressed_until_it_ends(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C twice, and again where nothing seems to happen, as a person does; presses at once would be one."""
    for _ in range(IN_GOOD_TIME):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            continue
        return


def test_what_survives_an_interrupt_is_stopped_by_each_in_turn() -> None:
    process = started(SURVIVING.format(work="lambda: None"))
    assert process.stdout is not None
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert [process.stdout.readline() for _ in range(2)] == ["stopped\n", "ready\n"]
    assert (process.wait(timeout=IN_GOOD_TIME), process.communicate()[1]) == (0, "")


def test_a_second_interrupt_ends_what_does_not_react_to_the_first() -> None:
    process = started(
        SURVIVING.format(work="None").replace("time.sleep(600)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**30)")
    )
    try:
        pressed_until_it_ends(process)
        _, err = process.communicate(timeout=IN_GOOD_TIME)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "interrupted\n")
