"""`jisi bank`: make a bank, look into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jisi_cli.cli.options import (
    LARGEST_SEED,
    ConcurrencyOption,
    ConfigOption,
    DatasetsOption,
    FailedOption,
    JsonOption,
    MaxCostOption,
    NoStoreOption,
    QuietOption,
    TimeoutOption,
    TrustEmbedderOption,
    VerboseOption,
    failed_reading,
    grading_options,
    read_config,
    routing_options,
    split_names,
)
from jisi_cli.cli.output import Column, Output, count, dollars
from jisi_cli.cli.tables import Picture, bars, distribution
from jisi_cli.errors import InputError
from jisi_cli.grading.registry import GradingOptions

if TYPE_CHECKING:
    from jisi_cli.bank.inspect import Inspection, ModelSummary

# How `jisi bank inspect` shows what it found to a person.


def show_inspection(found: Inspection, out: Output) -> None:
    """Write the overview, the table of models by datasets, and what to be careful about."""
    from jisi_cli.embed.protocol import EmbedderSpec

    train = sum(size["train"] for size in found.datasets.values())
    test = sum(size["test"] for size in found.datasets.values())
    out.data(
        f"{found.bank}: {count(train + test, 'question')} ({train:,} train, {test:,} test), {len(found.models)} models"
    )
    out.data(f"embedder: {EmbedderSpec(**found.embedder).describe()}")
    if found.split is not None:
        out.data(f"split: {found.split['fraction']:g} train, seed {found.split['seed']}")
    out.separate()
    _show_models(found, out)
    low, _, middle, _, high = found.support.quantiles
    out.separate()
    out.data(
        f"support set: median {middle}, from {low} to {high} of {found.support.train:,} train rows "
        f"(n_base={found.hyperparameters['n_base']}, gamma={found.hyperparameters['gamma']:g})"
    )
    if out.draws and high > low:
        out.data(f"{low:,} {distribution(found.support.histogram)} {high:,}")
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
    out.table(columns, rows, picture=Picture("Avg", lambda width: bars(averages, width)))
    _explain_means(found, out)


def _explain_means(found: Inspection, out: Output) -> None:
    """Say what the means make of answers that failed, came back empty or could not be read."""
    if any(summary.counted_wrong for summary in found.models):
        out.note("no answer: failed or empty answers to graded questions; they count 0 (--failed unscored: not at all)")
    elif found.failed_answers == "unscored" and any(summary.failed or summary.empty for summary in found.models):
        out.note("failed and empty answers are left out of the means (--failed wrong: they count 0)")
    if any(summary.unread for summary in found.models):
        out.note("unread: answers without a score, left out of the means; unread wrong: Avg if they were all wrong")


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


# `jisi bank`: make a bank, look into one.


app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make a bank of recorded answers, or look into one."
)


BankArgument = Annotated[
    Path | None, typer.Argument(metavar="[BANK]", help="The bank; else JISI_BANK or the pool file's.")
]


@app.command("build", short_help="Make a bank from recorded answers or questions.")
@grading_options
def build(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE…", help="Files or folders of recorded answers.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BANK", help="The bank's folder.")],
    config: ConfigOption = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Format of the sources [found out].")
    ] = None,
    split: Annotated[
        float | None,
        typer.Option("--split", metavar="X", help="Share of train rows; the rest is marked as test."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the split.")] = 42,
    models: Annotated[list[str] | None, typer.Option("--models", metavar="NAMES", help="Only these models.")] = None,
    datasets: DatasetsOption = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Questions per dataset.")] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add questions or models to the bank that is there.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the bank that is there.")] = False,
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", metavar="NAME", help="minilm, hashing, a hub id, a folder, litellm:… [minilm]."),
    ] = None,
    trust_embedder: TrustEmbedderOption = False,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="N", min=1, help="Tokens of a text that are embedded."),
    ] = None,
    truncation: Annotated[
        str | None,
        typer.Option("--truncation", metavar="END", help="Which end of a long text is kept: head or tail [head]."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="Instruction put before every text.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option("--vectors", metavar="FILE", help="Take the vectors of this .npz and embed nothing."),
    ] = None,
    vector_dtype: Annotated[
        str, typer.Option("--vector-dtype", metavar="TYPE", help="Precision on disk: float16 or float32.")
    ] = "float32",
    failed: FailedOption = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Where to embed: cpu, cuda, mps.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", min=1, help="Texts embedded at once.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that cannot be used.")] = False,
    call: Annotated[
        bool, typer.Option("--call", help="SOURCE holds questions: ask the pool's models and grade their answers.")
    ] = False,
    save_answers: Annotated[
        Path | None, typer.Option("--save-answers", metavar="FILE", help="Write the answers as JSONL, too.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --call --append: ask again what failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --call: tell how many calls, tokens and dollars; ask nobody.")
    ] = False,
    max_cost: MaxCostOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    no_store: NoStoreOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    grading: GradingOptions,
) -> None:
    """Make a bank from recorded answers, or with --call from questions.

    A killed build run again goes on where it was. Formats are found out: `jisi` JSONL, and `long`
    tables (JSONL, CSV, Parquet) with one row per question and model.

    Example: jisi bank build sample_data/answers.jsonl -o my-bank --embedder hashing
    """
    from jisi_cli.cli.building import BuildRequest, run_build
    from jisi_cli.cli.collecting import CallRequest
    from jisi_cli.cli.grading import require_grading
    from jisi_cli.cli.pool import PoolOptions

    out = Output(quiet=quiet, verbose=verbose)
    require_grading("--call", grading, present=call)
    if retry_failed and not (call and append):
        raise InputError("--retry-failed asks again what a bank holds as failed; add --call --append, or leave it out")
    request = BuildRequest(
        sources=tuple(sources),
        bank=output,
        format=format,
        split=split,
        seed=seed,
        models=split_names(models),
        datasets=split_names(datasets),
        limit=limit,
        append=append,
        force=force,
        embedder={"name": embedder, "max_tokens": max_tokens, "truncation": truncation, "prompt": prompt},
        trust_embedder=trust_embedder,
        vectors=vectors,
        vector_dtype=vector_dtype,
        failed=failed_reading(failed),
        device=device,
        batch_size=batch_size,
        strict=strict,
        pool=PoolOptions("bank build", True, timeout, max_cost, concurrency, store=not no_store),
        call=CallRequest(split_names(models), retry_failed, grading) if call else None,
        save_answers=save_answers,
    )
    if dry_run:
        from jisi_cli.cli.forecasting import run_forecast

        run_forecast(request, read_config(config, out), out, as_json=as_json)
        return
    report = run_build(request, read_config(config, out), out)
    summary = {
        "bank": str(output),
        "questions_added": report.questions,
        "answers_added": dict(report.answers),
        "answers_known": report.known,
        "texts_embedded": report.embedded,
        "texts_truncated": report.truncated,
        "questions": report.manifest.rows,
        "models": list(report.manifest.models),
        "embedder": report.manifest.embedder.to_json(),
    }
    if as_json:
        out.json(summary)
        return
    added = sum(report.answers.values())
    known = f", {count(report.known, 'answer')} known already" if report.known else ""
    cut = f", {count(report.truncated, 'text')} truncated" if report.truncated else ""
    out.note(f"{output}: {count(report.questions, 'question')} and {count(added, 'answer')} added{known}{cut}")


@app.command("grade", short_help="Grade the responses of a bank again.")
@grading_options
def grade(
    bank: BankArgument = None,
    config: ConfigOption = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", metavar="NAMES", help="Only responses of these models.")
    ] = None,
    datasets: DatasetsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the bank, and ask no judge.")] = False,
    max_cost: MaxCostOption = None,
    concurrency: ConcurrencyOption = None,
    timeout: TimeoutOption = None,
    no_store: NoStoreOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    grading: GradingOptions,
) -> None:
    """Grade the responses of a bank again; no model is called but a judge, where one is asked for.

    Each question says how it is graded, unless --grader does. The scores change in one step, the vectors stay.

    Example: jisi bank grade sample_data/bank --grader facts=contains --dry-run
    """
    from jisi_cli.cli.grading import GradeRequest, raise_if_stopped, run_grading, show_grading
    from jisi_cli.cli.options import bank_path
    from jisi_cli.cli.pool import PoolOptions

    out = Output(quiet=quiet, verbose=verbose)
    settings = read_config(config, out)
    request = GradeRequest(
        bank=bank_path(bank, settings),
        models=split_names(models),
        datasets=split_names(datasets),
        grading=grading,
        dry_run=dry_run,
        pool=PoolOptions("bank grade", True, timeout, max_cost, concurrency, store=not no_store),
    )
    data = run_grading(request, settings, out)
    if as_json:
        out.json(data)
    else:
        show_grading(data, out)
    raise_if_stopped(data)


@app.command("inspect")
@routing_options
def inspect(
    bank: BankArgument = None,
    config: ConfigOption = None,
    failed: FailedOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    *,
    routing: dict[str, object],
) -> None:
    """Show what is in a bank and whether it is healthy.

    Example: jisi bank inspect sample_data/bank
    """
    from jisi_cli.bank.bank import Bank
    from jisi_cli.bank.inspect import inspect_bank
    from jisi_cli.cli.options import bank_path

    out = Output(quiet=quiet, verbose=verbose)
    settings = read_config(config, out)
    opened = Bank(bank_path(bank, settings), failed_reading(failed))
    tuned = opened.hyperparameters().with_changes(settings.routing, f"{settings.path} [routing]")
    found = inspect_bank(opened, tuned.with_changes(routing, "command line"))
    if as_json:
        out.json(found.to_json())
    else:
        show_inspection(found, out)


@app.command("calibrate", short_help="Choose hyper-parameters for a bank.")
def calibrate(
    bank: BankArgument = None,
    config: ConfigOption = None,
    method: Annotated[
        str, typer.Option("--method", "-m", metavar="NAME", help="What to raise: jisi-router, jisi-query or jisi-vote.")
    ] = "jisi-router",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=LARGEST_SEED, help="Seed of the folds and the bootstrap.")
    ] = 42,
    failed: FailedOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing into the bank.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Choose hyper-parameters for a bank and its embedder by cross-validation on its train rows.

    They are written into the bank only where the gain is real: where its 95 % interval lies above zero.

    Example: jisi bank calibrate sample_data/bank --dry-run
    """
    from jisi_cli.cli.calibrating import run_calibration, show_calibration
    from jisi_cli.cli.pool import PoolOptions
    from jisi_cli.cli.session import Session

    out = Output(quiet=quiet, verbose=verbose)
    session = Session(bank, config, None, {}, out, PoolOptions("bank calibrate"), "ignored", failed=failed)
    data = run_calibration(session, method, seed=seed, dry_run=dry_run, out=out)
    if as_json:
        out.json(data)
    else:
        show_calibration(data, out)
