"""`jisi report`: the page of a comparison, from results that were stored with `jisi eval --out`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jisi_cli.cli.options import QuietOption
from jisi_cli.cli.output import Output
from jisi_cli.errors import InputError

if TYPE_CHECKING:
    from jisi_cli.evaluation.results import Result


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Results of `jisi eval --out`.")],
    out_file: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page (HTML) to write.")],
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the bootstrap.")] = 42,
    quiet: QuietOption = False,
) -> None:
    """Write one page that shows who wins, by how much, at what price and where.

    Example: jisi report results.jsonl -o report.html
    """
    from jisi_cli.reporting.charts import require_charts

    require_charts()
    import hashlib
    import shlex
    import sys

    import numpy as np

    import jisi_cli
    from jisi_cli.evaluation.report import build_report
    from jisi_cli.evaluation.results import read_results
    from jisi_cli.reporting.comparison_page import comparison_page

    by_method: dict[str, list[Result]] = {}
    for result in read_results(results):
        by_method.setdefault(result.method, []).append(result)
    _require_same_questions(results, by_method)
    reports = build_report(by_method, ("best-single",), np.random.default_rng(seed))
    origin = {
        "command": shlex.join(["jisi", *sys.argv[1:]]),
        "seed": str(seed),
        "jisi": jisi_cli.__version__,
        "numpy": np.__version__,
        "SHA-256 of the results": hashlib.sha256(results.read_bytes()).hexdigest(),
    }
    page = comparison_page(reports, by_method, origin)
    write_page(out_file, page, Output(quiet=quiet))


def write_page(path: Path, page: str, out: Output) -> None:
    """Write a page and say so.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        # Half of a surrogate pair, which models do emit, is in no UTF-8 file.
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another file") from error
    out.note(f"{path}: {len(page):,} characters; open it in a browser")


def _require_same_questions(path: Path, by_method: dict[str, list[Result]]) -> None:
    """Refuse results whose methods were run on different questions.

    Raises:
        InputError: There is nothing in the file, or methods differ in their questions.
    """
    if not by_method:
        raise InputError(f"{path}: holds no results; write some with `jisi eval --out`")
    asked = {name: [(row.dataset, row.index) for row in rows] for name, rows in by_method.items()}
    first, questions = next(iter(asked.items()))
    for name, others in asked.items():
        if others != questions:
            raise InputError(
                f"{path}: {name} and {first} were not run on the same questions in the same order; "
                "write each comparison to a file of its own"
            )
