"""`jisi eval`: how good, at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.interrupts import give_time
from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.cli.options import (
    BatchOption,
    DatasetsOption,
    EngineOption,
    JsonOption,
    MapOption,
    ResubmitOption,
    grading_options,
    require_asked,
    require_grading,
    split_names,
)
from jisi_cli.cli.output import Column, Output
from jisi_cli.errors import InputError
from jisi_cli.grading.registry import GradingOptions
from jisi_cli.types import LARGEST_SEED

if TYPE_CHECKING:
    from jisi_cli.cli.eval_ci import Format, Threshold
    from jisi_cli.comparing_splits import SplitRun
    from jisi_cli.evaluation.comparison import Comparison, MethodReport
    from jisi_cli.evaluation.splits import Split, SplitComparison
    from jisi_cli.jisi import Jisi


_DEFAULT = "best-single,jisi-query,jisi-router,jisi-vote,jisi"


@grading_options
@opens_pool("label", "concurrency")
def evaluate(
    test: Annotated[
        str | None,
        typer.Argument(metavar="[TEST]", help="A bank (its test rows), recorded answers, or questions; `-` is stdin."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAMES",
            help=f"Methods, or `all` [{_DEFAULT.replace(',', ', ')}; in a replay oracle, too].",
        ),
    ] = None,
    list_methods: Annotated[bool, typer.Option("--list-methods", help="Name the methods and what they need.")] = False,
    versus: Annotated[
        list[str] | None, typer.Option("--versus", metavar="METHOD", help="Also compare with this method.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Call the models of the pool and grade their answers.")] = False,
    batch: BatchOption = False,
    resubmit: ResubmitOption = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a line per question and method; resumes.")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="Format of TEST [detected].")] = None,
    map_: MapOption = None,
    datasets: DatasetsOption = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Questions per dataset.")] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="List prices (JSON), where no dollars were recorded."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="NAME=V,V", help="Try settings on a validation slice of train."),
    ] = None,
    grow: Annotated[
        Path | None, typer.Option("--grow", metavar="FILE", help="Add models in this order, one name a line (Fig. 5).")
    ] = None,
    grow_from: Annotated[int, typer.Option("--grow-from", metavar="N", min=1, help="Models to begin with.")] = 5,
    ablate: Annotated[bool, typer.Option("--ablate", help="Leave out one part of the method at a time.")] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Quality against cost: methods with a price weight, at eleven weights.")
    ] = False,
    learning_curve: Annotated[
        bool,
        typer.Option(
            "--learning-curve", help="Also measure what the bank would be worth with fewer questions (takes a while)."
        ),
    ] = False,
    splits: Annotated[
        int | None,
        typer.Option(
            "--splits",
            metavar="N",
            min=2,
            max=1000,
            help="Split the bank N times, fit and test on each split, and compare over all.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Also write the comparison as a page (HTML).")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            max=LARGEST_SEED,
            help="Seed of the bootstrap, of random methods, and of the first of --splits.",
        ),
    ] = 42,
    fail_under: Annotated[
        str | None,
        typer.Option(
            "--fail-under", metavar="X[:METHOD]", help="Exit with 6 if a method's Avg is below X % [the first method]."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that cannot be used.")] = False,
    engine: EngineOption = None,
    output_format: Annotated[
        str | None,
        typer.Option("--output-format", metavar="NAME", help="table, json, junit (for CI) or markdown [table]."),
    ] = None,
    as_json: JsonOption = False,
    *,
    opening: Opening,
    grading: GradingOptions,
) -> None:
    """Compare methods on test questions. Recorded answers are replayed: no call, no key.

    --live --batch asks through the batch endpoints of OpenAI, Azure OpenAI, Anthropic, Gemini, Vertex AI and Amazon
    Bedrock: what all methods need is submitted together, then what depends on the answers. A method that asks one model
    after another takes a batch, of up to a day, for each. You can stop waiting at any time: the same command resumes.

    Example: jisi eval sample_data/bank --method best-single,knn,jisi-router
    """
    from jisi_cli.bank.bank import local_folder
    from jisi_cli.cli.comparison_view import show_methods
    from jisi_cli.cli.eval_ci import Threshold, chosen_format
    from jisi_cli.cli.learning_curve import measure_curve
    from jisi_cli.cli.progress import counted
    from jisi_cli.cli.report import require_page
    from jisi_cli.comparing import evaluate, open_for
    from jisi_cli.comparing_splits import SplitRun, usual_methods
    from jisi_cli.files import read_text
    from jisi_cli.formats.column_map import ColumnMap

    out = opening.out
    shape = chosen_format(output_format, as_json=as_json)
    as_json = shape == "json"
    if list_methods:
        show_methods(out, as_json=as_json)
        return
    experiments = {"sweep": sweep, "grow": grow, "ablate": ablate, "curve": curve, "splits": splits}
    experiments["learning-curve"] = learning_curve
    elsewhere = {"report": report, "out": out_file, "fail_under": fail_under, "versus": versus, "datasets": datasets}
    _refuse_together(experiments, **elsewhere, limit=limit, live=live)
    if shape in ("junit", "markdown") and (sweep or curve or splits is not None):
        raise InputError(f"--output-format {shape} prints one comparison; leave out --sweep, --curve and --splits")
    test = None if test is None else str(local_folder(test, out.note))
    bank = opening.options["bank"]
    bank = None if bank is None else local_folder(bank, out.note)
    if splits is not None:
        _refuse_other_questions(test, bank, live=live)
    require_asked("--live", live, batch=batch, resubmit=resubmit)
    if report is not None:
        require_page(report, results=out_file)
    require_grading("--live", grading, present=live)
    names = split_names(None if method is None else [method])
    threshold = Threshold.parse(fail_under)
    with open_for(
        None if test is None else Path(test),
        live=live,
        prices=prices,
        seed=seed,
        user=out,
        command="eval",
        engine=engine,
        **{**opening.options, "bank": bank},
    ) as jisi:
        jisi.account.resubmits = resubmit
        if sweep:
            _show_sweep(jisi, sweep, names, out, as_json=as_json)
            return
        if splits is not None:
            run = SplitRun(
                jisi,
                splits,
                usual_methods(names),
                split_names(versus) or (),
                out_file,
                split_names(datasets),
                limit,
                on_entries=threshold.rows,
                progress=lambda what: counted(out, what),
            )
            threshold.check(_show_splits(run, report, out, as_json=as_json))
            return
        comparison = evaluate(
            test,
            names,
            jisi=jisi,
            versus=split_names(versus) or (),
            live=live,
            by_batch=batch,
            out=out_file,
            format=format,
            datasets=split_names(datasets),
            limit=limit,
            columns=ColumnMap.parse(map_ or ()).columns,
            strict=strict,
            grow=None if grow is None else [line.strip() for line in read_text(grow).splitlines() if line.strip()],
            grow_from=grow_from,
            ablate=ablate,
            curve=curve,
            grading=grading,
            on_entries=threshold.rows,
            progress=lambda what: counted(out, what),
        )
        if learning_curve:
            voting = jisi.configured.context.for_method("jisi-vote").hyperparameters
            with jisi.account.workers() as workers:
                measured = measure_curve(jisi.bank, voting, out, jisi.models, workers)
            comparison = replace(comparison, learning=measured)
        _show(comparison, report, jisi, out, shape, threshold)
        jisi.account.check()
    threshold.check(comparison.methods)


def _show(
    comparison: Comparison, report: Path | None, jisi: Jisi, out: Output, shape: Format, threshold: Threshold
) -> None:
    from jisi_cli.cli.comparison_view import note_questions, show_curve, show_report
    from jisi_cli.cli.eval_ci import to_junit, to_markdown
    from jisi_cli.cli.grading import note_grading
    from jisi_cli.cli.learning_curve import show_curve as show_learning
    from jisi_cli.evaluation.comparison import headline

    note_grading(comparison.graders, out)
    if report is not None:
        _write_page(report, comparison, jisi, out)
    if shape == "json":
        out.json(comparison.to_json())
    elif shape == "junit":
        out.data(to_junit(comparison.methods, threshold.below(comparison.methods), threshold.percent))
    elif shape == "markdown":
        out.data(to_markdown(comparison.methods, len(comparison.tests)))
    elif comparison.curve is not None:
        show_curve(comparison.curve, out)
    else:
        show_report(comparison.methods, out)
        if comparison.learning is not None:
            show_learning(comparison.learning, out)
    note_questions(comparison, out)
    if comparison.curve is None:
        out.note(headline(comparison.methods))


def _write_page(path: Path, comparison: Comparison, jisi: Jisi, out: Output) -> None:
    """Write the page of the comparison; what made it is what `--json` says of it."""
    import hashlib

    from jisi_cli.cli.report import origin_of, write_page
    from jisi_cli.report.comparison_page import comparison_page
    from jisi_cli.report.questions import PageData

    data = PageData(comparison.tests, {question.key: question for question in jisi.bank.questions})
    made = {name: value for name, value in comparison.made.items() if name not in ("bank_parts", "versions")}
    answers = jisi.bank.manifest.responses
    parts = "".join(part.sha256 for model in jisi.models for part in answers[model])
    made["SHA-256 of the bank's questions"] = comparison.made["bank_parts"]
    made["SHA-256 of its answers' SHA-256"] = hashlib.sha256(parts.encode()).hexdigest()
    page = comparison_page(comparison.methods, comparison.results, origin_of(made), data, comparison.learning)
    write_page(path, page, out)


# Experiments: settings compared on train rows (--sweep), and several splits of the bank (--splits).


def _refuse_together(experiments: Mapping[str, object], **beside_a_comparison: object) -> None:
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


def _show_sweep(jisi: Jisi, texts: Sequence[str], names: Sequence[str] | None, out: Output, *, as_json: bool) -> None:
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


def _refuse_other_questions(test: str | None, bank: Path | None, *, live: bool) -> None:
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


def _show_splits(run: SplitRun, report: Path | None, out: Output, *, as_json: bool) -> list[MethodReport]:
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
