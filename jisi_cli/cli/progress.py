"""Progress: bars on a terminal, a line a minute where stderr is piped, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jisi_cli.cli.layout import LastFrame
from jisi_cli.cli.output import Output, dollars, one_line, paid

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, ProgressColumn, TextColumn

    from jisi_cli.collect.collect import Collected, OnRecord


OnProgress = Callable[[int, int], None]
"""Called with (done, in all)."""

MINUTE = 60.0
"""Seconds between two lines of a log."""
_SHOWN_CAUSES = 3
_WIDE = 80
"""Columns of a terminal that has room for a bar and for money beside the numbers."""


def _words(form: str) -> TextColumn:
    """Return a column of words, in which nothing is read as markup: a method may be called `model:x[/red]`."""
    from rich.progress import TextColumn

    return TextColumn(form, markup=False)


def _bar(console: Console, *columns: ProgressColumn, below: Callable[[], Iterable[RenderableType]] = tuple) -> Progress:
    """Return a bar that goes without a trace in the end, also where the terminal has become narrower meanwhile.

    Args:
        console: Where it is drawn.
        *columns: What it shows.
        below: Yields lines to show below it.
    """
    from rich.progress import Progress
    from rich.segment import Segment

    last = LastFrame(console)

    class Bar(Progress):
        """Rich's, with lines below it, and an eye on the width."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            yield from below()

        def get_renderable(self) -> RenderableType:
            found = super().get_renderable()
            last.replace(Segment.get_line_length(line) for line in console.render_lines(found, pad=False))
            return found

    return Bar(*columns, console=console, transient=True)


@contextmanager
def embedding_bar(out: Output) -> Iterator[OnProgress | None]:
    """Show how far embedding is, in characters, with rate and time left."""
    if not out.moves:
        yield None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TimeElapsedColumn, TimeRemainingColumn

    console = out.console(stderr=True)
    extent = (BarColumn(),) if console.width >= _WIDE else ()
    elapsed = (TimeElapsedColumn(), _words("elapsed,")) if console.width >= _WIDE else ()
    columns = (
        _words("embedding"),
        *extent,
        TaskProgressColumn(),
        _words("{task.fields[rate]}"),
        *elapsed,
        TimeRemainingColumn(elapsed_when_finished=True),
        _words("left"),
    )
    with _bar(console, *columns) as bar:
        task = bar.add_task("embedding", total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed / 1000:,.0f} kB/s" if speed else "")

        yield advance


@contextmanager
def training_bar(out: Output, name: str) -> Iterator[OnProgress | None]:
    """Show how far the training of a method is."""
    if not out.moves:
        yield None
        return
    from rich.progress import BarColumn, TimeElapsedColumn

    # Not every training counts its steps; then the time alone shows that it goes on.
    columns = (_words("training {task.description}"), BarColumn(), _words("{task.fields[steps]}"))
    with _bar(out.console(stderr=True), *columns, TimeElapsedColumn()) as bar:
        task = bar.add_task(one_line(name), total=None, steps="")
        yield lambda done, total: bar.update(task, completed=done, total=total, steps=f"{done:,}/{total:,}")


def a_line_a_minute(out: Output, what: str) -> OnProgress | None:
    """Return what tells a log how far equal steps are, once a minute; None when quiet."""
    if out.quiet:
        return None
    started = told = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < MINUTE or not done or done >= total:
            return
        told = now
        left = (now - started) * (total - done) / done
        out.note(f"{what}: {done:,} of {total:,} ({done / total:.0%}), about {_duration(left)} left")

    return advance


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@contextmanager
def counted(out: Output, what: str) -> Iterator[OnProgress | None]:
    """Show done, total and time left of equal steps."""
    if not out.moves:
        yield a_line_a_minute(out, what)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    columns = (_words(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), _words("left"))
    with _bar(out.console(stderr=True), *columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def collection_bar(out: Output, total: int) -> Iterator[OnRecord | None]:
    """Show how far a collection is: done and total, rate, time left, dollars so far and expected, failures by cause."""
    if not out.moves:
        tell = a_line_a_minute(out, "asking")
        yield None if tell is None else lambda collected: tell(len(collected.records), total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    latest: list[Collected] = []
    console = out.console(stderr=True)
    # Rich would cut the numbers before the bar; what a narrow terminal has no room for goes a line below, or goes.
    is_wide = console.width >= _WIDE

    def below() -> Iterator[RenderableType]:
        if latest and not is_wide:
            yield f"  {_money(latest[0])}"
        yield from (_causes(latest[0]) if latest else ())

    columns = (
        _words("asking"),
        *((BarColumn(bar_width=20),) if is_wide else ()),
        MofNCompleteColumn(),
        _words("{task.fields[rate]}"),
        TimeRemainingColumn(),
        _words("left{task.fields[money]}"),
    )
    with _bar(console, *columns, below=below) as bar:
        task = bar.add_task("asking", total=total, rate="", money="")

        def advance(collected: Collected) -> None:
            latest[:] = [collected]
            speed = bar.tasks[0].speed
            rate = "" if not speed else f"{speed:,.1f}/s" if speed >= 1 else f"{60 * speed:,.1f}/min"
            money = f", {_money(collected)}" if is_wide else ""
            bar.update(task, completed=len(collected.records), rate=rate, money=money)

        yield advance


def _money(collected: Collected) -> str:
    spent = paid(collected.spending.known_usd, collected.spending.unknown_costs)
    return f"{spent} of about {dollars(collected.expected_usd)}"


def _causes(collected: Collected) -> Iterator[RenderableType]:
    """Yield a line for each of the most frequent reasons of failures."""
    from rich.text import Text

    failures = sorted(collected.failures.items(), key=lambda item: -item[1])
    for reason, number in failures[:_SHOWN_CAUSES]:
        yield Text(f"  {number:,} failed: {one_line(reason, 200)}", no_wrap=True, overflow="ellipsis")
    rest = sum(number for _, number in failures[_SHOWN_CAUSES:])
    if rest:
        yield Text(f"  {rest:,} failed for other reasons")
