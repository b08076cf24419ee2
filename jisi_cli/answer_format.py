"""The form of an answer that a question asks for: JSON, or JSON that fits a schema.

A schema is someone else's. It fetches nothing, it may not run for long, and no pattern of it holds up the rest.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jisi_cli.errors import InputError
from jisi_cli.plain_json import own_json

_MOST_SECONDS = 2.0
"""What checking one answer may take; what takes longer does not fit."""
_MOST_PARTS = 5000
"""Values in a schema, at any depth; a thousand properties have about four thousand."""
_PATTERN_SECONDS = 0.2
_LONGEST_PATTERN = 10_000
"""Characters."""
_MOST_WORDS = 200
"""Characters of what is said about a value that does not fit."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FENCED = re.compile(r"```[\w-]{0,20}[^\S\n]*\n(.*?)\n?[^\S\n]*```", re.DOTALL)
_JSON_KEYS = frozenset({"name", "schema", "strict", "description"})
_until: ContextVar[float] = ContextVar("jisi_schema_until")
"""When the check under way must have ended."""

_Check = Callable[[Any, Any, Any, Any], Iterator[Any] | None]
"""What checks one keyword of a schema: (validator, the keyword's value, the instance, the schema)."""


class UnfitError(ValueError):
    """An answer without the form that was asked for; the message says where and why."""


@dataclass(frozen=True)
class AnswerFormat:
    """The form that an answer must have.

    Attributes:
        parameter: `response_format` in OpenAI's shape: `json_object`, or `json_schema` with a schema.
    """

    parameter: Mapping[str, Any]

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The schema; None where any JSON object will do."""
        found: Mapping[str, Any] | None = self.parameter.get("json_schema", {}).get("schema")
        return found

    def fit(self, text: str) -> str:
        """Return the JSON of an answer, without a code block around it.

        Raises:
            UnfitError: It is not JSON, or does not fit the schema.
        """
        whole = text.strip()
        fenced = _FENCED.fullmatch(whole)
        found = fenced[1].strip() if fenced else whole
        try:
            value = json.loads(found, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise UnfitError("it is not JSON") from None
        if self.schema is None:
            if not isinstance(value, dict):
                raise UnfitError("it is not a JSON object")
            return found
        _until.set(time.monotonic() + _MOST_SECONDS)
        try:
            error = next(self._validator.iter_errors(value), None)
        except (
            Exception
        ) as reason:  # A schema can refer to itself, or to what is none: jsonschema meets that variously.
            raise UnfitError(f"the schema cannot be checked ({type(reason).__name__.lstrip('_')})") from None
        if error is not None:
            raise UnfitError(f"{error.json_path[:_MOST_WORDS]}: {_short(error.message)}")
        return found

    @cached_property
    def _validator(self) -> Any:  # noqa: ANN401 - a class that is made
        import jsonschema
        from referencing import Registry

        usual = jsonschema.validators.validator_for(self.schema, default=jsonschema.Draft202012Validator)
        keywords = {name: _within_time(check) for name, check in {**usual.VALIDATORS, **_OWN}.items()}
        # A reference back to a part that names its dialect would be checked by that dialect's own keywords.
        schema = {name: part for name, part in (self.schema or {}).items() if name != "$schema"}
        # A registry of its own is never asked for what is elsewhere.
        return jsonschema.validators.extend(usual, keywords)(schema, registry=Registry())


def read_format(value: object) -> AnswerFormat | None:
    """Read the form of an answer in OpenAI's shape; None for text.

    Args:
        value: `{"type": "text" | "json_object" | "json_schema", …}`, or None.

    Raises:
        InputError: It has another shape, or the schema is none.
    """
    kind = value.get("type") if isinstance(value, Mapping) else value
    if kind is None or (kind == "text" and isinstance(value, Mapping)):
        return None
    if kind == "json_object" and isinstance(value, Mapping):
        return AnswerFormat({"type": "json_object"})
    given = value.get("json_schema") if isinstance(value, Mapping) and kind == "json_schema" else None
    if not isinstance(given, Mapping):
        raise InputError("`response_format` must be of type text, json_object, or json_schema with a `json_schema`")
    unknown = sorted(map(str, given.keys() - _JSON_KEYS))
    if unknown:
        raise InputError(f"response_format.json_schema.{unknown[0][:80]} is unknown")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError("response_format.json_schema.name must be a name of letters, digits, _ and -")
    if given.get("strict") not in (None, True, False) or not isinstance(given.get("description", ""), str):
        raise InputError("response_format.json_schema: `strict` is true or false, `description` a text")
    checked = {
        **own_json(dict(given), "response_format"),
        "schema": _schema(given.get("schema"), "response_format.json_schema.schema"),
    }
    return AnswerFormat({"type": "json_schema", "json_schema": checked})


def format_of(schema: object, where: str = "the schema") -> AnswerFormat:
    """Return the form of answers that fit a schema.

    Args:
        schema: A JSON schema; the dialect that it names, else that of 2020-12.
        where: What it is called in an error.

    Raises:
        InputError: It is none.
    """
    return AnswerFormat({"type": "json_schema", "json_schema": {"name": "answer", "schema": _schema(schema, where)}})


def in_words(parameter: Mapping[str, Any]) -> str:
    """Return how a model is asked for a form in words, where its provider does not take it otherwise."""
    schema = parameter.get("json_schema", {}).get("schema")
    words = "Answer with one JSON object alone: no other word, and no code block around it."
    if schema is None:
        return words
    words = "Answer with JSON alone: no other word, and no code block around it. It must fit this JSON schema:"
    return f"{words}\n{json.dumps(schema, ensure_ascii=False)}"


def _schema(schema: object, where: str) -> dict[str, Any]:
    import jsonschema

    if not isinstance(schema, Mapping):
        raise InputError(f"{where} must be a JSON object")
    own: dict[str, Any] = own_json(dict(schema), where)
    if not isinstance(own.get("$schema", ""), str):
        raise InputError(f"{where} is not a JSON schema: `$schema` must be a text")
    _check_size(own, where)
    kind = jsonschema.validators.validator_for(own, default=jsonschema.Draft202012Validator)
    try:
        # What is a pattern is found out when it is used: other languages have others.
        kind.check_schema(own, format_checker=jsonschema.FormatChecker(formats=()))
    except jsonschema.SchemaError as error:
        raise InputError(f"{where} is not a JSON schema: {error.json_path}: {_short(error.message)}") from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply") from None
    _check_references(own, where)
    _check_patterns(own, where)
    return own


def _check_size(schema: dict[str, Any], where: str) -> None:
    """Refuse a schema that takes long to be checked itself (a minute for a megabyte), or by rules of another dialect.

    jsonschema checks a part that names a dialect by that dialect as it stands, with patterns that know no time limit.
    """
    if sum(1 for _ in _parts(schema)) > _MOST_PARTS:
        raise InputError(f"{where} has more than {_MOST_PARTS:,} parts; make it smaller")
    if any(name == "$schema" and isinstance(part, str) for name, part in _keywords(list(schema.values()))):
        raise InputError(f"{where} names another `$schema` within itself; name one at its beginning")


def _parts(value: object) -> Iterator[object]:
    """Yield every value in a schema, at any depth."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield part
        yield from _parts(part)


