"""`jisi report`: the page of a comparison, from results that were stored with `jisi eval --out`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.options import QuietOption
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError
from jisi_cli.files import PAGE, require_output, written
from jisi_cli.types import LARGEST_SEED

if TYPE_CHECKING:
    from jisi_cli.evaluation.results import Result
    from jisi_cli.report.questions import PageData

_HIDING = ("--grader-command", "--command", "--grader")
"""Options whose value is, or may be, a program with its arguments."""
_PROGRAM = re.compile(r"((?:[^=]*=)?\s*command\s*:)")
"""How a program begins as a value of `--grader`."""
_HIDDEN = "…"


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results of `jisi eval --out`.")],
    out_file: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page (HTML) to write.")],
    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank", metavar="PATH", help="The bank they were made on; the page then shows its questions and answers."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=LARGEST_SEED, help="Seed of the bootstrap.")
    ] = 42,
    quiet: QuietOption = False,
) -> None:
    """Write one page that shows who wins, by how much, at what price and where.

    Example: jisi report results.jsonl -o report.html
    """
    require_page(out_file, results=results)
    import hashlib

    from jisi_cli.evaluation.results import read_results

    # A question that failed was asked again, and its last line counts.
    known = {result.key: result for result in read_results(results)}
    by_split: dict[int | None, dict[str, list[Result]]] = {}
    for result in known.values():
        by_split.setdefault(result.split, {}).setdefault(result.method, []).append(result)
    in_order = {split: _in_one_order(results, by_method) for split, by_method in by_split.items() or [(None, {})]}
    made = {
        "questions": len({(result.dataset, result.index) for result in known.values()}),
        "seed": seed,
        "results": str(results),
        "SHA-256 of the results": hashlib.sha256(results.read_bytes()).hexdigest(),
        "bank": str(bank) if bank is not None else None,
    }
    if None in in_order and len(in_order) == 1:
        page = _page(results, in_order[None], bank, seed, origin_of(made))
    else:
        page = _page_of_splits(results, in_order, bank, seed, origin_of(made))
    write_page(out_file, page, Output(quiet=quiet))


def _page(
    path: Path, by_method: Mapping[str, list[Result]], bank: Path | None, seed: int, origin: Mapping[str, str]
) -> str:
    import numpy as np

    from jisi_cli.evaluation.comparison import build_report
    from jisi_cli.report.comparison_page import comparison_page

    page_data = _page_data(bank, path, next(iter(by_method.values()))) if bank is not None else None
    reports = build_report(by_method, ("best-single",), np.random.default_rng(seed))
    return comparison_page(reports, by_method, origin, page_data)


def _page_of_splits(
    path: Path,
    by_split: Mapping[int | None, Mapping[str, list[Result]]],
    bank: Path | None,
    seed: int,
    origin: Mapping[str, str],
) -> str:
    """Return the page of `jisi eval --splits`.

    Raises:
        InputError: The file has results of another comparison, too, or a bank was named.
    """
    import numpy as np

    from jisi_cli.evaluation.splits import Split, summarise
    from jisi_cli.report.comparison_page import splits_page

    if bank is not None:
        raise InputError(f"{path}: the page of several splits shows no single questions; leave --bank out")
    splits = [Split(split, by_method) for split, by_method in by_split.items() if split is not None]
    if len(splits) < len(by_split):
        raise InputError(
            f"{path}: holds results of --splits and of a comparison without; write each comparison to a file of its own"
        )
    return splits_page(summarise(splits, ("best-single",), np.random.default_rng(seed)), splits, origin)


def _page_data(bank: Path, path: Path, rows: list[Result]) -> PageData:
    """Look the questions of results up in a bank.

    Raises:
        BankError: The bank cannot be opened.
        InputError: The bank lacks a question.
    """
    import numpy as np

    from jisi_cli.bank.bank import Bank
    from jisi_cli.evaluation.test_set import from_bank
    from jisi_cli.report.questions import PageData

    opened = Bank(bank)
    places = {question.key: place for place, question in enumerate(opened.questions)}
    missing = next((row for row in rows if (row.dataset, row.index) not in places), None)
    if missing is not None:
        raise InputError(
            f"{path}: the question {missing.dataset}/{missing.index} is not in {opened.path}; name its own bank"
        )
    wanted = np.array([places[row.dataset, row.index] for row in rows], dtype=np.intp)
    known = {question.key: question for question in opened.questions}
    return PageData(from_bank(opened, opened.models, wanted, {}), known)


def origin_of(made: Mapping[str, Any]) -> dict[str, str]:
    """Return what made a page, as names and texts: the command first, the versions last.

    Args:
        made: Plain data; what is None or empty is left out, and a mapping is written as `name value`.
    """
    import platform
    import shlex
    import sys
    from importlib.metadata import version

    import numpy as np

    import jisi_cli
    from jisi_cli.models.redaction import redact

    def text(value: Any) -> str:  # noqa: ANN401 - plain data
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {text(part)}" for name, part in value.items() if part not in (None, ""))
        if isinstance(value, list | tuple):
            return ", ".join(map(text, value))
        return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

    versions = {
        "jisi": jisi_cli.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "vl-convert": version("vl-convert-python"),
    }
    origin = {"command": shlex.join(["jisi", *shown_arguments(sys.argv[1:])])}
    origin |= {name.replace("_", " "): text(value) for name, value in made.items() if value not in (None, "")}
    # Pages are passed on, and a command line may contain a key.
    return {name: redact(value) for name, value in {**origin, "versions": text(versions)}.items()}


def shown_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line for others to read: of a program that grades, which may be given a key, only the option.

    Args:
        arguments: What was typed after `jisi`.
    """
    shown: list[str] = []
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option:
            shown.append(_shown_value(option, argument))
            option = ""
        elif equals and name in _HIDING:
            shown.append(f"{name}={_shown_value(name, value)}")
        else:
            shown.append(argument)
            option = argument if argument in _HIDING else ""
    return shown


