"""Recorded answers with a train and a test part, for the tests of `jisi eval`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.cli.commands import jisi, write_lines

SKILL = {"ada": 0.8, "bob": 0.6, "cyd": 0.4}
DATASETS = ("sums", "trees")
PER_DATASET = 20
TEST_ROWS = 6
"""Of twenty, int(0.7 * 20) are train."""


def answers(seed: int = 1) -> list[dict[str, Any]]:
    """Return lines of the jisi format: three models answer questions whose answer is a number."""
    chance = random.Random(seed)
    lines = []
    for dataset in DATASETS:
        for number in range(PER_DATASET):
            a, b = chance.randrange(90), chance.randrange(90)
            right = {model: chance.random() < skill for model, skill in SKILL.items()}
            lines.append(
                {
                    "dataset": dataset,
                    "index": number,
                    "query": f"{number}: there are {a} and {b} {dataset}, how many is that?",
                    "gt": str(a + b),
                    "grader": "numeric",
                    "records": {model: float(is_right) for model, is_right in right.items()},
                    "usages": {
                        model: {
                            "prompt_tokens": 20,
                            "completion_tokens": chance.randrange(5, 60),
                            "cost": 0.001 * place,
                        }
                        for place, model in enumerate(SKILL, start=1)
                    },
                    "raw_output": {
                        model: f"{model} counts. The answer is {a + b + (0 if is_right else chance.randrange(1, 3))}"
                        for model, is_right in right.items()
                    },
                }
            )
    return lines


def build(folder: Path, *options: str, embedder: str = "hashing:64") -> Path:
    """Build the bank of these answers, with the paper's split."""
    source = write_lines(folder / "answers.jsonl", answers())
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", embedder, "--split", "0.7", *options)
    assert run.exit_code == 0, run
    return folder / "bank"
