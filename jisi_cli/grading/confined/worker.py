"""The child process that searches for patterns or compares formulas; run as `python -P worker.py regex` or `math`.

Python's `re` may take exponential time, SymPy may take forever over a formula, or all memory, and a thread cannot be
stopped while they do. A process can be killed. It answers requests, one JSON line each, until its standard input ends.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MEMORY = 2 * 1024**3
_LONGEST_MESSAGE = 200

Answer = Callable[[dict[str, Any]], object]


def regex() -> Answer:
    """Return what says whether a pattern occurs in a text."""
    return lambda request: re.search(request["pattern"], request["text"]) is not None


def math() -> Answer:
    """Return what says whether two formulas are equal; None when the reference is none."""
    from math_verify import LatexExtractionConfig, parse, verify

    # The other extraction hands text to SymPy's `parse_expr`, which evaluates it as Python.
    latex_only = [LatexExtractionConfig()]

    # math-verify's own time limits need the main thread and a system with SIGALRM, so they are switched off.
    def parsed(formula: str) -> list[Any]:
        found: list[Any] = parse(f"${formula}$", latex_only, fallback_mode="no_fallback", parsing_timeout=None)
        return found

    def equal(request: dict[str, Any]) -> bool | None:
        reference, answer = parsed(request["reference"]), parsed(request["answer"])
        if not reference:
            return None
        # The default of six decimals makes all small numbers equal.
        return bool(answer) and bool(verify(reference, answer, float_rounding=12, timeout_seconds=None))

    return equal


def serve(answer: Answer) -> None:
    """Confine this process, say `ready`, and answer each request.

    Args:
        answer: Turns a request into a reply that JSON can hold; what it needs is imported already.
    """
    root = str(Path(__file__).resolve().parents[3])
    sys.path.insert(0, root)
    from jisi_cli.grading.confined.kernel import confine
    from jisi_cli.grading.confined.limits import limit

    sys.path.remove(root)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not be read as a reply.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    limit(_MEMORY)
    confine([sys.prefix, sys.base_prefix, *sys.path, "/usr", "/lib", "/lib64"], None)
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # reported to the process that asked
            reply = {"error": f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve({"regex": regex, "math": math}[sys.argv[1]]())
