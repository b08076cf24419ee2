"""What the tests of the command line share: running it, a small bank, and pool files for the loopback server."""

from __future__ import annotations

import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer import testing
from typer.testing import CliRunner

from jisi_cli.cli.app import build_app
from tests.loopback import Loopback

ROOT = Path(__file__).parent.parent.parent

SCORES = {"ada": 12, "bob": 9, "cyd": 6, "dee": 3}
"""How many of the bank's twelve questions each model answered rightly: the order in which they rank, always."""

MODELS = tuple(SCORES)


@dataclass(frozen=True)
class Run:
    """What a command said and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The document on stdout; it must be one, and the only thing there."""
        return json.loads(self.stdout)

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("warning: ")]


@functools.cache
def command_line() -> typer.Typer:
    """Return the command line, put together once: that takes longer than most commands that a test runs."""
    return build_app()


# A runner turns an app into commands for every command that it runs, which is most of what putting together takes.
testing._get_command = functools.cache(testing._get_command)


def jisi(*arguments: str | Path, stdin: str | bytes | None = None) -> Run:
    """Run a command in this process; an exception that is no exit goes on to the test."""
    result = CliRunner().invoke(command_line(), [str(argument) for argument in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr)


def start(*arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start `jisi` as a process of its own, with a tap on what goes in and comes out."""
    command = [sys.executable, "-m", "jisi_cli", *map(str, arguments)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, **(streams | options))


def finish(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Run:
    """Wait for a process."""
    out, err = process.communicate(stdin, timeout=600)
    return Run(process.returncode, (out or b"").decode(), (err or b"").decode())


def wait_for(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    """Wait until something has happened to a process that is still at work."""
    while not happened():
        assert process.poll() is None, finish(process)
        time.sleep(0.02)


def interrupt(process: subprocess.Popen[bytes]) -> Run:
    """Press Ctrl-C and wait."""
    process.send_signal(signal.SIGINT)
    return finish(process)


def on_a_terminal(*arguments: str | Path, stderr: int | None = None, **variables: str) -> str:
    """Run Python whose stdout is a terminal, and its stderr unless it goes elsewhere; return what the terminal gets."""
    master, slave = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    env = {**clean, "TERM": "xterm-256color", "COLUMNS": "40", **variables}
    command = [sys.executable, *map(str, arguments)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": slave, "stderr": slave if stderr is None else stderr}
    process = subprocess.Popen(command, env=env, cwd=ROOT, **streams)
    os.close(slave)
    shown = b""
    with suppress(OSError):  # how Linux tells that the other end has gone
        while chunk := os.read(master, 65536):
            shown += chunk
    os.close(master)
    assert process.wait(timeout=300) == 0, shown
    return shown.decode()


def says_one_error(run: Run, exit_code: int, *words: str, secrets: Sequence[str] = ()) -> str:
    """Check that a command ended as a user may expect, and return its error line.

    That is: the exit code, nothing on stdout, on stderr one line that says what is wrong (warnings apart), no
    traceback and no secret.
    """
    assert run.exit_code == exit_code, run
    assert run.stdout == ""
    others = [line for line in run.stderr.splitlines() if not line.startswith(("warning: ", "note: "))]
    assert len(others) == 1, run.stderr
    (line,) = others
    assert line.startswith("error: "), run.stderr
    for word in words:
        assert word in line
    assert "Traceback" not in run.stderr
    for secret in secrets:
        assert secret not in run.stderr
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", run.stderr)
    return line


def recorded_answers(models: Mapping[str, int] = SCORES, questions: int = 12) -> list[dict[str, Any]]:
    """Return lines of the jisi format: sums and capitals, each model right on the first so many of twelve.

    Which questions come first is mixed, so that a model's rights lie among the sums and the capitals alike.
    """
    lines = []
    for number in range(questions):
        place = number * 5 % questions
        texts = (f"What is {number} plus {number + 3}?", f"What is the capital of land number {number}?")
        lines.append(
            {
                "dataset": ("sums", "capitals")[number % 2],
                "index": number,
                "query": texts[number % 2],
                "gt": str(number),
                "records": {model: float(place < right) for model, right in models.items()},
                "usages": {
                    model: {"prompt_tokens": 10 + number, "completion_tokens": 20 * position + number, "cost": 1e-6}
                    for position, model in enumerate(models, start=1)
                },
                "raw_output": {model: f"I, {model}, say {number}, and that is all." for model in models},
            }
        )
    return lines


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def build_small_bank(folder: Path, models: Mapping[str, int] = SCORES) -> Path:
    """Build a bank of twelve questions with the hashing embedder."""
    source = write_lines(folder / "answers.jsonl", recorded_answers(models))
    run = jisi("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64")
    assert run.exit_code == 0, run
    return folder / "bank"


def pool_file(
    path: Path,
    server: Loopback,
    models: Sequence[str] = MODELS,
    extra: str = "",
    *,
    key: str | None = None,
    lines: Mapping[str, str] | None = None,
) -> Path:
    """Write a pool file whose models are on the loopback server, at 1 and 2 dollars per million tokens.

    `key` is the variable that holds the server's key, `lines` are what the file says of some models besides.
    """
    keyed = "" if key is None else f'api_key_env = "{key}"\n'
    tables = [f"[budget]\nmax_retries = 0\n{extra}"]
    tables += [
        f'[[models]]\nname = "{model}"\nlitellm = "openai/{model}"\napi_base = "{server.api_base}"\n'
        f"{keyed}price = {{ input = 1, output = 2 }}\nparams = {{ max_tokens = 1000 }}\n"
        f"{(lines or {}).get(model, '')}\n"
        for model in models
    ]
    path.write_text("\n".join(tables), encoding="utf-8")
    return path
