"""The Python in a response."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings

from jisi_cli.reasoning import without_reasoning

_LONGEST = 200_000
_PYTHON = {"python", "py", "python3", "pycon", "python-repl"}
_CODE_LINE = re.compile(r"(?:def|class|import|from|async def)\s+\w|@\w")
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
