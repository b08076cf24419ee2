"""Banks in object stores, against servers on loopback: built, killed, extended, read, and by several.

Whatever depends on what a store answers is tried with each kind; the rest with S3.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import duckdb
import httpx
import pytest

from jisi_cli import trust
from jisi_cli.addresses import read_address
from jisi_cli.bank.bank import Bank, local_folder
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.manifest import Label, read_manifest
from jisi_cli.bank.store import ChangedObjectError, Store, place
from jisi_cli.config import config_in_force
from jisi_cli.copies import as_named
from jisi_cli.errors import BankError
from jisi_cli.paths import cache_folder, data_folder
from tests.bank.making import build, data_of, everything, failed, files_of, record, records
from tests.cli.commands import (
    MODELS,
    ROOT,
    finish,
    jisi,
    pool_file,
    recorded_answers,
    says_one_error,
    start,
    write_lines,
)
from tests.faults.afflictions import no_more_than
from tests.faults.forked import start_here
from tests.loopback import Loopback, Script
from tests.object_store import BUCKET, ENDPOINTS, KEYS, ObjectStore, refused
from tests.serve.running import serving

BANK = f"s3://{BUCKET}/lab/bank"
MANIFEST = "lab/bank/bank.json"
EMBEDDER = ("--embedder", "hashing:64")

Machine = Callable[[str], None]

every_store = pytest.mark.parametrize("object_store", ["s3", "gs", "abfs"], indirect=True)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Go on as on another machine: with a cache of its own."""
    return lambda name: monkeypatch.setenv("JISI_CACHE_HOME", str(tmp_path / f"cache of {name}"))


def answers(path: Path, **fields: int) -> Path:
    return write_lines(path, recorded_answers(**fields))


def parts_of(store: ObjectStore) -> set[str]:
    return {name for name in store.names() if name.endswith(".parquet")}


def named_by(store: ObjectStore) -> set[str]:
    """Return the names of the parts that the store's manifest names."""
    data = json.loads(store.get(MANIFEST))
    return {f"lab/bank/{part['path']}" for parts in (data["queries"], *data["responses"].values()) for part in parts}


def keeps_nowhere(secret: str) -> bool:
    """Whether none of jisi's own files holds a secret: cache, copies of banks, ledger."""
    kept = [path for folder in (cache_folder(), data_folder()) for path in folder.rglob("*") if path.is_file()]
    return not any(secret.encode() in path.read_bytes() for path in kept)


@pytest.mark.parametrize("command", [("bank", "inspect"), ("eval",), ("bank", "label"), ("bank", "build", "-o")])
def test_without_the_extra_every_command_names_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    source = (tmp_path / "answers.jsonl",) if "build" in command else ()
    for path in source:
        path.write_text('{"dataset": "d", "index": "1", "query": "q", "model": "m", "response": "r", "score": 1}\n')
    run = jisi(*command, "s3://nobodys/bank", *source)
    assert 'pip install "jisi[s3]"' in says_one_error(run, 2)


