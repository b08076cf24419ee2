"""Every command on a machine that fails: full disks, folders that cannot be written or vanish, signals, clocks."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.cli.commands import Run
from tests.faults.afflictions import bound_by_permissions, clock_that_jumps, closed, no_more_than
from tests.faults.every_command import CALLING, COMMANDS, Scene, common_ground
from tests.loopback import Loopback


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Path]]:
    folder = tmp_path_factory.mktemp("machine")
    with common_ground(folder) as server:
        yield server, folder


@pytest.fixture
def scene(common: tuple[Loopback, Path], tmp_path: Path) -> Scene:
    common[0].requests.clear()
    common[0].hold_after = None
    return Scene(*common, tmp_path)


def said_well(run: Run, *exit_codes: int) -> None:
    """Check that a command ended as one may: in words, with a remedy, and with nothing half on stdout."""
    assert run.exit_code in exit_codes, run
    assert "Traceback" not in run.stderr
    assert len(run.errors) == (run.exit_code > 0)
    if run.exit_code == 0:
        assert run.json
    else:
        assert run.stdout == ""
        assert "/" in run.errors[0]
        assert ";" in run.errors[0]


@pytest.mark.parametrize("size", [300, 9_000])
@pytest.mark.parametrize("command", COMMANDS)
def test_on_a_full_disk_a_command_does_what_it_can_and_says_the_rest(scene: Scene, command: str, size: int) -> None:
    if command == "cost":
        assert scene.run("ask").exit_code == 0
    run = scene.run(command, partial(no_more_than, size))
    # An answer needs no disk, and neither does reading; what is to be written does.
    said_well(run, *{"ask": (0,), "cost": (0,), "eval": (0, 2)}.get(command, (0, 1)))
    if command in CALLING:
        assert any("cache" in line for line in run.warnings)
    if command == "cost":
        assert run.json["total"]["calls"] == 3
    if run.exit_code:
        said_well(scene.run(command), 0)
    scene.check_whole(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_where_nothing_can_be_written_a_command_does_what_it_can(scene: Scene, command: str) -> None:
    if command == "cost":
        assert scene.run("ask").exit_code == 0
    with read_only(path for path in all_in(scene.folder) if path.is_dir()):
        run = scene.run(command, bound_by_permissions)
    said_well(run, *((0,) if command in ("ask", "cost") else (1, 2)))
    said_well(scene.run(command), 0)
    scene.check_whole(command)


@pytest.mark.parametrize("ended", ["killed", "in order"])
def test_what_was_kept_is_used_where_nothing_can_be_written(scene: Scene, ended: str) -> None:
    assert scene.run("ask").exit_code == 0
    databases = [path for path in all_in(scene.folder) if path.suffix in (".db", ".sqlite")]
    if ended == "in order":
        for path in databases:
            # The last one to close it brings what lies beside the file into it.
            with closing(sqlite3.connect(path)) as rows:
                rows.execute("PRAGMA wal_checkpoint")
    before = {path: path.read_bytes() for path in databases}
    asked = scene.server.count()
    with read_only(all_in(scene.folder)):
        answered, billed = (scene.run(command, bound_by_permissions) for command in ("ask", "cost"))
    said_well(answered, 0)
    assert scene.server.count() == asked
    assert all(call["cached"] for call in answered.json["calls"])
    caches = [line for line in answered.warnings if "what it holds is used" in line]
    assert len(caches) == len(set(caches)) == 2
    said_well(billed, 0)
    assert billed.json["total"]["calls"] == 3
    assert {path: path.read_bytes() for path in databases} == before


def all_in(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


@contextmanager
def read_only(paths: Iterable[Path]) -> Iterator[None]:
    """Take away the right to write from all who are bound by permissions."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    try:
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize("command", CALLING)
def test_folders_that_vanish_while_a_command_is_at_work_cost_only_what_was_in_them(scene: Scene, command: str) -> None:
    scene.server.hold_after = 0
    process = scene.start(command)
    process.until(lambda: scene.server.count() > 0)
    for name in ("cache", "data", "out"):
        # Away at once: what the command writes meanwhile would be in the way of deleting file by file.
        shutil.rmtree((scene.folder / name).rename(scene.folder / f"{name}-gone"))
    scene.server.hold_after = None
    run = process.finish()
    said_well(run, *{"ask": (0,), "eval": (0,), "collect": (0, 1, 2, 3)}[command])
    (scene.folder / "out").mkdir(exist_ok=True)
    again = scene.run(command)
    said_well(again, 0, 2)
    if again.exit_code:
        assert "is a bank already" in again.stderr
    scene.check_whole(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_clock_that_jumps_changes_nothing(scene: Scene, command: str) -> None:
    said_well(scene.run(command, partial(clock_that_jumps, 1)), 0)
    scene.check_whole(command)


@pytest.mark.parametrize("command", CALLING)
def test_a_command_that_is_told_to_end_ends_and_goes_on_later(scene: Scene, command: str) -> None:
    scene.server.hold_after = 2
    process = scene.start(command)
    process.until(lambda: scene.server.count() > 2)
    process.send_signal(signal.SIGTERM)
    run = process.finish()
    scene.server.hold_after = None
    assert (run.exit_code, run.stdout, run.stderr) == (-signal.SIGTERM, "", "")
    said_well(scene.run(command), 0)
    scene.check_whole(command)


@pytest.mark.parametrize("command", CALLING)
def test_an_impatient_ctrl_c_ends_a_command_without_a_traceback(scene: Scene, command: str) -> None:
    chance = random.Random(command)
    for _ in range(3):
        # Only so many of its calls are answered, so that it cannot end before it is told to.
        scene.server.hold_after = scene.server.count() + chance.randrange(1, 3)
        process = scene.start(command)
        process.until(at_work(scene))
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(chance.random() * 0.03)
        run = process.finish()
        assert run.exit_code in (130, -signal.SIGINT), run
        assert run.stdout == ""
        # A third Ctrl-C may end it before it has said anything.
        said = [line for line in run.stderr.splitlines() if not line.startswith("every answer that came is kept")]
        assert said in ([], ["interrupted"])
    scene.server.hold_after = None
    said_well(scene.run(command), 0)
    scene.check_whole(command)


def at_work(scene: Scene) -> Callable[[], bool]:
    """Return a condition: one more call has come."""
    before = scene.server.count()
    return lambda: scene.server.count() > before


@pytest.mark.parametrize("command", COMMANDS)
def test_streams_that_are_closed_stop_no_command(scene: Scene, command: str) -> None:
    run = scene.run(command, partial(closed, 0, 1, 2))
    assert run.exit_code == 0, run
    assert "Traceback" not in run.stderr
    scene.check_whole(command)
