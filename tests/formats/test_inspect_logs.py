from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from jisi_cli.errors import InputError
from tests.formats.reading import by_answer, read_all

HAS_INSPECT = importlib.util.find_spec("inspect_ai") is not None
needs_inspect = pytest.mark.skipif(not HAS_INSPECT, reason="inspect_ai (the extra `inspect`) is not installed")


@pytest.fixture(scope="module", params=["eval", "json"])
def logs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs that inspect_ai wrote itself: one task, two epochs, answered by its own mock model."""
    from inspect_ai import Task
    from inspect_ai import eval as run
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import includes, match
    from inspect_ai.solver import generate

    def output(text: str) -> ModelOutput:
        answer = ModelOutput.from_content("mockllm/model", text)
        answer.usage = ModelUsage(input_tokens=9, output_tokens=2, total_tokens=11)
        return answer

    folder = tmp_path_factory.mktemp(request.param)
    conversation = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="What is 9 minus 4?")]
    samples = [
        Sample(id=10, input="What is 6 times 7?", target="42"),
        Sample(id="b", input=conversation, target=["5", "five"]),
        Sample(id=3, input="Which is a vowel?", choices=["x", "e"], target="B"),
    ]
    task = Task(dataset=samples, solver=generate(), scorer=[match(), includes()], name="small")
    for answers in (["41", "no", "A"] * 2, ["42", "7", "B"] * 2):
        model = get_model("mockllm/model", custom_outputs=[output(text) for text in answers])
        run(
            task,
            model=model,
            epochs=2,
            log_dir=str(folder),
            log_format=request.param,
            display="none",
            max_samples=1,
        )
    return folder


@needs_inspect
def test_samples_of_the_latest_log_become_records(logs: Path):
    records, problems = read_all(logs, "inspect")
    first = by_answer(records)["small", "10", "mockllm/model"]
    assert (first.query, first.reference, first.response) == ("What is 6 times 7?", "42", "42")
    assert (first.score, first.status, first.order) == (1.0, "ok", 10)
    assert (first.prompt_tokens, first.completion_tokens, first.cost_usd) == (9, 2, None)
    assert [problem.note for problem in problems] == [True] * len(problems)


@needs_inspect
def test_the_users_words_are_the_query_and_choices_are_lettered_below_it(logs: Path):
    answers = by_answer(read_all(logs, "inspect")[0])
    assert answers["small", "b", "mockllm/model"].query == "What is 9 minus 4?"
    assert answers["small", "b", "mockllm/model"].reference == '["5", "five"]'
    assert answers["small", "3", "mockllm/model"].query == "Which is a vowel?\nA. x\nB. e"


@needs_inspect
def test_later_epochs_other_scorers_and_earlier_logs_are_named(logs: Path):
    messages = [problem.message for problem in read_all(logs, "inspect")[1]]
    assert messages == [
        "samples of later epochs that are not read: 3",
        "scores are those of match; not read: includes",
        "logs of earlier runs that are not read: 1",
    ]


@needs_inspect
def test_a_damaged_log_is_named_and_the_others_are_read(logs: Path):
    damaged = logs / "damaged.eval"
    damaged.write_bytes(b"PK\x03\x04 not a log")
    try:
        records, problems = read_all(logs, "inspect")
    finally:
        damaged.unlink()
    assert len(records) == 3
    assert problems[0].source == str(damaged)
    assert problems[0].message.startswith("not a log that inspect_ai reads: ")


@pytest.mark.skipif(HAS_INSPECT, reason="inspect_ai is installed, so nothing is missing")
def test_without_inspect_ai_the_extra_is_named(tmp_path: Path):
    source = tmp_path / "log.eval"
    source.touch()
    with pytest.raises(InputError, match=r'install it with: pip install "jisi\[inspect\]"'):
        read_all(source)
