from __future__ import annotations

from pathlib import Path

from jisi_cli.bank.records import Record
from tests.bank.importers.reading import FIXTURES, by_answer, read_all

LOGS = FIXTURES / "lm_eval"


def test_a_sample_becomes_a_record_with_the_doc_s_question_and_not_the_few_shot_prompt():
    assert by_answer(read_all(LOGS)[0])["gsm8k", "10", "org/ada"] == Record(
        dataset="gsm8k",
        index="10",
        query="What is 6 times 7?",
        model="org/ada",
        reference="so #### 42",
        response="The answer is 42.",
        score=1.0,
        status="ok",
        order=10,
    )


def test_the_first_filter_counts_and_the_others_are_named():
    records, problems = read_all(LOGS)
    assert by_answer(records)["gsm8k", "9", "org/ada"].score == 0.0
    assert "scores are those of the filter strict-match; not read: flexible-extract" in [
        problem.message for problem in problems
    ]


def test_the_latest_run_counts():
    messages = [problem.message for problem in read_all(LOGS)[1]]
    assert "files of earlier runs that are not read: 1" in messages
    assert all(problem.note for problem in read_all(LOGS)[1])


def test_a_log_likelihood_has_a_score_and_no_response_and_its_choices_are_part_of_the_question():
    record = by_answer(read_all(LOGS)[0])["arc_easy", "0", "org/ada"]
    assert (record.response, record.score, record.status, record.reference) == (None, 1.0, "ok", "1")
    assert record.query == "Which is a vowel?\n1. x\n2. e"


def test_a_task_without_a_numeric_metric_is_not_scored():
    record = by_answer(read_all(LOGS)[0])["wikitext", "0", "org/ada"]
    assert (record.query, record.score, record.status) == ("Snow is white.", None, "missing")


def test_the_model_s_name_is_found_in_older_results_too():
    assert by_answer(read_all(LOGS)[0])["gsm8k", "10", "org/bob"].score == 0.0


def test_without_results_the_folder_s_name_is_the_model_s(tmp_path: Path):
    folder = tmp_path / "org__cy"
    folder.mkdir()
    line = '{"doc_id": 0, "doc": {}, "target": "b", "arguments": [["the prompt"]], "resps": [["b"]], "em": 1}\n'
    (folder / "samples_spelling.jsonl").write_text(line, encoding="utf-8")
    record = read_all(folder / "samples_spelling.jsonl")[0][0]
    assert (record.model, record.dataset, record.query, record.score) == (
        "org/cy",
        "spelling",
        "the prompt",
        1.0,
    )
