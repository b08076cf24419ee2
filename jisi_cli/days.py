"""Days and moments as a person means them: in the time zone of this machine. What is stored is in UTC."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from jisi_cli.errors import InputError, did_you_mean

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_AGO = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def now() -> datetime:
    """Return this moment, in the time zone of this machine."""
    return datetime.now(UTC).astimezone()


def local(moment: str | None) -> datetime | None:
    """Return a stored moment in the time zone of this machine; None for none, or for what is no moment."""
    if moment is None:
        return None
    try:
        found = datetime.fromisoformat(moment)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError):
        return None


def local_day(moment: str | None) -> str | None:
    """Return the day of a stored moment, as `2026-01-31`."""
    found = local(moment)
    return None if found is None else found.date().isoformat()


def start_of_day(moment: datetime) -> datetime:
    """Return when the day of a moment began."""
    return _midnight(moment.date())


def start_of_month(moment: datetime) -> datetime:
    """Return when the month of a moment began."""
    return _midnight(moment.date().replace(day=1))


def since(text: str, flag: str, at: datetime) -> datetime:
    """Return the moment from which on a person means.

    Args:
        text: A day as in 2026-01-31, `today`, `yesterday`, the latest `monday` (today, on a Monday), or a time ago:
            `12h`, `7d`, `2w`.
        flag: Which option says so, for the error.
        at: This moment.

    Raises:
        InputError: It is none of these.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    if ago is not None:
        return at - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
    return _midnight(_day(text, flag, at.date()))


def until(text: str, flag: str, at: datetime) -> datetime:
    """Return the moment up to which a person means: the end of the day they name.

    Raises:
        InputError: As `since` says.
    """
    ago = _AGO.fullmatch(text.strip().lower())
    if ago is not None:
        return at - timedelta(hours=int(ago[1]) * _HOURS[ago[2]])
    day = _day(text, flag, at.date())
    return _midnight(day + timedelta(days=1)) if day < date.max else datetime.max.replace(tzinfo=UTC)


def _day(text: str, flag: str, today: date) -> date:
    word = text.strip().lower()
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    if word in _WEEKDAYS:
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(word)) % 7)
    try:
        return date.fromisoformat(word)
    except ValueError:
        near = did_you_mean(word, ("today", "yesterday", *_WEEKDAYS))
        raise InputError(
            f"{flag} takes a day such as 2026-01-31, today, yesterday or monday, or a time ago such as 7d, "
            f"not {text!r}{near}"
        ) from None


def _midnight(day: date) -> datetime:
    # The zone's own offset on that day: it is another in summer.
    return datetime.combine(day, time()).astimezone()
