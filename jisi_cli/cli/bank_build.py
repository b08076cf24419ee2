"""`jisi bank build`: a bank from recorded answers, or from questions that models are asked."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from jisi_cli.addresses import read_address
from jisi_cli.cli.help import ADVANCED
from jisi_cli.cli.opening import Run, may_call
from jisi_cli.cli.options import (
    BatchOption,
    ConfigOption,
    DatasetsOption,
    FailedOption,
    MapOption,
    ResubmitOption,
    TrustEmbedderOption,
    grading_options,
    require_asked,
    require_grading,
    split_names,
)
from jisi_cli.cli.output import Output, count
from jisi_cli.copies import as_named, is_copy
from jisi_cli.errors import InputError
from jisi_cli.grading.registry import GradingOptions

if TYPE_CHECKING:
    from jisi_cli.bank.manifest import VectorDtype
    from jisi_cli.config import Config


@grading_options
@may_call
def build(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="BANK", help="The bank's folder or address.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="[SOURCE…]", help="Files or folders of recorded answers.")
    ] = None,
    config: ConfigOption = None,
    format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Format of the sources [detected].")
    ] = None,
    map_: MapOption = None,
    split: Annotated[
        float | None,
        typer.Option("--split", metavar="X", help="Share of train rows; the rest is marked as test."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the split.")] = 42,
    models: Annotated[list[str] | None, typer.Option("--models", metavar="NAMES", help="Only these models.")] = None,
    datasets: DatasetsOption = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Questions per dataset.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add questions or models to an existing bank.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bank.")] = False,
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", metavar="NAME", help="minilm, hashing, a hub id, a folder, litellm:… [minilm]."),
    ] = None,
    trust_embedder: TrustEmbedderOption = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", metavar="N", min=1, help="Embed at most N tokens of a text.", rich_help_panel=ADVANCED
        ),
    ] = None,
    truncation: Annotated[
        str | None,
        typer.Option("--truncation", metavar="END", help="Which end of a long text to keep: head or tail [head]."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="Instruction put before every text.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option("--vectors", metavar="FILE", help="Use the vectors of this .npz file and embed nothing."),
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
    starter: Annotated[
        int | None,
        typer.Option(
            "--starter",
            metavar="[N]",
            min=1,
            max=20_000,
            help="With --call: generate N questions of many kinds and three levels, with checkable answers [200].",
        ),
    ] = None,
    feedback: Annotated[
        bool,
        typer.Option("--feedback", help="With --append: add what `jisi feedback` and clients said of answers."),
    ] = False,
    save_answers: Annotated[
        Path | None, typer.Option("--save-answers", metavar="FILE", help="Also write the answers as JSONL.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --call --append: ask again what failed before.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --call: show the expected calls, tokens and dollars, and call no model."),
    ] = False,
    batch: BatchOption = False,
    resubmit: ResubmitOption = False,
    *,
    run: Run,
    grading: GradingOptions,
) -> None:
    """Build a bank from recorded answers, or with --call from questions.

    A build that was killed continues where it stopped when it is run again. The format of the sources is detected:
    `jisi` JSONL, and `long` tables (JSONL, CSV, Parquet) with one row per question and model, among others.

    Without an answer key, --grader agreement counts as right what the models agree on; see `jisi bank label`.
    Without questions, --starter --call generates some (`pip install "jisi[starter]"`); --seed decides which.

    --call --batch asks through the batch endpoints of OpenAI, Azure OpenAI, Anthropic, Gemini, Vertex AI and Amazon
    Bedrock, at about half the list price and within a day. You can stop waiting at any time: the same command resumes,
    and submits nothing twice.

    --append --feedback adds what people said of answers (with `jisi feedback`, or as clients of a server): each
    question becomes a train row, with scores for the models whose answer it was and gaps for the others.

    Questions and recorded answers may also come from the Hugging Face hub, as hf:DATASET[/CONFIG[/SPLIT]]; no code from
    there is run.
    Columns are found by common names (question, prompt, input; answer, target, expected, reference; correct, label), or
    named with --map.

    Example: jisi bank build sample_data/answers.jsonl -o my-bank --embedder hashing
    """
    from jisi_cli.bank.bank import local_folder
    from jisi_cli.bank.build import BuildOptions
    from jisi_cli.bank.manifest import split_rule
    from jisi_cli.bank.sources import Selection
    from jisi_cli.cli.build import Build, EmbedderFlags
    from jisi_cli.cli.learning_curve import note_small_bank
    from jisi_cli.formats.column_map import ColumnMap
    from jisi_cli.formats.record import failed_reading
    from jisi_cli.user import ImportIssues, read_config

    out = run.out
    require_grading("--call (agreement alone does without)", grading, present=call, without=grading.only_comparing())
    if retry_failed and not (call and append):
        raise InputError("--retry-failed asks again what a bank holds as failed; add --call --append, or leave it out")
    require_asked("--call", call, batch=batch, resubmit=resubmit)
    sources = sources or []
    if feedback:
        others: dict[str, object] = {
            "--call": call,
            "--starter": starter,
            "--save-answers": save_answers,
            "--format": format,
        }
        others |= {"--map": map_, "--models": models, "--datasets": datasets, "--limit": limit, "--split": split}
        _require_feedback_alone(append=append, SOURCE=sources, **others)
    else:
        _require_sources(sources, starter, call=call)
    dtype = cast("VectorDtype", vector_dtype)
    spec = {"name": embedder, "max_tokens": max_tokens, "truncation": truncation, "prompt": prompt}
    settings = read_config(config, out)
    output = local_folder(output, out.note)
    columns, selection = ColumnMap.parse(map_ or ()), Selection(_set(models), _set(datasets), limit)
    options = BuildOptions(split_rule(split, seed), dtype, append, force, failed_reading(failed))
    account = run.account(settings, "bank build")
    account.resubmits = resubmit
    problems = ImportIssues(out, strict=strict)
    collection = None
    if call:
        from jisi_cli.cli.build_collection import Collection
        from jisi_cli.collect.question_sources import QuestionSources

        collection = Collection(
            asked=QuestionSources(sources, starter, seed, columns),
            selection=selection,
            grading=grading,
            bank=output,
            append=append,
            retry_failed=retry_failed,
            by_batch=batch,
            account=account,
            problems=problems,
            out=out,
        )
    work = Build(
        sources=sources,
        columns=columns,
        format=format,
        selection=selection,
        collection=collection,
        feedback=feedback,
        bank=output,
        options=options,
        embedder=EmbedderFlags(spec, trust_embedder, vectors, device, batch_size),
        grading=grading,
        save_answers=save_answers,
        account=account,
        problems=problems,
        out=out,
    )
    if dry_run:
        from jisi_cli.cli.build_collection import show_forecast

        expected = work.forecast()
        out.json(expected.to_json()) if run.as_json else show_forecast(expected, run.max_cost, out)
        return
    with closing(work.account):
        try:
            report = work.run()
        except KeyboardInterrupt:
            if call and run.store:
                out.note("every answer that came is kept: the same command goes on from there, and pays for none twice")
            raise
    if run.as_json:
        out.json({"bank": str(output), **report.to_json()})
        return
    added = sum(report.answers.values())
    known = f", {count(report.known, 'answer')} known already" if report.known else ""
    cut = f", {count(report.truncated, 'text')} truncated" if report.truncated else ""
    out.note(f"{output}: {count(report.questions, 'question')} and {count(added, 'answer')} added{known}{cut}")
    note_small_bank(output, out)
    _note_next(output, settings, out)


def _note_next(bank: Path, settings: Config, out: Output) -> None:
    """Say how the bank is asked, and how a pool file names it, unless it does."""
    from jisi_cli.config import find_bank

    used, shown = find_bank(None, settings), as_named(str(bank))
    is_used = used is not None and (str(read_address(used)) == shown or used.resolve() == bank.resolve())
    if settings.models and settings.path is not None and not is_used:
        if not is_copy(bank):  # a pool file names a bank from its own folder
            shown = os.path.relpath(bank.resolve(), settings.path.resolve().parent)
        words = json.dumps(shown, ensure_ascii=False)
        out.note(f'next: jisi ask --bank {bank} "..."; bank = {words} at the top of {settings.path} saves --bank')


def _require_feedback_alone(*, append: bool, **others: object) -> None:
    """Refuse --feedback without a bank to extend, or beside other sources.

    Raises:
        InputError: It is so.
    """
    if not append:
        raise InputError("--feedback adds to a bank what people said of answers; add --append")
    for name, value in others.items():
        if value:
            raise InputError(f"--feedback takes in the inbox alone; leave out {name}, or build twice")


def _require_sources(sources: Sequence[Path], starter: int | None, *, call: bool) -> None:
    """Refuse a build of nothing, and generated questions without models to ask.

    Raises:
        InputError: It is such a build.
    """
    if starter is not None and not call:
        raise InputError(
            "--starter generates questions; add --call to ask your models, and --dry-run to see the cost first"
        )
    if not sources and starter is None:
        raise InputError("nothing to build from: name a SOURCE, or generate questions with --starter --call")


def _set(names: list[str] | None) -> frozenset[str] | None:
    found = split_names(names)
    return None if found is None else frozenset(found)
