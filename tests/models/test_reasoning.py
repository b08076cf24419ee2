"""What of a response is the answer, and what is the thinking before it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jisi_cli.models.reasoning import AnswerStream, answer_in, without_reasoning
from tests.tiers import examples

OPENED_BY_THE_MODEL = [
    ("<think>\nIs it 40? No.\n</think>\n\n42", "42"),
    ("<think>Is it 40?</think>42", "42"),
    ("\n <think>\n\n</think>\n\n42\n", "42\n"),
    ("<Think>40</THINK> 42", "42"),
    ('<thinking budget="high">40</thinking>\n42', "42"),
    ("<thought>40</thought>42", "42"),
    ("<reasoning>40</reasoning>\n<answer>42</answer>", "<answer>42</answer>"),
    ("<reflection>40</reflection>42", "42"),
    ("<seed:think>40</seed:think>42", "42"),
    ("<think/>42", "42"),
    ("[THINK]40[/THINK]42", "42"),
    ("◁think▷40◁/think▷42", "42"),
    ("<|START_THINKING|>40<|END_THINKING|><|START_RESPONSE|>42<|END_RESPONSE|>", "42"),
    ("<|channel>thought\n40<channel|>42", "42"),
    ("<think>40</think>\n<think>41</think>\n42", "42"),
    ("<thinking>40 <reflection>41</reflection></thinking>42", "42"),
    ("<think>a pair <think>40</think> in it</think>42", "42"),
    ("<think>I begin with <think> and go on.</think>42", "42"),
    ("<think>They ask for `</think>`. 40?</think>42", "42"),
    ("<think>\n```\n</think>\n```\n40?\n</think>\n42", "42"),
    ("<think>\n```\n40\n</think>\n```python\n42\n```", "```python\n42\n```"),
    ("<think>40</think>\n    return 42", "    return 42"),
    ("<think>40 is cut off", ""),
    ("<think>They ask about `</think>` and", ""),
    ("<think>40</think>", ""),
    ("<|channel|>analysis<|message|>40?<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>", "42"),
    ("<|start|>assistant<|channel|>final <|constrain|>json<|message|>42", "42"),
    ("<|channel|>analysis<|message|>40 is cut off", ""),
    ("analysisWe need 6*7, 40?assistantfinal42", "42"),
]
PLAIN = [
    "42",
    "\n\n42",
    "",
    "42 <think>was that right?</think> 42",
    "Reasoning models write `<think>` first and `</think>` last.",
    'The tag is "</think>".',
    "```\n<think>\ndraft\n</think>\n```\nThat is the form.",
    "```\n</think>\n```\nThat closes it.",
    "~~~xml\n</think>\n~~~\n",
    "a < b, c[0] <thin ice> [THIN",
    "analysis of the question: 42",
    "analysisParalysis is a word",
    "<thinkpad>X1</thinkpad>",
    "<b>42</b>",
]
OPENED_BY_THE_TEMPLATE = [
    ("Is it 40? No.\n</think>\n\n42", "42"),
    ("Is it 40?</think>42", "42"),
    ("40</think>41</think>42", "42"),
    ("40[/THINK]42", "42"),
    ("40</seed:think>42", "42"),
    ("40\n</think>", ""),
]


@pytest.mark.parametrize(("text", "answer"), OPENED_BY_THE_MODEL + OPENED_BY_THE_TEMPLATE)
def test_the_answer_is_what_follows_the_thinking(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer


@pytest.mark.parametrize("text", PLAIN)
def test_a_response_without_thinking_stays_as_it_is(text: str) -> None:
    assert without_reasoning(text) == text


def test_a_new_response_begins_with_its_first_line_that_says_something() -> None:
    assert answer_in(" \n\n    return 42\n") == "    return 42\n"
    assert without_reasoning("\n42") == "\n42"
    assert answer_in("first\n\nsecond") == "first\n\nsecond"


def streamed(pieces: list[str]) -> str:
    stream = AnswerStream()
    return "".join([stream.feed(piece) for piece in pieces] + [stream.finish()])


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(("text", "answer"), OPENED_BY_THE_MODEL + [(text, text.lstrip("\n")) for text in PLAIN])
def test_pieces_give_the_answer_of_the_whole(text: str, answer: str, size: int) -> None:
    assert streamed([text[i : i + size] for i in range(0, len(text), size)]) == answer


def test_a_stream_gives_its_answer_out_as_it_arrives() -> None:
    stream = AnswerStream()
    pieces = ["<th", "ink>40", "</think", ">\n", "\nIt is", " <", "b", ">42", "</b", "> [see", " 1]"]
    given_out = [stream.feed(piece) for piece in pieces]
    assert given_out == ["", "", "", "", "It is", " ", "", "<b>42", "", "</b> [see", " 1]"]
    assert stream.finish() == ""


@pytest.mark.parametrize(("text", "answer"), OPENED_BY_THE_TEMPLATE)
def test_a_stream_stops_where_it_turns_out_to_have_been_thinking(text: str, answer: str) -> None:
    assert "/" not in streamed(list(text))
    assert without_reasoning(text) == answer


TAGS = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "`", "```\n", "\n", " ", "<", "/", "42"]
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(TAGS, max_size=14))
@example(["<think>", "```\n", "</think>", "```\n", "42"])
def test_a_stream_gives_out_what_the_whole_says_or_the_beginning_of_what_came(pieces: list[str]) -> None:
    answer, given_out = answer_in("".join(pieces)), streamed(pieces)
    assert given_out == answer or "".join(pieces).find(given_out) >= 0


@pytest.mark.parametrize("piece", ["<think>", "</think>", "`</think>`", "```\n", "<", " ", "\n"])
def test_a_long_run_of_tags_is_read_once(piece: str) -> None:
    # Were the whole of it read for each of its tags, this would take minutes.
    without_reasoning(piece * 30_000)
    streamed([piece] * 30_000)
