"""The form of an answer: what fits, what is said of what does not, and schemas that try to do harm."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from jisi_cli.answer_format import AnswerFormat, UnfitError, format_of, in_words, read_format
from jisi_cli.errors import InputError

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_the_json_of_an_answer_is_taken_out_of_a_code_block_around_it() -> None:
    form = format_of(PERSON)
    fitting = '{"name": "Ada", "age": 36}'
    for text in (fitting, f"\n  {fitting}\n", f"```json\n{fitting}\n```", f"```\n{fitting}```\n"):
        assert form.fit(text) == fitting


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada is 36.", "it is not JSON"),
        ('{"name": "Ada", "age": NaN}', "it is not JSON"),
        ('Here it is: {"name": "Ada", "age": 36}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"name": "Ada"}', r"\$: 'age' is a required property"),
        ('{"name": "Ada", "age": "36"}', r"\$\.age: '36' is not of type 'integer'"),
        ('{"name": "ada", "age": 36}', r"\$\.name: 'ada' does not match"),
        ('{"name": "Ada", "age": 36, "x": 1}', "'x' is not among its properties"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(UnfitError, match=words):
        format_of(PERSON).fit(text)


def test_any_json_object_will_do_without_a_schema() -> None:
    form = read_format({"type": "json_object"})
    assert form is not None and form.fit('{"a": 1}') == '{"a": 1}'
    with pytest.raises(UnfitError, match="not a JSON object"):
        form.fit("[1]")
    assert read_format(None) is read_format({"type": "text"}) is None


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"patternProperties": {"^n_": {"type": "number"}}, "additionalProperties": False}, {"n_a": 1}, {"m": 1}),
        ({"patternProperties": {"^n_": {"type": "number"}}}, {"n_a": 1, "m": "x"}, {"n_a": "x"}),
        ({"additionalProperties": {"type": "number"}}, {"a": 1}, {"a": "x"}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}], [{"a": [1], "b": 2}, {"b": 2.0, "a": [1.0]}]),
        ({"uniqueItems": True}, [0, False], [1, 1.0]),
        ({"$defs": {"n": {"type": "number"}}, "items": {"$ref": "#/$defs/n"}}, [1], ["x"]),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"}, 1, "x"),
        ({"pattern": r"^\p{Lu}"}, "Éa", "éa"),
        ({"$defs": {"n": {"$anchor": "number", "type": "number"}}, "items": {"$ref": "#number"}}, [1], ["x"]),
    ],
)
def test_keywords_of_our_own_mean_what_the_standard_says(schema: Any, good: Any, bad: Any) -> None:
    form = format_of(schema)
    form.fit(json.dumps(good))
    with pytest.raises(UnfitError):
        form.fit(json.dumps(bad))


LAUGHS = {
    "$defs": {
        **{f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}, {"$ref": f"#/$defs/l{n + 1}"}]} for n in range(40)},
        "l40": {"type": "object"},
    },
    "$ref": "#/$defs/l0",
}


BACK_TO_ITSELF = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "pattern": "^(a+)+$",
    "properties": {"a": {"$ref": "#"}},
}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"pattern": "^(a+)+$"}, '"' + "a" * 60 + '!"'),
        ({"patternProperties": {"^(a+)+$": True}}, '{"' + "a" * 60 + '!": 1}'),
        (BACK_TO_ITSELF, '{"a": "' + "a" * 60 + '!"}'),
        (LAUGHS, "{}"),
        ({"$ref": "#"}, "{}"),
        ({"multipleOf": 0.1}, "1e999"),
        ({"uniqueItems": True}, "[" + ",".join(f'{{"n": {n}}}' for n in range(20_000)) + "]"),
    ],
    ids=["pattern", "pattern of a name", "back to a part with a dialect", "laughs", "itself", "infinity", "many items"],
)
@pytest.mark.slow
def test_a_schema_holds_nothing_up(schema: Any, answer: str) -> None:
    started = time.process_time()
    try:
        format_of(schema).fit(answer)
    except UnfitError as error:
        assert len(str(error)) < 500
    assert time.process_time() - started < 20, "it would go on for years"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "must be a JSON object"),
        ({"$schema": []}, "`.schema` must be a text"),
        ({"type": "strange"}, r"is not a JSON schema: \$\.type"),
        ({"properties": {"a": 3}}, r"is not a JSON schema: \$\.properties\.a"),
        (
            {"$ref": "https://example.org/schema.json"},
            "refers to 'https://example.org/schema.json'; nothing",
        ),
        ({"prefixItems": [{"$ref": "other.json"}]}, "refers to 'other.json'"),
        ({"items": {"$ref": "#/$defs/missing"}}, "refers to '#/\\$defs/missing', and has no schema there"),
        ({"$ref": "#/const", "const": 5}, "refers to '#/const', and has no schema there"),
        ({"$ref": "#/required/first", "required": ["a"]}, "has no schema there"),
        ({"const": float("nan")}, "must be plain JSON"),
        ({"enum": ["x" * 1_100_000]}, "longer than 1,000 kB"),
        # jsonschema would look for the name with Python's `re`, which stops for nothing, and the whole server with it.
        (
            {"allOf": [{"patternProperties": {"^(a+)+$": True}}], "unevaluatedProperties": False},
            "write additionalProperties instead",
        ),
        # A minute, or hours, of comparing each with each.
        ({"allOf": [{"not": {}}] * 6000}, "has more than 5,000 parts"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "enum": [*range(6000), "a"]}, "more than 5,000 parts"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "names another `\\$schema` within itself"),
        ({"items": {"pattern": "a|" * 6000}}, "a pattern of more than 10,000 characters"),
        ({"patternProperties": {"a|" * 6000: True}}, "a pattern of more than 10,000 characters"),
    ],
)
def test_what_is_no_schema_is_refused_in_words(schema: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        format_of(schema)


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"not": schema}
    with pytest.raises(InputError, match="nested more than 64 levels"):
        format_of(schema)


@pytest.mark.parametrize(
    "given",
    [
        "json",
        {"type": "grammar"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "url": "x"}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": "yes"}},
        {"type": "json_schema", "json_schema": {"name": "a"}},
    ],
)
def test_a_format_of_another_shape_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="response_format"):
        read_format(given)


def test_a_reference_that_was_not_found_out_before_fetches_nothing() -> None:
    form = AnswerFormat({"json_schema": {"schema": {"$ref": "http://127.0.0.1:9/schema.json"}}})
    with pytest.raises(UnfitError, match="cannot be checked"):
        form.fit("{}")


def test_a_schema_in_a_place_of_none_may_be_anything() -> None:
    form = format_of({"$ref": "#/default", "default": {"required": 5, "properties": [1]}})
    with pytest.raises(UnfitError, match="the schema cannot be checked"):
        form.fit("{}")


def test_a_model_can_be_asked_in_words() -> None:
    assert json.dumps(PERSON) in in_words(format_of(PERSON).parameter)
    assert "object" in in_words({"type": "json_object"})
