"""Run the command line: the console script `jisi`, and `python -m jisi_cli`."""

import os
import signal
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(130)


def main() -> None:
    """Run the command line; Ctrl-C is heeded while it is still being imported, when nothing is under way yet."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from jisi_cli.cli.interrupts import heed_interrupts

    heed_interrupts(instead_of=_leave)
    try:
        from jisi_cli.cli.app import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
