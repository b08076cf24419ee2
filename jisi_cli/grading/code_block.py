"""The Python in a response."""

from __future__ import annotations

import ast
import textwrap
import warnings

_LONGEST = 200_000
_PYTHON = {"python", "py", "python3"}


def last_python(response: str) -> str | None:
    """Return the last Python block of a response; a block that names no language counts where none does.

    A block that was never closed goes on to the end. A response without any block is code when all of
    it is Python that does something. None when there is no code. Only the end of a response is read.
    """
    text = response[-_LONGEST:]
    blocks = _blocks(text)
    for wanted in (_PYTHON, {""}):
        found = [code for language, code in blocks if language in wanted and code.strip()]
        if found:
            return textwrap.dedent(found[-1])
    return text if not blocks and _does_something(text) else None


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        not isinstance(statement, ast.Expr) or isinstance(statement.value, ast.Call | ast.Await)
        for statement in statements
    )
