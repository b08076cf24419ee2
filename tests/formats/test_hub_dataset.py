"""`hf:` sources: from a hub on loopback, in a process of its own because huggingface_hub reads its environment once."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jisi_cli.bank.bank import Bank

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz0123"
SCRIPT = """
import json, sys
from dataclasses import astuple
from pathlib import Path
from jisi_cli.collect.question_sources import QuestionSources
from jisi_cli.errors import InputError
from jisi_cli.formats.column_map import ColumnMap
try:
    asked = QuestionSources([Path(sys.argv[1])], columns=ColumnMap.parse(sys.argv[2:]))
    found = [[q.dataset, q.index, q.query, q.reference, q.place] for q in asked.read(lambda issue: None)]
    print(json.dumps({"questions": found, "sources": [astuple(source) for source in asked.described(3)]}))
except InputError as error:
    print(json.dumps({"error": str(error)}))
"""


class Hub(ThreadingHTTPServer):
    """Serves folders as data sets: `OWNER/NAME/BRANCH`, where the branch is `main` or `converted`."""

    daemon_threads = True

    def __init__(self, folder: Path, elsewhere: Hub | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.elsewhere = folder, elsewhere
        self.requests: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("authorization", "")))
        path = unquote(self.path.partition("?")[0])
        if path.startswith("/api/datasets/"):
            name, _, revision = path.removeprefix("/api/datasets/").partition("/revision/")
            self._info(name, "converted" if revision == "refs/convert/parquet" else "main")
            return
        name, _, file = path.removeprefix("/datasets/").partition(f"/resolve/{COMMIT}/")
        found = [branch / file for branch in (self.server.folder / name).glob("*") if (branch / file).is_file()]
        if path.startswith("/cdn/"):
            self._send(200, (self.server.folder / path.removeprefix("/cdn/")).read_bytes())
        elif not file or not found:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        elif self.server.elsewhere is not None:
            where = found[0].relative_to(self.server.folder).as_posix()
            size = str(found[0].stat().st_size)
            more = {"Location": f"{self.server.elsewhere.address}/cdn/{where}", "X-Linked-Size": size}
            self._send(302, b"", {**self._named(found[0]), **more, "X-Linked-ETag": f'"{file}"'})
        else:
            self._send(200, found[0].read_bytes(), self._named(found[0]))

    def _named(self, file: Path) -> dict[str, str]:
        return {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(file.read_bytes()).hexdigest()}"'}

    def _info(self, name: str, branch: str) -> None:
        folder = self.server.folder / name / branch
        if not (self.server.folder / name / "main").is_dir():
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif not folder.is_dir():
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
            names = [{"rfilename": file.relative_to(folder).as_posix(), "size": file.stat().st_size} for file in files]
            names.append({"rfilename": "../../../outside.csv", "size": 3})
            self._send(200, json.dumps({"id": name, "sha": COMMIT, "siblings": names}).encode())

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def serving(hub: Hub) -> Iterator[Hub]:
    with hub as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def answered(number: int) -> list[dict[str, object]]:
    """What two models answered to one question, one a row, without a number of its own."""
    question = {"question": f"What is {number}?", "gt": str(number)}
    return [{**question, "model": name, "response": f"It is {number}.", "score": 1.0} for name in ("ada", "bob")]


def parquet(path: Path, *numbers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{"question": f"What is {n}?", "answer": f"#### {n}"} for n in numbers]), path)


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    sums = folder / "lab" / "sums"
    parquet(sums / "main" / "main" / "test-00000-of-00001.parquet", 0)
    (sums / "main" / "sums.py").write_text("raise SystemExit('never run')")
    parquet(sums / "converted" / "easy" / "test" / "0000.parquet", 1, 2)
    parquet(sums / "converted" / "easy" / "test" / "0001.parquet", 3)
    parquet(sums / "converted" / "easy" / "train" / "0000.parquet", 4)
    parquet(sums / "converted" / "hard" / "test" / "0000.parquet", 5)
    lines = folder / "old" / "main"
    lines.mkdir(parents=True)
    (lines / "test.jsonl").write_text('{"problem": "What is 7?", "solution": "7"}\n')
    answers = folder / "lab" / "answers"
    for shard, numbers in enumerate(((0, 1, 2), (3, 4))):
        path = answers / "converted" / "default" / "train" / f"{shard:04}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([row for n in numbers for row in answered(n)]), path)
    (answers / "main").mkdir()
    table = folder / "lab" / "table" / "main"
    table.mkdir(parents=True)
    (table / "test.csv").write_text(
        "frage,wer,antwort,ok\n" + "".join(f"What is {n}?,{m},It is {n}.,1\n" for n in range(3) for m in ("ada", "bob"))
    )
    logs = folder / "lab" / "logs" / "main"
    logs.mkdir(parents=True)
    (logs / "samples_gsm8k_2024-01-01T00-00-00.000000.jsonl").write_text(
        json.dumps(
            {
                "doc_id": 0,
                "doc": {"question": "What is 1?"},
                "target": "1",
                "arguments": [],
                "resps": [["1"]],
                "filtered_resps": ["1"],
                "exact_match": 1.0,
            }
        )
        + "\n"
    )
    (folder / "lab" / "code" / "main").mkdir(parents=True)
    (folder / "lab" / "code" / "main" / "code.py").write_text("")
    return folder


@pytest.fixture
def hub(datasets: Path) -> Iterator[Hub]:
    yield from serving(Hub(datasets))


def read(name: str, hub: Hub, home: Path, *maps: str) -> dict[str, object]:
    env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_TOKEN": TOKEN}
    env["HF_HUB_DISABLE_XET"] = "1"
    command = [sys.executable, "-c", SCRIPT, name, *maps]
    return json.loads(subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout)


def test_a_split_is_read_through_all_its_files_and_the_bank_can_say_what_it_was(hub: Hub, tmp_path: Path) -> None:
    found = read("hf:lab/sums/easy/test", hub, tmp_path / "home")
    where = "hf:lab/sums/easy/test"
    assert found["questions"] == [["sums", str(n), f"What is {n}?", f"#### {n}", f"{where}:{n}"] for n in (1, 2, 3)]
    ((name, kind, digest, answers),) = found["sources"]  # type: ignore[misc]
    assert (name, kind, len(digest), answers) == (f"{where}@{COMMIT[:12]}", "questions", 64, 3)
    assert not any(path.endswith(".py") or "outside" in path for path, _ in hub.requests)


def test_a_name_without_an_owner_and_a_map_are_understood(hub: Hub, tmp_path: Path) -> None:
    found = read("hf:old", hub, tmp_path / "home", "query=problem,gt=solution")
    assert found["questions"] == [["old", "1", "What is 7?", "7", "hf:old:1"]]
    assert read("hf:old/default/test", hub, tmp_path / "home", "query=problem,gt=solution")["questions"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:lab/sums", "several configurations; name one behind a `/`; it has easy, hard"),
        ("hf:lab/sums/easy", "several splits; name one behind a `/`; it has test, train"),
        ("hf:lab/sums/odd/test", "no configuration `odd`; it has easy, hard"),
        ("hf:lab/sums/easy/dev", "no split `dev`; it has test, train"),
        ("hf:lab/nothing", "the hub has no such data set"),
        ("hf:lab/code", "no Parquet, JSONL or CSV file in it"),
        ("hf:lab/../secret", "is written hf:DATASET[/CONFIG[/SPLIT]]"),
    ],
)
def test_what_is_not_there_or_may_be_several_is_told(hub: Hub, tmp_path: Path, name: str, words: str) -> None:
    assert words in str(read(name, hub, tmp_path / "home")["error"])


def jisi_online(hub: Hub, home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.address, "HF_HOME": str(home / "hf")}
    env |= {f"JISI_{kind}_HOME": str(home / kind) for kind in ("CACHE", "DATA", "CONFIG")}
    env["HF_HUB_DISABLE_XET"] = "1"
    command = [sys.executable, "-m", "jisi_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def test_recorded_answers_on_the_hub_become_a_bank_and_are_replayed(hub: Hub, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    built = jisi_online(hub, tmp_path, "bank", "build", "hf:lab/answers", "-o", bank, "--embedder", "hashing:64")
    assert built.returncode == 0, built.stderr
    opened = Bank(bank)
    # Numbered through both files, by the first row of each question.
    assert [question.key for question in opened.questions] == [("answers", str(n)) for n in (1, 3, 5, 7, 9)]
    assert opened.models == ("ada", "bob")
    (source,) = opened.manifest.sources
    assert (source.name, source.format, source.records) == (f"hf:lab/answers@{COMMIT[:12]}", "long", 10)
    again = jisi_online(hub, tmp_path, "eval", "hf:lab/answers", "--bank", bank, "--method", "best-single", "--json")
    assert json.loads(again.stdout)["methods"][0]["averages"]["average"] == 1.0, again.stderr


def test_a_csv_on_the_hub_is_read_by_a_map(hub: Hub, tmp_path: Path) -> None:
    names = "query=frage,model=wer,response=antwort,score=ok"
    common = ("-o", tmp_path / "bank", "--embedder", "hashing:64")
    built = jisi_online(hub, tmp_path, "bank", "build", "hf:lab/table", "--map", names, *common)
    assert built.returncode == 0, built.stderr
    assert [question.dataset for question in Bank(tmp_path / "bank").questions] == ["table"] * 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:lab/sums/hard", "questions without recorded answers; `jisi bank build --call` asks the pool"),
        ("hf:lab/table", "not a format that jisi recognises; --map says which columns hold what"),
        ("hf:lab/logs", "the format lm-eval is not read from the hub; download it and name the file or folder"),
        ("hf:lab/nothing", "the hub has no such data set"),
    ],
)
def test_what_is_no_table_of_answers_is_refused_in_a_line(hub: Hub, tmp_path: Path, name: str, words: str) -> None:
    built = jisi_online(hub, tmp_path, "bank", "build", name, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    assert built.returncode == 2 and built.stderr.startswith("error: ") and words in built.stderr
    assert built.stderr.count("\n") == 1


def test_a_token_goes_to_the_hub_and_not_where_it_sends_a_download(datasets: Path, tmp_path: Path) -> None:
    for store in serving(Hub(datasets)):
        for hub in serving(Hub(datasets, elsewhere=store)):
            found = read("hf:lab/sums/hard", hub, tmp_path / "home")
            assert found["questions"] == [["sums", "1", "What is 5?", "#### 5", "hf:lab/sums/hard:1"]]
            assert f"Bearer {TOKEN}" in {key for _, key in hub.requests}
            assert store.requests and {key for _, key in store.requests} == {""}


def test_a_hub_that_is_not_there_is_one_line(hub: Hub, tmp_path: Path) -> None:
    class Nowhere:
        address = "http://127.0.0.1:9"

    assert "cannot be fetched from the hub" in str(read("hf:lab/sums", Nowhere(), tmp_path / "home")["error"])  # type: ignore[arg-type]
