"""Every place where bytes from elsewhere are read, and what must hold whatever the bytes are.

A surface takes an empty folder and some bytes, puts a file made of them where jisi would find it, and reads
it to the end. `withstand` runs one case: a result or a `JisiError` within seconds, in bounded memory, nothing
written outside the folder, nothing run.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.vector_journal import VectorJournal
from jisi_cli.bank.vectors import Wanted, read_given_vectors
from jisi_cli.config import load_config
from jisi_cli.conversation import as_conversation
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import JisiError
from jisi_cli.evaluation.results import ResultFile, read_results
from jisi_cli.formats.questions import read_questions
from jisi_cli.formats.registry import read_records
from jisi_cli.history.answers import Answers
from jisi_cli.history.conversations import Talk, kept_conversations, past_questions
from jisi_cli.history.feedback import Inbox
from jisi_cli.history.table import COLUMNS, Kind
from jisi_cli.history.to_bank import take
from jisi_cli.methods.protocol import Outcome
from jisi_cli.methods.training import read_state as read_trained_state
from jisi_cli.models.cache import AnswerCache
from jisi_cli.models.completion import Completion
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.ledger import Ledger, LedgerEntry
from jisi_cli.types import Answer
from tests.bank.making import MODELS, build, everything, records

Surface = Callable[[Path, bytes], None]

FIXTURES = Path(__file__).parent.parent / "fixtures"
MOST_SECONDS = 5.0
"""Of the processor; waiting is for a case of its own, as a busy machine makes everybody wait."""
MOST_WAITING = 60.0
MOST_MEMORY = 500 * 2**20
SPEC = EmbedderSpec("hashing:8", dimension=8)


class Broken(AssertionError):
    """A case that ended as none may."""


# --- what each surface does with a file ------------------------------------------------------------


def json_lines(folder: Path, data: bytes) -> None:
    """JSON lines in every format that is kept so; the first byte chooses."""
    formats = ("jisi", "long", "llmrouter", "routerbench", "embedllm", None)
    source = folder / "answers.jsonl"
    source.write_bytes(data[1:])
    _records(source, formats[(data[:1] or b"\0")[0] % len(formats)])


def questions(folder: Path, data: bytes) -> None:
    source = folder / ("questions.csv" if data[:1] == b"c" else "questions.jsonl")
    source.write_bytes(data[1:])
    list(read_questions(source, _ignore))


def csv_table(folder: Path, data: bytes) -> None:
    formats = ("long", "embedllm", "routerbench", None)
    source = folder / "answers.csv"
    source.write_bytes(data[1:])
    _records(source, formats[(data[:1] or b"\0")[0] % len(formats)])


def documents(folder: Path, data: bytes) -> None:
    """Formats of whole JSON documents, one of whose files is replaced."""
    samples = ("zeroeval", "llmrouterbench", "lm_eval", "jisi_release")
    name = samples[(data[:1] or b"\0")[0] % len(samples)]
    source = folder / name
    shutil.copytree(FIXTURES / name, source)
    victims = sorted(path for path in source.rglob("*") if path.is_file())
    victims[(data[1:2] or b"\0")[0] % len(victims)].write_bytes(data[2:])
    _records(source, name.replace("_", "-"))
    _records(source, None)


def parquet_table(folder: Path, data: bytes) -> None:
    source = folder / "answers.parquet"
    source.write_bytes(_patched(_whole("answers.parquet"), data) if data[:1] < b"\x80" else data[1:])
    _records(source, None)


def parquet_of_odd_types(folder: Path, data: bytes) -> None:
    """The columns that are looked for, of types that are not."""
    columns = ("dataset", "index", "query", "model", "score", "response", "prompt_tokens", "cost_usd", "records")
    chosen = {name: _odd_column(byte) for name, byte in zip(columns, data, strict=False)}
    if not chosen:
        return
    source = folder / "answers.parquet"
    with suppress(pa.ArrowException):
        pq.write_table(pa.table(chosen), source)
        for format in ("long", "jisi", "routerbench", None):
            with suppress(JisiError):
                _records(source, format)


def manifest(folder: Path, data: bytes) -> None:
    bank = _copied("bank", folder)
    (bank / "bank.json").write_bytes(data)
    _read_everything(bank)


def bank_parts(folder: Path, data: bytes) -> None:
    """Flipped bits in one of the bank's tables."""
    bank = _copied("bank", folder)
    parts = sorted(bank.rglob("*.parquet"))
    part = parts[(data[:1] or b"\0")[0] % len(parts)]
    part.write_bytes(_patched(part.read_bytes(), data[1:]))
    _read_everything(bank)


