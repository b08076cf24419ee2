"""`jisi bank inspect`: an overview of a bank, models by datasets, and what a user should know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jisi_cli.cli.layout import Picture, bars, distribution
from jisi_cli.cli.learning_curve import show_resolution
from jisi_cli.cli.options import (
    BankArgument,
    ConfigOption,
    FailedOption,
    JsonOption,
    QuietOption,
    VerboseOption,
    routing_options,
)
from jisi_cli.cli.output import Column, Output, count, dollars

if TYPE_CHECKING:
    from jisi_cli.bank.inspect import Inspection, ModelSummary


@routing_options
def inspect(
    bank: BankArgument = None,
    config: ConfigOption = None,
    failed: FailedOption = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Show what a vote gains with fewer questions, by cross-validation.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, object],
) -> None:
    """Show what a bank contains, whether it is healthy, and how many questions would be enough.

    With --curve it reads every recorded answer, which takes about a second per thousand the first time.

    Example: jisi bank inspect sample_data/bank
    """
    from jisi_cli.bank.bank import Bank
    from jisi_cli.bank.inspect import inspect_bank
    from jisi_cli.cli.learning_curve import measure_curve, note_curve, show_curve
    from jisi_cli.configured_method import in_force
    from jisi_cli.formats.record import failed_reading
    from jisi_cli.user import bank_folder, read_config

    out = Output(quiet=quiet, verbose=verbose)
    settings = read_config(config, out)
    opened = Bank(bank_folder(bank, settings, out), failed_reading(failed))
    stated = ((settings.routing, f"{settings.path} [routing]"), (routing, "command line"))
    found = inspect_bank(opened, in_force(opened, "jisi", *stated))
    measured = measure_curve(opened, in_force(opened, "jisi-vote", *stated), out) if curve else None
    if as_json:
        out.json({**found.to_json(), **({"curve": measured.to_json()} if measured is not None else {})})
        return
    show_inspection(found, out)
    if measured is not None:
        show_curve(measured, out)
    elif not curve:
        note_curve(opened, out)


def show_inspection(found: Inspection, out: Output) -> None:
    """Write the overview, the table of models by datasets, and the warnings."""
    from jisi_cli.embed.protocol import EmbedderSpec

    train = sum(size["train"] for size in found.datasets.values())
    test = sum(size["test"] for size in found.datasets.values())
    out.sentence(
        f"{found.bank}: {count(train + test, 'question')} ({train:,} train, {test:,} test), {len(found.models)} models"
    )
    out.data(f"embedder: {EmbedderSpec(**found.embedder).describe()}")
    if found.split is not None:
        out.data(f"split: {found.split['fraction']:g} train, seed {found.split['seed']}")
    if found.score_source is not None:
        shares = ", ".join(f"{source} {100 * share:.1f} %" for source, share in found.score_source.items() if share)
        labels = f"; {count(found.labels, 'question')} labelled" if found.labels else ""
        said = f"; {count(found.feedback, 'question')} from feedback" if found.feedback else ""
        out.sentence(f"scores by: {shares}{labels}{said}")
    out.separate()
    _show_models(found, out)
    low, _, middle, _, high = found.support.quantiles
    out.separate()
    out.sentence(
        f"support set: median {middle}, from {low} to {high} of {found.support.train:,} train rows "
        f"(n_base={found.hyperparameters['n_base']}, gamma={found.hyperparameters['gamma']:g})"
    )
    if out.draws and high > low:
        out.data(f"{low:,} {distribution(found.support.histogram)} {high:,}")
    show_resolution(found.resolution, out)
    for warning in found.warnings:
        out.warn(warning)


def _show_models(found: Inspection, out: Output) -> None:
    names = list(found.datasets)
    titles = [Column(name, right=True) for name in names]
    columns = [
        Column("model", shrink=True),
        *titles,
        Column("Avg", right=True),
        Column("answers", right=True),
    ]
    silent = any(summary.counted_wrong for summary in found.models)
    unread = any(summary.unread for summary in found.models)
    more = [Column("no answer", right=True)] if silent else []
    more += [Column("unread", right=True), Column("unread wrong", right=True)] if unread else []
    columns += [*more, Column("tokens", right=True), Column("cost", right=True)]
    rows = [_row(summary, names, silent=silent, unread=unread) for summary in found.models]
    sizes = [f"{found.datasets[name]['train'] + found.datasets[name]['test']}" for name in names]
    best = [_best(found, name) for name in names]
    oracle = [_percent(found.oracle[name]) for name in (*names, "average")]
    known = [value for value in best if value is not None]
    mean = sum(known) / len(known) if known else None
    empty = [""] * (3 + len(more))
    rows.append(["best per dataset", *map(_percent, (*best, mean)), *empty])
    rows.append(["oracle", *oracle, *empty])
    rows.append(["questions", *sizes, "", *empty])
    averages = [*(summary.average for summary in found.models), mean, found.oracle["average"], None]
    out.table(columns, rows, picture=Picture("Avg, of 100 %", lambda width: bars(averages, width, full=1.0)))
    _explain_means(found, out)


def _explain_means(found: Inspection, out: Output) -> None:
    """Say how the means count answers that failed, were empty or could not be read."""
    if any(summary.counted_wrong for summary in found.models):
        out.note("no answer: failed or empty answers to graded questions; they count 0 (--failed unscored: not at all)")
    elif found.failed_answers == "unscored" and any(summary.failed or summary.empty for summary in found.models):
        out.note("failed and empty answers are left out of the means (--failed wrong: they count 0)")
    if any(summary.unread for summary in found.models):
        out.note("unread: answers without a score, left out of the means; unread wrong: Avg if all of them were wrong")


def _row(summary: ModelSummary, names: list[str], *, silent: bool, unread: bool) -> list[str]:
    tokens = "" if summary.completion_tokens is None else f"{summary.completion_tokens:.0f}"
    more = [str(summary.counted_wrong)] if silent else []
    more += [str(summary.unread), _percent(summary.average_at_least)] if unread else []
    return [
        summary.model,
        *(_percent(summary.accuracy[name]) for name in names),
        _percent(summary.average),
        str(summary.answers),
        *more,
        tokens,
        dollars(summary.cost_usd),
    ]


def _best(found: Inspection, dataset: str) -> float | None:
    known = [value for summary in found.models if (value := summary.accuracy[dataset]) is not None]
    return max(known, default=None)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
