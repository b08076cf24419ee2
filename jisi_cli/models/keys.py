"""Whether the key that a model needs is there."""

from __future__ import annotations

import os

from jisi_cli.config import ModelEntry
from jisi_cli.models.address import OPENAI_KEY
from jisi_cli.models.litellm_client import load_litellm

_LOCAL = "local:"


def missing_key(entry: ModelEntry) -> str | None:
    """Return the environment variable whose key a model needs and lacks; None when nothing is known to lack.

    An entry with an address of its own may need no key. Providers that can be signed in to in other ways
    (cloud accounts) are left to speak for themselves.
    """
    if entry.api_key_env is not None:
        return None if os.environ.get(entry.api_key_env) else entry.api_key_env
    if entry.api_base is not None or entry.litellm.startswith(_LOCAL):
        return None
    if entry.litellm.startswith("openai/"):
        return None if os.environ.get(OPENAI_KEY) else OPENAI_KEY
    found = load_litellm().validate_environment(entry.litellm)
    missing: list[str] = found.get("missing_keys") or []
    if len(missing) == 1 and missing[0].endswith("_API_KEY") and not missing[0].startswith("AZURE"):
        return missing[0]
    return None
