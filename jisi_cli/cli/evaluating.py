"""What `jisi eval` does: find the test set, run the methods, show the comparison."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import jisi_cli
from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.cli.curve_view import show_curve
from jisi_cli.cli.grading import judges_of, note_grading
from jisi_cli.cli.interrupting import run_calls
from jisi_cli.cli.output import Column, Output
from jisi_cli.cli.pool import PoolOptions, open_pool, pool_concurrency
from jisi_cli.cli.reading import read_text
from jisi_cli.cli.report import write_page
from jisi_cli.cli.report_view import show_report
from jisi_cli.cli.session import PoolUse, Session
from jisi_cli.cli.sweeping import run_sweep
from jisi_cli.cli.test_sources import SourceRequest, read_test_set
from jisi_cli.cli.threshold import Threshold
from jisi_cli.config import Price
from jisi_cli.embedders.deferred import DeferredEmbedder
from jisi_cli.errors import InputError
from jisi_cli.evaluation.costs import mean_costs, read_prices, row_dollars
from jisi_cli.evaluation.curve import build_curve, traded
from jisi_cli.evaluation.experiments import Variation, ablations, growing
from jisi_cli.evaluation.report import MethodReport, build_report
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import Contestant, Timing, run_method
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.options import GradingOptions
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.llm.answer import Pool
from jisi_cli.methods.registry import METHODS, MethodContext, make_method, method_info

_BASELINE = "best-single"
_READINGS: dict[str, Callable[[Hyperparameters], Hyperparameters]] = {
    "paper": lambda settings: Hyperparameters(),
    "openjisi": lambda settings: replace(settings, compat="openjisi"),
}
"""What may stand behind an @: the paper's settings, or the choices of the authors' released code."""


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """The command line of `jisi eval`."""

    test: str | None
    bank: Path | None
    config: Path | None
    methods: tuple[str, ...]
    versus: tuple[str, ...]
    live: bool
    out_file: Path | None
    format: str | None
    models: list[str] | None
    datasets: list[str] | None
    limit: int | None
    prices: Path | None
    sweep: tuple[str, ...]
    grow: Path | None
    grow_from: int
    ablate: bool
    curve: bool
    seed: int
    fail_under: str | None
    strict: bool
    pool: PoolOptions
    routing: Mapping[str, Any]
    grading: GradingOptions
    as_json: bool
    report: Path | None = None


def run_eval(request: EvalRequest, out: Output) -> None:
    """Run the methods and show how they compare.

    Raises:
        InputError: The test set, a method or an option cannot be used.
        BankError: The bank cannot be used.
        BudgetError: The budget stopped a live run; what was answered is in `--out`.
        BelowThresholdError: An average is below `--fail-under`.
    """
    session = open_session(request, out)
    prices = known_prices(request, session)
    threshold = Threshold.parse(request.fail_under) if request.fail_under is not None else None
    context = make_context(session, prices, request.seed)
    if request.sweep:
        run_sweep(session, context, request.sweep, request.methods, request.seed, out, as_json=request.as_json)
        return
    variations = _variations(request, context, session)
    tests = read_test_set(session, _source(request), prices, out)
    contestants = _contestants(variations, session, request, out)
    if threshold is not None:
        threshold.rows([contestant.name for contestant in contestants])
    results, timings = run_calls(_run_all(session, request, contestants, tests, out))
    versus = tuple(dict.fromkeys((_BASELINE, *request.versus)))
    reports = build_report(results, versus, np.random.default_rng(request.seed), timings)
    if request.report is not None:
        _write_report(request.report, report_json(session, request, tests, reports), reports, results, tests, out)
    curve = build_curve(reports) if request.curve else None
    if request.as_json:
        found = report_json(session, request, tests, reports)
        out.json(found if curve is None else {**found, "curve": curve.to_json()})
    elif curve is not None:
        show_curve(curve, out)
    else:
        show_report(reports, out)
    if threshold is not None:
        threshold.check(reports)


def open_session(request: EvalRequest, out: Output) -> Session:
    """Open the bank that decisions are drawn from: `--bank`, else TEST itself where it is one."""
    test_is_bank = request.test is not None and (Path(request.test) / MANIFEST_NAME).exists()
    bank = request.bank or (Path(request.test) if test_is_bank and request.test else None)
    pool: PoolUse = "required" if request.live else "ignored"
    return Session(bank, request.config, request.models, request.routing, out, request.pool, pool)


def known_prices(request: EvalRequest, session: Session) -> dict[str, Price]:
    """Return list prices by model: those of `--prices`, else the pool file's."""
    configured = {entry.name: entry.price for entry in session.config.models if entry.price is not None}
    return {**configured, **(read_prices(request.prices) if request.prices else {})}


