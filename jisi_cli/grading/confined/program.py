"""The child process that runs the code of one answer; run as a file with `python -I`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib.abc import InspectLoader
from pathlib import Path
from types import ModuleType
from typing import Any

# Where Python and its packages lie: what a confined process may read.


_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")


def python_folders() -> list[str]:
    """Return Python's own folders and the system's libraries, and nothing of the user's besides."""
    return [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *_SYSTEM]


# A request comes in as JSON on standard input: the `source`, the `tests` to run after it (null for a program
# that is judged by what it prints), the program's `input`, the `limits`, and a `pass` that nothing else knows.
# On standard error goes one line when the answer is about to run, with the layers that confine it, and then the
# pass once the last test is through. A process that ends earlier does not write it.


_NAME = "answer"


class _Text(InspectLoader):
    """Runs a text as (more of) a module."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text


def main() -> None:
    """Run the request."""
    request = json.load(sys.stdin)
    report = os.dup(2)
    _redirect(request)
    layers = _confine(request["limits"])
    # Taken now: an answer may replace what modules hold.
    write, leave, passed = os.write, os._exit, request.pop("pass").encode()
    write(report, f"ready {' '.join(layers)}\n".encode())
    if request["tests"] is None:
        _run(request["source"], None)
        return
    try:
        _run(request["source"], request["tests"])
    except BaseException:
        leave(1)
    write(report, passed)
    leave(0)  # whatever the answer left behind, threads and exit handlers, is not worth waiting for


def _redirect(request: dict[str, Any]) -> None:
    """Give the answer its own input, and no place to write to but the output that is judged."""
    with tempfile.TemporaryFile() as given:
        given.write(request.pop("input").encode("utf-8", "surrogatepass"))
        given.seek(0)
        os.dup2(given.fileno(), 0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    if request["tests"] is not None:
        os.dup2(nowhere, 1)
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - it is the process's own


def _confine(limits: dict[str, int]) -> list[str]:
    root = str(Path(__file__).resolve().parents[3])
    sys.path.insert(0, root)
    from jisi_cli.grading.confined.kernel import confine, end_with_parent
    from jisi_cli.grading.confined.limits import guard, limit, refuse_processes

    sys.path.remove(root)
    limit(limits["memory"], seconds=limits["seconds"], file_size=limits["file_size"])
    end_with_parent()
    folder = str(Path.cwd())
    layers = confine(python_folders(), folder)
    if "seccomp" not in layers:
        refuse_processes()
    guard(folder)
    return [*layers]


def _run(source: str, tests: str | None) -> None:
    """Run an answer, then its tests in the same module, so that they see all of its names."""
    # A guarded main() is part of a program, and in the way of a function that is only tested.
    name = "__main__" if tests is None else _NAME
    module = sys.modules[name] = ModuleType(name)
    _Text(source).exec_module(module)
    if tests is not None:
        _Text(tests).exec_module(module)


if __name__ == "__main__":
    main()
