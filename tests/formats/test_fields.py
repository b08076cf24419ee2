from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import pytest

from jisi_cli.formats import fields
from jisi_cli.formats.issues import ImportIssue, UnusableError


@pytest.mark.parametrize(
    ("written", "score"),
    [
        *((1, 1.0), (0.25, 0.25), (True, 1.0), ("1", 1.0), ("true", 1.0), ("False", 0.0), (" 0.5 ", 0.5)),
        *((Decimal("0.5"), 0.5), (Decimal("1.0"), 1.0)),
        *((None, None), ("", None), ("nan", None), (math.nan, None), ("NaN", None), ("null", None)),
    ],
)
def test_a_score_may_be_written_in_several_ways(written: object, score: float | None):
    assert fields.score(written) == score


@pytest.mark.parametrize("written", [1.01, -0.1, "2", "yes", math.inf, "inf", 10**400, [1], {"acc": 1}])
def test_what_is_no_score_between_0_and_1_is_unusable(written: object):
    with pytest.raises(UnusableError):
        fields.score(written)


@pytest.mark.parametrize(("written", "count"), [(3, 3), (3.0, 3), ("3", 3), (0, 0), (None, None), (math.nan, None)])
def test_a_token_count_may_arrive_as_a_float_or_text(written: object, count: int | None):
    assert fields.tokens(written, "tokens") == count


@pytest.mark.parametrize("written", [-1, 2.5, True, "many", 10**12])
def test_what_is_no_count_is_unusable(written: object):
    with pytest.raises(UnusableError):
        fields.tokens(written, "tokens")


@pytest.mark.parametrize(
    ("index", "order"),
    [
        ("10", 10),
        ("007", 7),
        ("-3", -3),
        ("a1", None),
        ("1.5", None),
        ("", None),
        ("9" * 19, None),
        ("²", None),
    ],
)
def test_only_an_integer_index_has_an_order(index: str, order: int | None):
    assert fields.order(index) == order


@pytest.mark.parametrize(
    ("response", "score", "stated", "status"),
    [
        ("text", 1.0, None, "ok"),
        ("", 0.0, None, "ok"),
        (None, 1.0, None, "ok"),
        ("text", None, None, "unscored"),
        ("text", None, "ok", "unscored"),
        (None, None, None, "missing"),
        (None, None, "failed", "failed"),
        (None, 0.0, "FAILED", "failed"),
        (None, 0.0, "missing", "missing"),
    ],
)
def test_the_status_follows_from_what_is_there(response, score, stated, status):
    assert fields.status(response, score, stated) == status


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(("a", "a"), (None, None), (math.nan, None), (5.0, "5"), (0.5, "0.5"), (True, "true"), (["é"], '["é"]')),
        *((Decimal("5.00"), "5"), (Decimal("0.50"), "0.50"), (date(2024, 1, 2), "2024-01-02"), ("é".encode(), "é")),
        *((Decimal("1e30"), "1" + "0" * 30), (Decimal("9" * 40 + ".5"), "9" * 40 + ".5")),
        *((b"\xff", "\ufffd"), ({"day": date(2024, 1, 2)}, '{"day": "2024-01-02"}')),
    ],
)
def test_any_value_has_one_text(value: object, text: str | None):
    assert fields.text(value) == text


def test_a_pair_of_surrogates_is_joined_and_a_half_is_replaced():
    assert fields.text("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"


def test_a_problem_says_where_it_is():
    assert str(ImportIssue("a.jsonl", 3, "no question")) == "a.jsonl:3: no question"
    assert str(ImportIssue("a.jsonl", None, "ignored")) == "a.jsonl: ignored"
