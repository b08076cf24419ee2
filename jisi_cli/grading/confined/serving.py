"""A child process that answers requests, one JSON line each, until its standard input ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MEMORY = 2 * 1024**3
_LONGEST_MESSAGE = 200


Answer = Callable[[dict[str, Any]], object]


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
        except Exception as error:  # it is told to whoever asked
            reply = {"error": f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
