"""The long-running scripts still run: once each, on very little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import build_memory, report_size, scale


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