@pytest.mark.slow
def test_a_bank_on_disk_costs_no_import_of_what_a_store_needs() -> None:
    code = (
        "import sys; from jisi_cli.bank.bank import Bank; Bank('sample_data/bank').keys; "
        "print({'obstore', 'boto3', 'jisi_cli.bank.remote', 'jisi_cli.bank.store'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True).stdout == b"set()\n"


@every_store
def test_a_bank_is_built_extended_and_read_in_a_store_as_on_a_disk(
    tmp_path: Path, object_store: ObjectStore, machine: Machine
) -> None:
    address = object_store.bank
    first, more = answers(tmp_path / "a.jsonl"), answers(tmp_path / "b.jsonl", questions=15)
    asked = ("--jsonl", "What is 4 plus 7?")
    for bank in (address, tmp_path / "bank"):
        built = jisi("bank", "build", first, "-o", bank, *EMBEDDER, "--split", "0.5", "--json")
        assert built.exit_code == 0 and built.json["bank"] == str(bank)
        again = jisi("bank", "build", first, "-o", bank, *EMBEDDER)
        says_one_error(again, 2, f"{bank} is a bank already")
        assert jisi("bank", "build", more, "-o", bank, "--append", "-q").exit_code == 0
    assert parts_of(object_store) == named_by(object_store)

    machine("a reader")
    here, there = jisi("route", "--bank", tmp_path / "bank", *asked), jisi("route", "--bank", address, *asked)
    assert there.exit_code == 0 and there.stdout == here.stdout.replace(str(tmp_path / "bank"), address)
    compared = [jisi("eval", bank, "--method", "best-single,knn", "--json") for bank in (tmp_path / "bank", address)]
    assert (compared[1].json["bank"], compared[1].json["test"]) == (address, address)
    rows = [[{**row, "seconds": None} for row in run.json["methods"]] for run in compared]
    assert rows[0] == rows[1] and len(rows[0]) == 2
    bank = local_folder(address)
    assert data_of(bank) == data_of(tmp_path / "bank")
    # Only a first table of questions has another name, which tells its contents.
    assert sorted(files_of(bank).values()) == sorted(files_of(tmp_path / "bank").values())

    object_store.requests.clear()
    assert jisi("bank", "inspect", address, "--json").exit_code == 0
    (request,) = object_store.requests
    assert (request.path, request.sent) == (f"/{BUCKET}/{MANIFEST}", 0)


def test_duckdb_reads_each_answer_of_a_bank_in_a_store_once(tmp_path: Path, object_store: ObjectStore) -> None:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    class ArrowS3(ArrowFSWrapper):  # another client than jisi's; DuckDB's own is an extension to be downloaded
        protocol = "s3"

    build(local_folder(BANK), [*records(), failed(record(99, "ada"))])
    build(local_folder(BANK), [record(99, "ada"), record(100, "ada")], append=True)
    place = object_store.url.removeprefix("http://")
    connection = duckdb.connect()
    connection.register_filesystem(ArrowS3(fs=S3FileSystem(endpoint_override=place, scheme="http")))
    query = (
        f"select model, count(*) from read_parquet('{BANK}/responses/*/*.parquet', hive_partitioning=true) group by 1"
    )
    found = dict(connection.execute(query).fetchall())
    assert found == {"ada": 14, "bob/7b": 12, "cyd@home": 12}
    # What bank.json names is exact at any moment, also while another build uploads.
    object_store.put("lab/bank/responses/model=ada/part-000000000000.parquet", b"under way")
    connection.execute(
        f"""set variable parts = (select list('{BANK}/' || part.path) from (
            select unnest(responses.ada) as part from read_json('{BANK}/bank.json')))"""
    )
    assert connection.execute("select count(*) from read_parquet(getvariable('parts'))").fetchone() == (14,)


@every_store
@pytest.mark.parametrize(
    ("killed_at", "is_there"),
    [
        (("PUT", "queries"), False),
        (("PUT", "model=cyd"), False),
        (("PUT", "bank.json"), False),
        (("HEAD", "bank.json"), True),
    ],
    ids=["the first part", "a later part", "the commit", "the answer to the commit"],
)
def test_a_build_that_is_killed_while_it_uploads_goes_on(
    killed_at: tuple[str, str], is_there: bool, tmp_path: Path, object_store: ObjectStore
) -> None:
    address = object_store.bank
    command = ("bank", "build", answers(tmp_path / "a.jsonl"), "-o", address, *EMBEDDER, "--json")
    method, name = killed_at

    def kill(asked: str, path: str) -> tuple[str, bytes] | None:
        if asked != method or name not in path.removeprefix(f"/{BUCKET}/lab/bank/"):
            return None
        if not is_there and asked == "HEAD":
            return None
        process.kill()
        process.wait()
        return refused("Killed")

    object_store.fault = kill
    process = start(*command)
    assert finish(process).exit_code == -9
    object_store.fault = None
    assert (MANIFEST in object_store.names()) == is_there
    uploaded = Counter(request.path for request in object_store.requests if request.method == "PUT")

    again = jisi(*command)
    if is_there:
        says_one_error(again, 2, f"{address} is a bank already")
    else:
        assert again.exit_code == 0 and again.json["texts_embedded"] == 0, again
        put = Counter(request.path for request in object_store.requests if request.method == "PUT")
        assert all(put[path] == 1 for path in uploaded)
    assert parts_of(object_store) == named_by(object_store)
    build_here = jisi("bank", "build", command[2], "-o", tmp_path / "bank", *EMBEDDER)
    assert build_here.exit_code == 0
    bank = Bank(address)
    assert everything(bank) == everything(Bank(tmp_path / "bank"))
    assert sorted(files_of(bank.path).values()) == sorted(files_of(tmp_path / "bank").values())


@every_store
def test_a_commit_is_refused_where_another_writer_came_in_between_and_nothing_of_his_is_lost(
    object_store: ObjectStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = object_store.bank
    machine("one")
    mine = local_folder(address)
    build(mine, records(4))
    machine("another")
    theirs = local_folder(address)
    assert theirs != mine
    label = Label("words", "1", "x")

    def write(method: str, path: str) -> None:
        if method == "PUT" and "part-" in path:
            object_store.fault = None
            change_labels(theirs, {label.key: label})

    object_store.fault = write
    with pytest.raises(BankError, match="changed by another writer") as caught:
        build(mine, records(6), append=True)
    assert str(caught.value).startswith(address) and str(caught.value).endswith("run the same command again")
    found = Bank(address)
    assert found.manifest.labels == (label,) and found.rows == 4
    assert parts_of(object_store) == named_by(object_store)

    report = build(mine, records(6), append=True)
    assert (report.embedded, report.manifest.labels, Bank(address).rows) == (0, (label,), 6)
    assert parts_of(object_store) == named_by(object_store)


@every_store
def test_of_two_writers_of_a_new_bank_one_makes_it(object_store: ObjectStore, machine: Machine) -> None:
    address = object_store.bank
    machine("one")
    mine = local_folder(address)
    machine("another")
    theirs = local_folder(address)

    def write(method: str, path: str) -> None:
        if method == "PUT" and "part-" in path:
            object_store.fault = None
            build(theirs, records(5))

    object_store.fault = write
    with pytest.raises(BankError, match=r"changed by another writer meanwhile.*--append"):
        build(mine, records(4))
    machine("a reader")
    assert Bank(address).rows == 5


@every_store
def test_a_reader_that_fetches_while_a_commit_replaces_parts_gets_the_new_bank_whole(
    object_store: ObjectStore, machine: Machine
) -> None:
    address = object_store.bank
    machine("writer")
    bank = local_folder(address)
    build(bank, [*records(6), failed(record(7, "ada"))])
    machine("reader")

    def commit(method: str, path: str) -> None:
        if method == "GET" and "model=ada" in path:
            object_store.fault = None
            build(bank, [record(7, "ada")], append=True)  # in place of the failed one, so in place of its part

    object_store.fault = commit
    found = Bank(address)
    assert found.path != bank and everything(found) == everything(Bank(bank)) and found.answers("ada").present.all()


def test_a_bank_for_which_there_is_no_room_is_refused_before_anything_is_fetched(
    object_store: ObjectStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(local_folder(BANK), records(6))
    size = sum(file.stat().st_size for file in local_folder(BANK).rglob("*.parquet"))
    machine("a reader with a small disk")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=(64 << 20) + size))
    object_store.requests.clear()
    error = says_one_error(jisi("route", "--bank", BANK, "x"), 3, f"{BANK}: ", "MB are to be fetched", "make room")
    assert str(cache_folder() / "banks") in error
    assert not [found for found in object_store.requests if found.method == "GET" and "parquet" in found.path]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=(64 << 20) + 2 * size))
    assert jisi("route", "--bank", BANK, "x").exit_code == 0


