"""The live pool as the command line and the configuration describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jisi_cli.cli.output import Output
from jisi_cli.cli.pool_consent import require_consent
from jisi_cli.cli.purse import Purse, budget_limit, open_purse
from jisi_cli.config import Config
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.paths import cache_folder

if TYPE_CHECKING:
    from jisi_cli.models.live import LivePool
    from jisi_cli.models.retry import CallEvent, OnEvent

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
        store: False keeps questions and answers out of cache and ledger.
    """

    command: str
    use_cache: bool = True
    timeout: float | None = None
    max_cost: float | None = None
    concurrency: int | None = None
    store: bool = True


def open_pool(
    config: Config,
    models: Sequence[str],
    options: PoolOptions,
    out: Output,
    on_event: OnEvent | None = None,
    *,
    purse: Purse | None = None,
) -> LivePool:
    """Return the live pool of some models, behind cache and ledger.

    Args:
        config: The pool file.
        models: Which of its models.
        options: How calls are made.
        out: Where warnings go.
        on_event: Receives what a live view may show.
        purse: What the run may spend where the pool is not all that spends; None for a purse of its own.

    Raises:
        InputError: The configuration names no models, a limit makes no sense, or the user never allowed the file.
    """
    import numpy as np

    from jisi_cli.models.json_disk import open_cache
    from jisi_cli.models.limits import Limits, PerMinute
    from jisi_cli.models.live import LivePool
    from jisi_cli.models.local import LocalModels

    require_models(config)
    purse = purse or open_purse(config, options.command, options.max_cost, out)
    timeout = _limit(options.timeout, config, "timeout", _TIMEOUT)
    if not timeout:
        raise InputError("no call can be answered within a timeout of 0 seconds; give more")
    retries = _limit(None, config, "max_retries", _RETRIES)
    entries = [entry for entry in config.models if entry.name in models]
    require_consent(config, entries, out)
    per_minute = {entry.name: PerMinute(entry.requests_per_minute, entry.tokens_per_minute) for entry in entries}
    return LivePool(
        entries,
        rng=np.random.default_rng(),
        cache=open_cache(cache_folder() / "answers", warn=out.warn),
        ledger=purse.ledger,
        budget=purse.budget,
        limits=Limits(concurrency=pool_concurrency(config, options), per_minute=per_minute),
        timeout=timeout,
        max_retries=int(retries),
        local_models=LocalModels(),
        run=purse.run,
        use_cache=options.use_cache,
        store=options.store,
        on_event=on_event or partial(_tell_adapted, out),
        warn=out.warn,
    )


def _tell_adapted(out: Output, event: CallEvent) -> None:
    if event.kind == "adapted":
        out.detail(f"{event.model}: {event.reason}")


def require_models(config: Config) -> None:
    """Refuse a configuration without models.

    Raises:
        InputError: It names none.
    """
    if not config.models:
        raise InputError(
            "no models to call: write them as [[models]] tables in jisi.toml and name it with --config "
            "(to try jisi without a key: --config sample_data/jisi.toml)"
        )


def pool_concurrency(config: Config, options: PoolOptions) -> int:
    """Return how many calls may be out at one time."""
    return max(1, int(_limit(options.concurrency, config, "concurrency", _CONCURRENCY)))


def offer_the_offline_pool(error: NoAnswerError, config: Config, models: Sequence[str]) -> NoAnswerError:
    """Return the error of a pool that could not answer; one without any key gets told how to try jisi without."""
    from jisi_cli.models.provider import missing_key

    if all(missing_key(entry) is not None for entry in config.models if entry.name in models):
        return NoAnswerError(f"{error}; to try jisi without a key: --config sample_data/jisi.toml")
    return error


def _limit(flag: float | None, config: Config, key: str, default: float) -> float:
    found = budget_limit(flag, config, key)
    return default if found is None else found
