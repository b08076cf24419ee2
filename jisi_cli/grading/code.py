"""The grader that runs an answer's program."""

from __future__ import annotations

import ast
import json
import os
import secrets
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jisi_cli.errors import JisiError
from jisi_cli.grading.code_block import answer_python
from jisi_cli.grading.processes import Finished, Processes, threads_of
from jisi_cli.grading.protocol import Submission, Ungraded
from jisi_cli.grading.scratch_folder import ScratchFolder

_PROGRAM = Path(__file__).parent / "confined" / "program.py"
_LAYERS = ("landlock", "seccomp")
_START = 60.0
"""Seconds for a first, empty program, on a machine with other things to do."""
_MOST_FILES = 100
_MOST_THREADS = 128
"""A pool of as many threads as processors, and some more; thousands would take what other programs need."""


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """What one run of an answer may use up.

    Attributes:
        seconds: Processor time; three times as much may pass on the clock, which others slow down too.
        memory: Bytes of address space.
        file_size: Bytes of what it prints, and of each file it writes, of which there may be a hundred.
    """

    seconds: int = 10
    memory: int = 1 << 30
    file_size: int = 1 << 23


@dataclass(frozen=True, slots=True)
class _Case:
    """What a program reads and what it must print."""

    given: str
    wanted: str


class Code:
    """Runs the Python of a response (see `code_block`) against the tests in the reference.

    The reference is Python that follows the answer in the same module and raises where it is wrong
    (`assert f(2) == 4`), or a JSON list of `{"input": …, "output": …}`: then the answer is a program
    that must print each output, white space at the ends of lines aside.

    Every run is a process of its own (`confined/program.py`) with an empty environment, an empty
    folder and limits of time, memory and file size. On Linux the kernel denies it the network, new
    processes, signals, reading outside Python's own folders and writing outside its own; where a
    kernel lacks Landlock or seccomp, and on other systems, Python's audit hooks deny what they can,
    which stops accidents and not attacks. It protects this machine from answers. It does not protect
    the tests: they run in the answer's process, and an answer written to fool them can.

    Args:
        limits: What one run may use up.
        warn: Told, once, when the kernel of this machine confines less than Linux can.
    """

    def __init__(self, limits: CodeLimits | None = None, warn: Callable[[str], None] | None = None) -> None:
        self._limits = limits or CodeLimits()
        self._processes = Processes()
        self._warn = warn
        self._trying, self._tried = threading.Lock(), False

    def grade(self, submission: Submission) -> float | None:
        """Return 1.0 when all tests pass, 0.0 when one fails or the code breaks off, None without code.

        Raises:
            Ungraded: The reference holds no tests, or the answer's process did not begin.
            JisiError: No process can be confined on this machine.
        """
        tests = _tests(submission.reference)
        source = answer_python(submission.response, tests if isinstance(tests, str) else "")
        if source is None:
            return None
        self._try()
        if isinstance(tests, str):
            return float(self._passes(source, tests))
        return float(all(self._prints(source, case) for case in tests))

    def close(self) -> None:
        """End the programs that are running."""
        self._processes.close()

    def _passes(self, source: str, tests: str) -> bool:
        secret = secrets.token_hex(16)
        finished = self._run({"source": source, "tests": tests, "input": "", "pass": secret})
        # Only the last line of program.py says this, after the last test: an early exit does not.
        return finished.code == 0 and finished.errors.partition(b"\n")[2] == secret.encode()

    def _prints(self, source: str, case: _Case) -> bool:
        finished = self._run({"source": source, "tests": None, "input": case.given, "pass": ""})
        return finished.code == 0 and _lines(finished.output.decode("utf-8", "replace")) == _lines(case.wanted)

    def _try(self) -> None:
        """Run an empty program before the first answer: what a machine lacks is not to be learned from answers."""
        with self._trying:
            if self._tried:
                return
            finished = self._run_once({"source": "", "tests": None, "input": "", "pass": ""}, _START)
            ready, _, _ = finished.errors.partition(b"\n")
            if not ready.startswith(b"ready"):
                reason = finished.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
                raise JisiError(f"answers cannot be run here ({reason}); grade without `code`")
            self._tried = True
        missing = [layer for layer in _LAYERS if layer.encode() not in ready.split()]
        if missing and self._warn is not None:
            self._warn(
                f"answers ran without {' and '.join(missing)}: against code that means harm this system protects less"
            )

    def _run(self, request: dict[str, Any]) -> Finished:
        finished = self._run_once(request, 3 * self._limits.seconds)
        if not finished.errors.startswith(b"ready"):
            # An answer can also wipe out that it began; that must not stop the grading of others.
            raise Ungraded("its process did not begin")
        return finished

    def _run_once(self, request: dict[str, Any], seconds: float) -> Finished:
        limits = {name: getattr(self._limits, name) for name in ("seconds", "memory", "file_size")}
        command = [sys.executable, "-I", "-B", "-X", "utf8", str(_PROGRAM)]
        given = json.dumps({**request, "limits": limits}).encode()
        with ScratchFolder() as folder:
            return self._processes.run(
                command,
                given,
                seconds,
                folder=folder.path,
                environment=_environment(str(folder.path)),
                excessive=lambda process: (
                    threads_of(process) > _MOST_THREADS
                    or folder.holds_more_than(_MOST_FILES, _MOST_FILES * self._limits.file_size)
                ),
            )


def _tests(reference: str) -> str | list[_Case]:
    try:
        cases = json.loads(reference)
        if isinstance(cases, list) and cases:
            return [_Case(str(case["input"]), str(case["output"])) for case in cases]
    except (ValueError, RecursionError):
        pass
    except (KeyError, TypeError):
        raise Ungraded("the reference is a JSON list, but not of objects with `input` and `output`") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tests = ast.parse(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Ungraded("the reference is neither Python nor a JSON list of cases") from None
    if all(isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) for statement in tests.body):
        raise Ungraded("the reference tests nothing")
    return reference


def _environment(folder: str) -> dict[str, str]:
    """Return an environment without any of the user's, keys least of all."""
    kept = {"SYSTEMROOT": os.environ["SYSTEMROOT"]} if "SYSTEMROOT" in os.environ else {}
    # More threads than processors would only cost memory.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # The C library sets 64 MB of addresses aside for every thread, which count as memory.
    single["MALLOC_ARENA_MAX"] = "1"
    return {**kept, **single, "HOME": folder, "TMPDIR": folder, "TEMP": folder, "PATH": os.defpath, "LANG": "C.UTF-8"}


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
