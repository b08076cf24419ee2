"""What `jisi eval --sweep` does: settings compared on train rows by cross-validation, never on test rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from jisi_cli.cli.output import Column, Output
from jisi_cli.cli.progress import counted
from jisi_cli.cli.session import Session
from jisi_cli.errors import InputError
from jisi_cli.evaluation.experiments import parse_sweep, swept
from jisi_cli.evaluation.statistics import paired_difference
from jisi_cli.evaluation.test_set import from_bank
from jisi_cli.evaluation.validation import average_of, spread_folds, validate
from jisi_cli.methods.registry import MethodContext

_SWEPT = ("jisi-router", "jisi-query", "jisi-vote")


def run_sweep(
    session: Session,
    context: MethodContext,
    texts: Sequence[str],
    methods: Sequence[str],
    seed: int,
    out: Output,
    *,
    as_json: bool,
) -> None:
    """Score every combination of settings and compare it with the settings in force.

    Raises:
        InputError: A sweep cannot be read, or no method was named that a replay can score.
    """
    method = next((name for name in methods if name in _SWEPT), None)
    if method is None:
        raise InputError(f"--sweep needs one of the methods {', '.join(_SWEPT)}; name it with --method")
    settings = [("in force", context.settings), *swept(context.settings, parse_sweep(texts))]
    train = from_bank(session.bank, session.models, session.bank.train_rows, {})
    folds = spread_folds(context.datasets, seed)
    with counted(out, "cross-validating") as on_progress:
        scores = asyncio.run(validate(method, [setting for _, setting in settings], context, train, folds, on_progress))
    rows: list[dict[str, Any]] = []
    for (label, setting), values in zip(settings, scores, strict=True):
        gain = paired_difference(values, scores[0], context.datasets, "in force", np.random.default_rng(seed))
        rows.append(
            {
                "label": label,
                "average": average_of(values, context.datasets),
                "difference": {"average": gain.average, "low": gain.low, "high": gain.high},
                "settings": setting.to_json(),
            }
        )
    if as_json:
        out.json({"method": method, "folds": len(set(folds.tolist())), "seed": seed, "sweep": rows})
        return
    out.table([Column("settings"), Column("Avg", right=True), Column("vs in force", right=True)], map(_row, rows))
    out.note(f"{method}, cross-validated on {len(train):,} train questions; test rows were not touched")


def _row(row: dict[str, Any]) -> list[str]:
    low, high = 100 * row["difference"]["low"], 100 * row["difference"]["high"]
    shown = f"{100 * row['difference']['average']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return [row["label"], f"{100 * row['average']:.2f}", shown]
