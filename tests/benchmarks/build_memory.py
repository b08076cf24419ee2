"""Build a bank of a source that is larger than memory may be, and print what that took.

    python -m tests.benchmarks.build_memory [--gigabytes 2] [--response 2000] [--folder DIR]

Writes a JSONL of that size (ten models, responses of that many bytes on average), runs `jisi bank build` on it with
the hashing embedder as a process of its own, and prints its seconds and its largest resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

WORDS = [f"word{number}" for number in range(5_000)]
MODELS = [f"model-{number}" for number in range(10)]
WIDTH = 64


def write_source(path: Path, size: int, response: int) -> int:
    """Write lines of the jisi format until the file has the size; return how many."""
    chance = random.Random(0)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            for _ in range(100):
                spoken = {model: " ".join(chance.choices(WORDS, k=max(1, response // 9))) for model in MODELS}
                line = {
                    "dataset": f"d{count % 9}",
                    "index": count,
                    "query": f"Question {count}: {' '.join(chance.choices(WORDS, k=20))}?",
                    "records": {model: float(chance.random() < 0.5) for model in MODELS},
                    "usages": {model: {"prompt_tokens": 30, "completion_tokens": count % 997} for model in MODELS},
                    "raw_output": spoken,
                    "gt": str(count),
                }
                file.write(json.dumps(line) + "\n")
                count += 1
    return count


def run(*arguments: str | Path) -> tuple[int, float, float]:
    """Run jisi; return its exit code, seconds, and largest resident memory in GB."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "jisi_cli", *map(str, arguments)]
    pid = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - started, usage.ru_maxrss / 1e6


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--response", type=int, default=2_000)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        source = Path(temporary) / "answers.jsonl"
        count = write_source(source, int(chosen.gigabytes * 1e9), chosen.response)
        # Few words, because this is about memory and not about an embedder.
        embedder = ("--embedder", f"hashing:{WIDTH}", "--max-tokens", "8")
        code, seconds, peak = run("bank", "build", source, "-o", Path(temporary) / "bank", *embedder, "--quiet")
        size = source.stat().st_size / 1e9
    print(f"{count:,} questions, {count * len(MODELS):,} answers, {size:.2f} GB: {seconds:.0f} s, peak {peak:.2f} GB")
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
