"""Comparing methods on test questions with what a `Jisi` has open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import jisi_cli
from jisi_cli.bank.bank import local_folder
from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.callees import judges_of
from jisi_cli.collect.collect import check_graders
from jisi_cli.configured_method import with_failed
from jisi_cli.copies import as_named
from jisi_cli.errors import BudgetError, InputError
from jisi_cli.evaluation.comparison import Comparison, build_report
from jisi_cli.evaluation.entries import BASELINE, BOUND, DEFAULT, make_entries, variants
from jisi_cli.evaluation.experiments import build_curve, parse_sweep, swept
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.runner import Ran, run_entries
from jisi_cli.evaluation.sources import TestReader
from jisi_cli.evaluation.statistics import paired_difference
from jisi_cli.evaluation.test_set import TestSet, from_bank
from jisi_cli.evaluation.validation import average_of, spread_folds, validate
from jisi_cli.formats.column_map import ColumnMap
from jisi_cli.formats.hub_dataset import is_hub_dataset
from jisi_cli.formats.registry import require_file
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.hyperparameters import CASCADE_OPTIONS, option_name
from jisi_cli.jisi import Jisi
from jisi_cli.methods.protocol import settings_json
from jisi_cli.methods.registry import make_method, method_info
from jisi_cli.models.batch.terms import require_batch
from jisi_cli.models.replay import ReplayPool
from jisi_cli.user import ImportIssues, OnProgress, ShowProgress
from jisi_cli.workers import Workers


def evaluate(
    test: Path | str | None = None,
    methods: Sequence[str] | str | None = None,
    *,
    jisi: Jisi | None = None,
    versus: Sequence[str] | str = (),
    live: bool = False,
    by_batch: bool = False,
    out: Path | str | None = None,
    format: str | None = None,
    datasets: Sequence[str] | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    grow: Sequence[str] | None = None,
    grow_from: int = 5,
    ablate: bool = False,
    curve: bool = False,
    grading: GradingOptions | None = None,
    on_entries: Callable[[Sequence[str]], object] | None = None,
    progress: ShowProgress = lambda what: nullcontext(),
    **options: Any,  # noqa: ANN401 - as `Jisi` takes them
) -> Comparison:
    """Compare methods on test questions. Recorded answers are replayed unless `live` calls the models.

    Example:
        >>> import jisi_cli as jisi
        >>> comparison = jisi.evaluate("sample_data/bank", ["best-single", "jisi-router"])
        >>> [(row.name, row.averages.average) for row in comparison.methods]

    Args:
        test: A bank (its test rows), recorded answers, or questions, `-` for standard input; None for the test rows of
            the bank that decisions are drawn from.
        methods: Methods by name, or `all`; None for a usual choice.
        jisi: What is open already; None opens it with `options`, and closes it.
        versus: Methods that all are compared with, besides `best-single`.
        live: Call the models of the pool and grade their answers.
        by_batch: With `live`, call them through their providers' batch endpoints, at about half the price.
        out: A file with one line per question and method, which a later run resumes.
        format: Format of `test`; None finds it out.
        datasets: Only questions of these data sets.
        limit: Questions per data set.
        columns: Which columns of `test` hold what, as in `{"query": "question", "gt": "solution"}`, where their own
            names do not say it.
        strict: Stop at the first line of `test` that cannot be used.
        grow: Add models in this order and compare after each (the paper's Fig. 5).
        grow_from: Models to begin with.
        ablate: Leave out one part of JiSi at a time.
        curve: Take methods that trade quality for dollars at eleven weights.
        grading: Which graders grade live answers, and what they may do.
        on_entries: Told the names of the rows before anything is run.
        progress: Shows how far the answering is, under a name; what it opens is told of (done, in all).
        **options: Of `Jisi`.

    Raises:
        InputError: The test set, a method or an option cannot be used.
        BankError: The bank cannot be used, or the test set is a bank of another embedder.
        BudgetError: The budget stopped a live run; what was answered is in `out`.
    """
    path = None if test is None else local_folder(test)
    out = None if out is None else Path(out)
    versus = (versus,) if isinstance(versus, str) else versus
    usual = DEFAULT if live else (*DEFAULT, BOUND)
    chosen = usual if methods is None else (methods,) if isinstance(methods, str) else methods
    with nullcontext(jisi) if jisi is not None else open_for(path, live=live, **options) as opened:
        compared = variants(
            opened.configured.context,
            opened.bank,
            chosen,
            versus,
            live=live,
            grow=grow,
            grow_from=grow_from,
            ablate=ablate,
            curve=curve,
        )
        refuse_unused(opened.configured.stated, [variant.method for variant in compared])
        if curve:
            _refuse_varied(opened.configured.stated, [variant.method for variant in compared])
        mapped = ColumnMap(columns or {})
        tests = _read_tests(opened, path, format, datasets, limit, mapped, live=live, strict=strict)
        named = {*chosen, *versus}
        entries = make_entries(
            compared,
            opened.bank,
            opened.models,
            opened.configured.asked if live else "replay",
            live=live,
            required=lambda name: "all" not in chosen or name in named,
            training=opened.user.training,
            on_left_out=opened.user.note,
        )
        if on_entries is not None:
            on_entries([entry.name for entry in entries])
        with progress("answering") as on_progress:
            ran = _run(
                opened,
                entries,
                tests,
                out,
                grading or GradingOptions(),
                live=live,
                by_batch=by_batch,
                on_progress=on_progress,
            )
        others = tuple(dict.fromkeys((BASELINE, *versus)))
        rows = build_report(ran.results, others, np.random.default_rng(opened.seed), ran.timings)
        return Comparison(
            methods=rows,
            results=ran.results,
            settings={entry.name: settings_of(opened, entry) for entry in entries},
            tests=tests,
            graders=ran.graders,
            made=made_of(opened, len(tests), tests.source, live=live),
            curve=build_curve(rows) if curve else None,
        )


def open_for(test: Path | None, *, live: bool, bank: Path | None = None, **options: Any) -> Jisi:  # noqa: ANN401
    """Open what a comparison needs: decisions are drawn from `bank`, else from the test set itself where it is a bank.

    Args:
        test: The test set.
        live: Whether models are called, so that they must be in the pool file.
        bank: The bank.
        **options: Of `Jisi`.

    Raises:
        InputError: See `Jisi`.
        BankError: See `Jisi`.
    """
    test = None if test is None else local_folder(test)
    if test is not None and str(test) != "-" and not is_hub_dataset(test):
        require_file(test)
    if bank is None and test is not None and (test / MANIFEST_NAME).exists():
        bank = test
    return Jisi(bank, method=None, calls="required" if live else "ignored", **options)


def refuse_unused(stated: Mapping[str, object], methods: Sequence[str]) -> None:
    """Refuse settings of one method that is not among those that are compared.

    Raises:
        InputError: Such a setting was given.
    """
    for name, value in stated.items():
        if value is not None and name in CASCADE_OPTIONS and not any(name in method_info(m).options for m in methods):
            raise InputError(f"{option_name(name)} is a setting of jisi-cascade; leave it out, or add that to --method")


def _refuse_varied(stated: Mapping[str, object], methods: Sequence[str]) -> None:
    """Refuse settings that choose one point of a curve, since its points are what the curve shows.

    Raises:
        InputError: Such a setting was given.
    """
    varied = {method_info(name).trade_off for name in methods} - {""}
    varied |= {"mean_calls"} if "tau" in varied else set()
    varied |= {"price_weight"} if any(method_info(name).takes("price_weight") for name in methods) else set()
    for name in (name for name, value in stated.items() if value is not None and name in varied):
        raise InputError(
            f"{option_name(name)} chooses one point of the curve, which shows all; leave it or --curve out"
        )


def _read_tests(
    jisi: Jisi,
    test: Path | None,
    format: str | None,
    datasets: Sequence[str] | None,
    limit: int | None,
    columns: ColumnMap,
    *,
    live: bool,
    strict: bool,
) -> TestSet:
    embedder = lambda: jisi.opened.query_embedder  # noqa: E731 - loaded only where a question has no vector
    reader = TestReader(jisi.bank, jisi.models, embedder, jisi.opened.prices, jisi.user.warn, datasets, limit, columns)
    problems = ImportIssues(jisi.user, strict=strict)
    try:
        return reader.read(test, format, problems, live=live)
    finally:
        problems.summarise()


def _run(
    jisi: Jisi,
    entries: Sequence[Entry],
    tests: TestSet,
    out: Path | None,
    grading: GradingOptions,
    *,
    live: bool,
    by_batch: bool,
    on_progress: OnProgress | None,
) -> Ran:
    if by_batch:
        if jisi.account.engine is not None:
            raise InputError(
                "--live --batch leaves the work to the provider, and none to a cluster; leave --engine out"
            )
        require_batch([entry for entry in jisi.config.models if entry.name in jisi.models])
    account, questions = jisi.account, jisi.bank.questions
    train = [questions[row].key for row in jisi.bank.train_rows.tolist()]

    async def run(workers: Workers | None) -> Ran:
        run_on = partial(
            run_entries,
            entries,
            tests,
            out=out,
            grading=grading,
            train=train,
            on_ran=jisi.user.detail,
            on_progress=on_progress,
        )
        if not live:
            return await run_on(pool=tests.pool, workers=workers)
        if not tests.models:
            # Questions alone: without a score nothing is learned from what they cost.
            # A judge need not be among the models that take part.
            names = [entry.name for entry in jisi.config.models]
            check_graders(tests.questions, GraderSet(grading, ReplayPool({}, names)))
        account.with_keys(jisi.models)
        async with account.pool([*jisi.models, *judges_of(grading, jisi.config)]) as pool:
            if not by_batch:
                return await run_on(pool=pool, concurrency=account.concurrency)
            from jisi_cli.models.batch.pool import BatchedPool
            from jisi_cli.models.batch.queue import BatchQueue

            queue = BatchQueue(pool, partial(account.batches, pool), on_progress)
            try:
                batched = BatchedPool(pool, queue.fetched)
                return await run_on(pool=batched, ahead=queue, concurrency=account.concurrency)
            finally:
                await queue.close()

    try:
        with nullcontext() if live else account.workers() as workers:
            return account.background.run(run(workers))
    except BudgetError:
        account.check()
        raise


def settings_of(jisi: Jisi, entry: Entry) -> dict[str, Any] | None:
    """Return what a method ran with as plain data; None where it has no settings."""
    return None if entry.method is None else with_failed(jisi.bank, settings_json(entry.method))


def made_of(jisi: Jisi, questions: int, source: str, *, live: bool = False) -> dict[str, Any]:
    """Return what is needed to make a comparison again, as plain data.

    Args:
        jisi: What is open.
        questions: Number of test questions.
        source: What they were read from.
        live: Whether models were called.
    """
    manifest = jisi.bank.manifest
    return {
        "questions": questions,
        "test": as_named(source),
        "bank": as_named(str(jisi.bank.path)),
        "bank_parts": [part.sha256 for part in manifest.queries],
        "models": list(jisi.models),
        "embedder": manifest.embedder.to_json(),
        "split": {"fraction": manifest.split.fraction, "seed": manifest.split.seed} if manifest.split else None,
        "settings": with_failed(jisi.bank, jisi.configured.hyperparameters.to_json()),
        "failed_answers": jisi.bank.failed,
        "seed": jisi.seed,
        "live": live,
        "versions": {"jisi": jisi_cli.__version__, "numpy": np.__version__},
    }


# Settings compared on train rows by cross-validation, never on test rows.

_SWEPT = ("jisi-router", "jisi-query", "jisi-vote")


def sweep(
    jisi: Jisi, texts: Sequence[str], methods: Sequence[str] | None = None, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Score every combination of settings and compare it with the settings in force.

    Args:
        jisi: What is open.
        texts: Settings to try, as in `gamma=0.8,0.9`.
        methods: Methods by name, of which the first that a replay can score is taken; None for `jisi-query`.
        on_progress: Told of (runs done, runs in all).

    Returns:
        Plain data: the method, the number of folds, the seed, and a row for each combination.

    Raises:
        InputError: A sweep cannot be read, or no method was named that a replay can score.
    """
    seed = jisi.seed
    method = next((name for name in methods or DEFAULT if name in _SWEPT), None)
    if method is None:
        raise InputError(f"--sweep needs one of the methods {', '.join(_SWEPT)}; name it with --method")
    context, tried = jisi.configured.context.for_method(method), parse_sweep(texts)
    for name, values in tried.items():
        for value in values:
            method_info(method).check_options({name: value})
    settings = [("in force", context.hyperparameters), *swept(context.hyperparameters, tried)]
    train = from_bank(jisi.bank, jisi.models, jisi.bank.train_rows, {})
    folds = spread_folds(context.datasets, seed)
    with jisi.account.workers() as workers:
        scores = validate(method, [setting for _, setting in settings], context, train, folds, on_progress, workers)
    rows = []
    for (label, setting), found in zip(settings, scores, strict=True):
        made = make_method(method, replace(context, hyperparameters=setting))
        gain = paired_difference(found, scores[0], context.datasets, "in force", np.random.default_rng(seed))
        rows.append(
            {
                "label": label,
                "average": average_of(found, context.datasets),
                "difference": {"average": gain.average, "low": gain.low, "high": gain.high},
                "settings": settings_json(made),
            }
        )
    return {"method": method, "folds": len(set(folds.tolist())), "seed": seed, "sweep": rows}
