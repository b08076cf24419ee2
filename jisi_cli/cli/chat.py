"""`jisi chat`: a conversation with the pool, turn by turn, at a terminal with editing and history."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.exchange import begin_talk, exit_code_of, remember, show_footer, warn_of_failures
from jisi_cli.cli.interrupts import surviving
from jisi_cli.cli.live import view_for
from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.cli.options import ContinueOption, ConversationOption, JsonOption, SchemaOption, SystemOption
from jisi_cli.cli.output import Column, Output
from jisi_cli.errors import BudgetError, ExitCode, InputError, JisiError

if TYPE_CHECKING:
    from jisi_cli.history.conversations import Talk
    from jisi_cli.jisi import Jisi


_PAST = 200
"""Earlier questions that the arrow keys bring back."""
_LISTED = 50
"""Conversations that --list shows."""
_WORDS = 60
"""Characters of a question in that list."""


@opens_pool("method", "mode", "unlike", "no_cache", "label", "temperature", "max_tokens", "concurrency")
def chat(
    goes_on: ContinueOption = False,
    conversation: ConversationOption = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the stored conversations.", rich_help_panel="Output")
    ] = False,
    system: SystemOption = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", "-a", metavar="FILE", help="A picture for the first turn; repeat for more."),
    ] = None,
    schema: SchemaOption = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Write answers as they arrive [on a terminal].")
    ] = None,
    as_json: JsonOption = False,
    *,
    opening: Opening,
) -> None:
    '''Talk with the pool. Each turn is asked as `jisi ask -c` asks it, and its answer has the same footer.

    A line is a turn. A line that begins with """ opens a turn of several lines, which the next """ closes. The
    arrow keys edit a line and bring back earlier questions. Ctrl-C stops an answer, of which nothing is kept, or
    discards a line; Ctrl-D or /exit ends the conversation.

    -a adds a picture to the first turn, and --schema asks for JSON in every turn, both as in ask.

    -c continues the last conversation, of ask or of chat. --list shows those kept in your data folder: at most 1,000,
    until `jisi cost --erase`; with --no-store none is kept.

    Where standard input is not a terminal, each of its lines is a turn, and stdout is the answers alone. The first turn
    that cannot be answered ends the conversation, since the next ones would build on it.

    Example: echo "What is 17 * 23?" | jisi chat --config sample_data/jisi.toml
    '''
    out = opening.out
    if listed:
        _list(out, as_json=as_json)
        return
    if as_json:
        raise InputError("--json is for chat --list; `jisi ask -c --json` answers in JSON")
    from jisi_cli.cli.question import checked_text, read_schema, with_pictures

    system = None if system is None else checked_text(system, "--system")
    pictures = with_pictures("", attach or ())
    form = None if schema is None else read_schema(schema)
    talk = begin_talk(conversation, goes_on=goes_on, store=opening.store)
    with opening.open("chat", calls="required") as jisi:
        chatting = _Chat(jisi, talk, system, pictures, form, stream, out)
        raise typer.Exit(int(chatting.run()))


class _Chat:
    """One conversation from its first turn here to its last."""

    def __init__(
        self,
        jisi: Jisi,
        talk: Talk,
        system: str | None,
        pictures: Sequence[Mapping[str, Any]],
        schema: Mapping[str, Any] | None,
        stream: bool | None,
        out: Output,
    ) -> None:
        self._jisi, self._talk, self._stream, self._out = jisi, talk, stream, out
        self._system, self._pictures, self._schema = system, pictures, schema

    def run(self) -> ExitCode:
        """Answer turns until there are no more; return how that ended."""
        self._jisi.make_method()  # what cannot be opened is said before a person types
        turns = Turns(self._out, _past(self._out))
        if turns.is_person:
            return self._with_person(turns)
        while (said := turns.next()) is not None:
            if self._answer(said) is ExitCode.BUDGET:
                return ExitCode.BUDGET
        return ExitCode.OK

    def _with_person(self, turns: Turns) -> ExitCode:
        """Answer a person, whom neither Ctrl-C nor an error takes the conversation from, unless the budget is spent."""
        from jisi_cli.models.litellm_client import begin_loading

        begin_loading()  # takes seconds, in which a person types
        self._out.note(f"Ctrl-C stops an answer, {FENCE} begins and ends several lines, Ctrl-D or /exit ends")
        with surviving() as begin:
            while True:
                begin()
                try:
                    said = turns.next()
                    if said is None:
                        break
                    if self._answer(said) is ExitCode.BUDGET:
                        return ExitCode.BUDGET
                except KeyboardInterrupt:
                    self._out.text("", stderr=True)
                except BudgetError:
                    raise
                except JisiError as error:
                    self._out.error(str(error))
        if self._talk.is_kept:
            self._out.note(f"jisi chat --conversation {self._talk.name} goes on")
        return ExitCode.OK

    def _answer(self, said: str) -> ExitCode:
        """Answer one turn and keep it."""
        started = time.perf_counter()
        content = [{"type": "text", "text": said}, *self._pictures] if self._pictures else said
        asked = self._talk.messages(content, self._system)
        with view_for(self._out, stream=self._stream, as_json=False) as view:
            try:
                outcome = self._jisi.ask(asked, schema=self._schema, watcher=view)
            except KeyboardInterrupt:
                view.break_off()
                raise
            view.finish(outcome.answer.text)
        remember(self._talk, asked, outcome, self._jisi, self._out, self._system)
        self._system, self._pictures = None, ()  # they hold from their first turn on
        warn_of_failures(outcome, self._out)
        show_footer(outcome, time.perf_counter() - started, self._out)
        return exit_code_of(self._jisi, outcome, self._out)


def _past(out: Output) -> list[str]:
    from jisi_cli.history.conversations import past_questions

    try:
        return past_questions(_PAST)
    except InputError as error:
        out.warn(str(error))
        return []


def _list(out: Output, *, as_json: bool) -> None:
    from jisi_cli.cli.output import one_line
    from jisi_cli.days import local
    from jisi_cli.history.conversations import kept_conversations

    found = kept_conversations(_LISTED)
    if as_json:
        out.json({"conversations": found})
        return
    if not found:
        out.note("no conversation is kept")
        return
    columns = [Column("conversation", names=True), Column("last turn"), Column("turns", right=True), Column("begins")]
    rows = []
    for talk in found:
        moment = local(talk["time"])
        when = "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
        rows.append([talk["conversation"], when, f"{talk['turns']:,}", one_line(talk["question"], _WORDS)])
    out.table(columns, rows)


FENCE = '"""'
"""Begins and ends a turn of several lines."""
_MOST = 1 << 26
"""Characters of a turn."""
_ENDS = ("/exit", "/quit")


