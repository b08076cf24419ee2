"""Kill every command just before each of the calls by which it changes files, locks them or reaches a server.

    python -m tests.faults.killed_at_calls [--kills 200] [--seed 0] [--commands ask eval …]

A bank that was there is whole right after the kill: the old one or the new one. The same command then runs
undisturbed to its end, and leaves what it leaves when nobody kills it; no answer that was kept is asked for again.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jisi_cli.bank.bank import Bank
from tests.bank.making import everything
from tests.faults.afflictions import killed_before
from tests.faults.every_command import CALLING, Scene, common_ground
from tests.faults.scene import cached_answers
from tests.loopback import Loopback

COMMANDS = ("ask", "eval", "build", "append", "collect")


@dataclass
class Outcome:
    """What became of the kills.

    Attributes:
        kills: Processes that were killed, by command.
        places: Calls at which a command can be killed.
        wrong: What was not as it should be, in words.
    """

    kills: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(folder: Path, *, kills: int, seed: int, commands: Sequence[str] = COMMANDS) -> Outcome:
    """Kill the commands in turn, each at places that are spread over its whole way."""
    outcome, chance, share = Outcome(), random.Random(seed), -(-kills // len(commands))
    common = folder / "common"
    common.mkdir()
    with common_ground(common) as server:
        for command in commands:
            scene = made(server, common, folder / f"{command}-whole")
            tally = folder / f"{command}.calls"
            finished = scene.run(command, partial(killed_before, None, tally))
            if finished.exit_code:
                raise RuntimeError(finished.stderr)
            outcome.places[command] = tally.stat().st_size
            for place in spread(outcome.places[command], share, chance):
                scene = made(server, common, folder / f"{command}-{place}-{outcome.kills[command]}")
                outcome.kills[command] += 1
                try:
                    kill_once(scene, command, place)
                except Exception as error:
                    outcome.wrong.append(f"{command}, killed at call {place}: {type(error).__name__}: {error}")
    return outcome


def made(server: Loopback, common: Path, folder: Path) -> Scene:
    folder.mkdir()
    server.requests.clear()
    return Scene(server, common, folder)


def spread(places: int, share: int, chance: random.Random) -> list[int]:
    """Return some of the places, each once before any comes again."""
    found: list[int] = []
    while len(found) < share:
        found += chance.sample(range(1, places + 1), min(places, share - len(found)))
    return found


def kill_once(scene: Scene, command: str, place: int) -> None:
    """Kill a command at a place, look at what it leaves, and let it run to the end.

    Raises:
        AssertionError: Something is not as it should be.
    """
    killed = scene.run(command, partial(killed_before, place, scene.folder / "calls"))
    # Which call is which varies with the order in which answers come; a command may get through.
    assert killed.exit_code in (-9, 0), killed
    everything(Bank(scene.bank))
    kept = cached_answers(scene.folder / "cache" / "answers")
    # Requests of the killed process may reach the server yet.
    again = scene.run(command, key="sk-again")
    # A build that had committed its bank when it was killed is done.
    assert again.exit_code == 0 or "is a bank already" in again.stderr, again
    scene.check_whole(command)
    if command in CALLING and again.exit_code == 0:
        wanted = cached_answers(scene.folder / "cache" / "answers")
        assert scene.asked_with("sk-again") == wanted - kept, "an answer that was kept was asked for again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), kills=arguments.kills, seed=arguments.seed, commands=arguments.commands)
    print(f"kills: {dict(outcome.kills)}, at one of so many calls each: {dict(outcome.places)}")
    print(f"gone wrong: {len(outcome.wrong)}")
    for wrong in outcome.wrong:
        print(f"  {wrong}")
    raise SystemExit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
