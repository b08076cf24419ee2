"""Files that never end, unfold without end, or hold numbers that no sum survives: refused where they enter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.bank.tables import file_sha256
from jisi_cli.errors import InputError
from jisi_cli.formats.parquet import parquet_blocks
from jisi_cli.models.ledger import Ledger, ledger_path
from tests.cli.commands import build_small_bank, jisi, recorded_answers, says_one_error, write_lines
from tests.cli.test_cost import ASK


@pytest.fixture(autouse=True)
def no_test_may_hang() -> Iterator[None]:
    """End a command that waits for ever, so that it fails instead of the whole run."""

    def stop(*_: object) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_bank(tmp_path_factory.mktemp("made"))


@pytest.fixture
def bank(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bank"))


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


ODD = pytest.mark.parametrize("odd", [fifo, endless, loop, folder], ids=lambda make: make.__name__)


@ODD
def test_a_source_that_is_no_plain_file_is_refused(odd: Callable[[Path], None], bank: Path, tmp_path: Path) -> None:
    build = ("bank", "build", "-o", tmp_path / "new", "--embedder", "hashing:64")
    for name in ("a.jsonl", "a.json", "a.csv", "a.parquet", "a.eval"):
        odd(tmp_path / name)
        for words in ((), ("--format", "long"), ("--format", "jisi")):
            if not (odd is folder and not words):
                says_one_error(jisi(*build, tmp_path / name, *words), 2, str(tmp_path / name))
    odd(tmp_path / "v.npz")
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    says_one_error(jisi(*build, source, "--vectors", tmp_path / "v.npz"), 2, "v.npz")
    assert not (tmp_path / "new").exists()


@ODD
def test_other_files_that_are_no_plain_files_are_refused(
    odd: Callable[[Path], None], bank: Path, tmp_path: Path
) -> None:
    odd(tmp_path / "x")
    for words in (
        ("report", tmp_path / "x", "-o", tmp_path / "page.html"),
        ("cost", tmp_path / "x"),
        ("eval", bank, "--prices", tmp_path / "x"),
        ("eval", bank, "--grow", tmp_path / "x"),
        ("eval", bank, "--config", tmp_path / "x"),
        ("route", "--input", tmp_path / "x", "--jsonl", "--bank", bank),
        ("eval", tmp_path / "x", "--bank", bank),
    ):
        run = jisi(*words)
        assert run.exit_code == 2, (words, run)
        assert len(run.errors) == 1, run


@ODD
@pytest.mark.parametrize("victim", ["bank.json", "queries.parquet", "responses/model=ada/*.parquet"])
def test_a_bank_with_a_part_that_is_no_plain_file_is_refused(
    odd: Callable[[Path], None], victim: str, bank: Path
) -> None:
    (path,) = bank.glob(victim)
    path.unlink()
    odd(path)
    for words in (("route", "What is 3 plus 6?", "--bank", bank), ("bank", "inspect", bank)):
        says_one_error(jisi(*words), 3, str(bank))


@pytest.mark.parametrize("odd", [fifo, folder])
def test_a_lock_that_is_no_plain_file_holds_nobody_up(odd: Callable[[Path], None], bank: Path, tmp_path: Path) -> None:
    (bank / ".lock").unlink(missing_ok=True)
    odd(bank / ".lock")
    source = write_lines(tmp_path / "more.jsonl", recorded_answers(questions=14))
    says_one_error(jisi("bank", "build", source, "-o", bank, "--append", "--embedder", "hashing:64"), 2, str(bank))


def test_odd_files_below_a_folder_are_passed_over(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for number, odd in enumerate((fifo, endless, loop)):
        odd(sources / f"{number}.jsonl")
    (sources / "kernel.jsonl").symlink_to("/proc/kmsg")
    write_lines(sources / "answers.jsonl", recorded_answers())
    words = ("bank", "build", sources, "-o", tmp_path / "new", "--embedder", "hashing:64", "--format", "jisi")
    run = jisi(*words)
    assert run.exit_code in (0, 2), run  # whether the format reads folders is not what is asked here
    assert "Traceback" not in run.stderr


def test_questions_may_come_from_a_pipe_of_the_shell(bank: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"query": "What is 3 plus 6?"}\n')
    os.close(writing)
    run = jisi("route", "--input", f"/dev/fd/{reading}", "--jsonl", "--bank", bank)
    os.close(reading)
    assert run.exit_code == 0, run
    assert len(run.stdout.splitlines()) == 1


@pytest.mark.parametrize("words", [("bank", "build"), ("eval",)])
def test_what_must_be_read_twice_may_not_come_from_one(bank: Path, words: tuple[str, ...], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"query": "What is 3 plus 6?"}\n')
    os.close(writing)
    more = ("-o", tmp_path / "new") if words[0] == "bank" else ("--bank", bank)
    says_one_error(jisi(*words, f"/dev/fd/{reading}", *more), 2, "is a pipe", "write it into a file first")
    os.close(reading)


# What unfolds.


def dictionary(path: Path) -> None:
    """Write 40 GB of text, a megabyte of which is there."""
    rows = 40_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 2**20]))
    columns = {"query": text, "model": pa.array(["m"] * rows), "score": pa.array([1.0] * rows)}
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=rows)


def claims(path: Path) -> None:
    """Write 20 million rows of nothing."""
    rows = 20_000_000
    pq.write_table(pa.table({"query": pa.nulls(rows, pa.string()), "model": pa.nulls(rows, pa.string())}), path)


def large_dictionary(path: Path) -> None:
    """Write rows of which a few hundred, the least that is read at once, take 30 GB."""
    rows = 1000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 60 * 2**20]))
    columns = {"query": text, "model": pa.array(["m"] * rows), "score": pa.array([1.0] * rows)}
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=rows)


@pytest.mark.parametrize("bomb", [dictionary, claims, large_dictionary], ids=lambda make: make.__name__)
def test_a_table_that_unfolds_without_end_is_refused(bomb: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    bomb(path)
    assert path.stat().st_size < 2**20
    with pytest.raises(InputError, match=r"bomb\.parquet: cannot be read as Parquet: [\d,]+ bytes (unfold|claim|take)"):
        for _ in parquet_blocks(path, lambda problem: None):
            pass


def test_a_value_that_is_longer_than_any_answer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({"query": ["q", "x" * 65 * 2**20], "model": ["m", "n"]}), path, compression="zstd")
    problems: list[str] = []
    blocks = parquet_blocks(path, lambda problem: problems.append(str(problem)))
    rows = [row for block in blocks for _, row in block]
    assert [row["query"] for row in rows] == ["q"]
    assert len(problems) == 1 and "longer than" in problems[0]


def edit(bank: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((bank / "bank.json").read_text())
    change(data)
    (bank / "bank.json").write_text(json.dumps(data))


def many_parts(data: dict[str, Any]) -> None:
    data["responses"] = {f"m{number}": data["responses"]["ada"] for number in range(5000)}


def many_times(data: dict[str, Any]) -> None:
    data["responses"]["ada"] *= 5000


def twice(data: dict[str, Any]) -> None:
    data["queries"] *= 2


def deep(data: dict[str, Any]) -> None:
    found: Any = 1
    for _ in range(900):
        found = [found]
    data["hyperparameters"]["k"] = found


@pytest.mark.parametrize("change", [many_parts, many_times, twice, deep], ids=lambda change: change.__name__)
def test_a_manifest_that_repeats_itself_is_refused(change: Callable[[dict[str, Any]], None], bank: Path) -> None:
    edit(bank, change)
    for words in (("route", "What is 3 plus 6?", "--bank", bank), ("bank", "inspect", bank)):
        says_one_error(jisi(*words), 3, "bank.json")


def test_a_manifest_larger_than_any_is_not_read(bank: Path) -> None:
    with (bank / "bank.json").open("r+b") as file:
        file.truncate(2**40)
    says_one_error(jisi("bank", "inspect", bank), 3, "larger than any manifest")


def test_a_part_with_more_rows_than_its_bytes_can_hold_is_refused(bank: Path) -> None:
    (part,) = bank.glob("queries*.parquet")
    schema, rows = pq.read_schema(part), 30_000_000
    kept = [field for field in schema if field.name != "vector"]
    table = pa.Table.from_arrays([pa.nulls(rows, field.type) for field in kept], schema=pa.schema(kept))
    pq.write_table(table, part, row_group_size=rows)
    edit(bank, lambda data: data["queries"][0].update(rows=rows, sha256=file_sha256(part)))
    for words in (("route", "What is 3 plus 6?", "--bank", bank), ("bank", "inspect", bank)):
        says_one_error(jisi(*words), 3, part.name)


# Numbers that no sum survives.

COSTS = [1e308, 1.7976931348623157e308, float("inf"), float("-inf"), -1.0, 10**400, 1e7]
TOKENS = [-1, 2**63, 10**400, 1e308, float("inf"), 2**40]


def spelled(value: float) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    ("field", "value"), [*(("cost", v) for v in COSTS), *(("completion_tokens", v) for v in TOKENS)]
)
def test_recorded_answers_with_impossible_numbers_end_in_no_traceback(field: str, value: float, tmp_path: Path) -> None:
    lines = recorded_answers()
    for line in lines:
        line["usages"]["ada"][field] = "VALUE"
    source = tmp_path / "answers.jsonl"
    text = "".join(json.dumps(line) + "\n" for line in lines).replace('"VALUE"', spelled(value))
    source.write_text(text)
    bank = tmp_path / "bank"
    run = jisi("bank", "build", source, "-o", bank, "--embedder", "hashing:64", "--split", "0.7")
    assert run.exit_code in (0, 2), run
    if run.exit_code == 0:
        for words in (
            ("bank", "inspect", bank),
            ("route", "What is 3 plus 6?", "--bank", bank),
            ("eval", bank, "--method", "best-single"),
        ):
            assert jisi(*words).exit_code == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("cost_usd", value) for value in (1e308, float("inf"), -1.0, 1e7)),
        *(("completion_tokens", value) for value in (-1, 2**62, 2**31)),
        *(("prompt_tokens", value) for value in (-(2**62), 2**62)),
        *(("score", value) for value in (1e308, float("inf"), -0.5)),
    ],
)
def test_a_bank_with_impossible_numbers_is_refused(column: str, value: float, bank: Path) -> None:
    (part,) = bank.glob("responses/model=ada/*.parquet")
    table = pq.read_table(part)
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    odd = pa.array([value] * table.num_rows, field.type)
    pq.write_table(table.set_column(place, field, odd), part)
    edit(bank, lambda data: data["responses"]["ada"][0].update(sha256=file_sha256(part)))
    for words in (
        ("bank", "inspect", bank),
        ("bank", "calibrate", bank, "--dry-run"),
        ("route", "What is 3 plus 6?", "--bank", bank),
        ("eval", bank, "--method", "best-single"),
    ):
        says_one_error(jisi(*words), 3, column)


@pytest.mark.parametrize("value", ["1e308", "inf", "nan", "-1", "1" + "0" * 400, "1e13"])
def test_a_price_beyond_all_prices_is_refused(value: str, bank: Path, tmp_path: Path) -> None:
    pool = tmp_path / "jisi.toml"
    pool.write_text(f'[[models]]\nname = "ada"\nlitellm = "openai/a"\nprice = {{ input = {value}, output = 1 }}\n')
    says_one_error(jisi("route", "What is 3 plus 6?", "--bank", bank, "--config", pool), 2, "prices must be numbers")
    prices = tmp_path / "prices.json"
    number = value.replace("inf", "Infinity").replace("nan", "NaN")
    prices.write_text(f'{{"ada": {{"input": {number}, "output": 1}}}}')
    says_one_error(jisi("eval", bank, "--method", "best-single", "--prices", prices), 2, "prices.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("cost_usd", value) for value in ("1e308", "Infinity", "NaN", "-1", "1e7")),
        *(("tokens", value) for value in ("-1", "9007199254740993", "1" + "0" * 400)),
        *(("calls", value) for value in ("-1", "4294967296")),
        ("score", "2"),
        ("score", "-1"),
    ],
)
def test_results_with_impossible_numbers_are_refused(field: str, value: str, made: Path, tmp_path: Path) -> None:
    line = {"key": "k", "dataset": "d", "index": "1", "method": "m", "status": "scored", "score": 1.0}
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({**line, field: "VALUE"}).replace('"VALUE"', value) + "\n")
    for words in (("report", results, "-o", tmp_path / "page.html"), ("cost", results)):
        says_one_error(jisi(*words), 2, "results.jsonl:1")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [("cost_usd", 1e308), ("list_cost_usd", float("inf")), ("cost_usd", -1.0), ("completion_tokens", 2**62)],
)
def test_a_ledger_with_impossible_numbers_is_refused(column: str, value: float) -> None:
    def warn(message: str) -> None:
        raise AssertionError(message)

    ledger = Ledger(ledger_path(), warn=warn)
    ledger.append(replace(ASK))
    ledger.close()
    with closing(sqlite3.connect(ledger_path())) as rows, rows:
        rows.execute(f"UPDATE calls SET {column} = ?", (value,))
    says_one_error(jisi("cost"), 2, column)
