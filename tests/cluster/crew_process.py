"""A process that has workers square numbers, slowly: `python -m tests.cluster.crew_process ENGINE FOLDER`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jisi_cli.cluster.crew import Crew
from jisi_cli.cluster.engine import read_engine
from jisi_cli.cluster.session import Session
from jisi_cli.errors import InputError, JisiError

SAID = "what the cluster says of its nodes"
PIECES = 40


def squaring(folder: Path) -> Callable[[int], int]:
    """Return what squares; it leaves a file for each number, and refuses those below 0."""

    def square(number: int) -> int:
        if number < 0:
            raise InputError(f"{number} is below 0; give another")
        (folder / f"{number}-{os.getpid()}").touch()
        # On a busy machine one worker may start long after the other, which would have done everything by then.
        end = time.monotonic() + 120
        while len({path.name.partition("-")[2] for path in folder.iterdir()}) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.25)
        return number * number

    return square


def say(words: str) -> None:
    """Have the cluster tell all drivers something, as its agents do when a node has died; wait until they heard it."""
    from ray._private import worker
    from ray._private.utils import publish_error_to_driver

    heard = threading.Event()
    printed = worker.print_to_stdstream

    def listen(data: dict[str, Any], *rest: Any, **others: Any) -> None:
        printed(data, *rest, **others)
        if words in str(data):
            heard.set()

    worker.print_to_stdstream = listen
    client = worker.global_worker.gcs_client
    # Whoever listens may not do so yet.
    for _ in range(100):
        publish_error_to_driver("raylet_died", words, client)
        if heard.wait(0.2):
            worker.print_to_stdstream = printed
            return
    raise RuntimeError("no driver heard it")


def main(text: str, folder: Path) -> None:
    engine = read_engine(text)
    assert engine is not None
    from ray._private import worker

    told = worker.print_to_stdstream
    session = Session(engine)
    say(SAID)
    crew: Crew[int, int] = Crew(session, 2, squaring, folder)
    with crew:
        print(json.dumps(list(crew.in_order(range(PIECES)))))
        try:
            list(crew.in_order([2, -1, 3]))
        except JisiError as error:
            print(json.dumps([type(error).__name__, str(error)]))
    session.close()
    # A program that goes on to use Ray itself hears what its cluster says.
    assert worker.print_to_stdstream is told


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
