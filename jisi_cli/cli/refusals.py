"""What a machine refuses whatever a program does, in one line: such an error is no bug, and needs no traceback."""

from __future__ import annotations

import errno

from jisi_cli.errors import is_out_of_memory

_ALLOW = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
)
"""What the user can make room for, or allow."""
_CHECK = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ESTALE})
"""What is wrong with a path, or became so while the command was at work."""


def refusal(error: BaseException) -> str | None:
    """Return what is to be said of an error that the machine, not the program, is to blame for; None for another.

    Of an error that ran through tasks, the first of what they met is looked at.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if is_out_of_memory(error):
        return (
            f"out of memory ({_reason(error)}); close other programs, raise the limit (ulimit -v), or work on less: "
            "fewer models, fewer questions, a bank of shorter vectors"
        )
    if not isinstance(error, OSError) or error.errno not in _ALLOW | _CHECK:
        return None
    where = f"{error.filename}: " if error.filename else ""
    remedy = "make room or allow it" if error.errno in _ALLOW else "check the path"
    return f"{where}{error.strerror or error}; {remedy}, and run the command again"


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or "the system gave no more"
