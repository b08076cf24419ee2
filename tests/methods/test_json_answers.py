"""JSON that was asked for is compared as JSON."""

from __future__ import annotations

import pytest

from jisi_cli.methods.final_answers import final_answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1, "b": [true, null]}', '{"b":[true,null],\n"a":1}'),
        ('{"n": 4}', '{"n": 4.0}'),
        ('{"n": 100}', '{"n": 1e2}'),
        ('{"town": "Z\\u00fcrich"}', '{"town": "Zürich"}'),
        ('{"answer": "Paris"}', '{"answer": "paris"}'),
        (
            '{"answer": "Paris", "why": "it has been the capital for long"}',
            '{"answer": "paris", "why": "I just know that it is"}',
        ),
    ],
)
def test_the_same_in_another_form_is_the_same_answer(one: str, other: str) -> None:
    found = final_answer(one, None, is_json=True)
    assert found is not None and found == final_answer(other, None, is_json=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"n": 4}', '{"n": "4"}'),
        ('{"n": 1}', '{"n": true}'),
        ("[1, 2]", "[2, 1]"),
        ('{"n": 4}', '{"n": 4, "m": null}'),
    ],
)
def test_what_is_not_equal_is_another_answer(one: str, other: str) -> None:
    found = [final_answer(text, None, is_json=True) for text in (one, other)]
    assert None not in found and found[0] != found[1]


@pytest.mark.parametrize(
    "text",
    [
        '{"summary": "It rained all day in the hills."}',
        '{"n": NaN}',
        '{"n": 4',
        "[" * 5_000,
        '{"n": ' + "9" * 5000 + "}",
    ],
    ids=["open text", "not a number", "cut off", "nested", "a long number"],
)
def test_open_text_and_what_is_no_json_has_no_answer_to_compare(text: str) -> None:
    assert final_answer(text, None, is_json=True) is None


def test_json_that_was_not_asked_for_is_read_as_before() -> None:
    assert final_answer('{"n": 4}', None) is None
    assert final_answer('{"n": 4}', None, is_json=True) == '{"n":4}'
