"""Hub models: from a hub on loopback, from this disk, and from a hub that is not there."""

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

import pytest

from jisi_cli.embed.hub import _is_whole
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import json, sys
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.embed.registry import load_embedder
from jisi_cli.errors import InputError
try:
    embedder = load_embedder(EmbedderSpec(sys.argv[1], revision=sys.argv[2] or None))
    print(json.dumps([embedder.spec.to_json(), embedder.embed(["one two"]).tolist()]))
except InputError as error:
    print(json.dumps(str(error)))
"""
CONSENT = """
import sys
from pathlib import Path
from jisi_cli.embed.consent import Consent
from jisi_cli.embed.protocol import EmbedderSpec
from jisi_cli.errors import BankError
try:
    spec = EmbedderSpec(sys.argv[1], revision=sys.argv[2] or None)
    Consent(remember=len(sys.argv) > 3).require(spec, Path("bank"))
    print("allowed")
except BankError as error:
    print(error)
"""


class Hub(ThreadingHTTPServer):
    """Serves one folder as the model `small/bert`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.paths: list[str] = []

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
        self.server.paths.append(self.path)
        path, folder = self.path.partition("?")[0], self.server.folder
        files = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
        if path in ("/api/models/small/bert", *(f"/api/models/small/bert/revision/{x}" for x in ("main", COMMIT))):
            names = [{"rfilename": file} for file in files]
            self._send(200, json.dumps({"id": "small/bert", "sha": COMMIT, "siblings": names}).encode())
        elif path == f"/api/models/small/bert/tree/{COMMIT}":
            sizes = [{"type": "file", "path": x, "size": (folder / x).stat().st_size, "oid": x} for x in files]
            self._send(200, json.dumps(sizes).encode())
        elif path.startswith(f"/small/bert/resolve/{COMMIT}/"):
            data = (self.server.folder / path.removeprefix(f"/small/bert/resolve/{COMMIT}/")).read_bytes()
            self._send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@pytest.fixture
def hub(bert_folder: Path) -> Iterator[Hub]:
    with Hub(bert_folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def load(
    name: str, revision: str = "", *more: str, endpoint: str, home: Path, script: str = SCRIPT
) -> subprocess.CompletedProcess[str]:
    """Load in a process of its own: huggingface_hub reads its environment when it is imported."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    command = [sys.executable, "-c", script, name, revision, *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)


def test_a_hub_model_is_fetched_once_and_pinned_by_its_commit(hub: Hub, bert_folder: Path, tmp_path: Path) -> None:
    fetched = load("small/bert", endpoint=hub.address, home=tmp_path)
    spec, vectors = json.loads(fetched.stdout)
    assert spec == EmbedderSpec("small/bert", revision=COMMIT, dimension=32).to_json()
    assert vectors == load_embedder(EmbedderSpec(str(bert_folder))).embed(["one two"]).tolist()
    assert fetched.stderr == ""
    asked = len(hub.paths)
    again = load("small/bert", endpoint=hub.address, home=tmp_path)
    assert json.loads(again.stdout) == [spec, vectors]
    assert len(hub.paths) == asked


def test_a_pinned_commit_is_fetched_as_it_is(hub: Hub, tmp_path: Path) -> None:
    spec, _ = json.loads(load("small/bert", COMMIT, endpoint=hub.address, home=tmp_path).stdout)
    assert spec["revision"] == COMMIT


def test_a_branch_becomes_the_commit_it_stands_for(hub: Hub, tmp_path: Path) -> None:
    spec, _ = json.loads(load("small/bert", "main", endpoint=hub.address, home=tmp_path).stdout)
    assert spec["revision"] == COMMIT


def test_a_download_that_was_broken_off_is_finished(hub: Hub, tmp_path: Path) -> None:
    load("small/bert", endpoint=hub.address, home=tmp_path)
    (weights,) = tmp_path.rglob("model.safetensors")
    weights.unlink()
    spec, _ = json.loads(load("small/bert", endpoint=hub.address, home=tmp_path).stdout)
    assert spec["dimension"] == 32


@pytest.mark.parametrize("index", ["{}", "[]", '{"weight_map": {"a": 1}}', '{"weight', "[" * 100_000])
def test_a_damaged_list_of_weights_counts_as_a_download_that_was_broken_off(index: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert not _is_whole(tmp_path)


@pytest.mark.parametrize(("name", "revision"), [("small/other", ""), ("small/bert", "no-such-branch")])
def test_a_model_or_revision_that_the_hub_lacks_is_one_line(hub: Hub, tmp_path: Path, name: str, revision: str) -> None:
    done = load(name, revision, endpoint=hub.address, home=tmp_path)
    message = json.loads(done.stdout)
    assert name in message
    assert "the hub has no model" in message
    assert "\n" not in message
    assert done.stderr == ""


def test_a_hub_that_is_not_there_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    done = load("small/bert", endpoint="http://127.0.0.1:9", home=tmp_path)
    message = json.loads(done.stdout)
    assert message == (
        "cannot fetch the embedder small/bert from the hub (no connection); name a local folder of it, or minilm"
    )
    assert done.stderr == ""


def test_a_bare_name_is_one_of_sentence_transformers_own_models() -> None:
    with pytest.raises(InputError, match="sentence-transformers/no-such-model from the hub"):
        load_embedder(EmbedderSpec("no-such-model"))


def test_a_hub_model_is_allowed_by_its_commit_and_its_files_and_the_hub_is_asked_only_to_allow_it(
    hub: Hub, tmp_path: Path
) -> None:
    def consent(*words: str) -> str:
        return load("small/bert", COMMIT, *words, endpoint=hub.address, home=tmp_path, script=CONSENT).stdout.strip()

    assert consent().startswith("bank names the embedder `small/bert`, which you do not name")
    assert hub.paths == []
    assert consent("--trust-embedder") == "allowed"
    asked = len(hub.paths)
    assert consent() == "allowed"
    (vocabulary,) = tmp_path.rglob("snapshots/*/vocab.txt")
    vocabulary.resolve().write_text("another\n")
    assert "is not what it was when you allowed it" in consent()
    assert len(hub.paths) == asked
