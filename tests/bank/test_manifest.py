"""A `bank.json` may come from anywhere: whatever it says, it is a bank or a BankError."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.inspect import inspect_bank
from jisi_cli.bank.manifest import MANIFEST_NAME, model_folder, read_manifest, write_manifest
from jisi_cli.errors import BankError
from tests.bank.making import build, everything, records
from tests.tiers import examples


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound bank of eight questions, not to be changed."""
    path = tmp_path_factory.mktemp("manifest") / "bank"
    build(path, records(8))
    return path


@pytest.fixture
def bank(good: Path, tmp_path: Path) -> Path:
    """A bank to break."""
    return Path(shutil.copytree(good, tmp_path / "bank"))


def use(path: Path) -> None:
    """Do with a bank what commands do."""
    bank = Bank(path)
    settings = bank.hyperparameters()
    bank.arrays()
    everything(bank)
    inspect_bank(bank, settings)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((path / MANIFEST_NAME).read_text())
    change(data)
    (path / MANIFEST_NAME).write_text(json.dumps(data))


def test_what_is_written_is_read_back(bank: Path) -> None:
    manifest = read_manifest(bank)
    write_manifest(bank, manifest)
    assert read_manifest(bank) == manifest
    assert [entry.name for entry in bank.iterdir() if entry.name.startswith(".bank")] == []
    use(bank)


def test_no_bank_says_how_to_build_one(tmp_path: Path) -> None:
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(BankError, match=r"no bank at .*; build one with `jisi bank build"):
            Bank(place)
    (tmp_path / "file").write_text("")
    with pytest.raises(BankError, match="no bank at"):
        Bank(tmp_path / "file")


