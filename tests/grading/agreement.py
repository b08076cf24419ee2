"""Measure how graders read answers: against a table of real shapes, and against verdicts that others gave.

    python -m tests.grading.agreement [--list 20] [DATA ...]

First `readings.jsonl`, whose grades a person gave: what is falsely right, falsely wrong, and not read. Then DATA,
Parquet files in the `long` format with the column `score`; the shared recorded answers by default: `numeric` on gsm
and math-l5 and `exact` on crux (ZeroEval's scripts), `exact` on KOR-Bench. Those verdicts are not always right: for gsm
and math-l5 they compare the first number of the parsed answer alone, and for crux its exact text. What differs is
listed by kind, so that each kind can be judged. ZeroEval's own graders must agree with all of its verdicts.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jisi_cli.grading.code import Code
from jisi_cli.grading.math import Math
from jisi_cli.grading.number import stated_number
from jisi_cli.grading.registry import Submission, Ungraded, load_grader, reads_texts_alone

GRADER_OF = {"gsm": "numeric", "math-l5": "numeric", "crux": "exact"}
KOR = {f"kor-{name}": "exact" for name in ("cipher", "counterfactual", "logic", "operation", "puzzle")}
ZEROEVAL = {"gsm": "zeroeval-number", "math-l5": "zeroeval-number", "crux": "zeroeval-text"}
_SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
SHARED = _SHARED / "zeroeval-open10.parquet"
TABLE = Path(__file__).with_name("readings.jsonl")


@dataclass(frozen=True)
class Reading:
    """An answer and how a person reads it.

    Attributes:
        kind: What is hard about it.
        grader: Who grades it.
        reference: The right answer.
        response: The answer.
        grade: 1.0 when it is right, 0.0 when it is wrong, None when nobody can say.
    """

    kind: str
    grader: str
    reference: str
    response: str
    grade: float | None


def readings() -> list[Reading]:
    """Return the table."""
    return [Reading(**json.loads(line)) for line in TABLE.read_text("utf-8").splitlines()]


@contextmanager
def grader_of(name: str) -> Iterator[Callable[[Reading], float | None]]:
    """Give a grader; its processes end with the block."""
    if reads_texts_alone(name):
        text = load_grader(name)
        yield lambda reading: text.grade(Submission("", reading.reference, reading.response, ""))
        return
    made = Math(seconds=60.0) if name == "math" else Code()
    try:
        yield lambda reading: _handed_in(made, reading)
    finally:
        made.close()


def _handed_in(grader: Math | Code, reading: Reading) -> float | None:
    try:
        return grader.grade(Submission("", reading.reference, reading.response, ""))
    except Ungraded:
        return None


def misread() -> dict[str, list[tuple[Reading, float | None]]]:
    """Return what is read otherwise than by a person: what happened -> the answers and their grades."""
    found: dict[str, list[tuple[Reading, float | None]]] = defaultdict(list)
    table = readings()
    for name in sorted({reading.grader for reading in table}):
        with grader_of(name) as grade:
            for reading in table:
                given = grade(reading) if reading.grader == name else reading.grade
                if given != reading.grade:
                    found[_mistake(given)].append((reading, given))
    return found


def _mistake(grade: float | None) -> str:
    return "not read" if grade is None else "falsely right" if grade else "falsely wrong"


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


def compare(path: Path, grader_by_dataset: dict[str, str] = GRADER_OF) -> dict[str, Agreement]:
    """Grade every response of these data sets anew."""
    found: dict[str, Agreement] = defaultdict(Agreement)
    graders = {name: load_grader(name) for name in set(grader_by_dataset.values())}
    for row in rows_of(path):
        if row["dataset"] not in grader_by_dataset:
            continue
        agreement = found[row["dataset"]]
        grade = graders[grader_by_dataset[row["dataset"]]].grade(
            Submission("", row["ground_truth"], row["response"], "")
        )
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
    held = pq.read_schema(path).names
    for row in pq.read_table(path, columns=[name for name in columns if name in held]).to_pylist():
        if row["status"] == "ok" and row["score"] is not None:
            yield {"answer": None, **row}


def kind(row: dict[str, Any], grade: float | None) -> str:
    """Return why two verdicts may differ, in words."""
    verdicts = f"given {'right' if row['score'] else 'wrong'}, graded {_word(grade)}"
    answer, truth = row["answer"] or "", row["ground_truth"]
    if row["dataset"] in KOR:
        return verdicts
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
    parser.add_argument("data", nargs="*", type=Path, default=[SHARED, _SHARED / "kor-open10.parquet"])
    parser.add_argument("--list", type=int, default=3, help="examples of each kind")
    arguments = parser.parse_args()
    mistakes = misread()
    for mistake in ("falsely right", "falsely wrong", "not read"):
        print(f"{TABLE.name}: {len(mistakes[mistake])} of {len(readings())} {mistake}")
        for reading, _ in mistakes[mistake][: arguments.list]:
            print(f"      {reading.grader}, {reading.kind}: {reading.response!r:.80} for {reading.reference!r:.60}")
    for path in arguments.data:
        for graders in ({**GRADER_OF, **KOR}, ZEROEVAL):
            for dataset, agreement in compare(path, graders).items():
                _show(graders[dataset], dataset, agreement, arguments.list)


def _show(grader: str, dataset: str, agreement: Agreement, examples: int) -> None:
    share = f"`{grader}` agrees on {agreement.share:.2%} of {agreement.rows:,}"
    print(f"{dataset}: {share}; {agreement.unscored} unscored")
    kinds = Counter({name: len(rows) for name, rows in agreement.differing.items()})
    for name, number in kinds.most_common():
        print(f"  {number} x {name}")
        for row in agreement.differing[name][:examples]:
            print(f"      {row['index']} {row['model']}: {row['answer']!r:.60} for {row['ground_truth']!r:.60}")


if __name__ == "__main__":
    main()
