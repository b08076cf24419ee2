"""A process that has texts embedded on the GPUs of a cluster: `python -m tests.cluster.gpu_process ENGINE FOLDER`.

There need be none: instead of vectors, workers say which process of them embeds on which GPU of which node.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jisi_cli.cluster import embedding
from jisi_cli.cluster.engine import read_engine
from jisi_cli.cluster.session import Session
from jisi_cli.embed.protocol import EmbedderSpec

CHUNKS = 12
GPUS = 2


def saying_where(
    spec: EmbedderSpec, device: str | None, batch_size: int | None
) -> Callable[[Sequence[str]], tuple[np.ndarray, int]]:
    """Return what says where it is instead of embedding, once there is such a process for each GPU."""
    folder = Path(spec.name)
    (folder / f"{os.getpid()}-{os.environ.get('NODE')}-{os.environ.get('CUDA_VISIBLE_DEVICES')}-{device}").touch()

    def say(texts: Sequence[str]) -> tuple[np.ndarray, int]:
        end = time.monotonic() + 120
        while len(list(folder.iterdir())) < GPUS and time.monotonic() < end:
            time.sleep(0.05)
        return np.full((len(texts), 1), os.getpid(), dtype=np.float32), 0

    return say


def main(text: str, folder: Path) -> None:
    embedding._embedding = saying_where
    engine = read_engine(text)
    assert engine is not None
    session = Session(engine)
    made = embedding.ClusterEmbedding(session, EmbedderSpec(str(folder), "0" * 40), "cuda:1", None)
    found = [vectors.tolist() for vectors in made.embed([["a text"]] * CHUNKS)]
    print(json.dumps({"gpus": session.gpus, "embedded": found}))
    session.close()


if __name__ == "__main__":
    # Workers import this by its name.
    from tests.cluster import gpu_process

    gpu_process.main(sys.argv[1], Path(sys.argv[2]))
