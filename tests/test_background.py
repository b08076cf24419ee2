"""The thread on which calls are made, where it cannot be started."""

from __future__ import annotations

import threading
import warnings

import pytest

from jisi_cli.background import Background, run_calls


async def nothing() -> int:
    return 7


@pytest.mark.parametrize("carry_out", [run_calls, lambda work: Background().submit(work)])
def test_work_that_no_thread_can_be_started_for_leaves_one_error_and_no_warning(
    carry_out: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        patch.setattr(threading.Thread, "start", no_room)
        with pytest.raises(RuntimeError, match="start new thread"):
            carry_out(nothing())  # type: ignore[operator]
    assert [str(one.message) for one in told] == []


def test_after_a_failed_start_the_next_try_may_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Background() as background:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(MemoryError()))
            with pytest.raises(MemoryError):
                background.run(nothing())
        assert background.run(nothing()) == 7
