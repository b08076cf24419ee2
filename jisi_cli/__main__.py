"""Run the command line with `python -m jisi_cli`."""

from jisi_cli.cli.app import main

if __name__ == "__main__":
    main()
