"""What `jisi eval` does: find the test set, run the methods, show the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.cli.comparison_document import report_json, write_report
from jisi_cli.cli.contestants import BASELINE, make_contestants, make_context, variations
from jisi_cli.cli.curve_view import show_curve
from jisi_cli.cli.eval_request import EvalRequest
from jisi_cli.cli.grading import judges_of, note_grading
from jisi_cli.cli.interrupting import run_calls
from jisi_cli.cli.output import Output
from jisi_cli.cli.pool import open_pool, pool_concurrency
from jisi_cli.cli.report_view import show_report
from jisi_cli.cli.session import PoolUse, Session
from jisi_cli.cli.sweeping import run_sweep
from jisi_cli.cli.test_sources import read_test_set
from jisi_cli.cli.threshold import Threshold
from jisi_cli.config import Price
from jisi_cli.errors import BudgetError
from jisi_cli.evaluation.costs import read_prices
from jisi_cli.evaluation.curve import build_curve
from jisi_cli.evaluation.report import build_report
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import Contestant, Timing, run_method
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.llm.answer import Pool


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
    entries = variations(request, context, session)
    tests = read_test_set(session, request.source, prices, out)
    contestants = make_contestants(entries, session, request, out)
    if threshold is not None:
        threshold.rows([contestant.name for contestant in contestants])
    try:
        results, timings = run_calls(_run_all(session, request, contestants, tests, out))
    except BudgetError:
        session.purse.check()
        raise
    versus = tuple(dict.fromkeys((BASELINE, *request.versus)))
    reports = build_report(results, versus, np.random.default_rng(request.seed), timings)
    if request.report is not None:
        found = report_json(session, request, tests, reports)
        write_report(request.report, found, reports, results, tests, session, out)
    curve = build_curve(reports) if request.curve else None
    if request.as_json:
        found = report_json(session, request, tests, reports)
        out.json(found if curve is None else {**found, "curve": curve.to_json()})
    elif curve is not None:
        show_curve(curve, out)
    else:
        show_report(reports, out)
    session.purse.check()
    if threshold is not None:
        threshold.check(reports)


def open_session(request: EvalRequest, out: Output) -> Session:
    """Open the bank that decisions are drawn from: `--bank`, else TEST itself where it is one."""
    test_is_bank = request.test is not None and (Path(request.test) / MANIFEST_NAME).exists()
    bank = request.bank or (Path(request.test) if test_is_bank and request.test else None)
    pool: PoolUse = "required" if request.live else "ignored"
    choices = (request.embedder, request.failed)
    return Session(bank, request.config, request.models, request.routing, out, request.pool, pool, *choices)


def known_prices(request: EvalRequest, session: Session) -> dict[str, Price]:
    """Return list prices by model: those of `--prices`, else the pool file's."""
    configured = {entry.name: entry.price for entry in session.config.models if entry.price is not None}
    return {**configured, **(read_prices(request.prices) if request.prices else {})}


async def _run_all(
    session: Session, request: EvalRequest, contestants: Sequence[Contestant], tests: TestSet, out: Output
) -> tuple[dict[str, list[Result]], dict[str, Timing]]:
    if not request.live:
        return await _run_on(session, tests.pool, contestants, tests, request, out, concurrency=1)
    models = [*session.models, *judges_of(request.grading, session.config)]
    async with open_pool(session.config, models, request.pool, out, purse=session.purse) as pool:
        concurrency = pool_concurrency(session.config, request.pool)
        return await _run_on(session, pool, contestants, tests, request, out, concurrency=concurrency)


async def _run_on(
    session: Session,
    pool: Pool,
    contestants: Sequence[Contestant],
    tests: TestSet,
    request: EvalRequest,
    out: Output,
    *,
    concurrency: int,
) -> tuple[dict[str, list[Result]], dict[str, Timing]]:
    results, timings = {}, {}
    train = [session.bank.questions[row].key for row in session.bank.train_rows.tolist()]
    with ResultFile(request.out_file) as file, GraderSet(request.grading, pool) as graders:
        for contestant in contestants:
            found, timing = await run_method(
                contestant, tests, pool, file, concurrency=concurrency, graders=graders, train=train
            )
            results[contestant.name] = found
            if contestant.needs_live:
                continue
            timings[contestant.name] = timing
            took = f"{timing.make:.2f} s making, {timing.plan:.2f} s planning, {timing.answer:.2f} s answering"
            out.detail(f"{contestant.name}: {took}")
    note_grading(graders, out)
    return results, timings
