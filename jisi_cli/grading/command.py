"""The grader that is a program of the user's."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
from typing import Self

from jisi_cli.errors import InputError
from jisi_cli.grading.processes import Finished, Processes, ScratchFolder, kept
from jisi_cli.grading.registry import Setup, Submission, Ungraded, grader
from jisi_cli.models.reasoning import without_reasoning

_LARGEST_FILE = 1 << 28
"""Bytes of a file that the program writes, and of all that it keeps in its folder for temporary files."""
_MOST_FILES = 1000


@grader("command", blocks=True, takes="program")
class Command:
    """Runs a program for every response; it says what the response is worth.

    It gets one JSON object on standard input, `{"query": …, "reference": …, "response": …}`, the response without
    blocks of reasoning, and prints a number from 0 to 1, or `null` where no answer can be read. It runs with the
    user's own rights and environment: only a command line may name it, never a file of questions. It has a folder
    for temporary files of its own (TMPDIR), and ends with everything that it started: when it has said
    its score, when its time is up, and when jisi ends.

    Args:
        command: The program and its arguments as a shell would split them; no shell runs.
        seconds: Time for one response.

    Raises:
        InputError: There is no such program.
    """

    def __init__(self, command: str, seconds: float = 60.0) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise InputError(f"the grader command {command!r} cannot be read ({error}); check its quotes") from None
        if not self._command or shutil.which(self._command[0]) is None:
            program = self._command[0] if self._command else command
            raise InputError(f"the grader command {program!r} cannot be run as a program; check its path")
        self._seconds = seconds
        self._processes = Processes()

    @classmethod
    def for_run(cls, setup: Setup) -> Self:
        """Run the program that the user names.

        Raises:
            InputError: The user names none.
        """
        if not setup.argument:
            raise InputError("the grader `command` runs a program of yours; name it with --grader-command")
        return cls(setup.argument)

    def grade(self, submission: Submission) -> float | None:
        """Return what the program says.

        Raises:
            Ungraded: It fails, takes too long, or prints something else.
        """
        texts = {"query": submission.query, "reference": submission.reference}
        given = json.dumps({**texts, "response": without_reasoning(submission.response)}).encode() + b"\n"
        try:
            finished = self._run(given)
        except OSError as error:
            raise Ungraded(f"it cannot be run ({error.strerror or error})") from error
        if finished.code is None:
            raise Ungraded(f"it took longer than {self._seconds:g} s, or wrote too much")
        if finished.code != 0:
            raise Ungraded(f"it ended with exit code {finished.code}{_last_line(finished.errors)}")
        return _score(finished.output)

    def close(self) -> None:
        """End the programs that are running."""
        self._processes.close()

    def _run(self, given: bytes) -> Finished:
        with ScratchFolder() as scratch:
            folder = str(scratch.path)
            return self._processes.run(
                kept(self._command, _LARGEST_FILE),
                given,
                self._seconds,
                environment={**os.environ, "TMPDIR": folder, "TEMP": folder, "TMP": folder},
                excessive=lambda _: scratch.holds_more_than(_MOST_FILES, _LARGEST_FILE),
            )


def _score(output: bytes) -> float | None:
    try:
        score = json.loads(output)
    except (ValueError, RecursionError):
        score = output
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1 or math.isnan(score):
        raise Ungraded("it printed something else than a number from 0 to 1, or null")
    return float(score)


def _last_line(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""
