"""What `jisi eval` does: find the test set, run the methods, show the comparison."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

import jisi_cli
from jisi_cli.bank.manifest import MANIFEST_NAME
from jisi_cli.cli.comparison_view import show_report
from jisi_cli.cli.entries import BASELINE, EvalRequest, make_contestants, variations
from jisi_cli.cli.grading import judges_of, note_grading
from jisi_cli.cli.output import Column, Output, dollars
from jisi_cli.cli.pool import open_pool, pool_concurrency
from jisi_cli.cli.progress import counted, run_calls
from jisi_cli.cli.report import origin_of, write_page
from jisi_cli.cli.session import PoolUse, Session
from jisi_cli.cli.test_sources import read_test_set
from jisi_cli.config import Price, read_prices
from jisi_cli.errors import BelowThresholdError, BudgetError, InputError
from jisi_cli.evaluation.comparison import MethodReport, build_report
from jisi_cli.evaluation.experiments import Curve, build_curve, parse_sweep, swept
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import Contestant, Timing, run_method
from jisi_cli.evaluation.statistics import paired_difference
from jisi_cli.evaluation.test_set import TestSet, from_bank
from jisi_cli.evaluation.validation import average_of, spread_folds, validate
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.methods.context import MethodContext
from jisi_cli.methods.protocol import settings_json
from jisi_cli.methods.registry import MethodInfo, all_methods, broken_plugins, make_method, method_info
from jisi_cli.types import Pool

# `--fail-under`: an average that is demanded of a method.


_LAST_BITS = 1e-9
"""Averages are exact but for their last bits, and 57 % is not below 57."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """What is demanded of whom.

    Attributes:
        percent: The least average, in percent.
        method: Name of the method; empty for the first one of the report.
    """

    percent: float
    method: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `70` or `70:METHOD`.

        Raises:
            InputError: It says something else.
        """
        number, _, method = text.partition(":")
        try:
            percent = float(number)
        except ValueError:
            percent = math.nan
        if not 0 <= percent <= 100:
            raise InputError(f"--fail-under takes a percentage from 0 to 100, or PERCENTAGE:METHOD, not {text!r}")
        return cls(percent, method)

    def rows(self, names: Sequence[str]) -> list[str]:
        """Return the rows of the report that are meant: all readings of the method.

        Raises:
            InputError: The method is not among them.
        """
        # A method may stand in several readings, as in `jisi-router (calibrated)`.
        found = [name for name in names if name == self.method]
        found = found or [name for name in names if name.partition(" (")[0] == self.method]
        if not self.method:
            found = list(names[:1])
        if not found:
            raise InputError(f"--fail-under: `{self.method}` is not among the methods {', '.join(names)}")
        return found

    def check(self, reports: Sequence[MethodReport]) -> None:
        """Compare.

        Raises:
            BelowThresholdError: An average is below, or there is none.
        """
        meant = self.rows([report.name for report in reports])
        for report in reports:
            if report.name not in meant:
                continue
            reached = 100 * report.averages.average if report.averages else None
            if reached is None or reached < self.percent - _LAST_BITS:
                shown = "no average" if reached is None else f"{reached:.6g} %"
                raise BelowThresholdError(f"{report.name} reached {shown}, below --fail-under {self.percent:g}")


# What `jisi eval --sweep` does: settings compared on train rows by cross-validation, never on test rows.


_SWEPT = ("jisi-router", "jisi-query", "jisi-vote")


def run_sweep(
    session: Session,
    context: MethodContext,
    texts: Sequence[str],
    methods: Sequence[str],
    seed: int,
    out: Output,
    *,
    as_json: bool,
) -> None:
    """Score every combination of settings and compare it with the settings in force.

    Raises:
        InputError: A sweep cannot be read, or no method was named that a replay can score.
    """
    method = next((name for name in methods if name in _SWEPT), None)
    if method is None:
        raise InputError(f"--sweep needs one of the methods {', '.join(_SWEPT)}; name it with --method")
    values = parse_sweep(texts)
    for name, tried in values.items():
        for value in tried:
            method_info(method).check_options({name: value})
    settings = [("in force", context.hyperparameters), *swept(context.hyperparameters, values)]
    train = from_bank(session.bank, session.models, session.bank.train_rows, {})
    folds = spread_folds(context.datasets, seed)
    with counted(out, "cross-validating") as on_progress:
        scores = asyncio.run(validate(method, [setting for _, setting in settings], context, train, folds, on_progress))
    rows: list[dict[str, Any]] = []
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
    if as_json:
        out.json({"method": method, "folds": len(set(folds.tolist())), "seed": seed, "sweep": rows})
        return
    out.table([Column("settings"), Column("Avg", right=True), Column("vs in force", right=True)], map(_row, rows))
    out.note(f"{method}, cross-validated on {len(train):,} train questions; test rows were not touched")


def _row(row: dict[str, Any]) -> list[str]:
    low, high = 100 * row["difference"]["low"], 100 * row["difference"]["high"]
    shown = f"{100 * row['difference']['average']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return [row["label"], f"{100 * row['average']:.2f}", shown]


