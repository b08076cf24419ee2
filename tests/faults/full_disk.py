"""Run every command on a file system with hardly any room left, and again when there is room.

    mkdir small && mount -t tmpfs -o size=8m tmpfs small
    python -m tests.faults.full_disk small

The everyday share of this is `test_machine.py`, which limits the size of files instead and needs no mount.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.every_command import COMMANDS, Scene, common_ground

ROOM = (0, 4, 12, 24, 40, 64, 128, 400)
"""KiB that are left."""


def fill(folder: Path, leave: int) -> Path:
    """Fill a file system but for some bytes; return the file that does."""
    ballast = folder / "ballast"
    found = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - leave))
    return ballast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a small file system of its own")
    small, wrong, ends = parser.parse_args().folder, 0, Counter[str]()
    with tempfile.TemporaryDirectory() as name, common_ground(Path(name)) as server:
        for command in COMMANDS:
            for room in ROOM:
                folder = small / "scene"
                folder.mkdir()
                scene = Scene(server, Path(name), folder)
                ballast = fill(small, room * 1024)
                run = scene.run(command)
                ballast.unlink()
                again = scene.run(command)
                ends[f"{command} {run.exit_code}"] += 1
                try:
                    assert run.exit_code in (0, 1, 2), run
                    assert "Traceback" not in run.stderr, run
                    assert again.exit_code == 0 or "is a bank already" in again.stderr, again
                    scene.check_whole(command)
                except Exception as error:
                    wrong += 1
                    print(f"{command} with {room} KiB: {type(error).__name__}: {error}", flush=True)
                shutil.rmtree(folder)
    print(f"commands by exit code: {dict(sorted(ends.items()))}; gone wrong: {wrong}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
