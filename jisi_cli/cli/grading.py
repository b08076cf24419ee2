"""What `jisi bank grade` does, and what every command says that grades."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jisi_cli.background import run_calls
from jisi_cli.bank.bank import Bank
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.score_sources import labels_needed, rows_without_key
from jisi_cli.bank.update import update_scores
from jisi_cli.callees import judges_of
from jisi_cli.cli.output import Column, Output, count, one_line, paid
from jisi_cli.cli.progress import counted
from jisi_cli.collect.agreement import KeylessScores, agree_on, read_keyless_answers
from jisi_cli.collect.regrade import Regraded, chosen_rows, regrade
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions, compares_models
from jisi_cli.spending import RunAccount
from jisi_cli.types import Pool

_SHOWN_REASONS = 5
_NO_FLAGS = GradingOptions()


def grade_bank(
    path: Path,
    grading: GradingOptions,
    account: RunAccount,
    out: Output,
    *,
    models: Sequence[str] | None,
    datasets: Sequence[str] | None,
    dry_run: bool,
) -> dict[str, Any]:
    """Grade a bank's responses again; return what changed as plain data.

    Args:
        path: The bank's folder.
        grading: Which graders grade what.
        account: How a judge is called, and what that may cost.
        out: Where notes go.
        models: Whose responses; None for all.
        datasets: To which questions; None for all.
        dry_run: Write nothing, and ask no judge.

    Raises:
        BankError: The bank cannot be used, or is being built.
        InputError: A grader, a model or a data set cannot be used.
    """
    if models is not None and grading.only_comparing() != _NO_FLAGS:
        raise InputError("--models: agreement needs the answers of all models of the bank; leave --models out")
    bank = Bank(path)
    judges = judges_of(grading, account.config)
    with nullcontext() if dry_run else exclusive(path):
        # Only what is read under the lock is what will be replaced.
        bank = bank if dry_run else Bank(path)

        async def graded(pool: Pool | None) -> tuple[Regraded, GraderSet]:
            with GraderSet(grading, pool) as graders:
                found = await regrade(
                    bank,
                    graders,
                    models=models,
                    datasets=datasets,
                    concurrency=account.concurrency,
                    free_only=dry_run,
                    on_graded=on_progress,
                    workers=workers,
                )
                return found, graders

        async def graded_by_judges() -> tuple[Regraded, GraderSet]:
            async with account.pool(judges) as pool:
                return await graded(pool)

        with account.workers() as workers, counted(out, "grading") as on_progress:
            found, graders = run_calls(graded_by_judges() if judges else graded(None))
        agreement = agreed(bank, grading, found, out, datasets) if models is None else None
        written = not dry_run and bool(found.changed or found.graders)
        if written:
            scores = {model: grades.scores for model, grades in found.models.items()}
            update_scores(bank, scores, found.graders, found.sources)
    note_grading(graders, out)
    if agreement is not None:
        note_agreement(path, agreement, out)
    return {
        "bank": str(path),
        "models": {model: grades.to_json() for model, grades in found.models.items()},
        "graded": sum(grades.graded for grades in found.models.values()),
        "changed": found.changed,
        "unscored": sum(grades.unscored for grades in found.models.values()),
        "unscored_because": dict(graders.unscored),
        "left_as_they_are": found.left,
        "left_to_a_judge": found.costly,
        "agreement": None if agreement is None else agreement.to_json(),
        "judge_calls": graders.bill.calls,
        "judge_cost_usd": graders.bill.cost_usd,
        "written": written,
        "stopped": account.overrun or found.stopped,
    }


def agreed(
    bank: Bank,
    grading: GradingOptions,
    found: Regraded,
    out: Output,
    datasets: Sequence[str] | None = None,
) -> KeylessScores | None:
    """Score by agreement the questions that are scored so; None if there are none.

    Args:
        bank: The bank.
        grading: Which graders grade what.
        found: Where the new scores go.
        out: Where progress goes.
        datasets: Which questions; None for all.
    """
    questions = chosen_rows(bank, None, datasets)
    rows = [row for row, question in questions.items() if compares_models(grading.spec_for(question))]
    if not rows:
        return None
    with counted(out, "reading") as on_read:
        keyless = rows_without_key(bank)
        finals = read_keyless_answers(bank, keyless[np.isin(keyless, rows)], on_read)
    return replace(agree_on(bank, finals, found), graded=len(rows) - len(finals.rows))


def note_agreement(bank: Path, scores: KeylessScores, out: Output) -> None:
    """Say what agreement scored, and what it cannot see."""
    labelled = f", {count(scores.label, 'question')} by labels" if scores.label else ""
    silent = f"; no two models agree on {count(scores.unscored, 'question')}, unscored" if scores.unscored else ""
    out.note(f"{count(scores.agreement, 'question')} scored by agreement{labelled}{silent}")
    if scores.graded:
        out.note(f"{count(scores.graded, 'question')} left as graders scored them")
    if scores.needs_labels:
        out.warn(labels_needed(bank, scores.agreement + scores.label + scores.unscored))


def show_grading(data: dict[str, Any], out: Output) -> None:
    """Tell what grading again changed."""
    columns = [Column("model"), *(Column(title, right=True) for title in _TITLES)]
    rows = [
        [model, *(f"{grades[name]:,}" for name in _COUNTS), _percent(grades["before"]), _percent(grades["after"])]
        for model, grades in data["models"].items()
    ]
    out.table(columns, rows)
    if data["left_as_they_are"]:
        out.note(f"{count(data['left_as_they_are'], 'response')} left as they are: no grader or no reference")
    if data["left_to_a_judge"]:
        out.note(f"{count(data['left_to_a_judge'], 'response')} would be shown to the judge; it was not asked")
    out.note(
        f"{count(data['changed'], 'score')} changed in {data['bank']}" if data["written"] else "nothing was written"
    )


def raise_if_stopped(data: dict[str, Any]) -> None:
    """End the command as a budget demands, after what was graded is in the bank.

    Raises:
        BudgetError: A budget stopped the judge.
    """
    if data["stopped"] is not None:
        raise BudgetError(f"{data['bank']} holds what the budget allowed; raise --max-cost: {data['stopped']}")


def note_grading(graders: GraderSet, out: Output) -> None:
    """Say why responses have no score, what the judge cost, and how well code was confined."""
    reasons = graders.unscored.most_common()
    for reason, number in reasons[:_SHOWN_REASONS]:
        out.note(f"{count(number, 'response')} unscored by {one_line(reason, 300)}")
    rest = sum(number for _, number in reasons[_SHOWN_REASONS:])
    if rest:
        out.note(f"{count(rest, 'response')} unscored for {len(reasons) - _SHOWN_REASONS:,} other reasons")
    if graders.bill.calls:
        cost = paid(graders.bill.known_usd, graders.bill.unknown_costs)
        out.note(f"{count(graders.bill.calls, 'call')} of the judge for {cost}")
    for warning in graders.warnings:
        out.warn(warning)


_COUNTS = ("graded", "changed", "unscored", "lost")
_TITLES = ("graded", "changed", "unscored", "lost their score", "before", "after")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
