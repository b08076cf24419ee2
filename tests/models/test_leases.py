"""ProcessLock where there can be none, or where they are held too long. Several processes: see `test_processes.py`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jisi_cli.models.single_flight import ProcessLock
from tests.loopback import Loopback
from tests.models.asking import ask_once, cache_in, entry, pool

KEY = "ab" * 32
HOLD = """
import asyncio, sys, pathlib
from jisi_cli.models.single_flight import ProcessLock

async def main():
    async with ProcessLock(pathlib.Path(sys.argv[1]), 1.0).hold(sys.argv[2], lambda: None):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `KEY` until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), KEY]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


async def wait_in_vain(folder: Path | None, key: str, patience: float) -> int:
    """Hold a key; return how often one was told to wait."""
    told: list[None] = []
    leases = ProcessLock(folder, patience)
    async with leases.hold(key, lambda: told.append(None)):
        pass
    leases.close()
    return len(told)


def test_a_process_that_is_stopped_for_ever_is_not_waited_for_for_ever(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert asyncio.run(wait_in_vain(tmp_path, KEY, 0.1)) == 1


def test_another_key_is_free_and_so_is_one_that_was_let_go(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert asyncio.run(wait_in_vain(tmp_path, "cd" * 32, 60)) == 0
    holder.communicate("")
    assert asyncio.run(wait_in_vain(tmp_path, KEY, 60)) == 0


@pytest.mark.parametrize("way", ["missing", "a file", "a link", "none"])
def test_where_there_can_be_no_lock_nobody_waits(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    if way == "a file":
        folder.touch()
    if way == "a link":
        folder.mkdir()
        (folder / "flights.lock").symlink_to(tmp_path / "elsewhere")
    assert asyncio.run(wait_in_vain(folder if way != "none" else None, KEY, 60)) == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_cache_folder_that_vanishes_under_a_run_costs_it_nothing_but_the_cache(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("a", text="answer {number}")
    said: list[str] = []
    cache = cache_in(tmp_path, said.append)
    shutil.rmtree(tmp_path / "cache")
    assert ask_once(pool(entry(loopback), cache=cache)).text == "answer 1"
    assert len(said) <= 1


def test_who_stores_nothing_leaves_no_lock_behind(loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("a", text="an answer")
    ask_once(pool(entry(loopback), cache=cache_in(tmp_path), store=False))
    assert not (tmp_path / "cache" / "flights.lock").exists()
