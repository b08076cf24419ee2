"""Fuzz what jisi reads, guided by coverage.

    pip install atheris
    python -m tests.hostile.fuzz --runs 10000 --counts counts.json            # every surface, one after another
    python -m tests.hostile.fuzz --runs 100000 json_lines manifest            # some of them

Each surface (see `tests/hostile/surfaces.py`) runs in a process of its own. A case that ends as none may is
kept as a file in `--findings`, once per place in the code, and the run goes on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surfaces", nargs="*")
    parser.add_argument("--runs", type=int, default=10_000, help="cases a surface")
    parser.add_argument("--counts", type=Path, help="JSON file of how the cases ended, by surface; added to")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "jisi-findings")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.inside:
        return _fuzz(wanted.surfaces[0], wanted.runs, wanted.findings, wanted.counts)
    from tests.hostile.surfaces import SURFACES

    worst = 0
    for name in wanted.surfaces or SURFACES:
        command = [sys.executable, "-m", "tests.hostile.fuzz", name, "--runs", str(wanted.runs), "--inside"]
        command += ["--findings", str(wanted.findings)] + (["--counts", str(wanted.counts)] if wanted.counts else [])
        worst |= subprocess.run(command, check=False).returncode
    return int(worst != 0)


def _fuzz(name: str, runs: int, findings: Path, counts: Path | None) -> int:
    import atheris

    with atheris.instrument_imports(include=["jisi_cli"]):
        from tests.hostile.surfaces import SURFACES, seeds, withstand
    sys.dont_write_bytecode = True
    surface, ends, seen = SURFACES[name], Counter[str](), set[str]()

    def case(data: bytes) -> None:
        try:
            ends["read" if withstand(surface, data) else "refused"] += 1
        except Exception as error:
            ends["found"] += 1
            place = _place(error)
            if place not in seen:
                seen.add(place)
                _keep(findings, name, place, data, error)
        if sum(ends.values()) >= runs:
            _count(counts, name, ends)
            print(f"{name}: {dict(ends)}", flush=True)
            # libFuzzer ends a process its own way; nothing is left to do here.
            import os

            os._exit(int(bool(seen)))

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            (Path(corpus) / f"{number}").write_bytes(seed)
        settings = ["-timeout=20", "-rss_limit_mb=3000", "-max_len=6000", "-verbosity=0", "-print_final_stats=0"]
        atheris.Setup([sys.argv[0], *settings, f"-artifact_prefix={findings}/", corpus], case)
        findings.mkdir(parents=True, exist_ok=True)
        atheris.Fuzz()
    return 0


def _place(error: BaseException) -> str:
    """Return where in jisi an error was raised or passed through last, and its kind."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "jisi_cli" in frame.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno} {type(error).__name__}"


def _keep(findings: Path, name: str, place: str, data: bytes, error: BaseException) -> None:
    stem = f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    (findings / stem).write_bytes(data)
    print(f"FOUND {name} at {place}: {error!s:.200} ({findings / stem})", flush=True)


def _count(counts: Path | None, name: str, ends: Counter[str]) -> None:
    if counts is None:
        return
    before = json.loads(counts.read_text()) if counts.exists() else {}
    before[name] = dict(Counter(before.get(name, {})) + ends)
    counts.write_text(json.dumps(before, indent=1))


if __name__ == "__main__":
    sys.exit(main())
