"""Embedding in a thread, while calls are out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from jisi_cli.embedders.protocol import Embedder

_MOST_AT_ONCE = min(32, (os.cpu_count() or 1) + 4) // 2
"""Half of the threads that an event loop has. An endpoint that embeds may wait in each for money that is set aside for
calls, and these need the other half to find their host and to count tokens before they give it back."""

_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def embed_aside(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit row vectors (n, d), in the order of `texts`, and hold up nothing meanwhile.

    Raises:
        JisiError: As the embedder does.
    """
    turns = _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE))
    async with turns:
        return await asyncio.to_thread(embedder.embed, texts)
