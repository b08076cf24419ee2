"""The file behind `--out`: what it keeps, what it cuts off, what it leaves alone."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.errors import InputError
from jisi_cli.evaluation.results import Result, ResultFile, content_key, read_results
from jisi_cli.hyperparameters import Hyperparameters

SCORED = Result("k1", "gsm", "7", "jisi-router", "scored", 1.0, "ada", "route", 3, 0.01, 0.002, 310, 88)
FAILED = Result("k2", "gsm", "8", "jisi-router", "failed", 0.0, error="no model could answer (ada: 503 “überlastet”)")
LIVE = Result("k3", "gsm", "9", "jisi", "unscored", answer="line one\nline two\u2028\x85\x0b \U0001f600")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def write(path: Path, *results: Result) -> None:
    with ResultFile(path) as file:
        for result in results:
            file.write(result)


def known(path: Path) -> dict[str, Result]:
    with ResultFile(path) as file:
        return dict(file.known)


def test_what_was_written_is_found_again_under_its_key(path: Path) -> None:
    write(path, SCORED, FAILED, LIVE)
    assert known(path) == {"k1": SCORED, "k2": FAILED, "k3": LIVE}
    assert list(read_results(path)) == [SCORED, FAILED, LIVE]


def test_every_result_is_one_line_of_json_on_disk_as_soon_as_it_is_written(path: Path) -> None:
    with ResultFile(path) as file:
        for number, result in enumerate((SCORED, FAILED, LIVE), start=1):
            file.write(result)
            lines = path.read_bytes().split(b"\n")
            assert lines.pop() == b""
            assert len(lines) == number
            assert json.loads(lines[-1]) == asdict(result)


@given(st.text() | st.sampled_from(["\ud83d", "a\udfff\n", "\r\n\x00"]))
def test_any_answer_of_a_model_is_found_again(tmp_path_factory: pytest.TempPathFactory, answer: str) -> None:
    path = tmp_path_factory.mktemp("any") / "results.jsonl"
    write(path, replace(LIVE, answer=answer), SCORED)
    assert known(path) == {"k3": replace(LIVE, answer=answer), "k1": SCORED}


def test_a_second_result_under_a_key_takes_the_place_of_the_first(path: Path) -> None:
    again = replace(FAILED, status="scored", score=1.0, error=None)
    write(path, FAILED, again)
    assert known(path) == {"k2": again}


@pytest.mark.parametrize("left", range(0, 200, 7))
def test_a_half_written_last_line_is_cut_off_wherever_it_ends(path: Path, left: int) -> None:
    write(path, SCORED, LIVE)
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + second[:left])
    assert known(path) == {"k1": SCORED}
    write(path, LIVE)
    assert known(path) == {"k1": SCORED, "k3": LIVE}
    assert path.read_bytes() == first + b"\n" + second + b"\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"my thesis", 1),
        (b"my thesis\n", 1),
        (b"{}\n", 1),
        (b"[]\n", 1),
        (b"null\n", 1),
        (b'{"query": "What is 2 plus 2?", "index": 1}\n', 1),
        (b'{"query": "What is 2 plus 2?", "index": 1}', 1),
        (b"\n", 1),
        (b"\x1f\x8b\x08\x00 not text", 1),
        (b"[" * 100_000 + b"\n", 1),
    ],
)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(path: Path, content: bytes, line: int) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"results\.jsonl:{line}: not a result of `jisi eval`; .*--out"):
        ResultFile(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("foreign", [b"notes of mine", b"notes of mine\n", b"{\n"])
def test_a_strange_line_behind_results_is_refused_and_left_as_it_is(path: Path, foreign: bytes) -> None:
    write(path, SCORED, FAILED)
    content = path.read_bytes() + foreign
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"results\.jsonl:3: not a result"):
        ResultFile(path)
    assert path.read_bytes() == content


@given(st.binary(max_size=40))
def test_opening_any_file_ends_in_results_or_in_one_line_and_loses_no_foreign_byte(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        ResultFile(path).__exit__()
    except InputError:
        assert path.read_bytes() == content
    else:
        # Empty, or the beginning of a first result.
        assert b'{"key": "'.startswith(content[:9])


def test_a_key_that_a_later_version_adds_is_passed_over(path: Path) -> None:
    write(path, SCORED)
    line = json.loads(path.read_text())
    path.write_text(json.dumps({**line, "mood": 0.5}) + "\n")
    assert known(path) == {"k1": SCORED}


def test_a_line_of_a_version_without_confidence_is_still_a_result(path: Path) -> None:
    lines = [
        {name: value for name, value in asdict(result).items() if name != "confidence"} for result in (SCORED, LIVE)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert list(read_results(path)) == [SCORED, LIVE]
    assert SCORED.confidence is None


def test_a_confidence_is_kept_and_one_that_is_no_probability_is_refused(path: Path) -> None:
    write(path, replace(SCORED, confidence=0.875))
    assert [result.confidence for result in read_results(path)] == [0.875]
    for confidence in (1.5, True):
        path.write_text(json.dumps(asdict(replace(SCORED, confidence=confidence))) + "\n")
        with pytest.raises(InputError, match="not a result"):
            list(read_results(path))


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/r.jsonl: cannot be written .*--out"):
        ResultFile(tmp_path / "nowhere" / "r.jsonl")
    with pytest.raises(InputError, match=r"cannot be written \(it is a folder\)"):
        ResultFile(tmp_path)


def test_a_pipe_is_no_file_of_results() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(InputError, match="cannot be written"):
            ResultFile(Path(f"/dev/fd/{writing}"))
    finally:
        os.close(reading)
        os.close(writing)


def test_the_null_device_swallows_results() -> None:
    write(Path(os.devnull), SCORED)
    assert known(Path(os.devnull)) == {}


def test_without_a_file_results_are_kept_in_memory() -> None:
    with ResultFile(None) as file:
        file.write(SCORED)
        assert file.known == {"k1": SCORED}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_the_next_run_goes_on(path: Path) -> None:
    write(path, SCORED)
    size = path.stat().st_size
    with ResultFile(path) as file, disk_of(size + 10), pytest.raises(InputError, match="cannot be written"):
        file.write(FAILED)
    assert path.stat().st_size == size + 10
    assert known(path) == {"k1": SCORED}


@pytest.mark.parametrize("unreadable", ["nowhere.jsonl", "."])
def test_reading_what_is_not_there_is_told(tmp_path: Path, unreadable: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_results(tmp_path / unreadable))


def test_results_from_before_there_was_a_prior_are_found_again() -> None:
    of_0_1 = (
        {"k": 3, "n_base": 50, "gamma": 0.95, "beta": 0.5, "epsilon": 0.5, "sigma": 0.3, "delta": 0.2, "t": 0.8}
        | {"max_aggregate_tokens": 13_000, "compat": "paper", "switch": "paper", "u": 0.999, "probe_schedule": ""}
        | {"price_weight": 0.0}
    )  # fmt: skip
    assert Hyperparameters().identity() == of_0_1
    assert Hyperparameters(prior=10.0).identity() == of_0_1 | {"prior": 10.0}


def test_content_keys_are_equal_exactly_when_their_parts_are() -> None:
    parts = [("a", "b"), ("ab",), ("a", "b", None), ("a", ["b"]), ({"a": 1},), ({"a": 2},), ("1",), (1,), (True,), ()]
    assert len({content_key(*given) for given in parts}) == len(parts)
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    # A lone half of a surrogate pair, which a model may well emit.
    assert content_key("\ud800") == content_key("\ud800") != content_key("\udfff")
