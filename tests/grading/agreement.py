"""Compare graders with verdicts that others gave: `numeric` on gsm and math-l5, `exact` on crux (ZeroEval's scripts).

    python -m tests.grading.agreement [--list 20] [DATA]

DATA is a Parquet file in the `long` format with the columns `answer` and `score`; the shared recorded answers by
default. Those verdicts are not always right: for gsm and math-l5 they compare the first number of the parsed answer
alone, and for crux its exact text. What differs is listed by kind, so that each kind can be judged.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jisi_cli.grading.number import stated_number
from jisi_cli.grading.registry import load_grader

GRADER_OF = {"gsm": "numeric", "math-l5": "numeric", "crux": "exact"}
SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "zeroeval-open10.parquet"


@dataclass
class Agreement:
    """How a grader's verdicts on one data set go with the given ones.

    Attributes:
        rows: Answers with a given verdict.
        same: Answers with the same verdict; an unscored answer that was given as wrong counts.
        unscored: Answers that the grader could not read.
        differing: What differs, by kind.
    """

    rows: int = 0
    same: int = 0
    unscored: int = 0
    differing: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def share(self) -> float:
        return self.same / self.rows


def compare(path: Path) -> dict[str, Agreement]:
    """Grade every response anew."""
    found: dict[str, Agreement] = defaultdict(Agreement)
    graders = {name: load_grader(name) for name in set(GRADER_OF.values())}
    for row in rows_of(path):
        agreement = found[row["dataset"]]
        grade = graders[GRADER_OF[row["dataset"]]].grade(row["response"], row["ground_truth"])
        agreement.rows += 1
        agreement.unscored += grade is None
        if (grade or 0.0) == row["score"]:
            agreement.same += 1
        else:
            agreement.differing[kind(row, grade)].append(row)
    return dict(sorted(found.items()))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers that have a response and a verdict."""
    columns = ["dataset", "index", "model", "response", "ground_truth", "answer", "score", "status"]
    for row in pq.read_table(path, columns=columns).to_pylist():
        if row["status"] == "ok" and row["score"] is not None and row["dataset"] in GRADER_OF:
            yield row


def kind(row: dict[str, Any], grade: float | None) -> str:
    """Return why two verdicts may differ, in words."""
    verdicts = f"given {'right' if row['score'] else 'wrong'}, graded {_word(grade)}"
    answer, truth = row["answer"] or "", row["ground_truth"]
    if row["dataset"] == "crux":
        return f"{verdicts}: {'equal as Python literals' if _same_literal(answer, truth) else 'another text'}"
    if not answer:
        return f"{verdicts}: no parsed answer was given"
    if stated_number(answer) is None:
        return f"{verdicts}: the parsed answer is more than one number"
    if stated_number(truth) is None:
        return f"{verdicts}: the reference is more than one number"
    return f"{verdicts}: both are numbers"


def _word(grade: float | None) -> str:
    return "unscored" if grade is None else "right" if grade else "wrong"


def _same_literal(answer: str, truth: str) -> bool:
    try:
        return bool(ast.literal_eval(answer) == ast.literal_eval(truth))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--list", type=int, default=3, help="examples of each kind")
    arguments = parser.parse_args()
    for dataset, agreement in compare(arguments.data).items():
        share = f"`{GRADER_OF[dataset]}` agrees on {agreement.share:.2%} of {agreement.rows:,}"
        print(f"{dataset}: {share}; {agreement.unscored} unscored")
        kinds = Counter({name: len(rows) for name, rows in agreement.differing.items()})
        for name, number in kinds.most_common():
            print(f"  {number} x {name}")
            for row in agreement.differing[name][: arguments.list]:
                print(f"      {row['index']} {row['model']}: {row['answer']!r:.60} for {row['ground_truth']!r:.60}")


if __name__ == "__main__":
    main()