def bank_of_odd_types(folder: Path, data: bytes) -> None:
    """A bank's tables with the columns of the schema and values or types of another."""
    bank = _copied("bank", folder)
    parts = sorted(bank.rglob("*.parquet"))
    part = parts[(data[:1] or b"\0")[0] % len(parts)]
    table = pq.read_table(part, partitioning=None)
    for place, byte in zip(data[1::2], data[2::2], strict=False):
        at = place % table.num_columns
        column = _same_type(table.column(at).type, byte, table.num_rows) if byte % 2 else _odd_column(byte)
        if len(column) != table.num_rows:
            column = column.take(pa.array([row % len(column) for row in range(table.num_rows)]))
        table = table.set_column(at, table.column_names[at], column)
    with suppress(pa.ArrowException):
        pq.write_table(table, part)
    _read_everything(bank)


def config(folder: Path, data: bytes) -> None:
    path = folder / "jisi.toml"
    path.write_bytes(data)
    load_config(path)


def cache_row(folder: Path, data: bytes) -> None:
    """A row of the answer cache: its mode, and its value as it lies or compressed."""
    path = _copied("cache", folder)
    mode, kind, value = (data[:1] or b"\4")[0] % 6, (data[1:2] or b"\0")[0] % 4, data[2:]
    stored = (value, zlib.compress(value), value.decode("latin-1"), len(value))[kind]
    filename = value[:20].decode("latin-1") if data[:1] > b"\xe0" else None
    with closing(sqlite3.connect(path / "cache.db")) as rows, rows:
        rows.execute("UPDATE Cache SET mode = ?, value = ?, filename = ?", (mode, stored, filename))
    _read_cache(path)


def cache_file(folder: Path, data: bytes) -> None:
    path = _copied("cache", folder)
    (path / "cache.db").write_bytes(_patched((path / "cache.db").read_bytes(), data))
    _read_cache(path)


def ledger(folder: Path, data: bytes) -> None:
    path = folder / "calls.sqlite"
    path.write_bytes(_patched(_whole("calls.sqlite"), data) if data[:1] < b"\xf0" else data[1:])
    _read_ledger(path)


def ledger_row(folder: Path, data: bytes) -> None:
    """A ledger whose columns hold values of any kind."""
    path = folder / "calls.sqlite"
    path.write_bytes(_whole("calls.sqlite"))
    names = list(LedgerEntry.__dataclass_fields__)
    values = (None, -1, 2**62, float("inf"), "text", b"\xff\x00", "", 1e308, "\ud83d\ude00")
    with closing(sqlite3.connect(path)) as rows, rows:
        for place, byte in zip(data[::2], data[1::2], strict=False):
            value = values[byte % len(values)] if not isinstance(values[byte % len(values)], str) else "text"
            rows.execute(f"UPDATE calls SET {names[place % len(names)]} = ?", (value,))
    _read_ledger(path)


def history(folder: Path, data: bytes) -> None:
    """Conversations, answers and feedback; the first byte says which of their files is damaged."""
    kinds: tuple[Kind, ...] = ("conversations", "answers", "feedback")
    damaged = kinds[(data[:1] or b"\0")[0] % 3]
    for kind in kinds:
        whole = _whole(f"data/history/{kind}.sqlite")
        _put(folder, kind, _patched(whole, data[1:]) if kind == damaged else whole)
    _read_history(folder)


