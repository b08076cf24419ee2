"""Experiments of `jisi eval`: settings compared on train rows (--sweep), and several splits of the bank (--splits)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jisi_cli.cli.interrupts import give_time
from jisi_cli.cli.output import Column, Output
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from jisi_cli.comparing_splits import SplitRun
    from jisi_cli.evaluation.comparison import MethodReport
    from jisi_cli.evaluation.splits import Split, SplitComparison
    from jisi_cli.jisi import Jisi


def refuse_together(experiments: Mapping[str, object], **beside_a_comparison: object) -> None:
    """Refuse two experiments at once, and options that a comparison of settings on train rows would pass over.

    Raises:
        InputError: Such options were given.
    """
    given = [f"--{name}" for name, value in experiments.items() if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are experiments of their own; give one of them")
    for name, value in beside_a_comparison.items() if given == ["--sweep"] else ():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--sweep compares settings on train rows and ignores {option}; leave it out")


def show_sweep(jisi: Jisi, texts: Sequence[str], names: Sequence[str] | None, out: Output, *, as_json: bool) -> None:
    """Compare settings on train rows."""
    from jisi_cli.cli.progress import counted
    from jisi_cli.comparing import sweep

    with counted(out, "cross-validating") as on_progress:
        found = sweep(jisi, texts, names, on_progress)
    if as_json:
        out.json(found)
        return
    columns = [Column("settings"), Column("Avg", right=True), Column("vs in force", right=True)]
    out.table(columns, map(_sweep_row, found["sweep"]))
    out.note(
        f"{found['method']}, cross-validated on {len(jisi.bank.train_rows):,} train questions; "
        "test rows were not touched"
    )


def _sweep_row(row: dict[str, Any]) -> list[str]:
    low, high = 100 * row["difference"]["low"], 100 * row["difference"]["high"]
    shown = f"{100 * row['difference']['average']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return [row["label"], f"{100 * row['average']:.2f}", shown]


def refuse_other_questions(test: str | None, bank: Path | None, *, live: bool) -> None:
    """Refuse a test set besides the bank, in which there is nothing to split, and live answers to it.

    Args:
        test: The test set, which may be the bank itself.
        bank: The bank, where it was named on its own.
        live: Whether models are called.

    Raises:
        InputError: There is such a test set, or models are called.
    """
    from jisi_cli.bank.manifest import MANIFEST_NAME

    if live:
        raise InputError("--splits tests on the answers recorded in the bank, without a call; leave --live out")
    if test is None:
        return
    is_bank = (Path(test) / MANIFEST_NAME).exists()
    if not is_bank or (bank is not None and bank.resolve() != Path(test).resolve()):
        raise InputError(
            f"{test}: --splits draws train and test questions from the bank, and nothing else can be split; "
            "leave it out"
        )


def show_splits(run: SplitRun, report: Path | None, out: Output, *, as_json: bool) -> list[MethodReport]:
    """Run the splits and show them; after Ctrl-C those that are finished.

    Args:
        run: What is to be run.
        report: Where to write the page of all splits; None writes none.
        out: Where they are shown.
        as_json: Whether that is one document.

    Returns:
        A row for each method.
    """
    from jisi_cli.cli.report import origin_of, write_page
    from jisi_cli.report.comparison_page import splits_page

    finished: list[Split] = []
    try:
        for split in run.finished():
            finished.append(split)
    except KeyboardInterrupt:
        if finished:
            give_time()
            again = "run it again to go on" if run.out is not None else "with --out a later run could go on"
            out.warn(f"interrupted: showing {len(finished)} of {run.splits} splits; {again}")
            _show_finished(run, finished, out, as_json=as_json)
        raise
    comparison = _show_finished(run, finished, out, as_json=as_json)
    if report is not None:
        made = {name: value for name, value in comparison.made.items() if name not in ("bank_parts", "versions")}
        write_page(report, splits_page(comparison.methods, comparison.splits, origin_of(made)), out)
    return [row.overall for row in comparison.methods]


def _show_finished(run: SplitRun, finished: Sequence[Split], out: Output, *, as_json: bool) -> SplitComparison:
    from jisi_cli.cli import comparison_view

    comparison = run.summary(finished)
    if as_json:
        out.json(comparison.to_json())
    else:
        comparison_view.show_splits(comparison.methods, len(finished), out)
    return comparison
