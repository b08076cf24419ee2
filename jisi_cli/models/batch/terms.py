"""Which models can be asked by batch, and what that costs of what a call costs otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError
from jisi_cli.models.address import address_of, is_own_host, provider_of
from jisi_cli.models.litellm_client import load_litellm

_OPENAI = "openai/"
_HALF = 0.5
"""What OpenAI charges (https://platform.openai.com/docs/guides/batch, "50% cost discount compared to synchronous
APIs"), where LiteLLM's map does not know better."""
_KINDS = ("input_cost_per_token", "output_cost_per_token")


def batch_share(entry: ModelEntry) -> float | None:
    """Return what a call costs by batch, as a share of its price; None where that is not known.

    The pool file's word goes first, then LiteLLM's map of public prices, then what OpenAI says of its own address.
    At an address of somebody else's, list price is all that is known.
    """
    if entry.price is not None and entry.price.batch is not None:
        return entry.price.batch
    name = entry.litellm.removeprefix(_OPENAI)
    if not is_own_host(_OPENAI, address_of(_OPENAI + name, entry.api_base) or ""):
        return None
    known = load_litellm().model_cost.get(name) or {}
    prices = [(known.get(kind), known.get(f"{kind}_batches")) for kind in _KINDS]
    shares = [by_batch / usual for usual, by_batch in prices if usual and by_batch]
    return min(1.0, max(shares, default=_HALF))


def refusal(entry: ModelEntry) -> str | None:
    """Return why a model cannot be asked by batch; None where it may be."""
    provider = provider_of(entry.litellm)
    if entry.litellm.startswith("local:"):
        return "it is served on this machine"
    if provider not in ("", "openai"):
        return f"`{provider}` is not asked through OpenAI's files and batches, which is what jisi speaks"
    return None


def require_batch(entries: Sequence[ModelEntry]) -> None:
    """Refuse a pool of which a model cannot be asked by batch.

    Raises:
        InputError: There is one.
    """
    refused = {entry.name: why for entry in entries if (why := refusal(entry)) is not None}
    if not refused:
        return
    name, why = next(iter(refused.items()))
    rest = [entry.name for entry in entries if entry.name not in refused]
    remedy = f"give --models {','.join(rest)}" if rest else "leave --batch out"
    others = f" (nor can {len(refused) - 1:,} more)" if len(refused) > 1 else ""
    raise InputError(f"--batch: `{name}` cannot be asked by batch{others}, because {why}; {remedy}")
