"""Bytes from anywhere, at every place that reads them: an answer or one clear refusal, and nothing else."""

from __future__ import annotations

import json
import sqlite3
import zipfile
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.vectors import read_given_vectors
from jisi_cli.config import load_config
from jisi_cli.errors import BankError, InputError
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger
from tests.bank.making import build, everything, records
from tests.formats.reading import read_all
from tests.hostile.surfaces import SPEC, SURFACES, _entry, _whole, seeds, withstand


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A whole input with bytes changed, taken out and put in; or any bytes at all."""
    data = bytearray(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.sampled_from([0, 1, 5]))] = draw(st.binary(max_size=6))
    return bytes(data)


@pytest.mark.parametrize("name", SURFACES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_is_read_there_is_a_result_or_a_refusal(name: str, data: st.DataObject) -> None:
    withstand(SURFACES[name], data.draw(damaged(name) | st.binary(max_size=60)))


# What the fuzzer and the tests above found, one by one.


def test_a_date_beyond_pythons_calendar_skips_its_row_alone(tmp_path: Path) -> None:
    source = tmp_path / "long.parquet"
    columns = {"dataset": "d", "index": ["1", "2"], "query": "q", "model": "ada", "score": 1.0}
    table = pa.table({name: value if isinstance(value, list) else [value] * 2 for name, value in columns.items()})
    pq.write_table(table.append_column("when", pa.array([0, 2**50], pa.duration("s"))), source)
    found, problems = read_all(source)
    assert [record.index for record in found] == ["1"]
    assert [problem.line for problem in problems if not problem.note] == [2]


def test_text_in_a_bank_that_is_not_utf_8_is_a_bank_error(tmp_path: Path) -> None:
    build(tmp_path / "bank", records(6))
    (part,) = (tmp_path / "bank").glob("queries*.parquet")
    table = pq.read_table(part)
    bad = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary())
    column = pa.Array.from_buffers(pa.string(), table.num_rows, bad.buffers())
    pq.write_table(table.set_column(table.column_names.index("query"), "query", column), part)
    with pytest.raises(BankError, match="is broken"):
        _ = Bank(tmp_path / "bank").questions


def test_a_count_of_tokens_beyond_any_call_is_a_bank_error(tmp_path: Path) -> None:
    build(tmp_path / "bank", records(6, ["ada"]))
    (part,) = (tmp_path / "bank").glob("responses/*/*.parquet")
    table = pq.ParquetFile(part).read()
    many = pa.array([2**53 + 1] * table.num_rows, pa.int64())
    pq.write_table(table.set_column(table.column_names.index("prompt_tokens"), "prompt_tokens", many), part)
    with pytest.raises(BankError, match=r"a prompt_tokens of ada is .*, not from 0 to"):
        Bank(tmp_path / "bank").answers("ada")


@pytest.mark.parametrize(
    "text",
    [
        'bank = "~nobody-of-that-name/bank"',
        f'[[models]]\nlitellm = "a/b"\nprice = {{ input = {"9" * 400}, output = 1 }}',
        '[[models]]\nlitellm = "a/b"\nprice = { input = inf, output = 1 }',
        f"[budget]\nmax_cost = {'9' * 5000}",
    ],
)
def test_settings_that_cannot_be_meant_are_input_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "jisi.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_config(path)


def cached(folder: Path) -> sqlite3.Connection:
    with closing(open_cache(folder, warn=print)) as cache:
        cache.set("key", {"text": "four"})
    return sqlite3.connect(folder / "cache.db")


def read_back(folder: Path) -> tuple[object, list[str]]:
    said: list[str] = []
    with closing(open_cache(folder, warn=said.append)) as cache:
        return cache.get("key"), said


# The bomb would be a value if it were unfolded.
BOMB = b" " * (129 * 2**20) + b'{"text": "four"}'


@pytest.mark.parametrize("value", [b"[" * 100_000, BOMB], ids=["nested", "bomb"])
def test_a_cached_row_that_unfolds_to_anything_but_a_value_is_refused(tmp_path: Path, value: bytes) -> None:
    with closing(cached(tmp_path)) as rows, rows:
        rows.execute("UPDATE Cache SET value = ?", (zlib.compress(value, 1),))
    found, said = read_back(tmp_path)
    assert found is None
    assert "damaged row" in said[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [("get", 1), ("disk_anything", 1), ("sqlite_writable_schema", 1), ("size_limit", "text"), ("count", b"\x80\x04.")],
)
def test_settings_of_the_cache_that_jisi_did_not_write_are_not_obeyed(tmp_path: Path, key: str, value: object) -> None:
    with closing(cached(tmp_path)) as rows, rows:
        rows.execute("INSERT OR REPLACE INTO Settings (key, value) VALUES (?, ?)", (key, value))
    said: list[str] = []
    with closing(open_cache(tmp_path, warn=said.append)) as cache:
        assert cache.get("key") == {"text": "four"} and not said  # reading looks at no setting
        cache.set("another", 1)
        assert cache.get("another") is None
    assert len(said) == 1
    assert key in said[0]


def test_a_cache_whose_database_is_a_link_elsewhere_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").symlink_to(target)
    found, said = read_back(tmp_path / "cache")
    assert found is None
    assert "link" in said[0]
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    ("column", "value"),
    [("cost_usd", "much"), ("cost_usd", float("inf")), ("model", None), ("prompt_tokens", b"\xff"), ("attempts", "x")],
)
def test_a_ledger_with_values_of_another_kind_is_an_input_error(tmp_path: Path, column: str, value: object) -> None:
    withstand(SURFACES["ledger_row"], b"")

    path = tmp_path / "calls.sqlite"
    path.write_bytes(_whole("calls.sqlite"))
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute(f"UPDATE calls SET {column} = ?", (value,))
    with closing(Ledger(path, warn=print)) as book, pytest.raises(InputError, match=column):
        list(book.rows())


def test_an_archive_of_vectors_that_is_cut_short_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    np.savez(path, query=np.eye(3))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be read as vectors"):
        read_given_vectors(path, SPEC)


def test_an_archive_of_vectors_that_claims_more_than_fits_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    header = json.dumps({"descr": "<f8", "fortran_order": False, "shape": [2**40, 8]})
    header = header.replace("false", "False").replace("[", "(").replace("]", ")")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("query.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
        for name in ("response", "dataset", "models", "rank"):
            archive.writestr(f"{name}.npy", b"")
    with pytest.raises(InputError, match="cannot be read as vectors"):
        read_given_vectors(path, SPEC)


def test_an_archive_of_vectors_that_is_a_bomb_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("query.npy", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(InputError, match="would unfold"):
        read_given_vectors(path, SPEC)


def test_arrays_without_any_axis_are_no_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    np.savez(path, **dict.fromkeys(("query", "response"), np.float32(1)), dataset=["d"], models=["ada"], rank=[0])
    with pytest.raises(InputError, match="do not fit"):
        read_given_vectors(path, SPEC)


def test_a_ledger_whose_tables_have_names_that_are_no_text_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    with closing(Ledger(path, warn=print)) as book:
        assert list(book.rows()) == []
        book.append(_entry(0.5))
    with closing(sqlite3.connect(path)) as rows:
        rows.execute("PRAGMA journal_mode = DELETE")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE calls (id", b"CREATE TABLE c\xecl\xff (id"))
    with closing(Ledger(path, warn=print)) as book, pytest.raises(InputError, match="ledger"):
        list(book.rows())


@pytest.mark.parametrize("column", ["status", "split"])
def test_a_bank_with_codes_of_bytes_that_are_no_text_is_a_bank_error(tmp_path: Path, column: str) -> None:
    build(tmp_path / "bank", records(4), "hashing:8")
    for part in sorted((tmp_path / "bank").rglob("*.parquet")):
        table = pq.read_table(part, partitioning=None)
        if column in table.column_names:
            length = np.arange(table.num_rows + 1, dtype=np.int32)
            buffers = [None, pa.py_buffer(length), pa.py_buffer(b"\xff" * table.num_rows)]
            odd = pa.Array.from_buffers(pa.string(), table.num_rows, buffers)
            pq.write_table(table.set_column(table.column_names.index(column), column, odd), part)
    with pytest.raises(BankError, match="build the bank again"):
        everything(Bank(tmp_path / "bank"))


def test_a_status_that_is_no_text_was_found_by_chance() -> None:
    assert not withstand(SURFACES["bank_of_odd_types"], b"\x01\x01\xed")
