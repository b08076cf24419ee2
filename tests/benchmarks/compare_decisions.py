"""Check that two checkouts decide the same, bit for bit.

    python -m tests.benchmarks.compare_decisions OLD NEW --bank BANK --questions FILE [--method all] [--keep FOLDER]

Each checkout replays the bank with `jisi eval --method all --json --out` and routes the questions with `jisi route
--input --jsonl`, in processes and folders of its own. Everything they write is compared, except what the clock says
and the versions. A key that only the new one writes is mentioned and is no difference.

OLD or NEW may also be a folder in which an earlier run with `--keep` left one side. The exit code is 1 if anything
that both write differs, or if the new one left something out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""How many threads share a matrix product decides its last bits, and a busy machine decides how many."""
CLOCK_AND_VERSIONS = frozenset({"seconds", "versions"})
SHOWN = 20
FILES = ("eval.json", "results.jsonl", "route.jsonl")


class Difference(NamedTuple):
    """One place where two documents differ, with the item it is about, such as a question."""

    path: str
    what: str
    item: str = ""


def produce(tree: Path, bank: Path, questions: Path, method: str, folder: Path) -> None:
    """Let one checkout write what it decides into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JISI_")}
    own = {f"JISI_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "DATA", "CONFIG")}
    env = {**inherited, **own, **ONE_THREAD, "PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1"}
    results = ["--out", str(folder / "results.jsonl")]
    for name, arguments in {
        "route.jsonl": ["route", "--bank", str(bank), "--input", str(questions), "--jsonl"],
        "eval.json": ["eval", "--bank", str(bank), "--method", method, "--json", *results],
    }.items():
        with (folder / name).open("wb") as out:
            subprocess.run([sys.executable, "-m", "jisi_cli", *arguments], env=env, cwd=folder, stdout=out, check=True)


def differences(old: Any, new: Any, path: str = "") -> Iterator[Difference]:
    """Yield where two JSON values differ; `added` marks a key that only the new one has."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (old.keys() | new.keys()) - CLOCK_AND_VERSIONS:
            below = f"{path}.{key}" if path else key
            if key not in old:
                yield Difference(below, "added")
            elif key not in new:
                yield Difference(below, "missing")
            else:
                yield from differences(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif type(old) is not type(new) or old != new:
        yield Difference(path, f"{json.dumps(old)[:90]} is now {json.dumps(new)[:90]}")


def items(path: Path) -> dict[tuple[str, ...], Any]:
    """Read a file as named parts: the lines of a table by question and method, the methods of a report by name."""
    if path.suffix == ".json":
        document = json.loads(path.read_text(encoding="utf-8"))
        methods = {("method", entry["name"]): entry for entry in document.pop("methods")}
        return {("report",): document, **methods}
    parts = {}
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        entry = json.loads(line)
        key = tuple(str(entry[name]) for name in ("method", "dataset", "index") if entry.get(name) is not None)
        parts[key or (str(place),)] = entry
    return parts


def compare(old: Path, new: Path) -> Iterator[Difference]:
    """Yield every difference between two folders of decisions."""
    for name in FILES:
        before, after = items(old / name), items(new / name)
        for key in before.keys() | after.keys():
            item = " ".join(key)
            if key not in after:
                yield Difference(name, "missing", item)
            elif key not in before:
                yield Difference(name, "added", item)
            else:
                for found in differences(before[key], after[key]):
                    yield found._replace(path=f"{name}: {found.path}", item=item)


def show(found: list[Difference]) -> int:
    """Write what differs, most frequent places first; return how many places count as a difference."""
    added = Counter(one.path for one in found if one.what == "added")
    for path, count in added.most_common():
        print(f"only in the new one: {path} ({count:,} times)")
    real = [one for one in found if one.what != "added"]
    for path, count in Counter(one.path for one in real).most_common(SHOWN):
        first = min((one for one in real if one.path == path), key=lambda one: one.item)
        print(f"DIFFERS: {path} ({count:,} times), first in {first.item}: {first.what}")
    return len(real)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check that two checkouts decide the same, bit for bit.")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True, help="JSON lines with a `query` each")
    parser.add_argument("--method", default="all")
    parser.add_argument("--keep", type=Path, help="leave what both wrote in this folder, as `old` and `new`")
    chosen = parser.parse_args(arguments)
    bank, questions = chosen.bank.resolve(), chosen.questions.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        sides = {}
        for side, tree in (("old", chosen.old.resolve()), ("new", chosen.new.resolve())):
            sides[side] = tree
            if not (tree / FILES[0]).exists():
                sides[side] = (chosen.keep or Path(temporary)).resolve() / side
                produce(tree, bank, questions, chosen.method, sides[side])
        found = list(compare(sides["old"], sides["new"]))
        compared = sum(len(items(sides["new"] / name)) for name in FILES)
    count = show(found)
    print(f"{compared:,} decisions and figures compared: " + (f"{count:,} differences" if count else "all equal"))
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
