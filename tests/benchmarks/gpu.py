"""Measure what a GPU gains: a build's embedding beside `SentenceTransformer.encode`, and stage 1 in torch beside NumPy.

    python -m tests.benchmarks.gpu [--device cuda] [--texts 8192] [--rows 10000000] [--only "embedding|stage 1"]

Embedding: texts of the sample data, each made different by a number, through jisi's embedder (which sorts by length,
pads little and checks every vector) and through `encode`, for each batch size of the sweep, and with the size that
each chooses itself; in turns, in one process, the better of two rounds.

Stage 1: the support set of a query among unit rows of 384 components, by jisi's own `coarse` in NumPy on all cores, and
by a product, a `topk` and a threshold in torch on the device, where the rows lie already. NumPy's decision is exact;
torch's may differ in rows whose similarity is at the threshold to the last bit, and so many are told.

It needs a GPU with 40 GB for 10^7 rows (15 GB as float32, 8 GB as float16, and what comes of them), 24 GB of memory
beside it, torch with CUDA, and about five minutes; `--minutes` ends it in time. With `--device cpu` and small sizes it
runs anywhere, and says nothing about GPUs.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jisi_cli.embed.model_folder import packaged_minilm
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.scoring import BankArrays, coarse, coarse_block
from tests.benchmarks.embedding_throughput import sample_texts

if TYPE_CHECKING:
    import torch

SIZES = (16, 32, 64, 128, 256, 512)
WIDTH = 384
AT_ONCE = 16
"""Queries in a block."""
CLUSTERS = 1_000
"""Rows lie around so many points, so that a query has neighbours."""
PART = 100_000
"""Rows that are made at a time."""
SETTINGS = Hyperparameters()


def seconds(work: Callable[[], Any], rounds: int = 2) -> float:
    """Return the least time of a few rounds; whatever runs on a device must have come back when `work` returns."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def distinct_texts(count: int) -> list[str]:
    """Return texts of the sample data, none of them twice."""
    texts = sample_texts(1280)
    return [f"{number}. {texts[number % len(texts)]}" for number in range(count)]


def embedding(device: str, count: int, sizes: Sequence[int]) -> Iterator[str]:
    """Yield a table of texts per second for each batch size."""
    from sentence_transformers import SentenceTransformer

    texts = distinct_texts(count)
    theirs = SentenceTransformer(str(packaged_minilm()), device=device, local_files_only=True)
    yield f"{count:,} texts, MiniLM on {device}; texts a second"
    yield f"{'batch size':<14} {'encode':>9} {'jisi':>9}   jisi / encode   1 - cosine at most"
    for size in (None, *sizes):
        ours = load_embedder(EmbedderSpec("minilm"), device=device, batch_size=size)

        def encode(some: Sequence[str], size: int | None = size) -> np.ndarray:
            chosen = {} if size is None else {"batch_size": size}
            return theirs.encode(some, normalize_embeddings=True, show_progress_bar=False, **chosen)

        # What is loaded, compiled or set aside at first use is neither's throughput.
        apart = np.abs(1 - np.einsum("nd,nd->n", ours.embed(texts[:512]), encode(texts[:512]))).max()
        rates = [count / seconds(lambda work=work: work(texts)) for work in (encode, ours.embed)]  # type: ignore[misc]
        name = "its own choice" if size is None else str(size)
        yield f"{name:<14} {rates[0]:9,.0f} {rates[1]:9,.0f} {rates[1] / rates[0]:15.2f} {apart:20.1e}"


def unit_rows(rows: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit rows around random points, and queries around the same points, on the device."""
    import torch

    torch.manual_seed(0)
    points = torch.randn(CLUSTERS, WIDTH, device=device)

    def around(count: int) -> torch.Tensor:
        some = points[torch.randint(CLUSTERS, (count,), device=device)] + torch.randn(count, WIDTH, device=device)
        return torch.nn.functional.normalize(some)

    made = torch.empty(rows, WIDTH, device=device)
    for start in range(0, rows, PART):
        made[start : start + PART] = around(min(PART, rows - start))
    return made, around(AT_ONCE)


def support_sets(rows: torch.Tensor, queries: torch.Tensor) -> list[np.ndarray]:
    """Return the support set of each query (B, d) among unit rows (N, d): row numbers, on the host."""
    import torch

    similarities = rows @ queries.to(rows.dtype).T
    kth = torch.topk(similarities, min(SETTINGS.n_base, len(rows)), dim=0).values[-1]
    return [torch.nonzero(near)[:, 0].cpu().numpy() for near in (similarities > SETTINGS.gamma * kth).T]


def stage_one(device: str, count: int) -> Iterator[str]:
    """Yield a table of milliseconds a query."""
    on_device, queries_there = unit_rows(count, device)
    rows, queries = on_device.cpu().numpy(), queries_there.cpu().numpy()
    one = np.ones((count, 1))
    # Of the bank, stage 1 reads the query vectors and the scores.
    bank = BankArrays(rows, [], one, one, np.ones((count, 1), dtype=bool), ("ada",), norm_bound=1.001)
    exact = [found.rows for found in coarse_block(bank, queries, SETTINGS)]
    sizes = [len(found) for found in exact]
    yield f"{count:,} x {WIDTH}; support sets of {min(sizes):,} to {max(sizes):,} rows; milliseconds a query"
    yield f"{'':<28} {'alone':>9} {f'{AT_ONCE} at once':>12}   rows otherwise than NumPy's"
    alone = seconds(lambda: coarse(bank, queries[0], SETTINGS))
    block = seconds(lambda: list(coarse_block(bank, queries, SETTINGS))) / AT_ONCE
    yield f"{'jisi, NumPy, float32':<28} {1e3 * alone:9.2f} {1e3 * block:12.2f} {0:15,}"
    for dtype in ("float32", "float16"):
        here = on_device if dtype == "float32" else on_device.half()
        found = support_sets(here, queries_there)
        others = sum(len(np.setxor1d(*pair)) for pair in zip(found, exact, strict=True))
        alone = seconds(lambda here=here: support_sets(here, queries_there[:1]))  # type: ignore[misc]
        block = seconds(lambda here=here: support_sets(here, queries_there)) / AT_ONCE  # type: ignore[misc]
        yield f"{f'torch on {device}, {dtype}':<28} {1e3 * alone:9.2f} {1e3 * block:12.2f} {others:15,}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--texts", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="batch sizes of the sweep")
    parser.add_argument("--only", default="", help="a regular expression: embedding, stage 1")
    parser.add_argument("--minutes", type=float, default=12, help="after these, no further line is begun")
    chosen = parser.parse_args(arguments)
    import torch

    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here, so that nothing was measured; --device cpu measures the processor")
    where = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "the processor"
    print(f"torch {torch.__version__} on {where}, {torch.get_num_threads()} threads beside it", flush=True)
    ends = time.monotonic() + 60 * chosen.minutes
    parts = {
        "stage 1": lambda: stage_one(chosen.device, chosen.rows),
        "embedding": lambda: embedding(chosen.device, chosen.texts, chosen.sizes),
    }
    for name, part in parts.items():
        if re.search(chosen.only, name):
            print(f"\n{name}:", end=" ")
            for line in part():
                print(line, flush=True)
                if time.monotonic() > ends:
                    print(f"ended: {chosen.minutes:g} minutes are over")
                    return


if __name__ == "__main__":
    main()
