from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.formats.issues import ImportIssue
from jisi_cli.formats.record import Record
from tests.formats.reading import FIXTURES, by_answer, read_all

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
    assert (record.response, record.score, record.status, record.reference) == (None, 1.0, "ok", "2")
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


def sample(**changes: Any) -> dict[str, Any]:
    """Return a line as the harness logs it."""
    arguments = {"gen_args_0": {"arg_0": "Q: What is 6*7?", "arg_1": {}}}
    known = {"doc_id": 0, "doc": {"question": "What is 6*7?"}, "target": "42", "arguments": arguments}
    known |= {"resps": [["The answer is 42"]], "filtered_resps": ["42"], "filter": "none"}
    return {**known, "metrics": ["acc"], "acc": 1.0, **changes}


def logged(folder: Path, *samples: dict[str, Any], time: str = "2025-01-01T00-00-00.000000", **results: Any) -> Path:
    """Write a run of one task; return its folder."""
    folder.mkdir(exist_ok=True)
    if results:
        (folder / f"results_{time}.json").write_text(json.dumps(results), encoding="utf-8")
    lines = "".join(json.dumps(line) + "\n" for line in samples)
    (folder / f"samples_sums_{time}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def read_one(folder: Path, *samples: dict[str, Any], **results: Any) -> tuple[Record, list[ImportIssue]]:
    (found,), problems = read_all(logged(folder / "org__m", *samples, **{"model_name": "org/m", **results}))
    return found, problems


CHAT = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "6*7?"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "6*7?"}, {"type": "image_url", "image_url": {}}]}]


@pytest.mark.parametrize(
    ("prompt", "query"),
    [
        ([json.dumps(CHAT)], "6*7?"),
        (json.dumps(CHAT), "6*7?"),
        (CHAT, "6*7?"),
        ([json.dumps([{"role": "system", "content": "Be brief."}, *PARTS])], "6*7?"),
        (json.dumps([*CHAT, {"role": "assistant", "content": "Answer:"}]), "6*7?"),
        ("plain words", "plain words"),
        ('[{"not": "a chat"}]', '[{"not": "a chat"}]'),
        ("[{ no JSON", "[{ no JSON"),
        (["plain words"], "plain words"),
    ],
)
def test_a_logged_chat_is_read_as_the_users_last_words(tmp_path: Path, prompt: Any, query: str) -> None:
    doc = {"Question": "What is 6*7?", "choice1": "42"}
    newer = sample(doc=doc, arguments={"gen_args_0": {"arg_0": prompt, "arg_1": {}}})
    assert read_one(tmp_path, newer)[0].query == query
    assert read_one(tmp_path, sample(doc=doc, arguments=[[prompt, {"until": []}]]))[0].query == query


def test_a_run_for_grading_later_is_kept_unscored_with_a_warning(tmp_path: Path) -> None:
    found, problems = read_one(tmp_path, sample(metrics=["bypass"], bypass=999, acc=None))
    assert (found.response, found.score, found.status) == ("The answer is 42", None, "unscored")
    (doubt,) = [problem for problem in problems if problem.doubt]
    assert doubt.message.startswith("no metric is from 0 to 1, more being better (bypass)")


@pytest.mark.parametrize(
    ("samples", "score"),
    [
        ([sample(metrics=["mc1_nll", "acc"], mc1_nll=-3.2)], 1.0),
        # One value that might be a share makes no metric of shares.
        ([sample(metrics=["nll", "acc"], nll=0.5), sample(doc_id=1, metrics=["nll", "acc"], nll=7.5)], 1.0),
        ([sample(metrics=["bleu", "acc"], bleu=math.nan), sample(doc_id=1, metrics=["bleu", "acc"], bleu=31.0)], 1.0),
        ([sample(metrics=["acc"], acc=math.nan), sample(doc_id=1)], None),
        ([sample(metrics=["acc"], acc=True)], 1.0),
        ([sample(metrics=["brier", "acc"], brier=0.25)], 1.0),
    ],
)
def test_the_score_is_the_first_metric_that_is_a_share_in_every_line(
    tmp_path: Path, samples: list[dict[str, Any]], score: float | None
) -> None:
    folder = logged(tmp_path / "m", *samples, model_name="m", higher_is_better={"sums": {"acc": True, "brier": False}})
    records, problems = read_all(folder)
    assert [record.score for record in records] == [score, 1.0][: len(records)]
    assert "scores are the metric acc" in [problem.message for problem in problems]


@pytest.mark.parametrize(
    ("resps", "filtered", "response", "score"),
    [
        (["41", "42", "42"], ["42"], "42", 1.0),
        (["41", "42"], ["41"], "41", 1.0),
        (["It is 41.", "So 6*7 is 42.", "42!"], ["42"], "So 6*7 is 42.", 1.0),
        (["same", "same"], ["x"], "same", 1.0),
        (["It is 142.", "It is 41."], ["42"], "It is 142.", None),
        (["a", "b"], [["a", "b"]], "a", None),
        (["a", "b"], ["[invalid]"], "a", None),
        (["a", "b"], [""], "a", None),
        (["0.5", "True"], ["True"], None, 1.0),  # a log-likelihood, as text
        (["yes", "True"], ["True"], "True", 1.0),
    ],
)
def test_of_repeats_the_response_that_was_scored_is_kept_or_the_score_is_not(
    tmp_path: Path, resps: list[str], filtered: list[Any], response: str | None, score: float | None
) -> None:
    found, problems = read_one(tmp_path, sample(resps=[resps], filtered_resps=filtered))
    assert (found.response, found.score) == (response, score)
    several = [problem for problem in problems if "answered several times" in problem.message]
    assert len(several) == (len(set(resps)) > 1 and response is not None)
    assert [problem.doubt for problem in several] == [score is None] * len(several)


def test_several_models_in_one_folder_are_told_apart_by_their_runs(tmp_path: Path) -> None:
    folder = logged(tmp_path / "out", sample(acc=1.0), time="2025-01-01T00-00-00.1", model_name="ada")
    logged(folder, sample(acc=0.0), time="2025-01-02T00-00-00.1", model_name="bob")
    logged(folder, sample(acc=0.0), time="2025-01-03T00-00-00.1", model_name="ada")
    records, problems = read_all(folder)
    assert {record.model: record.score for record in records} == {"ada": 0.0, "bob": 0.0}
    assert "files of earlier runs that are not read: 1" in [problem.message for problem in problems]


def test_a_file_that_may_be_of_either_model_is_left_out_and_named(tmp_path: Path) -> None:
    folder = logged(tmp_path / "out", sample(), time="2025-01-01T00-00-00.1", model_name="ada")
    logged(folder, sample(), time="2025-01-02T00-00-00.1", model_name="bob")
    logged(folder, sample(), time="2025-01-03T00-00-00.1")
    records, problems = read_all(folder)
    assert {record.model for record in records} == {"ada", "bob"}
    (skipped,) = [problem.message for problem in problems if not problem.note]
    assert skipped == (
        "results of bob, ada lie beside it, and no results_2025-01-03T00-00-00.1.json says whose answers these are"
    )


def test_a_file_that_is_one_json_list_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "samples_sums_2025-01-01T00-00-00.000000.json"
    path.write_text(json.dumps([sample(), sample(doc_id=1)], indent=2), encoding="utf-8")
    assert [record.index for record in read_all(tmp_path)[0]] == ["0", "1"]
