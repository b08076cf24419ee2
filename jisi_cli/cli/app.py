"""Assembly of the command line, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import jisi_cli
from jisi_cli.cli.completion import command_to_complete
from jisi_cli.cli.help import CommandLine, Group
from jisi_cli.cli.interrupts import heed_interrupts, is_first_to_tell, leave_imports
from jisi_cli.cli.output import Output
from jisi_cli.errors import ExitCode, JisiError, is_out_of_memory

_ALLOW = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
)
"""What the user can make room for, or allow."""
_CHECK = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ESTALE})
"""What is wrong with a path, or became so while the command was at work."""


def refusal(error: BaseException) -> str | None:
    """Return the words for an error that the machine, not the program, is to blame for; None for any other.

    Of an error that ran through tasks, the first of what they met is looked at.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if is_out_of_memory(error):
        return (
            f"out of memory ({_reason(error)}); close other programs, raise the limit (ulimit -v), or work on less: "
            "fewer models, fewer questions, a bank of shorter vectors"
        )
    if not isinstance(error, OSError) or error.errno not in _ALLOW | _CHECK:
        return None
    where = f"{error.filename}: " if error.filename else ""
    remedy = "make room or allow it" if error.errno in _ALLOW else "check the path"
    return f"{where}{error.strerror or error}; {remedy}, and run the command again"


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or "the system gave no more"


class JisiGroup(Group):
    """A command group that turns what goes wrong into one line and an exit code."""

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the vendored Click is not ours to import
        """Read what comes before the command's name."""
        with _shown():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the command; show a `JisiError` as its message."""
        try:
            with _shown():
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except KeyboardInterrupt:
            raise _interrupted() from None
        except BrokenPipeError:
            # The reader has gone (`| head`).
            _drop_output()
            raise typer.Exit(int(ExitCode.OK)) from None
        except Exception as error:
            if _comes_of_interrupt(error):
                raise _interrupted() from None
            words = refusal(error)
            if words is None:
                raise
            _drop_output()
            Output().error(words)
            raise typer.Exit(int(ExitCode.FAILED)) from None


def _interrupted() -> typer.Exit:
    """Say that the command was interrupted; return how it ends."""
    if is_first_to_tell():
        Output().note("interrupted")
    return typer.Exit(int(ExitCode.INTERRUPTED))


def _comes_of_interrupt(error: BaseException) -> bool:
    """Whether an error is Ctrl-C under another name, which Python 3.11 gives it while a class is made."""
    cause = error.__cause__
    return cause is not None and (isinstance(cause, KeyboardInterrupt) or _comes_of_interrupt(cause))


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """Show what a user did not mean as one line."""
    try:
        yield
    except JisiError as error:
        Output().error(str(error))
        raise typer.Exit(int(error.exit_code)) from None


def _drop_output() -> None:
    """Let what is still to be written to stdout go nowhere; Python would complain once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jisi {jisi_cli.__version__}")
        raise typer.Exit


_COMMANDS = {
    "ask": ("ask", None),
    "chat": ("chat", None),
    "route": ("route", None),
    "eval": ("evaluate", None),
    "serve": ("serve", None),
    "mcp": ("mcp", None),
    "cost": ("cost", "Add up what past calls cost."),
    "feedback": ("feedback", None),
    "demo": ("demo", "Answer a sample question, without a key."),
    "init": ("init", "Write a first pool file."),
    "models": ("models", "List the models of the pool."),
    "report": ("report", "Write the page of a comparison."),
    "trust": ("trust", "Allow the pool file in a folder."),
    "bank build": ("build", "Build a bank from recorded answers or questions."),
    "bank grade": ("grade", "Grade the responses of a bank again."),
    "bank label": ("label", "Say which answers are right, where there is no answer key."),
    "bank inspect": ("inspect", None),
    "bank calibrate": ("calibrate", "Choose a method's settings for a bank."),
}
"""The commands in the order of the help, each in the module of its name: its function there, and its line of help if
that is not its docstring's first."""
_GROUPS = {"bank": "Build a bank of recorded answers, or inspect one."}


def build_app(names: Iterable[str] = _COMMANDS) -> typer.Typer:
    """Return the command line.

    Args:
        names: Only these commands, so that the modules of the others are not loaded.
    """
    app = CommandLine(
        cls=JisiGroup,
        name="jisi",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Make a pool of large language models act as one.",
        epilog="Exit codes: 0 ok, 1 failed, 2 unusable input, 3 bank, 4 no answer, 5 budget, 6 below threshold.",
    )
    app.callback()(_root)
    groups = {"": app}
    for name in names:
        group, _, own_name = name.rpartition(" ")
        if group not in groups:
            groups[group] = CommandLine(help=_GROUPS[group])
            app.add_typer(groups[group], name=group)
        function, short_help = _COMMANDS[name]
        command = getattr(import_module(f"jisi_cli.cli.{name.replace(' ', '_')}"), function)
        groups[group].command(own_name, short_help=short_help)(command)
    return app


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Make a pool of large language models act as one."""


def _needed(words: Sequence[str]) -> Iterable[str]:
    """Return the commands whose modules are needed for the first words; help, completion and a typo need all."""
    if words[:1] == ["--version"]:
        return ()
    for name in (" ".join(words[:2]), *words[:1]):
        if name in _COMMANDS:
            return (name,)
    return [name for name in _COMMANDS if words and name.startswith(f"{words[0]} ")] or _COMMANDS


def main() -> None:
    """Run the command line."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            # What its character set lacks becomes `?`, also where a library writes.
            with contextlib.suppress(OSError):  # what is no more the file that Python opened cannot be asked its place
                stream.reconfigure(errors="replace")
        elif stream is None:
            # Closed by the shell (`>&-`): what is written goes nowhere, and nothing else gets its number.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
    heed_interrupts()
    try:
        asked = command_to_complete()
        build_app(_needed([asked] if asked else sys.argv[1:3]))(prog_name="jisi")
    except KeyboardInterrupt:
        # Before the command began, or once more while it was ending.
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    finally:
        # All is written: another Ctrl-C must not end in a traceback while Python shuts down.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Nothing is left to collect, but Python would look at every object once more, for a second after LiteLLM.
        gc.freeze()
        leave_imports()