def history_row(folder: Path, data: bytes) -> None:
    """The same, whose columns hold values of any kind."""
    kinds: tuple[Kind, ...] = ("conversations", "answers", "feedback")
    odd = (None, -1, 2**62, float("inf"), "text", b"\xff\x00", "", '{"query": "q"}', '[{"role": "user"}]', "[" * 2000)
    for kind in kinds:
        _put(folder, kind, _whole(f"data/history/{kind}.sqlite"))
    for which, place, byte in zip(data[::3], data[1::3], data[2::3], strict=False):
        kind = kinds[which % 3]
        column = COLUMNS[kind][place % len(COLUMNS[kind])]
        with closing(sqlite3.connect(folder / "data" / "history" / f"{kind}.sqlite")) as rows, rows:
            rows.execute(f"UPDATE {kind} SET {column} = ?", (odd[byte % len(odd)],))
    _read_history(folder)


def results(folder: Path, data: bytes) -> None:
    path = folder / "results.jsonl"
    path.write_bytes(data)
    with suppress(JisiError):
        list(read_results(path))
    with ResultFile(path):
        pass


def given_vectors(folder: Path, data: bytes) -> None:
    path = folder / "vectors.npz"
    path.write_bytes(_patched(_whole("vectors.npz"), data) if data[:1] < b"\x80" else data[1:])
    _read_vectors(path)


def given_arrays(folder: Path, data: bytes) -> None:
    """Arrays of any type and shape under the names that are looked for."""
    shapes = ((), (0,), (2,), (2, 8), (2, 1, 8), (1,), (2, 2), (0, 8))
    types = ("f4", "f2", "i8", "U3", "c8", "?", "S2", "M8[s]")
    arrays = {}
    for name, shape, kind in zip(
        ("query", "response", "dataset", "models", "rank"), data[::2], data[1::2], strict=False
    ):
        arrays[name] = np.ones(shapes[shape % len(shapes)]).astype("i8").astype(types[kind % len(types)])
    path = folder / "vectors.npz"
    np.savez(path, **{"query": np.eye(2, 8), "response": np.eye(2, 8)[:, None], "dataset": np.array(["d", "d"]),
                      "models": np.array(["ada"]), "rank": np.arange(2)} | arrays)  # fmt: skip
    _read_vectors(path)


def journal(folder: Path, data: bytes) -> None:
    path = folder / "a.vectors"
    path.write_bytes(data)
    with VectorJournal(path, 8) as entries:
        missing = [("a", "b")[place] for place in entries.missing(["a", "b"]).tolist()]
        entries.append(missing, np.ones((len(missing), 8), np.float32))
        entries.vectors(["a", "b"])


def trained_state(folder: Path, data: bytes) -> None:
    path = folder / "state.npz"
    path.write_bytes(_patched(_whole("vectors.npz"), data) if data[:1] < b"\x80" else data[1:])
    read_trained_state(path)


SURFACES: dict[str, Surface] = {
    surface.__name__: surface
    for surface in (
        *(json_lines, questions, csv_table, documents, parquet_table, parquet_of_odd_types),
        *(manifest, bank_parts, bank_of_odd_types, config, cache_row, cache_file, ledger, ledger_row),
        *(history, history_row),
        *(results, given_vectors, given_arrays, journal, trained_state),
    )
}


def seeds(name: str) -> list[bytes]:
    """Return inputs of a surface that are whole, for a fuzzer to begin with."""
    match name:
        case "json_lines":
            files = [path for path in FIXTURES.glob("*.jsonl")]
            return [bytes([number]) + path.read_bytes()[:1500] for path in files for number in range(6)]
        case "questions":
            return [b"j" + (FIXTURES / "questions.jsonl").read_bytes()]
        case "csv_table":
            return [bytes([n]) + path.read_bytes()[:1500] for path in FIXTURES.glob("*.csv") for n in range(4)]
        case "documents":
            found = []
            for number, sample in enumerate(("zeroeval", "llmrouterbench", "lm_eval", "jisi_release")):
                files = sorted(path for path in (FIXTURES / sample).rglob("*") if path.is_file())
                found += [bytes([number, place]) + path.read_bytes() for place, path in enumerate(files)]
            return [seed for seed in found if len(seed) < 8000]
        case "manifest":
            return [_whole("bank/bank.json")]
        case "config":
            return [_CONFIG]
        case "cache_row":
            return [b"\2\1" + json.dumps(_ANSWER).encode(), b"\2\1" + b"[" * 2000]
        case "results":
            return [(json.dumps(_RESULT) + "\n").encode()]
        case _:
            return [b"", bytes(range(0, 120, 7)), b"\x10\x20\x30\x40\x50\x60" * 3]


