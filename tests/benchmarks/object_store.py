"""Committing a bank to an S3 server on loopback, reading it there, and what each of that moves.

    python -m tests.benchmarks.object_store [--questions 100000] [--folder DIR]

Ten models, so a million answers for 100,000 questions, d = 384, float16; nothing is embedded. The server is moto's, a
Flask application in a process of its own, whose speed is part of all seconds. So the same files are written beside it
by obstore alone, which is what the client underneath would take by itself. Printed are seconds by the wall clock and of
this process's processor time, and the requests and bytes that the server has counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jisi_cli.bank.bank import Bank, local_folder
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import Label, read_manifest, write_manifest
from tests.benchmarks import scale
from tests.object_store import BUCKET, KEYS, in_a_process

BANK = f"s3://{BUCKET}/bank"


def commit(local: Path) -> None:
    """Commit a bank that lies on the disk: what a build does when all its parts are written."""
    folder = local_folder(BANK)
    with exclusive(folder):
        for part in local.rglob("*.parquet"):
            target = folder / part.relative_to(local)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(part, target)
        write_manifest(folder, read_manifest(local))


def upload_alone(local: Path, url: str) -> None:
    """Write the same files by obstore alone."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(BUCKET, endpoint=url, client_options={"allow_http": True})
    for part in local.rglob("*.parquet"):
        obstore.put(store, f"alone/{part.relative_to(local).as_posix()}", part, chunk_size=8 << 20, max_concurrency=4)


def label(index: str) -> None:
    """Keep one label, which changes nothing but the manifest."""
    named = Label("planted", index, "x")
    change_labels(local_folder(BANK), {named.key: named})


def measure(work: Callable[[], object], moved: Callable[[], dict[str, int]]) -> str:
    """Do something once; return what it took."""
    before, started, used = moved(), time.perf_counter(), time.process_time()
    work()
    wall, processor, after = time.perf_counter() - started, time.process_time() - used, moved()
    requests, received, sent = (after[name] - before[name] for name in ("requests", "received", "sent"))
    return f"{wall:8.2f} s  {processor:6.2f} s  {requests:4} requests  {received:13,} B up  {sent:13,} B down"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=asked.folder) as made, in_a_process() as (url, moved):
        folder = Path(made)
        changed = {**KEYS, "AWS_ENDPOINT_URL": url}
        before = {name: os.environ.get(name) for name in (*changed, "JISI_CACHE_HOME")}
        os.environ |= changed
        try:
            size = scale.build(folder / "bank", asked.questions)["gigabytes"]
            print(f"{asked.questions * len(scale.MODELS):,} answers, {size:.3f} GB")
            os.environ["JISI_CACHE_HOME"] = str(folder / "writer")
            print("commit               ", measure(lambda: commit(folder / "bank"), moved))
            print("obstore alone        ", measure(lambda: upload_alone(folder / "bank", url), moved))
            print("commit of a label    ", measure(lambda: label("0"), moved))
            shutil.rmtree(folder / "bank")
            os.environ["JISI_CACHE_HOME"] = str(folder / "reader")
            print("open, first          ", measure(lambda: Bank(BANK), moved))
            print("open, unchanged      ", measure(lambda: Bank(BANK), moved))
            label("1")
            print("open, one new label  ", measure(lambda: Bank(BANK), moved))
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


if __name__ == "__main__":
    main()
