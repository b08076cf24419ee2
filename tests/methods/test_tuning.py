"""Settings behind a method's name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.registry import parse_settings


@dataclass(frozen=True)
class Some:
    size: int = 3
    weight: float = 0.5
    kind: str = "round"


def test_settings_are_replaced_by_name_and_the_others_stay() -> None:
    assert parse_settings("m", Some()) == Some()
    assert parse_settings("m:weight=0.25", Some()) == Some(weight=0.25)
    assert parse_settings("m:size=7:kind=square:weight=0", Some()) == Some(7, 0.0, "square")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m:size=0", "size is a whole number from 1, not '0'"),
        ("m:size=1.5", "size is a whole number from 1"),
        ("m:size=", "size is a whole number from 1"),
        ("m:weight=-1", "weight is a number from 0, not '-1'"),
        ("m:weight=nan", "weight is a number from 0"),
        ("m:weight=inf", "weight is a number from 0"),
        ("m:size=999999999999999999999999", "size is at most 1,000,000, not 9"),
        ("m:weight=1e300", "weight is at most 1,000,000, not 1e300"),
        ("m:weight=heavy", "weight is a number from 0"),
        ("m:depth=2", "no setting `depth=2`; settings are size=3, weight=0.5, kind=round"),
        ("m:size", "no setting `size`"),
        ("m:", "no setting ``"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_settings(name, Some())
