"""Where Python and its packages lie: what a confined process may read."""

from __future__ import annotations

import sys

_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")


def python_folders() -> list[str]:
    """Return Python's own folders and the system's libraries, and nothing of the user's besides."""
    return [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *_SYSTEM]
