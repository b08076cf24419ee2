"""What the tests of banks share: answers, a build with the hashing embedder, and the data of a bank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.build import BuildOptions, BuildReport, write_bank
from jisi_cli.bank.manifest import read_manifest
from jisi_cli.bank.sources import stage_records
from jisi_cli.bank.vectors import EmbeddedVectors
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.formats.record import Record

WIDTH = 64
MODELS = ("ada", "bob/7b", "cyd@home")


def record(index: int, model: str = "ada", **fields: Any) -> Record:
    """One answer to question `index`; models differ in what they say, in score and in tokens."""
    place = MODELS.index(model) if model in MODELS else len(model)
    known: dict[str, Any] = {
        "dataset": ("sums", "words")[index % 2],
        "index": str(index),
        "query": f"What is {index} plus {index * 7 % 11}?",
        "model": model,
        "reference": str(index + index * 7 % 11),
        "response": f"{model} thinks it is {index + place}",
        "prompt_tokens": 10 + index,
        "completion_tokens": 100 * place + index,
        "cost_usd": 1e-6 * (place + 1),
        "score": float((index + place) % 3 == 0),
        "order": index,
    }
    return Record(**(known | fields))


def records(questions: int = 12, models: Sequence[str] = MODELS) -> list[Record]:
    return [record(index, model) for index in range(questions) for model in models]


def failed(answer: Record, why: str = "HTTP 503: busy") -> Record:
    """The same call, gone wrong."""
    return replace(answer, response=None, score=None, status="failed", error=why, completion_tokens=None, cost_usd=None)


def build(path: Path, answers: Iterable[Record], embedder: str = f"hashing:{WIDTH}", **options: Any) -> BuildReport:
    vectors = EmbeddedVectors(load_embedder(EmbedderSpec(embedder)))
    return write_bank(path, stage_records(answers), vectors, BuildOptions(**options))


def data_of(path: Path) -> dict[str, pa.Table]:
    """Return everything a bank says, by table: the questions, and each model's answers; later parts win."""
    manifest = read_manifest(path)
    tables = {"queries": pa.concat_tables(pq.read_table(path / part.path) for part in manifest.queries)}
    for model, parts in manifest.responses.items():
        rows: dict[int, dict[str, Any]] = {}
        for part in parts:
            table = pq.ParquetFile(path / part.path).read()
            rows |= {row["row"]: row for row in table.to_pylist()}
        tables[model] = pa.Table.from_pylist([rows[row] for row in sorted(rows)], schema=table.schema)
    return tables


def files_of(path: Path) -> dict[str, bytes]:
    """Return the Parquet files of a bank, byte by byte."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*.parquet"))}


def everything(bank: Bank) -> tuple[Any, ...]:
    """Read all that a bank holds, as a user of it would."""
    answers = [bank.answers(model) for model in bank.models]
    return (
        bank.questions,
        bank.query_vectors.tobytes(),
        [(found.status.tolist(), found.scores.tobytes(), found.completion_tokens.tobytes()) for found in answers],
        [bank.responses(model) for model in bank.models],
        [bank.response_vectors(model).tobytes() for model in bank.models],
    )