# --- one case --------------------------------------------------------------------------------------

_inside: Path | None = None
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_RUNS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"})


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse what no reading needs: writing elsewhere, and running anything."""
    if _inside is None:
        return
    if event in _RUNS:
        raise Broken(f"{event}{arguments[:2]} while reading")
    if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
        path = Path(arguments[0]).resolve()
        if arguments[2] & _WRITES and not path.is_relative_to(_inside) and path != Path(os.devnull):
            raise Broken(f"{path} is opened for writing")
    for path in _changed(event, arguments):
        if not path.is_relative_to(_inside):
            raise Broken(f"{event} of {path}")


def _changed(event: str, arguments: tuple[Any, ...]) -> list[Path]:
    """Return the paths that an event takes away or makes."""
    if event in ("os.remove", "os.rmdir"):
        return [_located(arguments[0], arguments[1])]
    if event == "os.mkdir":
        return [_located(arguments[0], arguments[2])]
    if event == "os.rename":
        return [_located(arguments[0], arguments[2]), _located(arguments[1], arguments[3])]
    return []


def _located(name: Any, folder: int) -> Path:
    """Return a whole path; a name may be given relative to an open folder."""
    base = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
    return (base / os.fsdecode(name)).resolve()


sys.addaudithook(_watch)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Let nothing be written but in a folder, and nothing be run."""
    global _inside
    _inside = folder.resolve()
    try:
        yield
    finally:
        _inside = None


def withstand(surface: Surface, data: bytes) -> bool:
    """Run one case; return whether it was read, False where it was refused.

    Raises:
        Broken: It took too long or too much memory, or wrote or ran what it may not.
        Exception: Whatever else than a `JisiError` the reading raised.
    """
    _whole_files()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, began = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as name, watched(Path(name)):
        try:
            surface(Path(name), data)
            read = True
        except JisiError as error:
            if not str(error).strip():
                raise Broken("an error without words") from error
            read = False
    worked, passed = time.process_time() - started, time.monotonic() - began
    if worked > MOST_SECONDS or passed > MOST_WAITING:
        raise Broken(f"it took {worked:.0f} s of the processor, {passed:.0f} s in all")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MOST_MEMORY:
        raise Broken(f"memory grew by {grown >> 20} MiB")
    return read


# --- whole files to damage -------------------------------------------------------------------------

_ANSWER = {"text": "four", "prompt_tokens": 3, "completion_tokens": 1, "tokens_source": "provider",
           "provider_cost": None, "finish_reason": "stop"}  # fmt: skip

_RESULT = {"key": "k", "dataset": "d", "index": "1", "method": "jisi", "status": "scored", "score": 1.0,
           "model": "ada", "mode": "route", "calls": 1, "cost_usd": 0.1, "winner_cost_usd": 0.1, "tokens": 3,
           "bill": [{"role": "candidate", "model": "ada", "cost_usd": 0.1}]}  # fmt: skip

_CONFIG = b"""\
bank = "bank"
[[models]]
name = "ada"
litellm = "openai/ada"
price = { input = 1, output = 2.5 }
params = { temperature = 0.2 }
concurrency = 3
[embedder]
name = "hashing:64"
max_tokens = 9
[routing]
top_k = 3
[budget]
max_cost = 1.5
timeout = 30
"""


def _records(source: Path, format: str | None) -> None:
    for record in read_records(source, format, on_issue=_ignore):
        if record.score is not None and not 0 <= record.score <= 1:
            raise Broken(f"score {record.score}")
        for text in (record.query, record.model, record.dataset, record.index, record.response or ""):
            text.encode()


