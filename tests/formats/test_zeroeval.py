from __future__ import annotations

from jisi_cli.formats.record import Record
from tests.formats.reading import FIXTURES, by_answer, read_all

RESULTS = FIXTURES / "zeroeval" / "result_dirs"
MODEL = "ada@host"


def test_an_item_becomes_an_unscored_record_that_names_its_grader():
    assert by_answer(read_all(RESULTS)[0])["gsm", "gsm8k-main-test-#10", MODEL] == Record(
        dataset="gsm",
        index="gsm8k-main-test-#10",
        query="Tom has 3 bags of 4 apples. How many apples?",
        model=MODEL,
        reference="12",
        response='{"reasoning": "3 * 4", "answer": "12"}',
        status="unscored",
        grader="zeroeval-number",
        order=10,
    )


def test_ids_order_as_numbers_and_not_as_text():
    gsm = [record for record in read_all(RESULTS)[0] if record.dataset == "gsm"]
    assert [record.order for record in gsm] == [10, 9, 2]
    assert sorted(record.index for record in gsm)[0].endswith("#10")


def test_bare_integer_ids_and_questions_called_problem_are_read():
    answers = by_answer(read_all(RESULTS)[0])
    assert answers["math-l5", "0", MODEL].query == "Find $x$ with $2x = 10$."
    assert answers["math-l5", "10", MODEL].reference == "32"
    assert answers["math-l5", "10", MODEL].order == 10


def test_crux_is_graded_by_text_alone_as_zeroeval_does():
    assert by_answer(read_all(RESULTS)[0])["crux", "crux-test-#0", MODEL].grader == "zeroeval-text"


def test_an_empty_output_is_an_answer_and_an_absent_one_is_missing():
    answers = by_answer(read_all(RESULTS)[0])
    assert (answers["gsm", "gsm8k-main-test-#9", MODEL].status) == "unscored"
    assert answers["gsm", "gsm8k-main-test-#9", MODEL].response == ""
    assert answers["gsm", "gsm8k-main-test-#2", MODEL].status == "missing"


def test_summaries_beside_the_results_are_not_results():
    assert read_all(RESULTS)[1] == []


def test_a_multiple_choice_item_shows_its_choices_and_is_graded_by_letter():
    record = by_answer(read_all(RESULTS)[0])["mmlu-redux", "mmlu-0", MODEL]
    assert record.query == "Which is a vowel?\nA. x\nB. e"
    assert (record.reference, record.grader) == ("B", "zeroeval-choice")
