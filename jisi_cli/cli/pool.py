"""The live pool as the command line and the configuration describe it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output
from jisi_cli.config import Config
from jisi_cli.errors import InputError
from jisi_cli.paths import cache_folder

if TYPE_CHECKING:
    from jisi_cli.llm.attempts import OnEvent
    from jisi_cli.llm.live import LivePool

_CONCURRENCY = 16
_TIMEOUT = 300.0
_RETRIES = 3


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How live calls are made; None leaves it to the configuration.

    Attributes:
        command: What the ledger calls this run.
        use_cache: Whether cached answers may be used.
        timeout: Seconds per attempt.
        max_cost: Dollars for the whole run.
        concurrency: Calls out at one time.
    """

    command: str
    use_cache: bool = True
    timeout: float | None = None
    max_cost: float | None = None
    concurrency: int | None = None


def open_pool(
    config: Config, models: Sequence[str], options: PoolOptions, out: Output, on_event: OnEvent | None = None
) -> LivePool:
    """Return the live pool of some models, behind cache and ledger.

    Raises:
        InputError: The configuration names no models, or a limit makes no sense.
    """
    import numpy as np

    from jisi_cli.ledger import Ledger, ledger_path
    from jisi_cli.llm.budget import Budget
    from jisi_cli.llm.json_disk import open_cache
    from jisi_cli.llm.limits import Limits, PerMinute
    from jisi_cli.llm.live import LivePool, Run
    from jisi_cli.llm.local import LocalModels

    if not config.models:
        raise InputError(
            "no models to call: write them as [[models]] tables in jisi.toml and name it with --config "
            "(to try jisi without a key: --config sample_data/jisi.toml)"
        )
    limits = config.budget
    max_cost = options.max_cost if options.max_cost is not None else limits.get("max_cost")
    timeout = options.timeout if options.timeout is not None else limits.get("timeout", _TIMEOUT)
    entries = [entry for entry in config.models if entry.name in models]
    per_minute = {entry.name: PerMinute(entry.requests_per_minute, entry.tokens_per_minute) for entry in entries}
    return LivePool(
        entries,
        rng=np.random.default_rng(),
        cache=open_cache(cache_folder() / "answers", warn=out.warn),
        ledger=Ledger(ledger_path(), warn=out.warn),
        budget=Budget(_amount(max_cost, "max_cost")) if max_cost is not None else None,
        limits=Limits(concurrency=pool_concurrency(config, options), per_minute=per_minute),
        timeout=_amount(timeout, "timeout"),
        max_retries=int(_amount(limits.get("max_retries", _RETRIES), "max_retries")),
        local_models=LocalModels(),
        run=Run(id=secrets.token_hex(8), command=options.command),
        use_cache=options.use_cache,
        on_event=on_event,
    )


def pool_concurrency(config: Config, options: PoolOptions) -> int:
    """Return how many calls may be out at one time."""
    chosen = options.concurrency or config.budget.get("concurrency", _CONCURRENCY)
    return max(1, int(_amount(chosen, "concurrency")))


def _amount(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InputError(f"{name} must be a number from 0, not {value!r}")
    return float(value)
