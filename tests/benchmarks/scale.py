"""Banks of 10^4, 10^5 and 10^6 questions: what building, opening, routing and inspecting cost, and how it grows.

    python -m tests.benchmarks.scale [--rows 10000 100000] [--folder DIR]

Ten models, d = 384, float16 on disk, one question in ten a test row; query vectors lie around planted centres.
Nothing is embedded. Every step runs in a process of its own, of which the seconds (wall clock and processor) and the
largest resident memory, pages of mapped files included, are printed.
`route` is a question routed in an open bank, beside the bare scan `E @ e` of the same vectors in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.inspect import inspect_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import Wanted
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.formats.record import Record
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, Probes, coarse, fine

MODELS = tuple(f"model-{place}" for place in range(10))
WIDTH, CENTRES, POOL, QUERIES = 384, 500, 4096, 9
SETTINGS = Hyperparameters()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class PlantedVectors:
    """Query vectors around centres; response vectors out of a pool: made when they are written, from row numbers."""

    truncated = 0
    spec = EmbedderSpec("planted", "1", dimension=WIDTH)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._centres = 1.2 * unit(rng.standard_normal((CENTRES, WIDTH), dtype=np.float32))
        self._pool = unit(rng.standard_normal((POOL, WIDTH), dtype=np.float32))

    def prepare(self, texts: Sequence[str], folder: Path, on_progress: object = None) -> int:
        return 0

    def near(self, rows: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((len(rows), WIDTH), dtype=np.float32) / WIDTH**0.5
        return unit(self._centres[rows % CENTRES] + noise)

    def queries(self, wanted: Wanted) -> np.ndarray:
        rows = np.array([int(index) for _, index in wanted.keys])
        return self.near(rows, int(rows[0]))

    def responses(self, model: str, wanted: Wanted) -> np.ndarray:
        rows = np.array([int(index) for _, index in wanted.keys])
        return self._pool[(rows * 31 + MODELS.index(model)) % POOL]


def records(count: int) -> Iterator[Record]:
    rng = np.random.default_rng(1)
    for row in range(count):
        right = rng.random(len(MODELS)) < 0.5
        for place, model in enumerate(MODELS):
            yield Record(
                dataset="planted",
                index=str(row),
                query=f"question {row}",
                model=model,
                response=f"answer {row}",
                completion_tokens=(row * 7 + place) % 2000,
                score=float(right[place]),
                split="test" if row % 10 == 0 else "train",
                order=row,
            )


def build(folder: Path, rows: int) -> dict[str, Any]:
    options = BuildOptions(vector_dtype="float16")
    write_bank(folder, stage_records(records(rows), folder=folder / ".building"), PlantedVectors(), options)
    return {"gigabytes": sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e9}


def opened(folder: Path) -> BankArrays:
    return Bank(folder).arrays()


def open_bank(folder: Path, rows: int) -> dict[str, Any]:
    first = coarse(opened(folder), PlantedVectors().near(np.array([3]), -1 % 2**32)[0], SETTINGS)
    return {"support": len(first.rows)}


def best(run: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the least wall-clock and processor seconds of several runs."""
    found = []
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - started, time.process_time() - used))
    return min(wall for wall, _ in found), min(used for _, used in found)


def route(folder: Path, rows: int) -> dict[str, Any]:
    arrays = opened(folder)
    planted = PlantedVectors()
    queries = planted.near(np.arange(QUERIES), rows)
    places = iter(range(10**9))
    scan = best(lambda: arrays.query_vectors @ queries[next(places) % QUERIES], QUERIES)
    stage1 = best(lambda: coarse(arrays, queries[next(places) % QUERIES], SETTINGS), QUERIES)
    first = coarse(arrays, queries[0], SETTINGS)
    probes = Probes(first.candidates, queries[1:4], np.array([10.0, 200.0, 900.0]))
    stage2 = best(lambda: fine(arrays, first, probes, SETTINGS), QUERIES)
    return {
        "support": len(first.rows),
        "scan_ms": 1e3 * scan[0],
        "stage1_ms": 1e3 * stage1[0],
        "stage2_ms": 1e3 * stage2[0],
        "stage1_to_scan": stage1[0] / scan[0],
        "stage1_to_scan_cpu": stage1[1] / scan[1],
    }


def inspect(folder: Path, rows: int) -> dict[str, Any]:
    return {"duplicates": inspect_bank(Bank(folder), SETTINGS).duplicates}


STEPS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "build": build,
    "open, first": open_bank,
    "open": open_bank,
    "route": route,
    "inspect": inspect,
}


def measure(step: str, folder: Path, rows: int) -> dict[str, Any]:
    """Carry out one step in this process, and say what it took."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    found = STEPS[step](folder, rows)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - started, "cpu": used, "peak_gb": after.ru_maxrss / 1e6, **found}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.step:
        print(json.dumps(measure(chosen.step, chosen.folder, chosen.rows[0])))
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        for rows in chosen.rows:
            for step in STEPS:
                folder = Path(temporary) / str(rows)
                command = [sys.executable, "-m", __spec__.name, "--step", step, "--folder", str(folder)]
                done = subprocess.run([*command, "--rows", str(rows)], check=True, capture_output=True, env=os.environ)
                facts = json.loads(done.stdout).items()
                print(f"{rows:>9,} {step:<12}", "  ".join(f"{name} {value:.3g}" for name, value in facts), flush=True)


if __name__ == "__main__":
    main()