def _shown_value(option: str, value: str) -> str:
    if option != "--grader":
        return _HIDDEN
    program = _PROGRAM.match(value)
    return f"{program[1]}{_HIDDEN}" if program else value


def require_page(path: Path, *, results: Path | None = None) -> None:
    """Refuse a page that could not be drawn or written, before anything is paid for it.

    Args:
        path: Where the page is to be written.
        results: The file of results that the same command reads or writes; None for none.

    Raises:
        InputError: What draws is not installed, or the page cannot be written there.
    """
    from jisi_cli.report.charts import require_charts

    require_charts()
    require_output(path, PAGE, others=() if results is None else (results,))


def write_page(path: Path, page: str, out: Output) -> None:
    """Write a page and say so.

    Raises:
        InputError: The file cannot be written.
    """
    with written(path, PAGE) as file:
        # Half of a surrogate pair, which models do emit, is in no UTF-8 file.
        file.write(page.encode("utf-8", "replace"))
    out.note(f"{path}: {len(page):,} characters; open it in a browser")


def _in_one_order(path: Path, by_method: dict[str, list[Result]]) -> dict[str, list[Result]]:
    """Return every method's results in the order of the first method's: live, answers end in any order.

    Raises:
        InputError: There is nothing in the file, or several results of one method for a question, or methods differ
            in their questions.
    """
    if not by_method:
        raise InputError(f"{path}: holds no results; write some with `jisi eval --out`")
    by_question = {name: {(row.dataset, row.index): row for row in rows} for name, rows in by_method.items()}
    first, questions = next(iter(by_question.items()))
    for name, found in by_question.items():
        if len(found) < len(by_method[name]):
            raise InputError(
                f"{path}: {name} was run on a question under several settings; "
                "write each comparison to a file of its own"
            )
        if found.keys() != questions.keys():
            raise InputError(
                f"{path}: {name} and {first} were not run on the same questions; "
                "write each comparison to a file of its own"
            )
    return {name: [found[question] for question in questions] for name, found in by_question.items()}
