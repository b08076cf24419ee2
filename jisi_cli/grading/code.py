"""The grader that runs an answer's program, and how the program is found in a response."""

from __future__ import annotations

import ast
import builtins
import json
import os
import secrets
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from jisi_cli.errors import InputError, JisiError
from jisi_cli.grading.processes import Finished, Processes, ScratchFolder, threads_of
from jisi_cli.grading.registry import Setup, Submission, Ungraded, grader
from jisi_cli.lazy_pattern import lazy_pattern
from jisi_cli.models.reasoning import without_reasoning

# Finding the Python in a response.

_LONGEST = 200_000
_PYTHON = {"python", "py", "python3", "pycon", "python-repl"}
_CODE_LINE = lazy_pattern(r"(?:def|class|import|from|async def)\s+\w|@\w")
_MOST_LINES_AFTER = 40


def answer_python(response: str, tests: str = "") -> str | None:
    """Return the Python of a response that its tests should run.

    Where the tests are Python, that is all blocks from the last one on that defines what they call, back to those
    that the response needs for it: an example call, expected output or a shell command is left out, and so is an
    earlier draft of the same definition. Without such tests, and where no block defines what they call, it is the
    last block. A block that names no language counts where no block names Python; one that was never closed goes on
    to the end. A response without any block is code when all of it, or all from its first line of code on, is
    Python that does something. None when there is no code. Only the end of a response is read.

    Args:
        response: What the model said.
        tests: Python that follows the answer in the same module; empty where a program is run by itself.
    """
    text = without_reasoning(response)[-_LONGEST:]
    blocks = _blocks(text)
    for wanted in (_PYTHON, {""}):
        found = [textwrap.dedent(code) for language, code in blocks if language in wanted and code.strip()]
        found = list(map(_without_prompts, found))
        if found:
            return _defining(found, _called(tests)) if tests else _program(found)
    return _bare_python(text) if not blocks else None


def _defining(blocks: list[str], called: set[str]) -> str:
    """Return the last block that defines what is called, with what other blocks define for it."""
    defined = [_defined(block) for block in blocks]
    places = [place for place, names in enumerate(defined) if names & called]
    if not places:
        return blocks[-1]
    last = places[-1]
    missing = called & set().union(*defined) - defined[last]
    chosen = [last]
    for place in reversed(range(len(blocks))):
        gives = defined[place] & (missing | _used(blocks[last]) - defined[last])
        if place != last and gives:
            chosen.append(place)
            missing -= gives
    # Definitions alone: the other blocks may print, or ask for input.
    return "\n".join(blocks[place] if place == last else _definitions(blocks[place]) for place in sorted(chosen))


def _program(blocks: list[str]) -> str:
    """Return the last block that is a program; one that only calls what an earlier block defines needs that one."""
    last = blocks[-1]
    needed = _used(last) - _defined(last)
    earlier = [block for block in blocks[:-1] if _defined(block) & needed]
    if earlier:
        return "\n".join([_definitions(earlier[-1]), last])
    reads = [block for block in blocks if "input(" in block or "stdin" in block]
    return reads[-1] if reads else last


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(code: str) -> set[str]:
    """Return the names that code defines at its top: functions, classes, variables and imports."""
    module = _parsed(code)
    names: set[str] = set()
    for statement in module.body if module else []:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {(name.asname or name.name).partition(".")[0] for name in statement.names}
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names |= {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return names


def _used(code: str) -> set[str]:
    module = _parsed(code)
    return {node.id for node in ast.walk(module) if isinstance(node, ast.Name)} if module else set()


def _called(tests: str) -> set[str]:
    """Return the names that tests use and do not define themselves, those of Python aside."""
    return _used(tests) - _defined(tests) - set(dir(builtins))


def _definitions(code: str) -> str:
    """Return code without what it does: its definitions and imports alone."""
    module = _parsed(code)
    if module is None:
        return code
    kept = (
        ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign
    )
    lines = code.split("\n")
    parts = []
    for statement in module.body:
        if isinstance(statement, kept):
            decorators = getattr(statement, "decorator_list", [])
            first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
            parts.append("\n".join(lines[first - 1 : statement.end_lineno]))
    return "\n".join(parts) + "\n"


def _without_prompts(code: str) -> str:
    """Return the input of an interactive session (`>>> f(2)`), without its output; other code as it is."""
    lines = code.split("\n")
    if not lines[0].startswith(">>>"):
        return code
    return "\n".join(line[4:] for line in lines if line.startswith((">>>", "..."))) + "\n"


def _bare_python(text: str) -> str | None:
    """Return a response without any block when it is code, with or without a sentence before and after it."""
    if _does_something(text):
        return text
    lines = text.split("\n")
    starts = [place for place, line in enumerate(lines) if _CODE_LINE.match(line)]
    for start in starts[:1]:
        for end in range(len(lines), max(start, len(lines) - _MOST_LINES_AFTER), -1):
            code = "\n".join(lines[start:end]) + "\n"
            if not lines[end - 1].strip():
                continue
            if _does_something(code):
                return code
    return None


def _blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, code) of the blocks between lines that begin with three backticks or tildes."""
    blocks: list[tuple[str, list[str]]] = []
    fence: str | None = None
    for line in text.split("\n"):
        stripped = line.strip()
        if fence is None and stripped.startswith(("```", "~~~")):
            fence = stripped[0] * (len(stripped) - len(stripped.lstrip(stripped[0])))
            words = stripped[len(fence) :].strip("{}. ").split() or [""]
            blocks.append((words[0].lower(), []))
        elif fence is not None and stripped.startswith(fence) and not stripped.strip(fence[0]):
            fence = None
        elif fence is not None:
            blocks[-1][1].append(line)
    return [(language, "\n".join(lines) + "\n") for language, lines in blocks]


def _does_something(text: str) -> bool:
    """Whether a text is Python beyond names and constants, which any single word is."""
    module = _parsed(text)
    return module is not None and any(
        not isinstance(statement, ast.Expr) or isinstance(statement.value, ast.Call | ast.Await)
        for statement in module.body
    )


# Running it.

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


@grader("code", blocks=True)
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

    @classmethod
    def for_run(cls, setup: Setup) -> Self:
        """Run answers, which the user must allow.

        Raises:
            InputError: The user does not.
        """
        if not setup.allow_code:
            raise InputError("the grader `code` runs what models wrote; add --allow-code, or --grader with another")
        return cls(warn=setup.warn)

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
