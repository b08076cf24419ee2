"""Commands from a cold start beside their opponents, interleaved: seconds, processor seconds, largest memory.

    python -m tests.benchmarks.cold_start [--rows 8500] [--width 3584] [--rounds 5] [--folder DIR] [--bank BANK]

Makes a bank of that many questions x 10 models (float16) for the hashing embedder, and asks `jisi route` a question on
it; `ask` finds nobody at its endpoint, so that what is left is the way there. The sample bank, whose embedder is
MiniLM, stands for a small one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jisi_cli.bank.build import BuildOptions, write_bank
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import given_vectors
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.formats.record import Record

MODELS = [f"model-{place}" for place in range(10)]
SAMPLE = Path(__file__).parents[2] / "sample_data"
POOL = '[[models]]\nname = "{name}"\nlitellm = "openai/{name}"\napi_base = "http://127.0.0.1:9/v1"\n'


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape, dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float16)


def build(folder: Path, rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    spec = load_embedder(EmbedderSpec(f"hashing:{width}")).spec
    response = np.empty((rows, len(MODELS), width), dtype=np.float16)
    for place in range(len(MODELS)):
        response[:, place] = unit(rng, rows, width)
    records = (
        Record("d", str(row), f"question {row}", model, response=f"answer {row}", completion_tokens=row, score=row % 2)
        for row in range(rows)
        for model in MODELS
    )
    places: dict[tuple[str, str | int], int] = {("d", str(row)): row for row in range(rows)}
    vectors = given_vectors(spec, unit(rng, rows, width), response, places, MODELS)
    write_bank(folder, stage_records(records), vectors, BuildOptions(vector_dtype="float16"))


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a command without output; return seconds, processor seconds, and largest resident memory in GB."""
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, environment, file_actions=quiet)
    _, _, usage = os.wait4(pid, 0)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def commands(bank: Path, pool: Path) -> dict[str, list[str]]:
    python, jisi = [sys.executable, "-c"], [sys.executable, "-m", "jisi_cli"]
    sample = str(SAMPLE / "bank")
    question = "What is 12 times 12?"
    return {
        "python -c pass": [*python, "pass"],
        "llm --help": ["llm", "--help"],
        "jisi --help": [*jisi, "--help"],
        "jisi --version": [*jisi, "--version"],
        "jisi cost --json": [*jisi, "cost", "--json"],
        "jisi bank inspect --json (sample bank)": [*jisi, "bank", "inspect", sample, "--json"],
        "shell completion": [*jisi, "bank"],
        "import sentence_transformers": [*python, "import sentence_transformers"],
        "jisi route (sample bank, MiniLM)": [*jisi, "route", question, "--bank", sample, "--json"],
        "jisi route (large bank)": [*jisi, "route", question, "--bank", str(bank), "--json"],
        "import litellm": [*python, "import litellm"],
        "jisi ask (large bank, nobody there)": [
            *(*jisi, "ask", question, "--bank", str(bank)),
            *("--config", str(pool), "--no-store", "--json"),
        ],
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=8_500)
    parser.add_argument("--width", type=int, default=3_584)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--bank", type=Path)
    parser.add_argument("--only", default="", help="a regular expression for the names of the commands")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        bank = chosen.bank or Path(temporary) / "bank"
        if not (bank / "bank.json").exists():
            build(bank, chosen.rows, chosen.width)
        pool = Path(temporary) / "jisi.toml"
        pool.write_text("".join(POOL.format(name=name) for name in MODELS) + "[budget]\nmax_retries = 0\n")
        environment = os.environ | {f"JISI_{what}_HOME": temporary for what in ("CACHE", "DATA", "CONFIG")}
        environment |= {"OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        completing = {"_JISI_COMPLETE": "complete_bash", "COMP_WORDS": "jisi bank ", "COMP_CWORD": "2"}
        found: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(chosen.rounds):
            for name, command in commands(bank, pool).items():
                if re.search(chosen.only, name):
                    more = completing if name == "shell completion" else {}
                    found.setdefault(name, []).append(run(command, environment | more))
    print(f"{'least of ' + str(chosen.rounds):<40} {'wall s':>8} {'cpu s':>8} {'peak GB':>8}   first: wall, peak")
    for name, times in found.items():
        wall, used, peak = (min(column) for column in zip(*times, strict=True))
        print(f"{name:<40} {wall:8.3f} {used:8.3f} {peak:8.3f}   {times[0][0]:.2f}, {times[0][2]:.3f}")


if __name__ == "__main__":
    main()