# A comparison as a document: what `jisi eval --json` prints and `--report` draws.


def report_json(
    session: Session,
    request: EvalRequest,
    tests: TestSet,
    contestants: Sequence[Contestant],
    reports: Sequence[MethodReport],
) -> dict[str, Any]:
    """Return the whole comparison with what is needed to make it again; each method's own settings are those it ran."""
    manifest = session.bank.manifest
    own = {entry.name: settings_json(entry.method) for entry in contestants if entry.method is not None}
    return {
        "methods": [{**report.to_json(), "settings": own.get(report.name)} for report in reports],
        "questions": len(tests),
        "test": tests.source,
        "bank": str(session.bank.path),
        "bank_parts": [part.sha256 for part in manifest.queries],
        "models": list(session.models),
        "embedder": manifest.embedder.to_json(),
        "split": {"fraction": manifest.split.fraction, "seed": manifest.split.seed} if manifest.split else None,
        "settings": session.settings_json(),
        "failed_answers": tests.failed,
        "seed": request.seed,
        "live": request.live,
        "versions": {"jisi": jisi_cli.__version__, "numpy": np.__version__},
    }


def write_report(
    path: Path,
    found: Mapping[str, Any],
    reports: Sequence[MethodReport],
    results: Mapping[str, Sequence[Result]],
    tests: TestSet,
    session: Session,
    out: Output,
) -> None:
    """Write the page of the comparison; what made it is what `--json` says of it."""
    from jisi_cli.report.comparison_page import comparison_page
    from jisi_cli.report.questions import PageData

    page_data = PageData(tests, {question.key: question for question in session.bank.questions})
    left_out = ("methods", "bank_parts", "versions")
    made = {name: value for name, value in found.items() if name not in left_out}
    answers = session.bank.manifest.responses
    parts = "".join(part.sha256 for model in session.models for part in answers[model])
    made["SHA-256 of the bank's questions"] = found["bank_parts"]
    made["SHA-256 of its answers' SHA-256"] = hashlib.sha256(parts.encode()).hexdigest()
    write_page(path, comparison_page(reports, results, origin_of(made), page_data), out)


# How the trade of quality for dollars is shown to a person.


def show_curve(curve: Curve, out: Output) -> None:
    """Write the points by cost, then the area under the front of all and of each method with several points."""
    columns = [Column("method"), Column("cost per question", right=True), Column("Avg", right=True), Column("front")]
    rows = [
        [point.label, dollars(point.cost_usd), f"{100 * point.average:.2f}", "*" if point.on_front else ""]
        for point in curve.points
    ]
    out.table(columns, rows)
    if curve.area is not None:
        out.separate()
        areas = {"all together": curve.area, **curve.areas}
        table = [[name, f"{100 * area:.2f}"] for name, area in areas.items()]
        out.table([Column("method"), Column("area under the front", right=True)], table)
        out.note(
            f"the best Avg in % for a budget, averaged over budgets from {dollars(curve.points[0].cost_usd)} "
            f"to {dollars(curve.points[-1].cost_usd)} per question; * marks the Pareto front"
        )
    if curve.unpriced:
        out.warn(
            f"{', '.join(curve.unpriced)}: no point where an Avg or dollars are unknown; "
            "--prices names list prices, --live asks"
        )


# How the list of methods is shown: what each does, what it needs, where it comes from.


def show_methods(out: Output, *, as_json: bool) -> None:
    """List the methods."""
    infos = list(all_methods().values())
    for words in broken_plugins():
        out.warn(words)
    if as_json:
        out.json([_method_json(info) for info in infos])
        return
    columns = [
        Column("method"),
        Column("what it does"),
        Column("needs"),
        Column("training", right=True),
        Column("source"),
    ]
    rows = [[info.usage, info.summary, info.needs, _training(info), info.source] for info in infos]
    if out.draws:
        # A terminal is too narrow for whole sentences in another column.
        out.table(columns, rows)
        out.separate()
        for info in infos:
            if info.departures:
                out.data(f"{info.usage} differs from its source: {info.departures}")
    else:
        columns.append(Column("differs from its source in this"))
        out.table(columns, [[*row, info.departures] for row, info in zip(rows, infos, strict=True)])
    out.note(
        "training: about how much processor time it takes on 2,000 questions and 10 models; what was trained is kept"
    )


def _method_json(info: MethodInfo) -> dict[str, object]:
    same = {name: getattr(info, name) for name in ("departures", "needs", "training_seconds", "source")}
    return {"name": info.usage, "description": info.summary, **same}


def _training(info: MethodInfo) -> str:
    return "" if info.training_seconds is None else f"{info.training_seconds:g} s"


# What `jisi eval` does: find the test set, run the methods, show the comparison.


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
    context = session.context(prices, request.seed)
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
        found = report_json(session, request, tests, contestants, reports)
        write_report(request.report, found, reports, results, tests, session, out)
    curve = build_curve(reports) if request.curve else None
    if request.as_json:
        found = report_json(session, request, tests, contestants, reports)
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
    return {**session.prices(), **(read_prices(request.prices) if request.prices else {})}


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
