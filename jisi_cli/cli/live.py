"""What a person sees while `jisi ask` works; the answer as Markdown whose links show where they lead."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from jisi_cli.cli.layout import LastFrame
from jisi_cli.cli.output import Output, one_line
from jisi_cli.printable import printable
from jisi_cli.types import Answer, Role, whole_characters

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.markdown import Markdown
    from rich.text import Text

    from jisi_cli.models.call import CallEvent


# A model's answer as Markdown on a terminal: every link shows where it leads, and nothing of the text is lost.


def markdown(text: str) -> Markdown:
    """Return an answer for a Rich console.

    Links are written as `words (target)`, without the escape sequence that would hide a target under other words;
    images likewise. HTML, which Rich would leave out, is shown as it is written.

    Args:
        text: The answer, printable.
    """
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

    rendered = Markdown("", hyperlinks=False)
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    rendered.markup, rendered.parsed = text, list(_shown(parser.parse(text)))
    return rendered


def _shown(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of a text or of one paragraph as they are to be shown."""
    plain: list[int] = []  # nesting depths at which a link needs no target beside it
    depth = 0
    for place, token in enumerate(tokens):
        token.content = printable(token.content)  # an entity may stand for what a terminal would obey
        if token.type == "link_open":
            depth += 1
            if _says_its_target(tokens[place:]):
                plain.append(depth)
                continue
        elif token.type == "link_close":
            depth -= 1
            if plain and plain[-1] == depth + 1:
                plain.pop()
                continue
        elif token.type == "image":
            _make_text(token)
        elif token.children:
            token.children = list(_shown(token.children))
        yield token


def _says_its_target(tokens: Sequence[Token]) -> bool:
    """Whether a link's words are the address that it leads to."""
    words = ""
    for token in tokens[1:]:
        if token.type == "link_close":
            break
        words += token.content
    return str(tokens[0].attrs.get("href", "")) in (words, f"mailto:{words}")


def _make_text(image: Token) -> None:
    """Make an image the words that stand for it, with its address."""
    address = one_line(str(image.attrs.get("src", "")))
    if address.startswith("data:"):
        address = address.partition(",")[0] + ",…"
    image.type, image.tag, image.children = "text", "", None
    image.content = f"image: {one_line(image.content)} ({address})"


_ROLES: dict[Role, str] = {
    "probe": "answering",
    "expert": "answering",
    "aggregator": "aggregating",
    "judge": "judging",
}
_DONE: dict[Role, str] = {"aggregator": "aggregated", "judge": "judged"}
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WRITERS: tuple[Role, ...] = ("aggregator", "expert")
"""Roles whose responses are streamed."""


