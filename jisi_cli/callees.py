"""Whom a run may call: models of the pool file, judges among them, an embedder that is an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jisi_cli.config import Config, ModelEntry, nothing_found
from jisi_cli.errors import InputError, NoAnswerError, did_you_mean

if TYPE_CHECKING:
    from jisi_cli.embed.protocol import EmbedderSpec
    from jisi_cli.grading.registry import GradingOptions

_ENDPOINT = "litellm:"


def require_models(config: Config) -> None:
    """Refuse a configuration without models.

    Raises:
        InputError: It names none.
    """
    if not config.models:
        where = nothing_found() if config.path is None else f"{config.path} has no [[models]]"
        raise InputError(
            f"no models to call: {where}; `jisi init` writes one from the keys and servers it finds, `jisi demo` shows "
            "jisi without any"
        )


def judges_of(grading: GradingOptions, config: Config) -> tuple[str, ...]:
    """Return the models that graders may ask.

    Raises:
        InputError: The pool lacks one.
    """
    names = [entry.name for entry in config.models]
    for judge in grading.judges():
        if judge not in names:
            near = did_you_mean(judge, names)
            raise InputError(f"--judge: the pool has no `{judge}`{near}; it has {', '.join(names) or 'none'}")
    return grading.judges()


def offer_the_offline_pool(error: NoAnswerError, config: Config, models: Sequence[str]) -> NoAnswerError:
    """Return the error of a pool that could not answer; where no model has a key, it names the pool that needs none."""
    from jisi_cli.models.facts import missing_key

    if all(missing_key(entry) is not None for entry in config.models if entry.name in models):
        return NoAnswerError(f"{error}; `jisi demo` shows jisi without a key")
    return error


def endpoint_entry(spec: EmbedderSpec, config: Config) -> ModelEntry | None:
    """Return an embedder that is an endpoint as a pool would name it; None for one that works on this machine."""
    if not spec.name.startswith(_ENDPOINT):
        return None
    model, endpoint = spec.name.removeprefix(_ENDPOINT), config.endpoint
    return ModelEntry(
        spec.name, model, api_base=endpoint.api_base, api_key_env=endpoint.api_key_env, price=endpoint.price
    )


def endpoint_address(entry: ModelEntry) -> dict[str, str]:
    """Return what says where an embedder that is an endpoint answers, beyond its name."""
    from jisi_cli.models.address import environment_addresses

    named = {} if entry.api_base is None else {"api_base": entry.api_base}
    return {**named, **environment_addresses(entry.litellm, entry.api_base)}
