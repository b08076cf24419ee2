"""Text that steers no terminal: what models, banks and files hold may be shown."""

from __future__ import annotations

import re

from jisi_cli.types import whole_characters

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|\Z)"  # OSC, DCS and their kin, up to their end
    r"|\x1b[ -/]*[0-~]?"  # other escapes
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
# DEL, C1, and the marks that reorder what is shown.
STEERING = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u206f]")
# The same, and C0 without tab and newline.
_CONTROLS = re.compile(rf"[\x00-\x08\x0b-\x1f]|{STEERING.pattern}")


def printable(text: str) -> str:
    """Return text from a model or a file without anything that steers a terminal."""
    return _CONTROLS.sub("", without_escapes(whole_characters(text).replace("\r\n", "\n")))


def without_escapes(text: str) -> str:
    """Return text without the escape sequences of a terminal, as for colours."""
    return _ESCAPES.sub("", text)


def has_escapes(text: str) -> bool:
    """Whether there are escape sequences in a text."""
    return _ESCAPES.search(text) is not None
