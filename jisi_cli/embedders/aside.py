"""Embedding in a thread, while calls are out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embedders.protocol import Embedder

_THREADS = ThreadPoolExecutor(thread_name_prefix="embed")
"""Not those of the event loop, which calls need to find their host and to count tokens: an endpoint that embeds may
wait in every one of these for money that is set aside for the calls, until they are done."""


async def embed_aside(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit row vectors (n, d), in the order of `texts`, and hold up nothing meanwhile.

    Raises:
        JisiError: As the embedder does.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, embedder.embed, texts)