def make_context(session: Session, prices: Mapping[str, Price], seed: int) -> MethodContext:
    """Gather what methods are made from: train data only."""
    questions = session.bank.questions
    rows = session.bank.train_rows.tolist()
    dollars = row_dollars(session.bank, session.models, prices)
    return MethodContext(
        bank=session.arrays,
        datasets=[questions[row].dataset for row in rows],
        costs=mean_costs(dollars),
        dollars=dollars,
        embedder=DeferredEmbedder(session.bank.manifest.embedder, lambda: session.embedder),
        settings=session.settings,
        seed=seed,
        texts=[questions[row].query for row in rows],
    )


def make_contestant(variation: Variation, session: Session, request: EvalRequest) -> Contestant:
    """Make one method, with what decides its answers as its identity."""
    context = variation.context
    started = time.perf_counter()
    method = make_method(variation.method, context) if method_info(variation.method).factory else None
    making = time.perf_counter() - started
    parts = [part.sha256 for part in session.bank.manifest.queries]
    parts += [part.sha256 for model in session.models for part in session.bank.manifest.responses[model]]
    identity = (
        variation.method,
        context.settings.to_json(),
        context.bank.model_names,
        parts,
        context.costs.tolist(),
        request.seed,
        _asked(session) if request.live else "replay",
    )
    return Contestant(variation.label, method, identity, making)


def _contestants(
    variations: Sequence[Variation], session: Session, request: EvalRequest, out: Output
) -> list[Contestant]:
    """Make the methods; `all` goes without what cannot be made, as without prices."""
    made = []
    for variation in variations:
        try:
            made.append(make_contestant(variation, session, request))
        except InputError as error:
            if "all" not in request.methods or variation.label in (*request.methods, *request.versus):
                raise
            out.note(f"{variation.label} is left out: {error}")
    return made


def _asked(session: Session) -> list[object]:
    """What decides the answers of live models, as it decides whether a cached answer is theirs."""
    entries = [entry for entry in session.config.models if entry.name in session.models]
    return [(entry.name, entry.litellm, entry.api_base, entry.system, dict(entry.params)) for entry in entries]


def show_methods(out: Output, *, as_json: bool) -> None:
    """List the methods, what they need and where they come from."""
    infos = [*METHODS.values(), method_info("model:NAME")]
    if as_json:
        fields = ("name", "description", "needs", "source")
        out.json([{field: getattr(info, field) for field in fields} for info in infos])
        return
    columns = [Column("method"), Column("what it does"), Column("needs"), Column("source")]
    out.table(columns, [[info.name, info.description, info.needs, info.source] for info in infos])


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
        "settings": session.settings.to_json(),
        "seed": request.seed,
        "live": request.live,
        "versions": {"jisi": jisi_cli.__version__, "numpy": np.__version__},
    }


def _write_report(
    path: Path,
    found: Mapping[str, Any],
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    tests: TestSet,
    out: Output,
) -> None:
    """Write the page of the comparison; what made it is what `--json` says of it."""
    from jisi_cli.reporting.comparison_page import comparison_page

    made = {name: value for name, value in found.items() if name != "methods"}
    origin = {name: value if isinstance(value, str) else json.dumps(value) for name, value in made.items()}
    origin = {"command": shlex.join(["jisi", *sys.argv[1:]]), **origin}
    page = comparison_page(reports, results, origin, [question.query for question in tests.questions])
    write_page(path, page, out)


