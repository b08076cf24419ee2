"""Waiting for workers: as long as others use the cluster, and not for ever where it has none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jisi_cli.cluster import patience
from jisi_cli.cluster.patience import Patience
from jisi_cli.cluster.session import Session
from jisi_cli.errors import JisiError


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def waiting(
    monkeypatch: pytest.MonkeyPatch, total: dict[str, float], free: dict[str, float]
) -> tuple[Clock, Patience, list[str]]:
    clock, told = Clock(), list[str]()
    monkeypatch.setattr(patience, "time", clock)
    cluster: Any = Session.__new__(Session)
    cluster.warn = told.append
    cluster.ray = SimpleNamespace(cluster_resources=lambda: total, available_resources=lambda: free)
    return clock, Patience(cluster, {"CPU": 1.0, "GPU": 0.0}), told


def test_a_cluster_that_others_use_is_waited_for_and_the_user_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"GPU": 1.0}
    clock, patient, told = waiting(monkeypatch, {"CPU": 2.0}, free)
    for clock.now in range(0, 30, 2):
        patient.check()
    assert told == []
    for clock.now in range(30, 2000, 2):
        patient.check()
    assert told == ["waiting for a worker of the Ray cluster with 1 CPU; `ray status` shows what is in use"]
    # They have ended, and still there is no worker.
    free["CPU"] = 1.0
    clock.now += 110
    patient.check()
    clock.now += 30
    with pytest.raises(JisiError, match="no worker with 1 CPU for 120 seconds"):
        patient.check()


def test_a_cluster_without_what_a_worker_needs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, patient, told = waiting(monkeypatch, {"CPU": 0.0}, {})
    clock.now = 119
    patient.check()
    clock.now = 121
    with pytest.raises(JisiError, match="`ray status` says why"):
        patient.check()
    assert told == []
