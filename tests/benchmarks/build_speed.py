"""Build a bank of recorded answers, beside DuckDB reading and writing the same rows, and print rows a processor second.

    python -m tests.benchmarks.build_speed [--questions 11360] [--rounds 2] [--tree PATH] [--only REGEX] [--folder DIR]

Writes ten models' answers to so many questions as a Parquet, a CSV and a JSONL file, with vectors of all of them, and
builds a bank of each without embedding anything; then one of the Parquet file with the hashing embedder. Each is a
process of its own, start-up included; the best of the rounds counts, since a busy machine only ever takes longer.
Then the hashing embedder alone, beside scikit-learn's HashingVectorizer counting the same words and groups of letters,
without start-up.
`--tree` measures another checkout with this same script, so that a change can be compared with what was before it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

MODELS = [f"model-{number}" for number in range(10)]
WORDS = [f"word{number}" for number in range(5_000)]
WIDTH = 384
ROOT = Path(__file__).parents[2]
KINDS = ("parquet", "csv", "jsonl")
READ = {"parquet": "read_parquet('{0}')", "csv": "read_csv('{0}')", "jsonl": "read_json('{0}')"}
DUCKDB = (
    "import duckdb; duckdb.sql('set enable_progress_bar = false'); "
    "duckdb.sql(\"copy (from {0}) to '{1}' (format parquet, compression zstd)\")"
)
EMBEDDED = 6_000
"""Texts that the hashing embedder and its opponent are given, in chunks of 256 as in a build."""
EMBED = """
import time
import pyarrow.parquet
texts = pyarrow.parquet.read_table({0!r}, columns=["response"])["response"].to_pylist()[:{1}]
chunks = [texts[start : start + 256] for start in range(0, len(texts), 256)]
{2}
started = time.process_time()
for chunk in chunks:
    {3}
print(time.process_time() - started)
"""
HASHING = {
    "hashing embedder alone": (
        "from jisi_cli.embed.registry import load_embedder; from jisi_cli.embed.protocol import EmbedderSpec; "
        "embedder = load_embedder(EmbedderSpec('hashing'))",
        "embedder.embed(chunk)",
    ),
    "HashingVectorizer alone": (
        "from sklearn.feature_extraction.text import HashingVectorizer; "
        "words = HashingVectorizer(ngram_range=(1, 2), n_features=1024, norm=None, token_pattern=r'\\w+'); "
        "letters = HashingVectorizer(analyzer='char_wb', ngram_range=(3, 5), n_features=1024, norm=None)",
        "words.transform(chunk), letters.transform(chunk)",
    ),
}
"""What is made ready, and what is done with each chunk."""


def rows(questions: int) -> Iterator[dict[str, Any]]:
    """Yield answers of about 700 bytes, as those of real benchmarks are, in lines."""
    chance = random.Random(0)
    for number in range(questions):
        query = f"Question {number}: {' '.join(chance.choices(WORDS, k=40))}?"
        for model in MODELS:
            lines = (" ".join(chance.choices(WORDS, k=9)) for _ in range(9))
            yield {
                "dataset": f"d{number % 9}",
                "index": str(number),
                "query": query,
                "ground_truth": str(number % 97),
                "model": model,
                "response": "\n".join(lines),
                "prompt_tokens": 60,
                "completion_tokens": number % 997,
                "score": float(chance.random() < 0.5),
            }


def write_sources(folder: Path, questions: int) -> int:
    """Write the rows in each kind of file, and vectors of all; return how many rows there are."""
    found = list(rows(questions))
    pyarrow.parquet.write_table(pa.Table.from_pylist(found), folder / "answers.parquet")
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    vectors = np.random.default_rng(0).standard_normal((questions, len(MODELS) + 1, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    keys: dict[str, Any] = {
        "dataset": np.array([f"d{number % 9}" for number in range(questions)]),
        "index": np.array([str(number) for number in range(questions)]),
    }
    np.savez(folder / "vectors.npz", query=vectors[:, 0], response=vectors[:, 1:], models=np.array(MODELS), **keys)
    return len(found)


def run(tree: Path, *arguments: str | Path) -> float:
    """Run Python on a checkout; return its processor seconds."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    pid = os.posix_spawn(sys.executable, [sys.executable, *map(str, arguments)], environment)
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def embed(tree: Path, folder: Path, words: tuple[str, str]) -> float:
    """Embed responses of the Parquet file by a checkout; return the processor seconds without start-up."""
    code = EMBED.format(str(folder / "answers.parquet"), EMBEDDED, *words)
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def commands(folder: Path) -> dict[str, list[str | Path]]:
    """Return what is measured, by name."""
    bank = folder / "bank"
    given = ("--vectors", folder / "vectors.npz")
    build = ("-m", "jisi_cli", "bank", "build", "--quiet", "--force", "--split", "0.7", "-o", bank)
    found: dict[str, list[str | Path]] = {}
    for kind in KINDS:
        source = folder / f"answers.{kind}"
        found[f"jisi, {kind}"] = [*build, source, *given]
        found[f"DuckDB, {kind}"] = ["-c", DUCKDB.format(READ[kind].format(source), folder / "copy.parquet")]
    found["jisi, parquet, hashing embedder"] = [*build, folder / "answers.parquet", "--embedder", "hashing"]
    found["start-up of jisi alone"] = ["-c", "import jisi_cli.cli.build, pyarrow.parquet"]
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=11_360)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args(arguments)
    tree = chosen.tree.resolve()
    # In a folder of its own, since `python -m` finds modules in the current one before those of the checkout.
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary, chdir(temporary):
        folder = Path.cwd()
        count = write_sources(folder, chosen.questions)
        wanted = {name: words for name, words in commands(folder).items() if re.search(chosen.only, name)}
        embedders = {name: words for name, words in HASHING.items() if re.search(chosen.only, name)}
        best = dict.fromkeys([*wanted, *embedders], float("inf"))
        for _ in range(chosen.rounds):
            for name, words in wanted.items():
                shutil.rmtree(folder / "bank", ignore_errors=True)
                best[name] = min(best[name], run(tree, *words))
            for name, pair in embedders.items():
                best[name] = min(best[name], embed(tree, folder, pair))
    print(f"{count:,} answers: processor seconds, and rows a processor second")
    for name, seconds in best.items():
        done = min(count, EMBEDDED) if name in embedders else count
        print(f"{name:<34}{seconds:7.2f} s{done / seconds:10,.0f}")


if __name__ == "__main__":
    main()