def _check_references(schema: dict[str, Any], where: str) -> None:
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for ref in dict.fromkeys(_references(schema)):
        if not ref.startswith("#"):
            raise InputError(f"{where} refers to {ref[:80]!r}; nothing is fetched, so write it out under `$defs`")
        try:
            found = resolver.lookup(ref).contents
        except Exception:  # What stands where a pointer leads may be anything.
            found = None
        if not isinstance(found, dict | bool):
            raise InputError(f"{where} refers to {ref[:80]!r}, and has no schema there")


def _references(schema: dict[str, Any]) -> Iterator[str]:
    """Yield all that a schema refers to, at any depth: a property may be called so, too, but seldom holds a text."""
    for name, part in _keywords(schema):
        if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(part, str):
            yield part


def _check_patterns(schema: dict[str, Any], where: str) -> None:
    """Refuse patterns that could run for ever: in Python's own `re`, or if long to read, they know no time limit."""
    keywords = list(_keywords(schema))
    by_name = [part for name, part in keywords if name == "patternProperties" and isinstance(part, dict)]
    if by_name and any(name == "unevaluatedProperties" for name, _ in keywords):
        # jsonschema looks for those with `re`.
        raise InputError(f"{where} has patternProperties and unevaluatedProperties; write additionalProperties instead")
    patterns = [part for name, part in keywords if name == "pattern"] + [name for part in by_name for name in part]
    if any(isinstance(pattern, str) and len(pattern) > _LONGEST_PATTERN for pattern in patterns):
        raise InputError(f"{where} has a pattern of more than {_LONGEST_PATTERN:,} characters; shorten it")


def _keywords(value: object) -> Iterator[tuple[str, Any]]:
    """Yield every name in a schema with what it holds, at any depth."""
    for name, part in value.items() if isinstance(value, dict) else ():
        yield name, part
        yield from _keywords(part)
    for part in value if isinstance(value, list) else ():
        yield from _keywords(part)


def _short(words: str) -> str:
    """Return what is said of a value, whose text may be long and stands in the middle."""
    half = _MOST_WORDS // 2
    return words if len(words) <= _MOST_WORDS else f"{words[:half]} … {words[-half:]}"


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


# Keywords whose work jsonschema does not bound: patterns may take for ever, and comparing each with each grows with
# the square of a list's length.


def _within_time(check: _Check) -> _Check:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
        if time.monotonic() > _until.get():
            raise TimeoutError
        yield from check(validator, value, instance, schema) or ()

    return checked


def _matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text; one that only other languages know is."""
    import regex

    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS, concurrent=True) is not None
    except regex.error:
        return True


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
    for pattern, inner in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
    from jsonschema import ValidationError

    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items() if isinstance(instance, dict) else ():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"{name!r} is not among its properties")
        elif isinstance(allowed, dict):
            yield from validator.descend(value, allowed, path=name)


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
    from jsonschema import ValidationError

    if wanted and isinstance(instance, list) and len(set(map(_written, instance))) < len(instance):
        yield ValidationError("two of its items are equal")


def _written(value: object) -> str:
    """Return a value so that equal ones are written alike: 1 and 1.0 are equal, 1 and true are not."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(value[name])}" for name in sorted(value)) + "}"
    return f"[{','.join(map(_written, value))}]" if isinstance(value, list) else json.dumps(value)


_OWN: dict[str, _Check] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
