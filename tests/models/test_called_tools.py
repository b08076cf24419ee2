"""Tool calls in the shapes in which servers send them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jisi_cli.messages import ToolCall
from jisi_cli.models.completion import CalledTools


def piece(**fields: Any) -> Any:
    function = SimpleNamespace(name=fields.pop("name", None), arguments=fields.pop("arguments", None))
    return SimpleNamespace(**{"index": None, "id": None} | fields, function=function)


def put_together(*messages: list[Any]) -> tuple[ToolCall, ...]:
    called = CalledTools()
    for calls in messages:
        called.feed(SimpleNamespace(tool_calls=calls))
    return called.finish()


def test_pieces_of_several_calls_are_put_together() -> None:
    assert put_together(
        [piece(index=0, id="x", name="a", arguments="")],
        [piece(index=0, arguments='{"n"'), piece(index=1, id="y", name="b", arguments="{}")],
        [piece(index=0, arguments=": 1}")],
    ) == (ToolCall("x", "a", '{"n": 1}'), ToolCall("y", "b", "{}"))


def test_calls_that_are_all_numbered_with_0_are_told_apart_by_their_names() -> None:
    found = put_together(
        [piece(index=0, id="x", name="a", arguments="1")], [piece(index=0, id="y", name="a", arguments="2")]
    )
    assert found == (ToolCall("x", "a", "1"), ToolCall("y", "a", "2"))


def test_arguments_may_be_an_object_or_missing_and_a_call_without_a_name_of_its_own_gets_one() -> None:
    first, second = put_together([piece(name="a", arguments={"n": 1}), piece(name="b")])
    assert (first.arguments, second.arguments) == ('{"n": 1}', "{}")
    assert first.id != second.id and first.id.startswith("call_")
    assert put_together([piece(name="a", arguments={"n": 1})])[0].id == first.id, "the same call, the same name"


def test_what_names_no_tool_is_no_call() -> None:
    assert put_together([piece(id="x", arguments="{}")]) == ()
    assert put_together([piece(name=["a"], arguments=7)]) == ()
    assert CalledTools().feed(None) == 0