@pytest.mark.parametrize("version", [2, 10**30])
def test_a_newer_version_asks_for_an_upgrade_whatever_else_it_says(bank: Path, version: int) -> None:
    (bank / MANIFEST_NAME).write_text(json.dumps({"format_version": version, "parts": "elsewhere"}))
    with pytest.raises(BankError, match=f"bank format {version}, this jisi reads up to 1; upgrade jisi"):
        Bank(bank)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00",
        b"\xff\xfe{}",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"bank"',
        b"{}",
        b"NaN",
        b'{"format_version": 1}',
        b"[" * 100_000,
        b'{"format_version":' * 50_000,
        b'{"format_version": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_manifest_is_a_bank_error(bank: Path, text: bytes) -> None:
    (bank / MANIFEST_NAME).write_bytes(text)
    with pytest.raises(BankError, match="--force"):
        Bank(bank)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["responses"].update({"\ud800": data["responses"]["ada"]}),
        lambda data: data["queries"][0].update(path="\ud800.parquet"),
        lambda data: data.update(hyperparameters={"\ud800": 1}),
    ],
)
def test_half_a_character_is_a_bank_error(bank: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(bank, change)
    with pytest.raises(BankError, match="surrogates"):
        Bank(bank)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_no_json_is_a_bank_error_before_it_is_written_again(bank: Path, number: str) -> None:
    manifest = bank / MANIFEST_NAME
    text = manifest.read_text().replace('"hyperparameters": {}', f'"hyperparameters": {{"t": {number}}}')
    assert number in text
    manifest.write_text(text)
    with pytest.raises(BankError, match="JSON compliant"):
        Bank(bank)


def test_a_manifest_that_cannot_be_written_leaves_the_one_before_and_nothing_else(bank: Path) -> None:
    before = {file.name for file in bank.iterdir()}
    manifest = read_manifest(bank)
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(bank, replace(manifest, hyperparameters={"t": float("nan")}))
    assert read_manifest(bank) == manifest
    assert {file.name for file in bank.iterdir()} == before


def test_a_manifest_of_gigabytes_is_refused_unread(bank: Path) -> None:
    os.truncate(bank / MANIFEST_NAME, 2**36)  # a hole in the file, not the disk's space
    with pytest.raises(BankError, match="larger than any manifest"):
        Bank(bank)


def test_a_manifest_that_is_a_folder_is_a_bank_error(bank: Path) -> None:
    (bank / MANIFEST_NAME).unlink()
    (bank / MANIFEST_NAME).mkdir()
    with pytest.raises(BankError, match="cannot be read"):
        Bank(bank)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a JSON document."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in children for place in places(value, (*path, key)))]


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


NUMBERS = [0, -1, 1, 2, 3, 10**30, -(10**30), 0.5, 1e300, float("nan"), float("inf")]
TEXTS = [
    "",
    " ",
    "0",
    "x" * 5000,
    "\x00",
    "../../etc/passwd",
    "/etc/passwd",
    ".",
    "..",
    "\ud800",
    "a\nb\x1b[2J",
    "9" * 5000,
]
PART = {"path": "queries.parquet", "rows": 8, "sha256": "0" * 64}
ODD = st.sampled_from([None, True, False, *NUMBERS, *TEXTS, [], {}, [[]], [{}], [None], {"": {}}, PART, [PART], ["x"]])


@pytest.mark.slow
@settings(max_examples=examples(400))
@given(st.data())
def test_any_value_of_any_kind_anywhere_is_a_bank_or_a_bank_error(good: Path, data: st.DataObject) -> None:
    original = json.loads((good / MANIFEST_NAME).read_text())
    changed = original
    for _ in range(data.draw(st.integers(1, 2))):
        changed = put(changed, data.draw(st.sampled_from(places(changed))), data.draw(ODD))
    broken = good.parent / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(good, broken)
    (broken / MANIFEST_NAME).write_text(json.dumps(changed))
    try:
        use(broken)
    except BankError as error:
        assert str(broken) in str(error)


@settings(max_examples=examples(100))
@given(st.data())
def test_a_missing_key_is_a_bank_error(good: Path, data: st.DataObject) -> None:
    original = json.loads((good / MANIFEST_NAME).read_text())
    path = data.draw(st.sampled_from([place for place in places(original) if place and isinstance(place[-1], str)]))
    holder = original
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    broken = good.parent / "gone"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(good, broken)
    (broken / MANIFEST_NAME).write_text(json.dumps(original))
    if path[0] == "responses" and len(path) == 2:
        use(broken)  # one model less is a bank all the same
        return
    with pytest.raises(BankError, match="lacks"):
        use(broken)


@pytest.mark.parametrize(
    "path",
    [
        "../outside.parquet",
        "responses/../../outside.parquet",
        "/tmp/outside.parquet",
        "..\\outside.parquet",
        "C:/outside.parquet",
        "queries.parquet\x00",
        "bank.json",
        "",
        ".",
    ],
)
def test_a_part_outside_the_bank_is_never_opened(bank: Path, path: str) -> None:
    shutil.copy(bank / "queries.parquet", bank.parent / "outside.parquet")
    rewrite(bank, lambda data: data["queries"][0].update(path=path))
    with pytest.raises(BankError, match="inside the bank"):
        Bank(bank)


@pytest.mark.parametrize("digest", ["", "../../../outside", "/tmp/outside", "0" * 63, "F" * 64, "0" * 64 + "\n"])
def test_a_hash_that_is_none_is_refused_since_replaced_parts_are_moved_to_where_it_says(
    bank: Path, digest: str
) -> None:
    rewrite(bank, lambda data: data["queries"][0].update(sha256=digest))
    with pytest.raises(BankError, match="hash"):
        Bank(bank)


@pytest.mark.parametrize("rows", [0, 7, 9, 2**40, 2**62])
def test_a_wrong_number_of_rows_is_a_bank_error(bank: Path, rows: int) -> None:
    rewrite(bank, lambda data: data["queries"][0].update(rows=rows))
    with pytest.raises(BankError):
        use(bank)
    with pytest.raises(BankError):
        Bank(bank).answers("ada")


def test_hyperparameters_that_this_version_does_not_know_are_a_bank_error(bank: Path) -> None:
    for odd in ({"k": 0}, {"k": "3"}, {"warmth": 1}, {"probe_schedule": 3}, {"compat": ["paper"]}, {"t": float("nan")}):
        rewrite(bank, lambda data, odd=odd: data.update(hyperparameters=odd))
        with pytest.raises(BankError, match=r"bank\.json"):
            Bank(bank).hyperparameters()


def test_parquet_files_that_were_swapped_are_a_bank_error(bank: Path) -> None:
    rewrite(bank, lambda data: data["queries"][0].update(path=data["responses"]["ada"][0]["path"]))
    with pytest.raises(BankError, match="does not hold"):
        use(bank)


def test_a_bank_without_models_or_questions_holds_no_answers(bank: Path) -> None:
    for empty in ({"responses": {}}, {"queries": []}):
        copied = Path(shutil.copytree(bank, bank.parent / next(iter(empty))))
        rewrite(copied, lambda data, empty=empty: data.update(empty))
        with pytest.raises(BankError, match="holds no answers"):
            Bank(copied)


def test_the_folder_of_a_model_is_a_safe_name_that_two_models_never_share() -> None:
    names = ["a/b", "a%2Fb", "a b", "a", "A", "..", ".", "ä", "a@b", "x" * 300, "x" * 301, "a\\b", "a:b", "a\nb", "%"]
    folders = [model_folder(name) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        head, _, last = folder.partition("/")
        assert (head, "/" in last, len(last.encode()) < 255) == ("responses", False, True)
        assert not set('\\:*?"<>|\n ') & set(last)
