"""Measure embedding against `SentenceTransformer.encode`: the same model and texts in the same process, in turns.

    python -m tests.benchmarks.embedding_throughput [--texts 1280] [--rounds 3]

The texts are the questions and answers of the sample data, with their repetitions. jisi's side is what a build does:
it drops repetitions, sorts by length, embeds, and keeps every chunk on disk. `encode` gets the same list and sorts it
by length, too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jisi_cli.bank.vectors import EmbeddedVectors
from jisi_cli.embed.model_folder import packaged_minilm
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder

ANSWERS = Path(__file__).parent.parent.parent / "sample_data" / "answers.jsonl"


class Round(NamedTuple):
    """One turn: wall and processor seconds."""

    wall: float
    processor: float


def sample_texts(count: int) -> list[str]:
    """Return questions and answers of the sample data that have words."""
    texts = []
    for line in ANSWERS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        texts += [row["query"], *row["raw_output"].values()]
    return [text for text in texts if text and text.strip()][:count]


def measure(work: Callable[[], object]) -> Round:
    """Time one turn."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Round(time.perf_counter() - wall, time.process_time() - processor)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args(arguments)
    from sentence_transformers import SentenceTransformer

    texts = sample_texts(parsed.texts)
    theirs = SentenceTransformer(str(packaged_minilm()), device="cpu", local_files_only=True)
    ours = load_embedder(EmbedderSpec("minilm"))
    with tempfile.TemporaryDirectory() as folder:

        def build(name: str) -> None:
            EmbeddedVectors(ours).prepare(texts, Path(folder) / name)

        def encode() -> np.ndarray:
            return theirs.encode(texts, normalize_embeddings=True, show_progress_bar=False)

        # What is loaded or compiled at first use is neither's throughput.
        apart = np.abs(1 - np.einsum("nd,nd->n", ours.embed(texts[:20]), encode()[:20])).max()
        build("first")
        rounds = []
        for number in range(parsed.rounds):
            rounds.append((measure(encode), measure(partial(build, f"round {number}"))))
    print(f"{len(texts):,} texts, {len(set(texts)):,} of them different; 1 - cosine at most {apart:.1e}")
    for alone, built in rounds:
        print(
            f"encode {alone.wall:.2f} s ({alone.processor:.2f} of processor time), "
            f"jisi {built.wall:.2f} s ({built.processor:.2f}): {alone.wall / built.wall:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