def _variations(request: EvalRequest, context: MethodContext, session: Session) -> list[Variation]:
    """What is compared: the methods asked for, or the contestants of an experiment."""
    if request.ablate:
        return [*ablations(context), Variation(_BASELINE, _BASELINE, context)]
    if request.grow is not None:
        methods = [name for name in _methods(request) if name != "jisi"] or ["jisi-router"]
        order = [line.strip() for line in read_text(request.grow).splitlines() if line.strip()]
        return growing(context, order, request.grow_from, methods)
    if request.curve:
        return [entry for name in _methods(request) for entry in traded(name, context)]
    names = _methods(request)
    if not request.live and _BASELINE not in names:
        # Costs nothing in a replay, and without it a reader cannot tell whether routing pays at all.
        names.append(_BASELINE)
    return [entry for name in names for entry in _readings(name, context, session)]


def _readings(name: str, context: MethodContext, session: Session) -> list[Variation]:
    """One method; JiSi in the reading its name asks for, and on a calibrated bank in the paper's, too."""
    method, _, reading = name.partition("@")
    if not method.startswith("jisi"):
        return [Variation(name, method, context)]
    if reading:
        settings = _READINGS[reading](context.settings)
        return [Variation(name, method, replace(context, settings=settings))]
    calibrated = session.bank.manifest.hyperparameters
    if not calibrated or context.settings != session.bank.hyperparameters():
        return [Variation(name, method, context)]
    paper = replace(context, settings=Hyperparameters())
    return [
        Variation(f"{name} (paper settings)", method, paper),
        Variation(f"{name} (calibrated)", method, context),
    ]


def _methods(request: EvalRequest) -> list[str]:
    """The methods in the order asked for; `all` leaves out what cannot be done with what there is."""
    names = list(dict.fromkeys(request.methods))
    if "all" in names:
        impossible = "labels" if request.live else "live"
        everything = [name for name, info in METHODS.items() if info.needs != impossible]
        names = [*everything, *(name for name in names if name not in ("all", *everything))]
    names += [name for name in request.versus if name not in names]
    for name in names:
        method, _, reading = name.partition("@")
        info = method_info(method)
        if reading and (reading not in _READINGS or not method.startswith("jisi")):
            raise InputError(
                f"`{name}`: JiSi's methods have the readings {', '.join(_READINGS)}, as in jisi-router@paper"
            )
        if info.needs == "live" and not request.live:
            raise InputError(f"`{name}` needs live calls; add --live, or leave it out")
        if info.needs == "labels" and request.live:
            raise InputError(f"`{name}` is read off recorded answers; leave it out of a live run")
    return names


def _source(request: EvalRequest) -> SourceRequest:
    return SourceRequest(
        test=request.test,
        format=request.format,
        datasets=request.datasets,
        limit=request.limit,
        live=request.live,
        strict=request.strict,
    )


async def _run_all(
    session: Session, request: EvalRequest, contestants: Sequence[Contestant], tests: TestSet, out: Output
) -> tuple[dict[str, list[Result]], dict[str, Timing]]:
    if not request.live:
        return await _run_on(tests.pool, contestants, tests, request, out, concurrency=1)
    models = [*session.models, *judges_of(request.grading, session.config)]
    async with open_pool(session.config, models, request.pool, out, purse=session.purse) as pool:
        concurrency = pool_concurrency(session.config, request.pool)
        return await _run_on(pool, contestants, tests, request, out, concurrency=concurrency)


async def _run_on(
    pool: Pool,
    contestants: Sequence[Contestant],
    tests: TestSet,
    request: EvalRequest,
    out: Output,
    *,
    concurrency: int,
) -> tuple[dict[str, list[Result]], dict[str, Timing]]:
    results, timings = {}, {}
    with ResultFile(request.out_file) as file, GraderSet(request.grading, pool) as graders:
        for contestant in contestants:
            found, timing = await run_method(contestant, tests, pool, file, concurrency=concurrency, graders=graders)
            results[contestant.name], timings[contestant.name] = found, timing
            took = f"{timing.make:.2f} s making, {timing.plan:.2f} s planning, {timing.answer:.2f} s answering"
            out.detail(f"{contestant.name}: {took}")
    note_grading(graders, out)
    return results, timings
