"""What was learned is learned once, and again when anything that decides it is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli import paths
from jisi_cli.methods.training import OnStep, State, Training, learned, training_data
from tests.methods.synthetic import Setting, changed, setting


class Counted:
    """A training that counts how often it runs."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, on_step: OnStep) -> State:
        self.runs += 1
        on_step(1, 2)
        on_step(2, 2)
        return {"weights": np.arange(6.0).reshape(2, 3), "name": np.array(["a", "b"])}


def learn(
    train: Counted,
    given: Setting,
    *,
    name: str = "m",
    version: int = 1,
    rate: float = 0.1,
    seed: int = 1,
    training: Training | None = None,
) -> State:
    examples = training_data(given.context.bank, given.context.datasets)
    return learned(name, version, ("rate", rate), seed, examples, train, training=training)


def kept() -> list[Path]:
    return sorted((paths.cache_folder() / "trained").iterdir())


def test_the_same_data_is_learned_from_once_in_whatever_order() -> None:
    train, given = Counted(), setting()
    first = learn(train, given)
    order = np.random.default_rng(0).permutation(40).tolist()
    again = learn(train, given.with_rows(order).with_models([3, 1, 0, 2]))
    assert train.runs == 1
    assert {name: array.tolist() for name, array in again.items()} == {n: a.tolist() for n, a in first.items()}


def test_anything_else_is_learned_anew() -> None:
    train, given = Counted(), setting()
    bank = given.context.bank
    moved = replace(given, context=replace(given.context, bank=replace(bank, scores=1.0 - bank.scores)))
    learn(train, given)
    learn(train, moved)
    learn(train, given.with_models([0, 1, 2]))
    learn(train, given, name="n")
    learn(train, given, version=2)
    learn(train, given, rate=0.2)
    learn(train, given, seed=2)
    assert train.runs == 7
    assert len(kept()) == 7


def test_what_the_training_took_is_told_and_kept_with_what_it_found() -> None:
    steps: list[tuple[int, int]] = []
    train, given = Counted(), setting()
    first = Training(on_step=lambda done, total: steps.append((done, total)))
    assert set(learn(train, given, training=first)) == {"weights", "name"}
    assert steps == [(1, 2), (2, 2)]
    assert first.trained and not first.from_cache and first.seconds is not None
    again = Training(on_step=lambda done, total: steps.append((done, total)))
    assert set(learn(train, given, training=again)) == {"weights", "name"}
    assert len(steps) == 2
    assert again.trained and again.from_cache
    # Not what it took to read it.
    assert again.seconds == first.seconds


@pytest.mark.parametrize("odd", [np.array([1.0]), np.array("soon"), np.array(-1.0), np.array(np.nan)])
def test_a_time_that_is_none_is_unknown(odd: np.ndarray) -> None:
    train, given = Counted(), setting()
    learn(train, given)
    (path,) = kept()
    with np.load(path) as arrays:
        changed = dict(arrays)
    for times in ({}, {"training_seconds": odd}):
        np.savez(path, **{**{name: changed[name] for name in ("weights", "name")}, **times})
        training = Training()
        learn(train, given, training=training)
        assert (training.seconds, training.from_cache) == (None, True)
    assert train.runs == 1


@pytest.mark.parametrize("damage", [b"", b"not a file of arrays", b"PK\x03\x04 and then nothing"])
def test_a_damaged_file_is_learned_anew_and_replaced(damage: bytes) -> None:
    train, given = Counted(), setting()
    learn(train, given)
    (path,) = kept()
    path.write_bytes(damage)
    assert learn(train, given)["weights"].shape == (2, 3)
    assert train.runs == 2
    learn(train, given)
    assert train.runs == 2


def test_a_half_written_file_is_learned_anew() -> None:
    train, given = Counted(), setting()
    learn(train, given)
    (path,) = kept()
    path.write_bytes(path.read_bytes()[:-40])
    learn(train, given)
    assert train.runs == 2


def test_pickles_are_never_read() -> None:
    train, given = Counted(), setting()
    learn(train, given)
    (path,) = kept()
    with path.open("wb") as file:
        np.savez(file, weights=np.array([{"a": 1}], dtype=object))
    assert learn(train, given)["weights"].dtype == np.float64
    assert train.runs == 2


def test_nothing_half_written_stays_behind_and_the_folder_is_the_users_own() -> None:
    learn(Counted(), setting())
    assert [path.suffix for path in kept()] == [".npz"]
    assert (paths.cache_folder() / "trained").stat().st_mode & 0o077 == 0


def test_without_a_place_to_keep_it_learning_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JISI_CACHE_HOME", str(tmp_path / "file"))
    train = Counted()
    learn(train, setting())
    learn(train, setting())
    assert train.runs == 2


def test_methods_of_one_comparison_learn_from_the_same_data() -> None:
    context = setting().context
    data = context.data
    assert replace(context, training=Training()).data is data
    assert data.vectors.tobytes() == training_data(context.bank, context.datasets).vectors.tobytes()
    smaller = replace(context, bank=setting(rows=30).context.bank, rows=setting(rows=30).context.rows)
    assert len(smaller.data.vectors) == 30
    elsewhere = changed(smaller, datasets=["law"] * 30)
    assert set(elsewhere.data.datasets) == {"law"}
