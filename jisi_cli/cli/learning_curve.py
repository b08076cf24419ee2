"""What more questions would bring a bank: its resolution, its learning curve, and a word on small banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Column, Output, count

if TYPE_CHECKING:
    from jisi_cli.bank.bank import Bank
    from jisi_cli.bank.resolution import Resolution
    from jisi_cli.evaluation.learning_curve import LearningCurve
    from jisi_cli.hyperparameters import Hyperparameters
    from jisi_cli.workers import Workers

SMALL = 200
"""Train questions below which a build says what more would bring."""


def measure_curve(
    bank: Bank,
    settings: Hyperparameters,
    out: Output,
    models: Sequence[str] | None = None,
    workers: Workers | None = None,
) -> LearningCurve | None:
    """Measure a bank's learning curve, with progress; None, with a warning, where its scores do not allow one.

    Args:
        bank: The bank.
        settings: Hyperparameters in force; the vote is taken of their candidates.
        out: Where progress goes.
        models: Which of its models take part; all by default.
        workers: Who takes part in the work; None for this process alone.
    """
    from jisi_cli.bank.score_sources import keyless_problem
    from jisi_cli.cli.progress import counted
    from jisi_cli.evaluation.final_codes import answer_codes
    from jisi_cli.evaluation.learning_curve import LEAST_QUESTIONS, learning_curve

    rows, problem = bank.train_rows, keyless_problem(bank)
    if problem is not None:
        out.warn(f"no learning curve: {problem}")
        return None
    if len(rows) < LEAST_QUESTIONS:
        out.warn(f"a learning curve needs {LEAST_QUESTIONS} train questions; the bank has {len(rows)}")
        return None
    with counted(out, "reading final answers") as on_progress:
        finals = answer_codes(bank, models or bank.models, on_progress, workers)
    datasets = [bank.keys[row][0] for row in rows.tolist()]
    with counted(out, "learning curve") as on_progress:
        voting = replace(settings, switch="consensus")
        arrays = bank.arrays(models)
        return learning_curve(arrays, datasets, finals, voting, seed=42, on_progress=on_progress, workers=workers)


def show_resolution(found: Resolution | None, out: Output) -> None:
    """Say how many questions are enough to tell models apart."""
    if found is None:
        return
    out.sentence(f"{found.to_words()}; it has {found.questions:,} to decide by")


def show_curve(curve: LearningCurve, out: Output) -> None:
    """Show what banks of fewer questions are worth, and what more would bring."""
    settings = curve.settings
    out.separate()
    columns = [Column(title, right=True) for title in ("questions", "vote", "best single", "gain", "95 % interval")]
    rows = [
        [
            f"{point.questions:,}",
            f"{100 * point.average:.2f}",
            f"{100 * point.best_single:.2f}",
            f"{100 * point.gain.average:+.2f}",
            point.gain.interval(),
        ]
        for point in curve.points
    ]
    out.table(columns, rows)
    out.sentence(
        f"vote: of the {settings['k']} candidates, on held-out train questions (Avg, mean of {curve.draws} banks drawn "
        f"of each size; n_base={settings['n_base']}, gamma={settings['gamma']:g}, prior={settings['prior']:g}); "
        "best single: the model that is best on the same bank"
    )
    said = curve.in_words()
    if said is not None:
        out.sentence(said)


def note_curve(bank: Bank, out: Output) -> None:
    """Say that there is a learning curve, which takes too long to be shown unasked."""
    from jisi_cli.bank.score_sources import keyless_problem
    from jisi_cli.evaluation.learning_curve import LEAST_QUESTIONS

    if len(bank.train_rows) >= LEAST_QUESTIONS and keyless_problem(bank) is None:
        out.note("--curve measures what a vote gains with fewer questions, and whether more would help")


def note_small_bank(path: Path, out: Output) -> None:
    """Say of a bank that was built what it lacks to decide well: train questions, scores, or more questions."""
    from jisi_cli.bank.bank import Bank
    from jisi_cli.bank.score_sources import USUAL_LABELS

    if out.quiet:
        return
    bank = Bank(path)
    questions = len(bank.train_rows)
    if not questions:
        out.note(
            "the bank has no train question, so nothing can be decided with it; build it with a larger --split or "
            "without one"
        )
    elif not _is_scored(bank):
        wanted = min(USUAL_LABELS, questions)
        out.note(
            "no answer has a score yet, so nothing can be decided with the bank; score the answers by what the models "
            f"agree on (jisi bank grade {path} --grader agreement), then say which answers are right on {wanted} "
            f"questions (jisi bank label {path} --n {wanted})"
        )
    elif questions < SMALL:
        out.note(_small(bank, questions))


def _is_scored(bank: Bank) -> bool:
    """Whether a train row has a score."""
    return any((bank.answers(model).scores[bank.train_rows] >= 0).any() for model in bank.models)


def _small(bank: Bank, questions: int) -> str:
    from jisi_cli.bank.resolution import resolution

    found = resolution(bank)
    needed = "" if found is None else f": {found.to_words()}"
    return (
        f"the bank is small, with {count(questions, 'train question')}{needed}; add more with --append, and use "
        "--prior 10 until then, which makes choices steadier (jisi bank inspect --curve shows what more would bring)"
    )
