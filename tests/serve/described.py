"""A long run: requests that schemathesis makes from the server's own description of itself.

    python -m tests.serve.described --st PATH [--examples 100]

`--st` is the command `st` of an environment with `pip install schemathesis`. It must find no server error, no response
that is not described, and nothing accepted that the description forbids. That what is described may be refused is no
fault: whether a conversation makes sense is more than a schema can say.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from tests.serve.running import serving


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--st", default="st")
    parser.add_argument("--examples", type=int, default=100)
    chosen = parser.parse_args(arguments)
    checks = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as running:
        command = [chosen.st, "run", f"{running.url}/openapi.json", "--max-examples", str(chosen.examples), *checks]
        return subprocess.run([*command, "--no-color", "--suppress-health-check", "all"], cwd=folder).returncode


if __name__ == "__main__":
    raise SystemExit(main())