def _patched(whole: bytes, data: bytes) -> bytes:
    """Return bytes with three-byte patches: two say where, in 65536ths, the third what stands there."""
    changed = bytearray(whole)
    for start in range(1, len(data) - 2, 3):
        at = (data[start] << 8 | data[start + 1]) * len(changed) >> 16
        # The last eighth of patches cut or double a piece instead.
        if data[start + 2] == 255:
            del changed[at : at + 7]
        else:
            changed[at] ^= data[start + 2] or 128
        if not changed:
            break
    return bytes(changed)


@cache
def _whole_files() -> Path:
    """Make what is damaged later, once a process and outside the watched folders; gone with the process."""
    home = Path(tempfile.mkdtemp(prefix="hostile-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    build(home / "bank", records(6, MODELS[:2]), "hashing:8")
    with closing(open_cache(home / "cache", warn=_ignore)) as rows:
        rows.set("key", _ANSWER)
    with closing(Ledger(home / "calls.sqlite", warn=_ignore)) as book:
        for cost in (0.5, None):
            book.append(_entry(cost))
    with _data_home(home / "data"):
        _remember()
    columns = ("dataset", "index", "query", "model", "response", "score", "prompt_tokens")
    rows_of_it = [{name: getattr(answer, name) for name in columns} for answer in records(6)]
    pq.write_table(pa.Table.from_pylist(rows_of_it), home / "answers.parquet")
    np.savez(home / "vectors.npz", **_ARRAYS)
    return home


_ARRAYS: dict[str, Any] = {
    "query": np.eye(2, 8, dtype="f4"),
    "response": np.eye(2, 8, dtype="f4")[:, np.newaxis],
    "dataset": np.array(["d", "d"]),
    "models": np.array(["ada"]),
    "rank": np.arange(2),
}


def _whole(name: str) -> bytes:
    return (_whole_files() / name).read_bytes()


def _copied(name: str, folder: Path) -> Path:
    return Path(shutil.copytree(_whole_files() / name, folder / name))


def _entry(cost: float | None) -> LedgerEntry:
    return LedgerEntry(
        run="r",
        time="2026-01-01T00:00:00.000+00:00",
        command="ask",
        role="candidate",
        model="ada",
        litellm="openai/ada",
        prompt_tokens=3,
        completion_tokens=4,
        tokens_source="provider",
        cost_usd=cost,
        list_cost_usd=cost,
        price_source="provider",
        seconds=0.5,
        cached=False,
        attempts=1,
        error=None,
        dataset=None,
        query_hash="0" * 64,
    )


def _read_everything(path: Path) -> None:
    bank = Bank(path)
    everything(bank)
    for question in bank.questions:
        question.query.encode()
    bank.hyperparameters()
    bank.arrays()


def _read_cache(folder: Path) -> None:
    said: list[str] = []
    with closing(open_cache(folder, warn=said.append)) as rows:
        answers = AnswerCache(rows, read=True, write=True)
        found = answers.get("key")
        answers.put("other", Completion("five", 1, 1, "provider"))
        if len(said) > 1:
            raise Broken("more than one note about one cache")
    if found is not None and not isinstance(found.text, str):
        raise Broken("an answer that is no text")


def _read_ledger(path: Path) -> None:
    with closing(Ledger(path, warn=_ignore)) as book:
        for entry in book.rows():
            sum((entry.cost_usd or 0.0, entry.list_cost_usd or 0.0, entry.seconds))
            sum((entry.prompt_tokens or 0, entry.completion_tokens or 0, entry.attempts))
            "".join((entry.model, entry.command, entry.time))
        book.append(_entry(None))


@contextmanager
def _data_home(folder: Path) -> Iterator[None]:
    """Let jisi's data lie in a folder."""
    before = os.environ.get("JISI_DATA_HOME")
    os.environ["JISI_DATA_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("JISI_DATA_HOME")
        os.environ |= {} if before is None else {"JISI_DATA_HOME": before}


def _remember() -> None:
    """Keep a conversation, an answer and what is said of it."""
    answer = Answer("ada", text="five", role="probe", prompt_tokens=3)
    with closing(Talk()) as talk, closing(Answers()) as answers, closing(Inbox()) as inbox:
        talk.add("two and three?", "five", "Be brief.")
        answers.add("one", "two and three?", Outcome(answer, "route", "best", (answer,)), "run")
        inbox.add(answers, "last", 1.0, note="just so")


def _put(folder: Path, kind: Kind, content: bytes) -> None:
    (folder / "data" / "history").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "history" / f"{kind}.sqlite").write_bytes(content)


def _read_history(folder: Path) -> None:
    """Go on with what was said, list it, say something of the last answer, and make rows of a bank of it."""
    with _data_home(folder / "data"):
        tries = (_talk_on, lambda: past_questions(10), lambda: kept_conversations(10), _say, _take)
        refused = [_refusal(attempt) for attempt in tries]
        refusal = next((error for error in refused if error is not None), None)
        if refusal is not None:
            raise refusal


def _refusal(attempt: Callable[[], object]) -> JisiError | None:
    try:
        attempt()
    except JisiError as error:
        return error
    return None


def _talk_on() -> None:
    with closing(Talk(goes_on=True)) as talk:
        as_conversation(talk.messages("and now?"))
        talk.add("and now?", "six")


def _say() -> None:
    with closing(Answers()) as answers, closing(Inbox()) as inbox:
        inbox.add(answers, "last", 0.5)


def _take() -> None:
    with closing(Inbox()) as inbox:
        waiting = inbox.waiting()
        for record in asyncio.run(take(waiting, ["ada"])).records:
            f"{record.query}{record.response}".encode()
        inbox.remove(waiting)


def _read_vectors(path: Path) -> None:
    vectors = read_given_vectors(path, SPEC)
    vectors.queries(Wanted([("d", "0"), ("d", "1")], [0, 1], np.ones(2, dtype=bool), lambda: ["q", "q"]))
    vectors.responses("ada", Wanted([("d", "0")], [0], np.ones(1, dtype=bool), lambda: ["r"]))


def _odd_column(byte: int, rows: int = 3) -> pa.Array:
    """Return a column of a type that a byte chooses."""
    kinds: list[tuple[list[Any], pa.DataType | None]] = [
        ([b"\xff\xfe"], pa.binary()),
        ([2**62 + 1], pa.int64()),
        ([2**64 - 1], pa.uint64()),
        ([float("nan")], pa.float64()),
        ([np.float16("-inf")], pa.float16()),
        ([None], pa.null()),
        ([["a"]], pa.list_(pa.string())),
        ([{"a": {"b": [1]}}], None),
        ([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        ([10**14], pa.timestamp("ns")),
        ([2**62], pa.timestamp("s")),
        ([2**40], pa.duration("s")),
        ([2**31 - 1], pa.date32()),
        ([Decimal("1e30")], pa.decimal128(38, 2)),
        ([True], pa.bool_()),
        (["text"], pa.large_string()),
        ([[1.0] * 8], pa.list_(pa.float32(), 8)),
        ([[None] * 8], pa.list_(pa.float32(), 8)),
        ([1], pa.int8()),
        (["\u202e\x00"], pa.string()),
        ([0.5], pa.float64()),
    ]
    values, kind = kinds[byte % len(kinds)]
    return pa.array(values * rows, kind)


def _same_type(kind: pa.DataType, byte: int, rows: int) -> pa.Array:
    """Return a column of the schema's own type whose values make no sense."""
    if pa.types.is_string(kind):
        if byte % 3:
            return pa.array(["\x00", "x" * 70, "ok", "\u202e"][byte % 4 : byte % 4 + 1] * rows, kind)
        bad = pa.array([b"\xff\xfe"] * rows, pa.binary())
        return pa.Array.from_buffers(kind, rows, bad.buffers())
    if pa.types.is_fixed_size_list(kind):
        return pa.array([[(float("nan"), float("inf"), 0, None)[byte % 4]] * kind.list_size] * rows, kind)
    if pa.types.is_floating(kind):
        return pa.array([(float("nan"), float("inf"), -1.0, 1e300)[byte % 4]] * rows, kind)
    if kind == pa.int64():
        return pa.array([(2**63 - 1, -1, 0, None)[byte % 4]] * rows, kind)
    return pa.nulls(rows, kind)


def _ignore(_: object) -> None:
    """Take no notice."""
