"""The child process that compares formulas with math-verify; run as a file with `python -P`.

SymPy may take forever over a formula, or all memory. math-verify's own time limit needs the main thread and a
system with SIGALRM, so it is switched off here: who waits for this process kills it.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

# The other extraction hands text to SymPy's `parse_expr`, which evaluates it as Python.
_LATEX_ONLY = [LatexExtractionConfig()]


def equal(request: dict[str, Any]) -> bool | None:
    """Return whether two formulas are equal; None when the reference is none."""
    reference, answer = _parsed(request["reference"]), _parsed(request["answer"])
    if not reference:
        return None
    # The default of six decimals makes all small numbers equal.
    return bool(answer) and bool(verify(reference, answer, float_rounding=12, timeout_seconds=None))


def _parsed(formula: str) -> list[Any]:
    found: list[Any] = parse(f"${formula}$", _LATEX_ONLY, fallback_mode="no_fallback", parsing_timeout=None)
    return found


if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("serving.py")))["serve"](equal)
