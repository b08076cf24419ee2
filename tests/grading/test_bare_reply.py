"""Which replies are nothing but an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.grading.bare_reply import bare_answer, is_date, mentions_date, words_of
from jisi_cli.grading.final_answer import END_LENGTH, extract_any


@pytest.mark.parametrize(
    "reply",
    [
        *("Paris", "paris.", "**Paris**", "**Paris.**", "**Paris**.", "`Paris`", '"Paris"', "*Paris*", "_Paris_"),
        *("  Paris \n", "<think>Lyon? No.\n</think>\nParis", "~~Lyon~~ Paris", "\x1b[1mParis\x1b[0m"),
        *("The answer is Paris.", "**Answer:** Paris", "[[Paris]]"),
    ],
)
def test_a_bare_reply_is_the_answer_that_others_mark(reply: str) -> None:
    assert extract_any(reply, None) == "paris"


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes", "yes"),
        ("No.", "no"),
        ("42.", "42"),
        ("New  York", "new york"),
        ("São Paulo", "são paulo"),
        ("巴黎。", "巴黎"),
        ("C++", "C++"),
        ("x + 1", "x+1"),
        ("Washington, D.C.", "washington, d.c"),
        ("3 November 2018", "3 november 2018"),
        ("2021-05-20", "2021-05-20"),  # no subtraction: 2021-06-19 is another answer
        ("2021-06-19", "2021-06-19"),
        ("one two three", "one two three"),
    ],
)
def test_a_bare_reply_is_compared_as_its_words(reply: str, answer: str) -> None:
    assert extract_any(reply, None) == answer


@pytest.mark.parametrize(
    "reply",
    [
        *(
            "I don't know.",
            "I’m not sure",
            "Sorry, no.",
            "N/A",
            "Not sure.",
            "No idea",
            "Unable to answer",
            "Hm.",
            "我不知道",
        ),
        *("Let me think", "Here you go", "Paris or London?", "The answer:", "Paris,", "Paris...", "Paris –"),
        *("It is Paris.", "It's Paris", "Paris was the capital", "They have none"),
        *("f(x)", "x = 5", "{}", "# Paris", "- Paris", "> Paris", "print 'x'; y", "a | b", "<b>Paris</b>", "...", "?"),
        *(
            "Paris\nLyon",
            "one two three four five",
            "How lovely!",
            "It depends on you.",
            "ada says so",
            "Well, it depends.",
            "x" * 61,
            "",
            "  ",
            "**",
        ),
    ],
)
def test_a_sentence_a_refusal_or_the_beginning_of_something_is_no_bare_answer(reply: str) -> None:
    assert bare_answer(reply) is None


def test_the_last_line_of_a_long_reply_is_no_bare_reply() -> None:
    assert extract_any("Let us see.\nParis", None) is None
    assert extract_any("word " * END_LENGTH + "\n" + " " * (END_LENGTH - 5) + "Paris", None) is None


@pytest.mark.parametrize(
    "date",
    ["2021-05-20", "20/5/2021", "20.05.2021", "5/20/21", "6 May", "May 6th, 2021", "Monday, 6 May 2021", "June 2021"],
)
def test_a_date_is_read_as_its_words_wherever_it_stands(date: str) -> None:
    read = {extract_any(text.format(date), None) for text in ("{}", "{}.", "**{}**", "The answer is **{}**.")}
    assert read == {date.casefold()}


def test_what_is_no_date_is_a_number() -> None:
    assert [extract_any(f"The answer is {text}", None) for text in ("10/12", "1/2", "6 maybe", "20.5")] == [
        "0.833333",
        "0.5",
        "6",
        "20.5",
    ]


def test_a_graders_own_reading_stays() -> None:
    assert extract_any("Paris", "choice") is None
    assert extract_any("Paris", "numeric") is None


@given(st.text(max_size=80))
def test_what_is_left_of_a_reply_is_one_short_line(reply: str) -> None:
    answer = bare_answer(reply)
    assert answer is None or (answer == answer.strip() != "" and "\n" not in answer and len(answer) <= 60)
    assert words_of(words_of(reply)) is not None


@given(st.sampled_from(["2021-05-20", "1.2.2021", "6 May", "6th of  May 2021", "Sept. 3rd", "December 2021"]))
def test_every_date_is_found_in_a_text(date: str) -> None:
    assert is_date(date) and mentions_date(f"It was on {date}, they say: 12 apples.")
    assert not mentions_date("It may be that 12 apples cost 3.50 in 2021 or 1/2 of it; decide.")
