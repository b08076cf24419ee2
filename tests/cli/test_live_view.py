"""What a person sees while `jisi ask` works."""

from __future__ import annotations

import pytest

from jisi_cli.cli import live_view
from jisi_cli.cli.live_view import TerminalView
from jisi_cli.cli.output import Output


def test_a_call_may_begin_while_a_frame_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    view = TerminalView(Output())
    view.asked("ada", "probe")
    view.asked("bob", "probe")

    def meanwhile(text: str) -> str:
        view.asked("cyd", "probe")  # as the thread that calls models does, while another draws
        return text

    monkeypatch.setattr(live_view, "one_line", meanwhile)
    view._frame()
