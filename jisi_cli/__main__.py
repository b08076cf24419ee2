"""Run the command line: the console script `jisi`, and `python -m jisi_cli`."""

import gc
import os

# The C part of `signal`: importing its enumerations takes longer than all else that is done before Ctrl-C works.
from _signal import SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]
from time import process_time

_START = 3.0
"""Seconds of processor time in which a command imports what it needs, which stays until it ends."""

_SOON = "20"
"""How long NumPy's threads look for work before they sleep: 2^20 cycles, less than a thousandth of a second. By default
it is 2^26, which each of them spends when NumPy is imported, and again after every computation."""


def _leave(number: int, frame: object) -> None:
    os._exit(130)


def _keep(phase: str, info: dict[str, int]) -> None:
    """Spare the collector of garbage what is made at the start: a twentieth of it, and Ctrl-C would wait meanwhile."""
    if phase == "start":
        if process_time() < _START:
            gc.freeze()
        else:
            gc.callbacks.remove(_keep)


def main() -> None:
    """Run the command line; Ctrl-C works while it is still being imported, when nothing is under way yet."""
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _leave)
    gc.callbacks.append(_keep)
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", _SOON)
    try:
        from jisi_cli.cli.interrupts import heed_interrupts

        heed_interrupts(instead_of=_leave)
        from jisi_cli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
