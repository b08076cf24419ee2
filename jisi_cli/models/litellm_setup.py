"""LiteLLM, imported once and made quiet: the only place that touches its global settings."""

from __future__ import annotations

import logging
import os
import warnings
from functools import cache
from typing import Any

from jisi_cli.large_imports import uncollected
from jisi_cli.models.outgoing import guard_clients


@cache
def load_litellm() -> Any:  # noqa: ANN401 - a module without types
    """Import LiteLLM so that it talks to nobody but the model that is called.

    Its price map is the one it ships with, it fetches no tokenizer, writes nothing to the terminal, and
    repeats no call by itself. The HTTP clients that it uses keep the rules of `jisi_cli.models.outgoing`.
    """
    # Read at import: without it, importing LiteLLM downloads a price map.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # Read at import, too: without it, LiteLLM takes addresses and keys from a `.env` in any folder above its own, such
    # as the repository that a virtual environment lies in.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    with uncollected():
        import litellm

    guard_clients()
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    litellm.num_retries = 0
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # Its log lines can hold prompts and request headers.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # LiteLLM's use of pydantic makes it warn on stderr, about LiteLLM's types and about odd usage numbers.
    warnings.filterwarnings("ignore", category=UserWarning, module="pydantic")
    # Ctrl-C between LiteLLM's making of a coroutine and its awaiting it.
    warnings.filterwarnings("ignore", message="coroutine '.*completion.*' was never awaited", category=RuntimeWarning)
    return litellm
