"""Progress bars on a terminal; nothing when piped or quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jisi_cli.cli.output import Output

OnProgress = Callable[[int, int], None]
"""Called with (done, in all)."""


@contextmanager
def embedding_bar(out: Output) -> Iterator[OnProgress | None]:
    """Show how far embedding is, in characters, with rate and time left."""
    if not out.moves:
        yield None
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("embedding"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=out.console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding", total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed / 1000:,.0f} kB/s" if speed else "")

        yield advance


@contextmanager
def training_bar(out: Output, name: str, *, trains: bool) -> Iterator[OnProgress | None]:
    """Show how far the training of a method is; nothing for one without training."""
    if not trains or not out.moves:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    # Not every training counts its steps; then the time alone shows that it goes on.
    columns = (TextColumn("training {task.description}"), BarColumn(), TextColumn("{task.fields[steps]}"))
    with Progress(*columns, TimeElapsedColumn(), console=out.console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, steps="")
        yield lambda done, total: bar.update(task, completed=done, total=total, steps=f"{done:,}/{total:,}")


@contextmanager
def counted(out: Output, what: str) -> Iterator[OnProgress | None]:
    """Show done, total and time left of equal steps."""
    if not out.moves:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=out.console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
