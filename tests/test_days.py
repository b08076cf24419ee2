"""Days and moments as a person means them, in their own time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from jisi_cli import days
from jisi_cli.errors import InputError


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def at(*parts: int) -> datetime:
    return datetime(*parts).astimezone()  # type: ignore[arg-type]


WEDNESDAY = (2026, 1, 28, 13, 30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", (2026, 1, 28)),
        ("yesterday", (2026, 1, 27)),
        ("monday", (2026, 1, 26)),
        ("Wednesday", (2026, 1, 28)),
        ("thursday", (2026, 1, 22)),
        ("2026-01-31", (2026, 1, 31)),
        ("12h", (2026, 1, 28, 1, 30)),
        ("7d", (2026, 1, 21, 13, 30)),
        ("2w", (2026, 1, 14, 13, 30)),
    ],
)
def test_since_is_the_beginning_of_a_day_or_a_time_ago(zone: str, text: str, expected: tuple[int, ...]) -> None:
    assert days.since(text, "--since", at(*WEDNESDAY)) == at(*expected)


def test_until_is_the_end_of_a_day(zone: str) -> None:
    assert days.until("yesterday", "--until", at(*WEDNESDAY)) == at(2026, 1, 28)
    assert days.until("9999-12-31", "--until", at(*WEDNESDAY)).year == 9999
    assert days.until("1d", "--until", at(*WEDNESDAY)) == at(2026, 1, 27, 13, 30)


@pytest.mark.parametrize("text", ["mnday", "7", "7x", "0d", "-1d", "2026-13-01", "", "last week", "99999999d"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match="--since takes a day such as 2026-01-31"):
        days.since(text, "--since", at(*WEDNESDAY))


def test_a_misspelt_day_is_answered_with_the_near_one() -> None:
    with pytest.raises(InputError, match="did you mean `monday`"):
        days.since("mnday", "--since", at(*WEDNESDAY))


def test_a_stored_moment_belongs_to_the_day_it_was_for_the_person(zone: str) -> None:
    stored = "2026-01-31T02:00:00.000+00:00"
    expected = {"UTC": "2026-01-31", "America/Los_Angeles": "2026-01-30", "Asia/Kolkata": "2026-01-31"}
    assert days.local_day(stored) == expected[zone]
    assert days.local_day(None) is None
    for text in ("", "soon", "9999-99-99", "0001-01-01T00:00:00+14:00"):
        assert days.local_day(text) is None or days.local_day(text)


def test_a_day_begins_at_midnight_on_both_sides_of_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        summer = days.start_of_day(datetime(2026, 7, 1, 20, tzinfo=UTC).astimezone())
        winter = days.start_of_day(datetime(2026, 1, 1, 20, tzinfo=UTC).astimezone())
        assert (summer.astimezone(UTC).hour, winter.astimezone(UTC).hour) == (7, 8)
        month = days.start_of_month(datetime(2026, 3, 20, 20, tzinfo=UTC).astimezone())
        assert month.astimezone(UTC) == datetime(2026, 3, 1, 8, tzinfo=UTC)  # before the clock went forward
    finally:
        monkeypatch.undo()
        time.tzset()