class AnswerView:
    """Writes the finished answer and shows nothing before; the view of a pipe.

    Args:
        out: Where to write.
        hidden: Write no answer at all (it is part of a JSON document).
    """

    streams = False

    def __init__(self, out: Output, *, hidden: bool = False) -> None:
        self._out, self._hidden = out, hidden

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to tidy."""

    def asked(self, model: str, role: Role) -> None:
        """A call has begun."""
        self._out.detail(f"{model}: {_ROLES.get(role, role)}")

    def answered(self, answer: Answer) -> None:
        """A call has ended."""
        self._out.detail(_ended(answer))

    def concluded(self, words: str) -> None:
        """The answers so far have been compared."""
        self._out.detail(one_line(words))

    def called(self, event: CallEvent) -> None:
        """A request has gone out, or will again: then what it had begun to write counts no more."""
        if event.kind == "waiting":
            self._out.detail(f"{event.model}: another process is asking it the same; waiting for its answer")
        if event.kind == "adapted":
            self._out.detail(f"{event.model}: {event.reason}")
        if event.kind == "retry":
            self._out.detail(f"{event.model}: {event.reason}; again in {event.wait:.1f} s")
            if event.role in _WRITERS:
                self.writing(event.model)

    def writing(self, model: str) -> None:
        """A model begins to write the final answer."""

    def text(self, piece: str) -> None:
        """A piece of the final answer has arrived."""

    def finish(self, answer: str) -> None:
        """Write the final answer."""
        if not self._hidden:
            self._out.data(printable(answer).rstrip("\n"))

    def break_off(self) -> None:
        """Write what has arrived of an answer that is stopped, where it is not there yet."""


class StreamedView(AnswerView):
    """Writes the answer to a pipe line by line, as it arrives."""

    streams = True

    def __init__(self, out: Output) -> None:
        super().__init__(out)
        self._written, self._pending, self._text = False, "", ""

    def writing(self, model: str) -> None:
        """A model begins to write the final answer; say so when another had begun."""
        if self._written:
            self._out.warn(f"the answer breaks off here; {model} begins again")
        self._written, self._pending, self._text = False, "", ""

    def text(self, piece: str) -> None:
        """Write the lines that are complete: a control sequence may be split over two pieces."""
        self._text += piece
        lines = (self._pending + piece).split("\n")
        self._pending = lines.pop()
        for line in lines:
            self._out.data(printable(line))
            self._written = True

    def finish(self, answer: str) -> None:
        """Write what is left of it; all of it when something else, or nothing, was streamed."""
        if whole_characters(self._text) != answer:
            if self._written:
                self._out.warn("the answer breaks off here; another one follows")
            super().finish(answer)
        elif self._pending:
            self._out.data(printable(self._pending))


class TerminalView(AnswerView):
    """A line per call while models work, then the answer as it grows, at last rendered as Markdown."""

    streams = True

    def __init__(self, out: Output) -> None:
        super().__init__(out)
        self._console: Console = out.console(stderr=True)
        self._lines: dict[tuple[Role, str], str | float | None] = {}
        self._text, self._conclusion = "", ""
        self._last = LastFrame(self._console)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        # get_renderable is called for every frame, so spinners and seconds move on their own.
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back, also after an error or Ctrl-C."""
        self._stop()

    def asked(self, model: str, role: Role) -> None:
        """A call has begun; its seconds count from its request, and until that has left something is being loaded."""
        self._lines[role, model] = None

    def called(self, event: CallEvent) -> None:
        """A request goes out, or will again."""
        super().called(event)
        if event.kind == "started":
            self._lines[event.role, event.model] = time.perf_counter()

    def answered(self, answer: Answer) -> None:
        """A call has ended."""
        self._lines[answer.role, answer.model] = _ended(answer)

    def concluded(self, words: str) -> None:
        """The answers so far have been compared."""
        self._conclusion = one_line(words)

    def writing(self, model: str) -> None:
        """A model begins to write the final answer; what another had begun disappears."""
        self._text = ""

    def text(self, piece: str) -> None:
        """A piece of the final answer has arrived."""
        self._text += piece

    def finish(self, answer: str) -> None:
        """Clear the live lines and write the answer as Markdown."""
        self._stop()
        self._out.console().print(markdown(printable(answer)))
        sys.stdout.flush()

    def break_off(self) -> None:
        """Leave what has arrived of the answer on the terminal."""
        if self._text.strip():
            self.finish(self._text)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _frame(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines = [Text("● thinking about who to ask…", style="dim")] if not self._lines else []
        # A frame is drawn in a thread of its own, while calls come and go.
        for (role, model), state in list(self._lines.items()):
            if isinstance(state, str):
                line = Text(state, style="red" if state.startswith("✗") else "green")
            else:
                line = self._under_way(model, role, state)
            line.no_wrap, line.overflow = True, "ellipsis"
            lines.append(line)
        if self._conclusion:
            lines.append(Text(f"= {self._conclusion}", style="dim", no_wrap=True, overflow="ellipsis"))
        # Only the end of a long text fits; the whole of it is rendered when it is complete.
        room = max(3, self._console.height - len(lines) - 2)
        tail = printable(self._text).splitlines()[-room:]
        lines += [Text(line, no_wrap=True, overflow="ellipsis") for line in tail]
        self._last.replace(line.cell_len for line in lines)
        return Group(*lines)

    def _under_way(self, model: str, role: Role, started: float | None) -> Text:
        """Return the line of a call: what is done and for how long, or that its request has not left yet."""
        from rich.text import Text

        now = time.perf_counter()
        doing = "loading" if started is None else f"{_ROLES.get(role, role)} {now - started:.1f} s"
        return Text.assemble(
            (f"{_SPINNER[int(now * 10) % len(_SPINNER)]} ", "cyan"), one_line(model), (f" {doing}", "dim")
        )


def view_for(out: Output, *, stream: bool | None, as_json: bool) -> AnswerView:
    """Return the view that fits where stdout and stderr go.

    Args:
        out: The sink.
        stream: Write the answer as it arrives; None on a terminal only.
        as_json: The answer is part of a JSON document.
    """
    if as_json:
        return AnswerView(out, hidden=True)
    if out.stdout_is_terminal and out.moves and stream is not False:
        return TerminalView(out)
    return StreamedView(out) if stream else AnswerView(out)


def _ended(answer: Answer) -> str:
    if not answer.ok:
        return f"✗ {one_line(answer.model)} {one_line(answer.error or 'returned nothing', 100)}"
    source = "cached" if answer.cached else f"{answer.seconds:.1f} s"
    verb = _DONE.get(answer.role, "answered")
    return f"✓ {one_line(answer.model)} {verb}, {answer.completion_tokens or 0:,} tokens, {source}"
