"""A comparison as a document: what `jisi eval --json` prints and `--report` draws."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jisi_cli
from jisi_cli.cli.eval_request import EvalRequest
from jisi_cli.cli.output import Output
from jisi_cli.cli.report import origin_of, write_page
from jisi_cli.cli.session import Session
from jisi_cli.evaluation.report import MethodReport
from jisi_cli.evaluation.results import Result
from jisi_cli.evaluation.test_set import TestSet


def report_json(
    session: Session, request: EvalRequest, tests: TestSet, reports: Sequence[MethodReport]
) -> dict[str, Any]:
    """Return the whole comparison with what is needed to make it again."""
    manifest = session.bank.manifest
    return {
        "methods": [report.to_json() for report in reports],
        "questions": len(tests),
        "test": tests.source,
        "bank": str(session.bank.path),
        "bank_parts": [part.sha256 for part in manifest.queries],
        "models": list(session.models),
        "embedder": manifest.embedder.to_json(),
        "split": {"fraction": manifest.split.fraction, "seed": manifest.split.seed} if manifest.split else None,
        "settings": session.settings_json(),
        "failed_answers": tests.failed,
        "seed": request.seed,
        "live": request.live,
        "versions": {"jisi": jisi_cli.__version__, "numpy": np.__version__},
    }


def write_report(
    path: Path,
    found: Mapping[str, Any],
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    tests: TestSet,
    session: Session,
    out: Output,
) -> None:
    """Write the page of the comparison; what made it is what `--json` says of it."""
    from jisi_cli.reporting.comparison_page import comparison_page
    from jisi_cli.reporting.question_details import Material

    material = Material(tests, {question.key: question for question in session.bank.questions})
    left_out = ("methods", "bank_parts", "versions")
    made = {name: value for name, value in found.items() if name not in left_out}
    answers = session.bank.manifest.responses
    parts = "".join(part.sha256 for model in session.models for part in answers[model])
    made["SHA-256 of the bank's questions"] = found["bank_parts"]
    made["SHA-256 of its answers' SHA-256"] = hashlib.sha256(parts.encode()).hexdigest()
    write_page(path, comparison_page(reports, results, origin_of(made), material), out)
