"""Run one jisi command and count what it passes through; `house` starts this file in a process of its own.

    PYTHONPATH=TREE python tests/benchmarks/traced.py TRACE.json ask "What is 6 * 7?" …

It imports nothing but the standard library and the `jisi_cli` that PYTHONPATH names. Functions that run while a
module is imported are not counted: they belong to the import, not to the way of the question.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

_LITELLM_ENTRY = ("wrapper_async", "acompletion")


def _is_room(name: str) -> bool:
    return hasattr(sys.modules[name], "__path__")


class Trace:
    """The functions of jisi_cli that ran so far, and a snapshot of when LiteLLM's `acompletion` was first entered."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._importing = threading.local()
        self._functions: set[tuple[str, str, int]] = set()
        self.at_first_call: dict[str, int] | None = None

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take part in profiling, as `sys.setprofile` wants it."""
        if event not in ("call", "return"):
            return
        code = frame.f_code
        depth = getattr(self._importing, "depth", 0)
        if code.co_name == "<module>":
            self._importing.depth = depth + (1 if event == "call" else -1)
        elif event == "call" and depth <= 0 and code.co_flags & inspect.CO_OPTIMIZED:  # no class body
            if code.co_filename.startswith(self._package):
                self._functions.add((code.co_filename, code.co_name, code.co_firstlineno))
            elif self.at_first_call is None and code.co_name in _LITELLM_ENTRY and "litellm" in code.co_filename:
                self.at_first_call = self.counts()

    def counts(self) -> dict[str, int]:
        """Count the package's modules that are loaded, and the files and functions that were passed through."""
        return {
            "modules": len(
                [name for name in sys.modules.copy() if name.startswith("jisi_cli.") and not _is_room(name)]
            ),
            "files": len({name for name, _, _ in self._functions}),
            "functions": len(self._functions),
        }

    def files(self) -> list[str]:
        """Name the files that were passed through."""
        return sorted({str(Path(name).relative_to(self._package)) for name, _, _ in self._functions})


def run(arguments: list[str]) -> dict[str, Any]:
    """Run a command to its end under the trace."""
    from jisi_cli.cli.app import main

    package = str(Path(sys.modules["jisi_cli"].__file__ or "").parent)
    trace = Trace(package)
    sys.argv = ["jisi", *arguments]
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        main()
        code = 0
    except SystemExit as ending:
        code = int(ending.code or 0)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {
        "exit": code,
        "until the first call": trace.at_first_call,
        "to the end": trace.counts(),
        "files": trace.files(),
    }


if __name__ == "__main__":
    _, target, *command = sys.argv
    Path(target).write_text(json.dumps(run(command)), encoding="utf-8")
