"""Recorded answers written as the authors' JSONL, the natural interchange format: one question a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jisi_cli.bank.gathered import Gathered
from jisi_cli.bank.records import Question, Record
from jisi_cli.output_files import ANSWERS, ANSWERS_MARK, written


def write_jisi(path: Path, gathered: Gathered, sources: Iterable[Path] = ()) -> None:
    """Write questions and answers so that `jisi bank build` reads them back as they are.

    Args:
        path: The file, replaced in one step; of several processes that write it, the last one wins, whole.
        gathered: What to write, in its own order.
        sources: Files and folders that were read, which the file must not replace.

    Raises:
        InputError: The file cannot be written.
    """
    mark: dict[str, Any] = {ANSWERS_MARK: "jisi"}
    with written(path, ANSWERS, sources) as file:
        for question in gathered.questions:
            answers = [rows[question.key] for rows in gathered.answers.values() if question.key in rows]
            line = mark | _line(question, answers)
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            mark = {}


def _line(question: Question, answers: Iterable[Record]) -> dict[str, Any]:
    line: dict[str, Any] = {"dataset": question.dataset, "index": question.index}
    line |= {"split": question.split} if question.split else {}
    line |= {"query": question.query, "gt": question.reference}
    line |= {"grader": question.grader} if question.grader else {}
    rows = list(answers)
    line["records"] = {record.model: record.score for record in rows}
    line["usages"] = {
        record.model: {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "cost": record.cost_usd,
        }
        for record in rows
    }
    line["raw_output"] = {record.model: record.response for record in rows}
    # Beyond the authors' format: without it a call that failed would read as one that was never made.
    errors = {record.model: record.error or "" for record in rows if record.status == "failed"}
    line |= {"errors": errors} if errors else {}
    reasons = {record.model: record.finish_reason for record in rows if record.finish_reason is not None}
    return line | ({"finish_reasons": reasons} if reasons else {})
