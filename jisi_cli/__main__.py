"""Run the command line: the console script `jisi`, and `python -m jisi_cli`."""

from jisi_cli.cli.interrupts import heed_interrupts


def main() -> None:
    """Run the command line; Ctrl-C is heeded while it is still being imported."""
    heed_interrupts()
    try:
        from jisi_cli.cli.app import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
