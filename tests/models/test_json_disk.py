"""The disk cache: JSON in, JSON out, and nothing else believed."""

from __future__ import annotations

import math
import pickle
import sqlite3
import stat
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.models.cache import AnswerCache
from jisi_cli.models.completion import Completion
from jisi_cli.models.json_disk import open_cache
from tests.loopback import Loopback
from tests.models.asking import ask_once, cache_in, entry, pool
from tests.tiers import examples

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(30))
@given(value=json_values)
def test_json_comes_back_as_it_went_in(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    folder = tmp_path_factory.mktemp("disk")
    first = cache_in(folder)
    first.set("key", value)
    first.close()
    second = cache_in(folder)
    assert second.get("key") == value
    assert second.get("other key") is None
    second.close()


def test_a_large_value_is_a_row_like_any_other(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    text = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(200_000))
    cache.set("key", {"text": text})
    assert cache.get("key") == {"text": text}
    assert {path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()} == {"cache.db"}


def test_each_thread_keeps_a_megabyte_of_the_file_in_memory_also_of_one_that_kept_more(tmp_path: Path) -> None:
    first = cache_in(tmp_path)
    first._rows.reset("sqlite_cache_size", 2**13)
    first._rows.reset("sqlite_mmap_size", 2**26)
    first.close()
    cache = cache_in(tmp_path)
    kept: list[tuple[int, int]] = []

    def read() -> None:
        cache.get("key")
        ask = cache._rows._con.execute
        kept.append((ask("PRAGMA cache_size").fetchone()[0], ask("PRAGMA mmap_size").fetchone()[0]))
        cache.close()

    thread = Thread(target=read)
    thread.start()
    thread.join()
    read()
    assert kept == [(256, 0)] * 2


def test_what_is_there_is_read_without_writing_anything(tmp_path: Path) -> None:
    with closing(cache_in(tmp_path)) as cache:
        cache.set("key", [1])
    before = (tmp_path / "cache" / "cache.db").read_bytes()
    with closing(cache_in(tmp_path)) as cache:
        assert cache.get("key") == [1]
        assert cache.get("another") is None
    assert (tmp_path / "cache" / "cache.db").read_bytes() == before
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["cache.db"]


def test_what_another_has_kept_meanwhile_is_found_by_whoever_only_read_before(tmp_path: Path) -> None:
    cache_in(tmp_path).set("key", 1)
    with closing(cache_in(tmp_path)) as reader, closing(cache_in(tmp_path)) as writer:
        assert (reader.get("new"), writer.get("new")) == (None, None)
        writer.set("new", 2)
        assert (reader.get("new"), writer.get("new")) == (2, 2)
        reader.set("newer", 3)
        assert (reader.get("newer"), writer.get("newer")) == (3, 3)


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    cache_in(tmp_path).set("key", 1)
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_a_planted_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    cache_in(tmp_path).set("key", "fine")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        rows.execute("UPDATE Cache SET mode = 4, value = ?", (pickle.dumps(Bomb(target)),))
    said: list[str] = []
    cache = cache_in(tmp_path, said.append)
    assert cache.get("key") is None
    assert cache.get("key") is None
    assert not target.exists()
    assert len(said) == 1
    assert "row that jisi did not write" in said[0]


def test_a_planted_pickled_key_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    cache_in(tmp_path).set("key", "fine")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        rows.execute("UPDATE Cache SET raw = 0, key = ?", (pickle.dumps(Bomb(target)),))
    assert cache_in(tmp_path).get("key") is None
    assert not target.exists()


def test_a_row_that_names_a_file_reads_and_deletes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    cache_in(tmp_path).set("key", "fine")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        rows.execute("UPDATE Cache SET filename = ?", ("../precious",))
    said: list[str] = []
    cache = cache_in(tmp_path, said.append)
    assert cache.get("key") is None
    cache.set("key", "new")
    assert cache.get("key") == "new"
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize("value", [b"not zlib", b"", "text", 7])
def test_a_damaged_row_is_a_miss_that_the_next_answer_mends(tmp_path: Path, value: object) -> None:
    cache_in(tmp_path).set("key", "fine")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        rows.execute("UPDATE Cache SET value = ?", (value,))
    cache = cache_in(tmp_path, lambda _: None)
    assert cache.get("key") is None
    cache.set("key", "new")
    assert cache.get("key") == "new"


def test_a_folder_that_cannot_be_made_means_no_cache_and_one_note(loopback: Loopback, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    said: list[str] = []
    cache = open_cache(tmp_path / "taken" / "answers", warn=said.append)
    loopback.script("a")
    assert ask_once(pool(entry(loopback), cache=cache)).ok
    assert ask_once(pool(entry(loopback), cache=cache)).ok
    assert loopback.count() == 2
    assert len(said) == 1
    assert said[0].startswith(f"no cache at {tmp_path / 'taken' / 'answers'} (")


def test_a_file_that_is_no_database_means_no_cache_and_one_note(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").write_bytes(b"rubbish" * 1000)
    said: list[str] = []
    cache = cache_in(tmp_path, said.append)
    cache.set("key", 1)
    assert cache.get("key") is None
    assert len(said) == 1


@pytest.mark.parametrize(
    "stored",
    [
        "text",
        {"text": 7},
        {"text": "no tokens"},
        {
            "text": "x",
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "tokens_source": "provider",
            "from": "later",
        },
    ],
)
def test_a_stored_value_of_another_shape_is_a_miss(loopback: Loopback, tmp_path: Path, stored: object) -> None:
    loopback.script("a", text="answer {number}")
    cache = cache_in(tmp_path)
    ask_once(pool(entry(loopback), cache=cache))
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as rows:
        (key,) = rows.execute("SELECT key FROM Cache").fetchone()
    cache.set(key, stored)
    assert ask_once(pool(entry(loopback), cache=cache)).text == "answer 2"


WHOLE = asdict(Completion("four", 1, 1, "provider"))


@pytest.mark.parametrize(
    "change",
    [
        {"text": 7},
        {"text": "\ud800"},
        {"prompt_tokens": -7},
        {"completion_tokens": 10**30},
        {"completion_tokens": True},
        {"tokens_source": "nobody"},
        {"tokens_source": ["provider"]},
        {"provider_cost": "much"},
        {"provider_cost": -5.0},
        {"provider_cost": math.nan},
        {"finish_reason": 7},
        {"perplexity": 0.5},
        {"perplexity": math.inf},
    ],
    ids=str,
)
def test_a_stored_value_of_the_wrong_kind_is_a_miss(change: dict[str, object]) -> None:
    class Stored:
        def get(self, key: str) -> object:
            return WHOLE | change

    assert AnswerCache(Stored(), read=True, write=False).get("key") is None  # type: ignore[arg-type]


def test_an_answer_that_was_paid_for_stays_however_large_the_cache_gets(tmp_path: Path) -> None:
    with closing(cache_in(tmp_path)) as cache:
        rows: Any = cache._rows
        rows.reset("size_limit", 1)
        for number in range(50):
            cache.set(str(number), {"text": "x" * 1000})
        rows.cull()
        assert [cache.get(str(number)) for number in range(50)] == [{"text": "x" * 1000}] * 50
