"""`jisi mcp`: the pool as tools of an agent."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.errors import missing_extra


@opens_pool("max_cost_per_day", "concurrency", method="Who answers; eval --list-methods names all.")
def mcp(
    *,
    opening: Opening,
) -> None:
    """Offer the pool to an agent as tools, over the Model Context Protocol on stdin and stdout.

    An agent's settings name the command; it starts and ends the process itself. The tools are ask, route and cost.

    Example: jisi mcp --config sample_data/jisi.toml
    """
    _require_extra()

    if sys.stdin is not None and sys.stdin.isatty():
        opening.out.note("an agent starts this and talks with it on stdin and stdout; Ctrl-D or Ctrl-C ends it")
    pool = opening.open("mcp", calls="required")
    from jisi_cli.serve.mcp_server import make_server

    make_server(pool).run()


def _require_extra() -> None:
    """Refuse to begin without the protocol's package, or with its first release, which has no such server.

    Raises:
        InputError: It is so.
    """
    try:
        found = version("mcp")
    except PackageNotFoundError:
        raise missing_extra("`jisi mcp`", "mcp") from None
    if found.startswith(("0.", "1.")):
        raise missing_extra(f"the package mcp {found} is too old: `jisi mcp`", "mcp")
