"""The child process that searches responses for patterns; run as a file with `python -P`.

Python's `re` may take exponential time, and a thread cannot be stopped while it does. A process can be killed.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any


def found(request: dict[str, Any]) -> bool:
    """Return whether the pattern occurs in the text."""
    return re.search(request["pattern"], request["text"]) is not None


if __name__ == "__main__":
    # The folder of this file is no place to import from: modules in it are called like Python's own.
    runpy.run_path(str(Path(__file__).with_name("serving.py")))["serve"](found)
