"""`--engine`: what it may say, and what is said when there is no such cluster."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jisi_cli.cluster.engine import RayEngine, read_engine
from jisi_cli.cluster.session import _ray_errors
from jisi_cli.errors import InputError, JisiError
from tests.cli.commands import jisi, says_one_error


def test_the_engine_is_this_process_unless_a_cluster_is_named() -> None:
    assert read_engine(None) is None and read_engine("asyncio") is None
    assert read_engine("ray") == RayEngine(None)
    assert read_engine("ray:head.local:6379") == RayEngine("head.local:6379")
    assert read_engine("ray:[::1]:6379") == RayEngine("[::1]:6379")
    assert read_engine("ray:auto") == RayEngine("auto")


@pytest.mark.parametrize("text", ["roy", "asyncio:1", "ray:no port", "ray:ray://head:10001", "ray://head:10001"])
def test_another_engine_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(InputError, match="--engine"):
        read_engine(text)


def test_a_cluster_that_does_not_answer_is_one_line_with_the_remedy() -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    run = jisi("eval", "sample_data/bank", "--method", "best-single", "--engine", "ray:127.0.0.1:1", "-q")
    says_one_error(run, 1, "127.0.0.1:1", "ray start --head")


def test_a_port_of_something_else_is_one_line_after_a_moment() -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code = (
            "import sys; from jisi_cli.cluster import session; from jisi_cli.cluster.engine import RayEngine;"
            "session._ANSWER_SECONDS = 0.5; session.Session(RayEngine(sys.argv[1]))"
        )
        command = [sys.executable, "-c", code, f"127.0.0.1:{other.getsockname()[1]}"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    *_, last = run.stderr.splitlines()
    assert run.returncode == 1 and "JisiError: what listens at 127.0.0.1:" in last
    assert "Failed to connect" not in run.stderr


def test_another_ray_on_the_cluster_is_named_with_what_to_do() -> None:
    utils = pytest.importorskip("ray._private.utils", reason="needs the extra `ray`")
    theirs = {"ray_version": "2.1.0", "python_version": "3.8.10"}
    with pytest.raises(JisiError, match="runs another Ray or Python than this") as refused, _ray_errors("head:6379"):
        utils.check_version_info(theirs, "here")
    assert "install the same versions" in str(refused.value)


def test_without_ray_the_engine_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('no ray', name='ray')\n")
    code = "from jisi_cli.__main__ import main; main()"
    command = [sys.executable, "-c", code, "eval", "sample_data/bank", "-m", "knn", "--engine", "ray"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert run.returncode == 2 and 'pip install "jisi[ray]"' in run.stderr and "Traceback" not in run.stderr


def test_a_comparison_by_batch_leaves_nothing_to_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-all")
    pool = tmp_path / "jisi.toml"
    pool.write_text('[[models]]\nname = "smollm2-brief"\nlitellm = "openai/ada"\n')
    asked = ("eval", "sample_data/bank", "--live", "--batch", "-m", "best-single", "--config", pool, "--engine", "ray")
    says_one_error(jisi(*asked, "--models", "smollm2-brief"), 2, "--live --batch", "leave --engine out")


def test_nothing_of_ray_is_imported_without_it() -> None:
    code = (
        "import sys; from jisi_cli.cli.app import build_app; from typer.testing import CliRunner;"
        "import jisi_cli.cluster.workers, jisi_cli.cluster.session, jisi_cli.spending;"
        "words = ['eval', 'sample_data/bank', '-m', 'best-single', '--engine', 'asyncio'];"
        "run = CliRunner().invoke(build_app(), words);"
        "assert run.exit_code == 0; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_header_of_the_pool_file_is_sent_to_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-all")
    params = '{ extra_headers = { Authorization = "Bearer of-mine" } }'
    pool = tmp_path / "jisi.toml"
    pool.write_text(f'[[models]]\nname = "ada"\nlitellm = "openai/ada"\nparams = {params}\n')
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "What is 1 plus 1?", "ground_truth": "2"}\n')
    asked = ("bank", "build", questions, "-o", tmp_path / "bank", "--call", "--config", pool, "--engine", "ray")
    run = jisi(*asked, "--embedder", "hashing", "-q")
    says_one_error(run, 2, "`ada`: `params` hold headers", "api_key_env")
    assert "mine" not in run.stderr
