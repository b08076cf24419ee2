"""Replay 3,650 questions on a bank of 8,500 x 10 at d = 3584, as large as the paper's.

    python -m tests.benchmarks.replay_at_scale [--folder DIR]

Random vectors, float16 on disk. Prints seconds, peak memory, and the ratio to the one matrix product
that no replay can avoid, of the same sizes in the same process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import given_vectors
from jisi_cli.cli.app import build_app
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.formats.record import Record

TRAIN, TEST, MODELS, WIDTH = 8_500, 3_650, 10, 3_584
METHODS = "best-single,jisi-query,jisi-router"


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.astype(np.float16)


def build(folder: Path) -> None:
    rng = np.random.default_rng(0)
    count = TRAIN + TEST
    centres = rng.standard_normal((60, WIDTH), dtype=np.float32) * 1.5
    query = centres[rng.integers(0, 60, count)] + rng.standard_normal((count, WIDTH), dtype=np.float32)
    query = (query / np.linalg.norm(query, axis=1, keepdims=True)).astype(np.float16)
    response = np.stack([unit(rng, count, WIDTH) for _ in range(MODELS)], axis=1)
    models = [f"model-{place}" for place in range(MODELS)]
    records = (
        Record(
            dataset=f"dataset-{row % 9}",
            index=str(row),
            query=f"question {row}",
            model=model,
            response=f"answer {row} of {model}",
            completion_tokens=int(rng.integers(1, 2_000)),
            score=float(rng.random() < 0.5),
            split="train" if row < TRAIN else "test",
        )
        for row in range(count)
        for model in models
    )
    rows = {(f"dataset-{row % 9}", str(row)): row for row in range(count)}
    vectors = given_vectors(EmbedderSpec("hashing", "given"), query, response, rows, models)
    write_bank(folder, stage_records(records), vectors, BuildOptions(vector_dtype="float16"))


def bare_product() -> float:
    rng = np.random.default_rng(1)
    bank = rng.standard_normal((TRAIN, WIDTH), dtype=np.float32)
    block = rng.standard_normal((TEST, WIDTH), dtype=np.float32)
    started = time.perf_counter()
    block @ bank.T
    return time.perf_counter() - started


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args(arguments).folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen or Path(temporary) / "bank"
        if not (folder / "bank.json").exists():
            build(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        product = min(bare_product() for _ in range(3))
        started = time.perf_counter()
        done = CliRunner().invoke(build_app(), ["eval", str(folder), "--method", METHODS, "--verbose"])
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(done.output)
    print(f"peak memory {peak:.2f} GB (before the replay {before:.2f} GB)")
    print(f"bare product {product:.2f} s, whole command {seconds:.2f} s, ratio {seconds / product:.1f}")


if __name__ == "__main__":
    main()