def test_an_object_that_goes_on_beyond_its_size_is_fetched_no_further(
    object_store: ObjectStore, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(local_folder(BANK), records(6))
    machine("a reader of a store that lies")
    facts = Store.facts

    def lying(store: Store, name: str) -> tuple[int, float] | None:
        found = facts(store, name)
        return None if found is None else (found[0] - 1, found[1])

    monkeypatch.setattr(Store, "facts", lying)
    says_one_error(jisi("route", "--bank", BANK, "x"), 3, ".parquet is longer than the ", " bytes that the store said")
    assert [path.name for path in cache_folder().rglob("*.part*") if path.is_file()] == []


def test_a_disk_that_is_full_while_a_bank_is_fetched_is_one_line_and_leaves_no_half_file(
    tmp_path: Path, object_store: ObjectStore
) -> None:
    reader = {"JISI_CACHE_HOME": str(tmp_path / "small")}
    build(local_folder(BANK), records(6))
    largest = max(file.stat().st_size for file in local_folder(BANK).rglob("*.parquet"))
    full = start_here("route", "--bank", BANK, "x", env=reader, prepare=partial(no_more_than, largest - 1)).finish()
    says_one_error(full, 3, f"{BANK}/", "File too large", "make room or allow it")
    assert [path.name for path in (tmp_path / "small").rglob(".part*")] == []
    whole = start_here("route", "--bank", BANK, "x", env=reader).finish()
    assert whole.exit_code == 0, whole


@every_store
def test_a_file_that_is_uploaded_in_pieces_is_the_same_file(tmp_path: Path, object_store: ObjectStore) -> None:
    address, file = read_address(object_store.bank), tmp_path / "part.parquet"
    assert address is not None
    file.write_bytes(random.Random(0).randbytes(20_000_000))
    store = Store(address)
    for _ in range(2):  # the second time in place of the first
        store.upload("part.parquet", file)
        found = store.facts("part.parquet")
        assert found is not None and found[0] == 20_000_000
        assert b"".join(store.download("part.parquet", found[0])) == file.read_bytes()
    assert len([request for request in object_store.requests if request.received > 5_000_000]) > 2
    with pytest.raises(ChangedObjectError):
        store.replace("part.parquet", b"", None)
    now = store.read("part.parquet", None, 20_000_000)
    assert now is not None and store.replace("part.parquet", b"short", now[1]).e_tag != now[1].e_tag
    with pytest.raises(ChangedObjectError):
        store.replace("part.parquet", b"late", now[1])
    store.delete(["part.parquet"])
    assert store.facts("part.parquet") is None


def test_where_there_is_no_bank_no_folder_is_left(object_store: ObjectStore) -> None:
    assert jisi("route", "--bank", BANK, "x").exit_code == 3
    object_store.fault = lambda method, path: refused("AccessDenied")
    assert jisi("route", "--bank", f"{BANK}2", "x").exit_code == 3
    assert list((cache_folder() / "banks").iterdir()) == []


def test_a_process_that_opened_a_bank_before_it_changed_still_reads_the_bank_of_then(
    object_store: ObjectStore, machine: Machine
) -> None:
    machine("writer")
    bank = local_folder(BANK)
    build(bank, [*records(6), failed(record(7, "ada"))])
    machine("server")
    before, opened = everything(Bank(BANK)), Bank(BANK)
    build(bank, [record(7, "ada")], append=True)  # replaces a part
    now = Bank(BANK)
    assert everything(opened) == before != everything(now)


@every_store
def test_a_damaged_or_missing_object_is_one_error_and_no_part_of_the_copy(
    object_store: ObjectStore, machine: Machine
) -> None:
    address = object_store.bank
    build(local_folder(address), records(6))
    part = next(name for name in parts_of(object_store) if "model=ada" in name)
    whole = object_store.get(part)
    machine("a reader")
    for content in (whole[:-100], whole[:1000] + b"!" + whole[1001:], b""):
        object_store.put(part, content)
        says_one_error(
            jisi("route", "--bank", address, "x"), 3, f"{object_store.scheme}://{BUCKET}/{part} is damaged", "--force"
        )
    object_store.fault = lambda method, path: refused("NoSuchKey", "404 Not Found") if "model=ada" in path else None
    says_one_error(
        jisi("route", "--bank", address, "x"), 3, f"{object_store.scheme}://{BUCKET}/{part} is missing in the store"
    )
    object_store.fault = None
    object_store.put(part, whole)
    assert jisi("route", "--bank", address, "x").exit_code == 0
    object_store.put(part, whole[:-100])
    build(local_folder(address), records(6), force=True)  # the same part once more, in place of the damaged one
    machine("another reader")
    assert jisi("route", "--bank", address, "x").exit_code == 0
    object_store.put(MANIFEST, b'{"created_by": "jisi ')
    says_one_error(jisi("route", "--bank", address, "x"), 3, f"{address}/bank.json cannot be read")
    build(local_folder(address), records(6), force=True)
    assert jisi("route", "--bank", address, "x").exit_code == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (refused("AccessDenied"), "access was refused (AccessDenied)"),
        (refused("InvalidAccessKeyId"), "access was refused (InvalidAccessKeyId)"),
        (refused("NoSuchBucket", "404 Not Found"), f"there is no bucket {BUCKET}; make it"),
        (
            refused("PermanentRedirect", "301 Moved Permanently"),
            "is in another region; set AWS_REGION",
        ),
        (refused("InvalidRequest", "400 Bad Request"), "the store failed (InvalidRequest)"),
        (refused("SlowDown", "503 Slow Down"), "the store failed (SlowDown); try again later"),
    ],
    ids=["access", "key", "bucket", "region", "other", "busy"],
)
def test_what_a_store_refuses_is_one_line_with_the_remedy_whoever_asks(
    fault: tuple[str, bytes], words: str, tmp_path: Path, object_store: ObjectStore
) -> None:
    object_store.fault = lambda method, path: fault
    says_one_error(jisi("route", "--bank", BANK, "x"), 3, BANK, words, secrets=("secret-of-tests",))
    built = jisi("bank", "build", answers(tmp_path / "a.jsonl"), "-o", BANK, *EMBEDDER)
    says_one_error(built, 3, BANK, words, secrets=("secret-of-tests",))


