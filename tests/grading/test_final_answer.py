"""Where the final answer is, and what every grader promises about any text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jisi_cli.errors import InputError
from jisi_cli.grading.final_answer import END_LENGTH, extract_any, later_readings, marked_answer, marked_answers
from jisi_cli.grading.registry import grader_names, load_grader, reader_of, reads_texts_alone
from tests.grading.submissions import submission
from tests.tiers import examples

GRADERS = [name for name in grader_names() if reads_texts_alone(name)]
READERS = [name for name in grader_names() if reader_of(name)]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"reasoning": "...", "answer": "42"}', "42"),
        ('```json\n{"answer": "42"}\n```', "42"),
        ('{"answer": "1"} or rather {"answer": "2"}', "2"),
        ("{'answer': 42}", "42"),
        ('{"answer": "\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "say "hi" twice", "sure": true}', 'say "hi" twice'),
        ('{"answer": "caf\\u00e9"}', "café"),
        ('{"answer": null}', None),
        ('{"answer": "cut off', "cut off"),
        ('{"final_answer": "7"}', "7"),
        ("so $\\boxed{x^{2}}$", "x^{2}"),
        ("first \\boxed{1}, then \\boxed{2}", "2"),
        ("\\fbox{3}", "3"),
        ("\\boxed{\\text{DOG}}", "DOG"),
        ("\\boxed{never closed", "never closed"),
        ('{"answer": "\\\\boxed{5}"}', "5"),
        ("The answer is 5. It is not 6.", "5"),
        ("The answer is:\n\n5 apples", "5 apples"),
        ("The answer is 2.5.", "2.5"),
        ("The answer should be 5!", "5"),
        ("**Final Answer:** 5", "5"),
        ("The final answer is **5**.", "5"),
        ('The answer is "a. b".', '"a. b"'),
        ("Answer: 5", "5"),
        ("### Answer\n\n5", "5"),
        ("because 2 + 3 = 5\n#### 5", "5"),
        ("#### Step 1\nthen I stop", None),
        ("answers differ", None),
        ('{"answer": "___"}', ""),
        ("", None),
    ],
)
def test_the_marked_answer_is_found(text: str, answer: str | None) -> None:
    assert marked_answer(text) == answer


def test_a_json_field_is_a_stronger_mark_than_a_box_and_a_box_than_a_sentence() -> None:
    text = 'The answer is 3. \\boxed{2} {"answer": "1"}'
    assert marked_answers(text) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The answer is (C).", "C"),
        ("The answer is C) Paris", "C"),
        ("b", "B"),
        ("\\boxed{\\frac{1}{2}}", "0.5"),
        ("The answer is 0.50.", "0.5"),
        ("\\boxed{2 \\sqrt{3}}", "2\\sqrt{3}"),
        ("The answer is Mount  Everest.", "mount everest"),
        ("1,200", "1200"),
        ("[[B]]", "B"),
        ("So the answer is [[B]], since spies travel by sea.", "B"),
        ("\\[ [[ -10 + 11i ]] \\]", "-10+11i"),
        ("**Therefore, the answer is: [[B];[D]]**", "b];[d"),
        ("The output is [[output]] = [[North West]]", "northwest"),
        ("\\boxed{[[7.0]]}", "7"),
        ("Is it [[3]]? No: the answer is 4.", "4"),
        ('{"answer": "[[5]]"}', "5"),
        ('df[["a"]].sum()', None),
        ("rows: [[1, 2], [3, 4]]", None),
        ("[[ ]]", None),
        ("[[" * 5000, None),
        ("Paris", "paris"),
        ("Paris is the capital of France.", None),
        ("def f():\n    return 5", None),
        ("It has 3 legs and 2 arms.", None),
        ("", None),
    ],
)
def test_an_answer_of_unknown_kind_is_read_where_it_is_marked_or_alone(response: str, answer: str | None) -> None:
    assert extract_any(response, None) == answer


def test_an_answer_of_known_kind_is_read_by_its_grader() -> None:
    assert extract_any("It has 3 legs and 2 arms.", "numeric") == "2"
    assert extract_any("so option B", "choice") == "B"
    assert extract_any("[1,2]", "exact") == "[1, 2]"


def test_an_unknown_grader_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError,
        match="choice, code, command, contains, exact, judge, math, numeric, pairwise, regex, zeroeval-choice",
    ):
        load_grader("vibes")


# Pieces that the searches look for, glued in any order, find more than characters drawn alone.
_PIECES = st.sampled_from(
    [
        *(
            '{"answer": "',
            "'answer':",
            '"',
            '"}',
            "}",
            "\\boxed{",
            "\\frac{",
            "\\frac12",
            "\\text{",
            "{",
            "\\",
            "\\\\",
        ),
        *(
            "The answer is ",
            "Answer:",
            "#### ",
            "```\n",
            "```",
            "\n",
            " ",
            "$",
            "**",
            "_",
            "`",
            "'",
            "(",
            ")",
            "[",
            "]",
        ),
        *(
            "A",
            "b)",
            "(C)",
            "option ",
            "The x is ",
            "12",
            "1,234",
            "3.5",
            "/",
            "-",
            "e5",
            "=",
            "%",
            ",",
            ".",
            "x",
            "√",
            "or",
        ),
        *("[1,", "{1: 2}", "'a'", "None", "1_000", "0x1f", "...", "1e999", "\x00", "\ud800", "²", "٣"),
    ]
)
_TEXTS = st.text(max_size=60) | st.lists(_PIECES, max_size=12).map("".join)


@settings(max_examples=examples(600), deadline=None)
@given(_TEXTS, st.sampled_from(READERS))
@example("The x\nis 5", "exact")
@example("''a''", "exact")
@example("1, 988", "numeric")
def test_reading_an_extracted_answer_again_changes_nothing(text: str, grader: str) -> None:
    answer = extract_any(text, grader)
    assert answer is None or (answer.strip() and extract_any(answer, grader) == answer)


@settings(max_examples=examples(300), deadline=None)
@given(_TEXTS)
def test_an_answer_of_unknown_kind_is_some_text_or_none(text: str) -> None:
    answer = extract_any(text, None)
    assert answer is None or answer == answer.strip() != ""


@settings(max_examples=examples(300), deadline=None)
@given(_TEXTS, _TEXTS, st.sampled_from(GRADERS))
def test_any_response_is_graded_right_wrong_or_unreadable(response: str, reference: str, grader: str) -> None:
    assert load_grader(grader).grade(submission(response, reference)) in (0.0, 1.0, None)


@pytest.mark.parametrize("grader", [*GRADERS, None])
def test_only_the_end_of_a_long_text_is_read(grader: str | None) -> None:
    filler = "The answer is B. " * (2 * END_LENGTH // 17)
    assert extract_any(filler + "x" * END_LENGTH + " The answer is 7 ", "numeric") == "7"
    assert extract_any("The answer is 7." + " and" * END_LENGTH, grader) is None


@pytest.mark.slow
@pytest.mark.parametrize("grader", [*GRADERS, None])
@pytest.mark.parametrize(
    "unit",
    [
        *("[", "(", "{", "-", "9", "1,", "1e", "1/1/", "1 1/", "x = ", "\n ", "'", "$", "** ", '\\"'),
        *("\\boxed{", "\\frac{1}", "\\text{", '"answer": "', "answer is ", "#### a\n\n", "A) ", "The is "),
        *("```\n", "```\n    ", "{'a':", "1+", "not ", "lambda:", "A or ", "not A, "),
    ],
)
def test_hostile_repetition_is_read_without_an_error(unit: str, grader: str | None) -> None:
    text = unit * (3 * END_LENGTH // len(unit))
    extract_any(text, grader)
    load_grader(grader or "exact").grade(submission(text[:3000], text))


@pytest.mark.parametrize("grader", [*GRADERS, None])
def test_marks_within_marks_are_read_without_an_error(grader: str | None) -> None:
    text = "#" * END_LENGTH + " 7"
    extract_any(text, grader)
    assert load_grader(grader or "exact").grade(submission(text, "7")) in (0.0, 1.0, None)


@pytest.mark.parametrize(
    ("responses", "names"),
    [
        ([], ()),
        ([("The answer is 4.", None), ("[1] and x = [[1, 2], [3, 4]]", None)], ()),
        ([("The answer is 4.", None), ("So [[north]].", None)], ("[[ ]]",)),
        ([("So [[north]].", "judge")], ("[[ ]]",)),
        ([("\\boxed{[[7.0]]}", None)], ()),  # read as 7 before, too
        ([("So [[B]].", "choice")], ()),  # its own reading has not changed
        ([("\x1b[1mThe answer is 4\x1b[0m", "numeric")], ("escapes",)),
        ([("\x1b[1m[[B]]\x1b[0m", None)], ("[[ ]]", "escapes")),
        ([("Paris.", None)], ("bare replies",)),
        ([("**Paris**", "judge"), ("42", None), ("B", None)], ("bare replies",)),
        ([("42", None), ("The answer is Paris.", None), ("[[Paris]]", None)], ("[[ ]]",)),
        ([("Paris.", "exact")], ()),
        ([("The answer is 2021-05-20.", None), ("It was on 20 May.", None)], ("dates",)),
        ([("[[6 May]]", "judge")], ("[[ ]]", "dates")),
        ([("The answer is 6 May.", "numeric"), ("It was on 6 May that the answer is 7.", None)], ()),
    ],
)
def test_it_is_known_which_responses_an_earlier_version_read_otherwise(
    responses: list[tuple[str, str | None]], names: tuple[str, ...]
) -> None:
    assert later_readings(responses) == names


@pytest.mark.parametrize("text", ["\x1b[31mThe answer is Paris\x1b[0m", "The answer is \x1b[1;31mParis\x1b[0m."])
def test_colours_of_a_terminal_are_no_part_of_an_answer(text: str) -> None:
    assert extract_any(text, None) == "paris"
    assert extract_any(text.replace("Paris", "7"), "numeric") == "7"