class Turns:
    """Reads turns from standard input.

    Args:
        out: The sink.
        past: What was asked before, which the arrow keys bring back at a terminal; the latest last.

    Attributes:
        is_person: Whether a person types, who sees the answers, too.
    """

    def __init__(self, out: Output, past: Sequence[str] = ()) -> None:
        self.is_person = sys.stdin is not None and sys.stdin.isatty() and out.stdout_is_terminal
        self._read: Callable[[str], str | None] = _typed if self.is_person else _piped
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a turn is checked as a whole, not line by line
        if self.is_person:
            _offer(past)

    def next(self) -> str | None:
        """Return the next turn that is not empty; None at the end of standard input, and after /exit.

        Raises:
            InputError: It is not text, or too long; all its lines have been read.
            KeyboardInterrupt: A person pressed Ctrl-C, which gives up what was typed.
        """
        while (line := self._read("> ")) is not None:
            said = line.strip()
            if said in _ENDS:
                return None
            if said.startswith(FENCE):
                said = self._until_fence(said.removeprefix(FENCE)).strip()
            if said:
                return self._checked(said)
        return None

    def _until_fence(self, line: str | None) -> str:
        """Return the lines of a turn that a fence has opened; the end of standard input closes it, too."""
        lines, length = [], 0
        while line is not None and not line.rstrip().endswith(FENCE):
            length += len(line) + 1
            if length <= _MOST:
                lines.append(line)
            elif not self.is_person:  # whose other lines would become turns of their own
                break
            line = self._read("… ")
        if length > _MOST:
            raise _too_long()
        return "\n".join([*lines, *([] if line is None else [line.rstrip().removesuffix(FENCE)])])

    def _checked(self, said: str) -> str:
        """Return a turn, which costs money to ask.

        Raises:
            InputError: It holds bytes that are not text, which Python reads as halves of characters.
        """
        try:
            said.encode()
        except UnicodeEncodeError:
            typed = "what was typed is not UTF-8 text, and nothing of it was asked; check the terminal's character set"
            piped = "standard input is not UTF-8 text; pipe text, not binary data"
            raise InputError(typed if self.is_person else piped) from None
        return said


def _typed(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None


def _piped(prompt: str) -> str | None:
    line = "" if sys.stdin is None else sys.stdin.readline(_MOST)
    if len(line) == _MOST:  # what is left of it would be a turn of its own
        raise _too_long()
    return line.removesuffix("\n") if line else None


def _too_long() -> InputError:
    return InputError(f"a turn holds more than {_MOST >> 20} million characters; shorten it")


def _offer(past: Sequence[str]) -> None:
    """Let `input` edit lines and bring back what was asked before; nothing of it is written by readline."""
    with suppress(ImportError):  # Windows, whose terminal edits lines itself
        import readline

        readline.clear_history()
        for line in past:
            readline.add_history(line)