def test_without_a_bank_a_network_or_credentials_it_is_said_which(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    says_one_error(jisi("route", "--bank", BANK, "x"), 3, f"no bank at {BANK}; build one")
    object_store.put("lab/bank/photo.jpg", b"somebody's")
    built = jisi("bank", "build", answers(tmp_path / "a.jsonl"), "-o", BANK, *EMBEDDER)
    says_one_error(built, 2, f"{BANK} holds other files (photo.jpg)")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for bank in (BANK, "s3://redirect/sas/credential"):
        says_one_error(jisi("route", "--bank", bank, "x"), 3, f"{bank}: the store cannot be reached")
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    says_one_error(jisi("route", "--bank", f"{BANK}2", "x"), 3, "no credentials were found; set AWS_ACCESS_KEY_ID")
    profiles = tmp_path / "credentials"
    profiles.write_text("[lab]\naws_access_key_id = tests\naws_secret_access_key = of-a-profile\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.url)
    says_one_error(jisi("route", "--bank", f"{BANK}2", "x"), 3, f"no bank at {BANK}2")


@every_store
def test_a_wrong_key_a_missing_bucket_and_a_store_that_cannot_be_reached_are_one_line_each(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, variable = object_store.scheme, ENDPOINTS[object_store.scheme]
    source, numbers = answers(tmp_path / "a.jsonl"), count()
    variable_of_key, key = object_store.secret

    def each(words: str, bucket: str = BUCKET, code: int = 3) -> None:
        bank = f"{scheme}://{bucket}/bank{next(numbers)}"  # a process that has opened a bank keeps its credentials
        for command in (("route", "--bank", bank, "x"), ("bank", "build", source, "-o", bank, *EMBEDDER)):
            said = says_one_error(jisi(*command), code, words, secrets=(key, "c2VjcmV0"))
            assert code == 2 or said.startswith(f"error: {bank}: ")

    each(f"there is no {'container' if scheme == 'abfs' else 'bucket'} somebody-elses; make it", "somebody-elses")
    for url in ("127.0.0.1:9", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:9 "):
        monkeypatch.setenv(variable, url)
        each(f"{variable} is no URL of a store", code=2)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    each("the store cannot be reached; check the network and ")
    monkeypatch.setenv(variable, object_store.environment[variable])
    if scheme == "s3":  # moto takes every key
        return
    monkeypatch.setenv(variable_of_key, "c2VjcmV0")
    each("access was refused (")
    if scheme == "abfs":
        monkeypatch.setenv(variable_of_key, "c2VjcmV0 and more")
        each("the credentials that were found cannot be used; check AZURE_STORAGE_ACCOUNT_NAME")
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
        each("no credentials were found; set AZURE_STORAGE_ACCOUNT_NAME")
    else:
        monkeypatch.delenv(variable_of_key)
        file = tmp_path / "key.json"
        file.write_text('{"private_key": "c2VjcmV0"}')
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(file))
        each("the credentials that were found cannot be used; check GOOGLE_APPLICATION_CREDENTIALS")


@pytest.mark.parametrize(
    ("variable", "bank"),
    [("AZURE_STORAGE_ACCOUNT_NAME", "abfs://box/bank"), ("GOOGLE_BASE_URL", "gs://box/bank")],
)
def test_two_accounts_have_a_copy_each_of_banks_of_the_same_name(
    variable: str, bank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, places = read_address(bank), set()
    assert address is not None
    for value in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        monkeypatch.setenv(variable, value)
        places.add(place(address))
    assert places == {"http://127.0.0.1:1", "http://127.0.0.1:2"}


def test_a_key_in_an_address_is_refused_everywhere_and_kept_nowhere(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"s3://AKIATESTS:hidden@{BUCKET}/bank"
    config = tmp_path / "jisi.toml"
    config.write_text(f'bank = "{address}"\n')
    source = answers(tmp_path / "a.jsonl")
    for command in (
        ("route", "--bank", address, "x"),
        ("route", "--config", config, "x"),
        ("eval", address),
        ("bank", "build", source, "-o", address, *EMBEDDER),
        ("bank", "label", address),
        ("serve", "--bank", address),
    ):
        says_one_error(jisi(*command), 2, "holds a key", secrets=("hidden", "AKIATESTS"))
    monkeypatch.setenv("JISI_BANK", address)
    says_one_error(jisi("route", "x"), 2, "holds a key", secrets=("hidden", "AKIATESTS"))
    assert not object_store.requests
    assert keeps_nowhere("hidden")


def test_a_pool_file_that_merely_lies_here_leads_to_no_store_before_it_is_allowed(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(local_folder(BANK), records(6))
    object_store.requests.clear()
    monkeypatch.chdir(tmp_path)
    Path("jisi.toml").write_text(f'bank = "{BANK}"\n')
    says_one_error(jisi("route", "x"), 2, f"reads the bank {BANK}; read it, then run `jisi trust`")
    says_one_error(jisi("bank", "inspect"), 2, f"reads the bank {BANK}")
    assert not object_store.requests
    trust.trust("pool_files", config_in_force().identity, "here")
    assert jisi("route", "x").exit_code == 0


@every_store
def test_ask_books_an_answer_and_labels_and_grades_are_written_into_a_bank_in_a_store(
    tmp_path: Path, object_store: ObjectStore, machine: Machine, loopback: Loopback
) -> None:
    address = object_store.bank
    loopback.scripts = {model: Script(text="11") for model in MODELS}
    config = pool_file(tmp_path / "jisi.toml", loopback)
    assert jisi("bank", "build", answers(tmp_path / "a.jsonl"), "-o", address, *EMBEDDER).exit_code == 0
    asked = jisi("ask", "--bank", address, "--config", config, "--mode", "route", "--json", "What is 4 plus 7?")
    assert asked.exit_code == 0 and asked.json["model"] in MODELS
    assert keeps_nowhere(object_store.secret[1])

    graded = jisi("bank", "grade", address, "--grader", "contains", "--json")
    assert graded.exit_code == 0 and graded.json["bank"] == address and graded.json["written"]
    label = Label("sums", "0", "3")
    change_labels(local_folder(address), {label.key: label})
    machine("a reader")
    found = Bank(address)
    assert found.manifest.labels == (label,)
    assert as_named(str(found.path)) == address and parts_of(object_store) == named_by(object_store)


def test_a_copy_is_not_written_behind_the_back_of_its_store(tmp_path: Path, object_store: ObjectStore) -> None:
    bank = local_folder(BANK)
    build(bank, records(6))
    copy = finish(start("bank", "grade", bank, "--grader", "contains"))  # a process that never heard of the address
    says_one_error(copy, 3, f"{bank} is the copy of a bank in an object store; name the bank by its address")


@every_store
def test_a_bank_that_is_replaced_keeps_what_others_are_uploading(object_store: ObjectStore, machine: Machine) -> None:
    address = object_store.bank
    build(local_folder(address), records(6))
    young = "lab/bank/responses/model=ada/part-000000000000.parquet"
    object_store.put(young, b"of a build under way elsewhere")
    object_store.put("lab/bank/notes.txt", b"somebody's")
    build(local_folder(address), records(5), force=True)
    assert parts_of(object_store) == named_by(object_store) | {young}
    assert "lab/bank/notes.txt" in object_store.names()
    machine("a reader")
    assert Bank(address).rows == 5 and read_manifest(local_folder(address)).rows == 5


def test_a_part_inside_another_file_of_the_bank_is_a_bank_error(object_store: ObjectStore, machine: Machine) -> None:
    build(local_folder(BANK), records(4))
    data = json.loads(object_store.get(MANIFEST))
    data["queries"][0]["path"] = "bank.json/a.parquet"
    object_store.put(MANIFEST, json.dumps(data).encode())
    machine("a reader")
    says_one_error(jisi("bank", "inspect", BANK, "-q"), 3, "bank.json is a file, too")


def test_a_manifest_that_others_wrote_makes_no_one_delete_what_is_not_the_banks(object_store: ObjectStore) -> None:
    build(local_folder(BANK), records(4))
    data = json.loads(object_store.get(MANIFEST))
    (part,) = data["queries"]
    strangers = "lab/bank/sales.parquet"
    object_store.put(strangers, object_store.get(f"lab/bank/{part['path']}"))
    part["path"] = "sales.parquet"
    object_store.put(MANIFEST, json.dumps(data).encode())
    build(local_folder(BANK), records(5), force=True)
    assert Bank(BANK).rows == 5
    assert strangers in object_store.names()


def test_a_store_that_cannot_write_on_a_condition_is_asked_just_before(
    object_store: ObjectStore, machine: Machine
) -> None:
    object_store.has_conditions = False
    machine("one")
    mine = local_folder(BANK)
    build(mine, records(4))
    machine("another")
    theirs = local_folder(BANK)

    def write(method: str, path: str) -> None:
        if method == "PUT" and "part-" in path:
            object_store.fault = None
            build(theirs, records(5), append=True)

    object_store.fault = write
    with pytest.raises(BankError, match="changed by another writer"):
        build(mine, records(6), append=True)
    assert Bank(BANK).rows == 5


@every_store
def test_a_lost_confirmation_of_a_commit_is_no_other_writer(object_store: ObjectStore) -> None:
    address = object_store.bank
    bank = local_folder(address)
    build(bank, records(4))
    changed = replace(read_manifest(bank), created_by="jisi, a moment ago")

    from jisi_cli.bank.lock import exclusive
    from jisi_cli.bank.manifest import write_manifest

    with exclusive(bank):
        write_manifest(bank, changed)
        content = object_store.get(MANIFEST)
        object_store.put(MANIFEST, content + b" ")  # another version, with other words
        with pytest.raises(BankError, match="another writer"):
            write_manifest(bank, replace(changed, created_by="jisi, now"))
        object_store.put(MANIFEST, (bank / "bank.json").read_bytes().replace(b"a moment ago", b"at last"))
        write_manifest(bank, replace(changed, created_by="jisi, at last"))
    assert read_manifest(local_folder(address)).created_by == "jisi, at last"


@every_store
def test_a_server_starts_on_a_bank_in_a_store_and_answers(tmp_path: Path, object_store: ObjectStore) -> None:
    address = object_store.bank
    assert jisi("bank", "build", answers(tmp_path / "a.jsonl"), "-o", address, *EMBEDDER).exit_code == 0
    with serving(tmp_path, "--bank", address, bank=False) as running:
        body = {
            "model": "jisi",
            "messages": [{"role": "user", "content": "What is 4 plus 7?"}],
            "jisi": {"mode": "route"},
        }
        answer = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=120)
        assert answer.status_code == 200 and "says so" in answer.text
