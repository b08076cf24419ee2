"""What `jisi bank build` puts together: importers, embedder or given vectors, progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from jisi_cli.bank.build import BUILDING, BuildOptions, BuildReport, check_target, reserved, write_bank
from jisi_cli.bank.manifest import Source, SplitSpec, VectorDtype
from jisi_cli.bank.sources import Selection, describe, read_sources, stage_records
from jisi_cli.bank.staging import Staging, write_jisi
from jisi_cli.bank.vectors import VectorSource
from jisi_cli.cli.build_vectors import vectors_of
from jisi_cli.cli.collecting import CallRequest, Means, read_all_questions, run_collection
from jisi_cli.cli.embedder_choice import EmbedderChoice
from jisi_cli.cli.output import Output, count
from jisi_cli.cli.pool import PoolOptions, offer_the_offline_pool
from jisi_cli.cli.progress import embedding_bar
from jisi_cli.cli.purse import open_purse
from jisi_cli.cli.questions import Problems
from jisi_cli.config import Config
from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.files import ANSWERS, require_output
from jisi_cli.formats.record import Failed

_SHOWN_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """The command line of `jisi bank build`."""

    sources: tuple[Path, ...]
    bank: Path
    format: str | None
    split: float | None
    seed: int
    models: list[str] | None
    datasets: list[str] | None
    limit: int | None
    append: bool
    force: bool
    embedder: Mapping[str, Any]
    vectors: Path | None
    vector_dtype: str
    device: str | None
    batch_size: int | None
    strict: bool
    pool: PoolOptions
    call: CallRequest | None = None
    save_answers: Path | None = None
    trust_embedder: bool = False
    failed: Failed | None = None


def run_build(request: BuildRequest, config: Config, out: Output) -> BuildReport:
    """Read the sources and write the bank.

    Raises:
        InputError: A source or an option cannot be used.
        BankError: The bank to extend is missing, broken or of another embedder; another build is at work.
    """
    options = checked_options(request)
    with reserved(request.bank, options):
        return _build(request, options, config, out)


def _build(request: BuildRequest, options: BuildOptions, config: Config, out: Output) -> BuildReport:
    """Build; only who extends a bank has yet to lock it."""
    purse = open_purse(config, request.pool.command, request.pool.max_cost, out)
    # An embedder that is missing, or is not the bank's, must show before calls are paid for.
    vectors, account = vectors_of(request, config, purse, out)
    problems = Problems(out, strict=request.strict)
    if request.call is not None:
        means = Means(request.pool, purse, account)
        staging, sources, stopped = _ask_for_answers(request, request.call, config, means, problems, out)
    else:
        staging, sources, stopped = *_read_answers(request, vectors, problems, out), None
    problems.summarise()
    if request.save_answers is not None:
        write_jisi(request.save_answers, staging, request.sources)
    if purse.budget is not None:
        purse.budget.release_held()

    def wait() -> None:
        out.note(f"another build is at work on {request.bank}; waiting for it")

    try:
        with embedding_bar(out) as on_progress:
            built = (request.bank, staging, vectors, options, sources, on_progress)
            report = write_bank(*built, on_wait=wait, is_reserved=not request.append)
    except BudgetError as error:
        raise BudgetError(
            f"{request.bank} was not written: embedding stopped, and what was embedded and answered is kept; "
            f"run the same command with a higher --max-cost: {error}"
        ) from error
    for conflict in report.conflicts[:_SHOWN_PROBLEMS]:
        out.warn(f"left out: {conflict}")
    if len(report.conflicts) > _SHOWN_PROBLEMS:
        out.warn(f"left out: {count(len(report.conflicts) - _SHOWN_PROBLEMS, 'more record')} for such reasons")
    EmbedderChoice().mention(report.manifest.embedder, config, out)
    if stopped is not None:
        raise BudgetError(f"{request.bank} holds what the budget allowed; extend it with --append --call: {stopped}")
    purse.check()
    return report


def _read_answers(
    request: BuildRequest, vectors: VectorSource, problems: Problems, out: Output
) -> tuple[Staging, list[Source]]:
    """Read recorded answers; no model is called, and what given vectors do not cover is left out."""
    selection = Selection(_set(request.models), _set(request.datasets), request.limit)
    staging, described, left_out = read_sources(
        request.sources,
        format=request.format,
        selection=selection,
        covers=vectors.covers,
        on_issue=problems,
        folder=request.bank / BUILDING,
    )
    if left_out:
        out.warn(
            f"{count(left_out, 'test question')} left out: the release has no vectors of them "
            "(test_query_embed.tar); `jisi eval …/test.jsonl --bank` embeds them when it tests with them"
        )
    return staging, described


def _ask_for_answers(
    request: BuildRequest, call: CallRequest, config: Config, means: Means, problems: Problems, out: Output
) -> tuple[Staging, list[Source], str | None]:
    """Ask the pool the questions of the sources."""
    questions = read_all_questions(request.sources, problems, request.datasets, request.limit)
    collected = run_collection(questions, call, config, request.bank if request.append else None, means, out)
    if collected.stopped is not None and not collected.records:
        raise BudgetError(collected.stopped)
    if collected.records and all(record.status == "failed" for record in collected.records):
        error = NoAnswerError(f"none of {count(len(collected.records), 'call')} was answered; nothing was built")
        raise offer_the_offline_pool(error, config, sorted({record.model for record in collected.records}))
    sources = [describe(path, "questions", len(collected.records)) for path in request.sources]
    return stage_records(collected.records), sources, collected.stopped


def checked_options(request: BuildRequest) -> BuildOptions:
    """Return how the bank is to be written.

    Raises:
        InputError: An option makes no sense, or something else is where the bank is to be.
        BankError: There is no bank to extend.
    """
    if request.split is not None and not 0 < request.split <= 1:
        raise InputError(f"--split must be above 0 and at most 1, not {request.split:g}")
    if not 0 <= request.seed < 2**32:
        raise InputError(f"--seed must be from 0 to 2^32 - 1, not {request.seed}")
    if request.append and request.force:
        raise InputError("--append extends a bank and --force replaces it; give one of them")
    if request.vector_dtype not in get_args(VectorDtype):
        raise InputError(f"--vector-dtype must be float16 or float32, not {request.vector_dtype!r}")
    split = SplitSpec(request.split, request.seed) if request.split is not None else None
    options = BuildOptions(
        split, cast(VectorDtype, request.vector_dtype), request.append, request.force, request.failed
    )
    check_target(request.bank, options)
    inside = next((path for path in request.sources if _is_within(path, request.bank)), None)
    if inside is not None and not request.append:
        raise InputError(f"{inside} lies in {request.bank}, which is to be replaced; put it elsewhere first")
    if request.save_answers is not None:
        require_output(request.save_answers, ANSWERS, request.sources, (request.bank,))
    return options


def _is_within(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        return False


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
