"""Which models can be asked by batch, and what that costs of what a call costs otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Literal, cast, get_args

from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError
from jisi_cli.models.address import address_of, aws_endpoint, environment_addresses, is_own_host, provider_of
from jisi_cli.models.litellm_client import header_names, load_litellm, own_headers

BatchProtocol = Literal["openai", "azure", "anthropic", "gemini", "bedrock", "vertex_ai"]
"""Which batch endpoints a model's provider has, of those that jisi speaks."""

_SPOKEN: tuple[str, ...] = get_args(BatchProtocol)
_HALF = 0.5
"""What they charge, where LiteLLM's map does not know better: half of what a call costs otherwise
(https://platform.openai.com/docs/guides/batch, https://learn.microsoft.com/azure/ai-services/openai/how-to/batch,
https://docs.claude.com/en/docs/build-with-claude/batch-processing, https://ai.google.dev/gemini-api/docs/batch-api,
https://aws.amazon.com/bedrock/pricing, https://cloud.google.com/vertex-ai/generative-ai/pricing)."""
_KINDS = ("input_cost_per_token", "output_cost_per_token")
_AWS_STORE = re.compile(r"s3://[a-z0-9][.a-z0-9-]{1,61}[a-z0-9](/[-!_*'().a-zA-Z0-9]+)+")
"""Addresses that Bedrock accepts."""


def protocol_of(entry: ModelEntry) -> BatchProtocol:
    """Return which batch endpoints a model is asked through; it must be one that can be."""
    return cast(BatchProtocol, _provider(entry.litellm))


def batch_share(entry: ModelEntry) -> float | None:
    """Return what a call costs by batch, as a share of its price; None where that is not known.

    The pool file's word goes first, then LiteLLM's map of public prices, then what the provider says of its own
    address. At an address of somebody else's, list price is all that is known.
    """
    if entry.price is not None and entry.price.batch is not None:
        return entry.price.batch
    provider = _provider(entry.litellm)
    if provider not in _SPOKEN or not all(is_own_host(f"{provider}/", address) for address in _addresses(entry)):
        return None
    models = load_litellm().model_cost
    known = models.get(entry.litellm) or models.get(entry.litellm.removeprefix(f"{provider}/")) or {}
    prices = [(known.get(kind), known.get(f"{kind}_batches")) for kind in _KINDS]
    shares = [by_batch / usual for usual, by_batch in prices if usual and by_batch]
    return min(1.0, max(shares, default=_HALF))


def refusal(entry: ModelEntry) -> str | None:
    """Return why a model cannot be asked by batch; None where it may be."""
    if entry.litellm.startswith("local:"):
        return "it is served on this machine"
    provider = _provider(entry.litellm)
    if provider == "bedrock":
        return _refusal_of_bedrock(entry)
    if provider == "vertex_ai":
        return _refusal_of_vertex(entry)
    if provider in _SPOKEN:
        return None
    if not provider:
        return "LiteLLM knows no such model; write `litellm` as `provider/model`"
    return f"`{provider}` is not among the providers whose batch endpoints jisi speaks ({', '.join(_SPOKEN)})"


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


def _refusal_of_vertex(entry: ModelEntry) -> str | None:
    """Return why a model of Vertex AI cannot be asked by batch; None where it may be."""
    if entry.batch_store is None or entry.batch_store.scheme != "gs":
        return (
            "Vertex AI takes batches from a bucket of yours in Google Cloud Storage: write "
            '`batch_store = "gs://BUCKET/FOLDER"` for it in the pool file'
        )
    if any(str(name).lower() == "authorization" for name in header_names(entry.params)):
        return "its `headers` hold an authorization, which is for the model and must not go to the bucket"
    if not _is_installed("google.auth"):
        return "that needs Google's credentials library, which pip install google-auth installs"
    return None


def _refusal_of_bedrock(entry: ModelEntry) -> str | None:
    """Return why a model of Amazon Bedrock cannot be asked by batch; None where it may be."""
    if entry.batch_store is None or entry.batch_store.scheme != "s3" or entry.batch_role is None:
        return (
            'Amazon Bedrock takes batches from a bucket of yours: write `batch_store = "s3://BUCKET/FOLDER"` and '
            '`batch_role = "arn:aws:iam::ACCOUNT:role/NAME"` for it in the pool file'
        )
    if not _AWS_STORE.fullmatch(str(entry.batch_store)):
        return f"Amazon Bedrock accepts no address such as {entry.batch_store}: use letters, digits and -!_*'(). in it"
    if entry.api_base is not None and not is_own_host("bedrock/", entry.api_base):
        return "its `api_base` is not AWS, which alone takes batches"
    if entry.api_key_env is not None:
        return "its `api_key_env` opens no bucket: leave it out, and AWS's own credentials are used"
    if own_headers(entry.params):
        return "its `headers` cannot go with a batch"
    if not _is_installed("boto3"):
        return 'that needs the extra `s3`, which pip install "jisi[s3]" installs'
    return None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it would be in
        return False


def _addresses(entry: ModelEntry) -> list[str]:
    """Return where a model is asked, as far as the pool file or the environment say."""
    if _provider(entry.litellm) == "openai":
        return [address_of(f"openai/{entry.litellm.removeprefix('openai/')}", entry.api_base) or ""]
    provider = _provider(entry.litellm)
    named = environment_addresses(f"{provider}/", None).values()
    found = [value for value in named if "://" in value] if entry.api_base is None else [entry.api_base]
    # Batches of Bedrock are created at another address than that of its models.
    endpoint = aws_endpoint("bedrock") if provider == "bedrock" else None
    return found if endpoint is None else [*found, endpoint]


@cache
def _provider(litellm_name: str) -> str:
    """Return whose a model is; where its name does not begin with that, LiteLLM knows, or it is empty."""
    named = provider_of(litellm_name)
    if named:
        return named
    try:
        return str(load_litellm().get_llm_provider(model=litellm_name)[1])
    except Exception:  # LiteLLM raises its own kind for a model that it does not know.
        return ""
