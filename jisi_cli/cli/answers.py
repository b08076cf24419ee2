"""What several models answered to one question, side by side where the terminal has room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output, one_line
from jisi_cli.printable import printable
from jisi_cli.types import cut_off_words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from jisi_cli.methods.answers import GivenAnswer

_LEAST = 36
"""Characters that a column of prose needs to be read."""
_GAP = 3


def show_answers(out: Output, answers: Sequence[GivenAnswer], *, stderr: bool) -> None:
    """Write what each model answered: in columns on a terminal wide enough, else one below the other.

    Args:
        out: The sink.
        answers: The answers, in the order in which they are shown.
        stderr: Whether they go beside the data; else they are the data.
    """
    if out.stderr_is_terminal if stderr else out.stdout_is_terminal:
        console = out.console(stderr=stderr)
        console.print()
        for row in _rows(answers, console.width):
            console.print(_columns(row, console))
        return
    for answer in answers:
        out.text(f"--- {heading(answer)}\n{_text(answer)}\n", stderr=stderr)


def heading(answer: GivenAnswer) -> str:
    """Say who answered, whether it is the answer that was given, and what was promised of the model."""
    return " · ".join((one_line(answer.call.model), *answer.facts()))


def _text(answer: GivenAnswer) -> str:
    if not answer.call.ok:
        return printable(answer.call.error or "it returned nothing").strip()
    text = printable(answer.call.text).strip("\n")
    return text if answer.call.cut_off is None else f"{text}\n[cut off {cut_off_words(answer.call.cut_off)}]"


def _rows(answers: Sequence[GivenAnswer], width: int) -> Iterator[Sequence[GivenAnswer]]:
    """Yield the answers that stand beside each other, about as many in each row."""
    most = max(1, (width + _GAP) // (_LEAST + _GAP))
    rows = -(-len(answers) // most)
    size = -(-len(answers) // max(1, rows))
    return (answers[start : start + size] for start in range(0, len(answers), max(1, size)))


def _columns(answers: Sequence[GivenAnswer], console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, show_edge=False, padding=(0, _GAP, 0, 0))
    for answer in answers:
        table.add_column(_head(answer), ratio=1, overflow="fold")
    table.add_row(*map(_body, answers))
    table.add_row(*(Text() for _ in answers))
    return table


def _head(answer: GivenAnswer) -> RenderableType:
    from rich.text import Text

    colour = "red" if not answer.call.ok else {True: "green", False: "yellow", None: "dim"}[answer.agrees]
    return Text.assemble((one_line(answer.call.model), "bold"), "\n", (" · ".join(answer.facts()), colour))


def _body(answer: GivenAnswer) -> RenderableType:
    from rich.text import Text

    from jisi_cli.cli.live import markdown

    return markdown(_text(answer)) if answer.call.ok else Text(_text(answer))
