"""Batches at Amazon Bedrock, through a bucket: as at the others, whatever is otherwise there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.addresses import read_address
from jisi_cli.config import ModelEntry
from jisi_cli.errors import InputError, NoAnswerError
from jisi_cli.models.batch import bedrock_service
from jisi_cli.models.batch.terms import batch_share, require_batch
from jisi_cli.types import Sampling
from tests.bedrock_desk import FOLDER, ROLE, STORE, Bedrock
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, everything_written, pool
from tests.models.test_batches import HALF, Lab
from tests.object_store import KEYS, ObjectStore, refused

MODEL = "amazon.nova-lite-v1:0"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
SECRET = KEYS["AWS_SECRET_ACCESS_KEY"]


def bedrock_entry(name: str = MODEL, **fields: Any) -> ModelEntry:
    store = read_address(STORE)
    return ModelEntry("a", f"bedrock/{name}", **{"price": HALF, "batch_store": store, "batch_role": ROLE, **fields})


@pytest.fixture
def desk(loopback: Loopback, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bedrock]:
    for model in (MODEL, CLAUDE):
        loopback.script(model, text="four words of answer")
    with Bedrock(loopback, object_store) as bedrock:
        for name, value in bedrock.environment.items():
            monkeypatch.setenv(name, value)
        yield bedrock


@pytest.fixture
def lab(loopback: Loopback, desk: Bedrock, tmp_path: Path) -> Lab:
    return Lab(loopback, tmp_path, bedrock_entry())


def other_requests(store: ObjectStore, method: str) -> list[str]:
    return [request.path for request in store.requests if request.method == method]


@pytest.mark.parametrize("model", [MODEL, f"invoke/{CLAUDE}"])
def test_each_request_is_submitted_once_answered_and_billed_at_half_price(
    lab: Lab, desk: Bedrock, object_store: ObjectStore, model: str
) -> None:
    lab.models = (bedrock_entry(model),)
    fetched = lab.run()
    assert [answer.text for answer in fetched.answers.values()] == ["four words of answer"] * 3
    assert list(desk.asked().values()) == [1, 1, 1]
    assert desk.live == [], "no call was made live"
    assert lab.paid() > 0
    assert sum(row.list_cost_usd for row in lab.rows()) == pytest.approx(2 * lab.paid())
    assert lab.warned == []
    assert object_store.names() == set(), "questions and answers are deleted once they are kept"
    assert lab.run().answers == {}, "they are kept under the keys of live calls"
    assert ask_once(lab.pool(), "question 1", role="expert", sampling=Sampling(max_tokens=20)).cached


@pytest.mark.parametrize("model", [MODEL, f"converse/{CLAUDE}", f"invoke/{CLAUDE}"])
@pytest.mark.parametrize("params", [{}, {"stop": ["x"], "temperature": 0.3}])
def test_a_row_is_the_request_that_the_live_path_sends(
    lab: Lab, desk: Bedrock, model: str, params: dict[str, Any]
) -> None:
    lab.models = (bedrock_entry(model, params=params, system="Be short."),)
    lab.run(2)
    live = ask_once(pool(*lab.models), "question 1", role="expert", sampling=Sampling(max_tokens=20))
    assert live.text == "four words of answer"
    assert desk.batches[0].rows[1]["modelInput"] == desk.live[0]
    asked = desk.asked_for[desk.batches[0].id]
    assert asked["modelId"] == model.rpartition("/")[2]
    assert asked.get("modelInvocationType") == (None if model.startswith("invoke") else "Converse")


def test_jobs_are_signed_for_their_region_and_no_secret_is_sent_or_written(
    lab: Lab, desk: Bedrock, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.models = (bedrock_entry(params={"aws_region_name": "eu-west-3"}),)
    object_store.fault = lambda method, path: refused("SlowDown", "503 Slow Down") if method == "PUT" else None
    lab.run(retries=1)
    object_store.fault = None
    desk.busy["POST batches"] = 1
    lab.run()
    assert len(desk.headers) >= 3
    for headers in desk.headers:
        assert "/eu-west-3/bedrock/aws4_request" in headers["authorization"]
        assert SECRET not in json.dumps(headers)
    said = "\n".join([*lab.told, *lab.warned]).encode()
    assert SECRET.encode() not in said + everything_written(lab.folder)


def test_rows_that_failed_are_submitted_again_alone(lab: Lab, desk: Bedrock) -> None:
    faults = (None, Fault("status", status=500), Fault("status", status=429))
    lab.server.script(MODEL, text="4", faults=faults)
    fetched = lab.run()
    assert all(answer.ok for answer in fetched.answers.values())
    assert [len(batch.rows) for batch in desk.batches] == [3, 2]
    assert [row.attempts for row in lab.rows()] == [1, 2, 2]


def test_a_row_that_is_refused_for_good_is_a_failure_in_the_words_of_aws(lab: Lab, desk: Bedrock) -> None:
    refusal = Fault("status", status=400, message="the prompt is too long")
    lab.server.script(MODEL, text="4", fails=lambda messages: refusal if "1" in messages[-1]["content"] else None)
    fetched = lab.run()
    (failed,) = (answer for answer in fetched.answers.values() if not answer.ok)
    assert failed.error == "HTTP 400: the prompt is too long"
    assert len(desk.batches) == 1


@pytest.mark.parametrize("finished", [0, 1])
def test_what_a_job_that_ended_before_its_time_has_finished_is_kept_and_the_rest_submitted_again(
    lab: Lab, desk: Bedrock, object_store: ObjectStore, finished: int
) -> None:
    desk.ends, desk.finished = ["expired"], finished
    assert all(answer.ok for answer in lab.run().answers.values())
    assert [len(batch.rows) for batch in desk.batches] == [3, 3 - finished]
    assert any(f"(expired): {finished} of 3 requests answered" in line for line in lab.told)
    assert sum(row.list_cost_usd for row in lab.rows()) == pytest.approx(2 * lab.paid())
    assert object_store.names() == set()


def test_what_was_stopped_is_neither_asked_again_nor_recorded_as_failed(lab: Lab, desk: Bedrock) -> None:
    desk.ends, desk.finished = ["cancelled"], 1
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked)) == (1, 2)
    assert len(lab.rows()) == 1
    assert "was cancelled" in lab.warned[0]
    assert len(lab.run().answers) == 2, "a later run asks what is left"


def test_a_job_of_too_few_records_is_refused_with_the_remedy(lab: Lab, desk: Bedrock) -> None:
    desk.ends = ["failed"]
    fetched = lab.run()
    assert len(fetched.unasked) == 3
    assert "the required minimum of 100 (leave --batch out, and live calls ask what is missing)" in lab.warned[0]
    assert lab.rows() == []


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_a_job_whose_name_did_not_arrive_is_found_again(
    lab: Lab, desk: Bedrock, monkeypatch: pytest.MonkeyPatch, is_idempotent: bool
) -> None:
    # Its list lags behind, so that it is asked for a second time.
    listed, usual = [], desk._carry_out

    def lagging(method: str, parts: list[str], *rest: Any) -> Any:
        if (method, parts) == ("GET", ["batches"]):
            listed.append(method)
            if len(listed) <= 3:
                return 200, b"{}", "application/json"
        return usual(method, parts, *rest)

    monkeypatch.setattr(desk, "_carry_out", lagging)
    desk.is_idempotent = is_idempotent
    desk.unheard["POST batches"] = 1
    assert len(lab.run().answers) == 3
    assert desk.requests["POST batches"] == 2
    assert list(desk.asked().values()) == [1, 1, 1]
    assert len(lab.rows()) == 3


@pytest.mark.parametrize("is_created", [True, False])
def test_what_a_run_left_behind_is_taken_up_by_the_next(
    lab: Lab, desk: Bedrock, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, is_created: bool
) -> None:
    handle = desk.handle

    def deaf(method: str, *rest: Any) -> Any:
        if is_created and not desk.batches:
            handle(method, *rest)

    monkeypatch.setattr(desk, "handle", deaf)
    with pytest.raises(NoAnswerError, match="submits nothing twice"):
        lab.run(retries=0)
    monkeypatch.setattr(desk, "handle", handle)
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]
    assert len(other_requests(object_store, "PUT")) == 1 + 2, "ours, and the two objects of the job"


def test_requests_that_the_bucket_does_not_take_are_written_by_a_later_run(
    lab: Lab, desk: Bedrock, object_store: ObjectStore
) -> None:
    object_store.fault = lambda method, path: refused("InternalError", "500 Oh") if method == "PUT" else None
    fetched = lab.run(retries=0)
    assert len(fetched.unasked) == 3
    assert "accepts no batch of a: HTTP 500: [redacted]" in lab.warned[0]
    object_store.fault = None
    assert len(lab.run().answers) == 3
    assert object_store.names() == set()


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("AccessDenied", "403 Forbidden", "HTTP 403: AccessDenied"),
        ("NoSuchBucket", "404 Not Found", "HTTP 404: NoSuchBucket"),
        ("InvalidAccessKeyId", "403 Forbidden", "HTTP 403: InvalidAccessKeyId"),
    ],
)
def test_a_bucket_that_takes_nothing_is_told_without_secrets(
    lab: Lab, object_store: ObjectStore, code: str, status: str, words: str
) -> None:
    object_store.fault = lambda method, path: refused(code, status) if method == "PUT" else None
    fetched = lab.run()
    assert len(fetched.unasked) == 3
    (warning,) = lab.warned
    assert words in warning and SECRET not in warning
    assert len(other_requests(object_store, "PUT")) == 0


def test_results_that_cannot_be_read_are_asked_for_again(lab: Lab, desk: Bedrock, object_store: ObjectStore) -> None:
    failures = iter([refused("SlowDown", "503 Slow Down")] * 2)
    object_store.fault = lambda method, path: (
        next(failures, None) if path.endswith(".out") and method == "GET" else None
    )
    assert len(lab.run().answers) == 3
    assert any("HTTP 503: SlowDown" in line and "asking again" in line for line in lab.warned)
    assert list(desk.asked().values()) == [1, 1, 1]


def test_results_that_someone_has_deleted_are_said_to_be_gone(
    lab: Lab, desk: Bedrock, object_store: ObjectStore
) -> None:
    object_store.fault = lambda m, path: (
        refused("NoSuchKey", "404 No") if path.endswith(".out") and m == "GET" else None
    )
    fetched = lab.run()
    assert len(fetched.unasked) == 3
    assert any("cannot be read: HTTP 404: NoSuchKey" in line for line in lab.warned)


def test_odd_lines_of_results_are_left_out_and_told(lab: Lab, desk: Bedrock) -> None:
    desk.altered = lambda lines: [*lines, lines[0], b"{", b'{"recordId": "unknown", "modelOutput": {}}', b"[]"]
    assert len(lab.run().answers) == 3
    assert sorted(line.partition(": ")[2] for line in lab.warned) == [
        "1 of the lines of its results left out: each is about a request that has a result already",
        "1 of the lines of its results left out: each is about no request of this batch",
        "2 of the lines of its results left out: each is no result",
    ]


@pytest.mark.parametrize("where", ["s3://theirs/results/", f"{STORE}/jisi-{'0' * 32}/results/"])
def test_results_are_read_from_the_folder_of_the_pool_file_alone(lab: Lab, desk: Bedrock, where: str) -> None:
    desk.results_in = where
    with pytest.raises(NoAnswerError, match=f"its results lie in {where}; set `batch_store` back to collect them"):
        lab.run()
    desk.results_in = None
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_another_store_does_not_lose_what_is_out(lab: Lab, desk: Bedrock) -> None:
    desk.refused.add("GET batches/id")
    with pytest.raises(NoAnswerError, match="HTTP 403"):
        lab.run()
    desk.refused.clear()
    lab.models = (bedrock_entry(batch_store=read_address("s3://jisi-tests/elsewhere")),)
    with pytest.raises(NoAnswerError, match="set `batch_store` back"):
        lab.run()
    lab.models = (bedrock_entry(),)
    assert len(lab.run().answers) == 3


def test_credentials_that_change_while_a_job_is_at_work_do_not_lose_it(
    lab: Lab, desk: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.refused.add("GET batches/id")
    with pytest.raises(NoAnswerError):
        lab.run()
    desk.refused.clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "temporary")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-tests")
    assert len(lab.run().answers) == 3
    assert desk.headers[-1]["x-amz-security-token"] == "a-token-of-tests"
    assert list(desk.asked().values()) == [1, 1, 1]


def test_a_profile_is_found_as_live_calls_find_it(
    lab: Lab, desk: Bedrock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = of-the-lab\naws_secret_access_key = hidden\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert len(lab.run().answers) == 3
    assert all("Credential=of-the-lab/" in headers["authorization"] for headers in desk.headers)


def test_no_credentials_are_told_with_the_remedy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    # LiteLLM remembers by region what it has found.
    lab.models = (bedrock_entry(params={"aws_region_name": "ap-south-1"}),)
    (answer, *_) = lab.run().answers.values()
    assert "credentials" in str(answer.error)


def test_an_answer_that_is_none_of_aws_ends_the_run_and_loses_nothing(
    lab: Lab, desk: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = desk.handle
    page = (200, b"<html>", "text/html")
    monkeypatch.setattr(desk, "handle", lambda m, path, *rest: page if "job" in path else handle(m, path, *rest))
    with pytest.raises(NoAnswerError, match=r"the answer is none of AWS.*again later: nothing is submitted twice"):
        lab.run()
    monkeypatch.setattr(desk, "handle", handle)
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_a_list_without_end_is_no_proof_that_a_job_is_not_in_it(
    lab: Lab, desk: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bedrock_service, "MOST_LISTED", 3)
    carry_out = desk._carry_out

    def endless(method: str, parts: list[str], *rest: Any) -> Any:
        page = {"nextToken": "more", "invocationJobSummaries": []}
        return desk._json_of(200, page) if (method, parts) == ("GET", ["batches"]) else carry_out(method, parts, *rest)

    monkeypatch.setattr(desk, "_carry_out", endless)
    desk.unheard["POST batches"] = 1
    with pytest.raises(NoAnswerError, match="its list of jobs goes on without end"):
        lab.run()


def test_a_busy_moment_when_a_job_is_created_is_waited_for(
    lab: Lab, desk: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, carry_out = iter([1, 2]), desk._carry_out
    throttled = 429, b'{"message": "slow down", "__type": "ThrottlingException"}', "application/json"

    def throttling(method: str, *rest: Any) -> Any:
        return throttled if method == "POST" and next(busy, None) else carry_out(method, *rest)

    monkeypatch.setattr(desk, "_carry_out", throttling)
    assert len(lab.run().answers) == 3
    assert desk.requests["POST batches"] == 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"batch_store": None}, r'write `batch_store = "s3://BUCKET/FOLDER"` and `batch_role'),
        ({"batch_store": read_address("gs://bucket/folder")}, "takes batches from a bucket of yours"),
        ({"batch_role": None}, "takes batches from a bucket of yours"),
        ({"batch_store": read_address("s3://Bucket/a b")}, "accepts no address such as s3://Bucket/a b"),
        ({"api_base": "https://gateway.example"}, "its `api_base` is not AWS"),
        ({"api_key_env": "MY_KEY"}, "its `api_key_env` opens no bucket"),
        ({"params": {"extra_headers": {"X-Guardrail": "1"}}}, "its `headers` cannot go with a batch"),
    ],
)
def test_an_entry_that_lacks_something_is_refused_with_the_remedy(changed: dict[str, Any], why: str) -> None:
    require_batch([bedrock_entry()])
    with pytest.raises(InputError, match=f"`a` cannot be asked by batch, because .*{why}"):
        require_batch([replace(bedrock_entry(), **changed)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "environment", "share"),
    [
        (f"bedrock/{MODEL}", {}, 0.5),
        (MODEL, {}, 0.5),
        ("bedrock/a.model-of-tomorrow", {}, 0.5),
        (f"bedrock/{MODEL}", {"AWS_BEDROCK_RUNTIME_ENDPOINT": "https://gateway.example"}, None),
        (f"bedrock/{MODEL}", {"AWS_ENDPOINT_URL_BEDROCK": "https://gateway.example"}, None),
        (f"bedrock/{MODEL}", {"AWS_ENDPOINT_URL": "https://gateway.example"}, None),
        (f"bedrock/{MODEL}", {"AWS_ENDPOINT_URL_BEDROCK": "https://bedrock.us-east-1.amazonaws.com"}, 0.5),
    ],
)
def test_what_a_batch_costs_is_known_at_aws_alone(
    model: str, environment: dict[str, str], share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert batch_share(ModelEntry("a", model)) == share


def test_the_folder_of_a_batch_is_named_after_its_job(lab: Lab, desk: Bedrock, object_store: ObjectStore) -> None:
    desk.refused.add("GET batches/id")
    with pytest.raises(NoAnswerError):
        lab.run()
    name = desk.asked_for[desk.batches[0].id]["jobName"]
    assert object_store.names() >= {f"{FOLDER}/{name}/requests.jsonl"}
    assert all(found.startswith(f"{FOLDER}/{name}/") for found in object_store.names())


def test_credentials_that_end_while_results_are_read_lose_none_of_them(
    lab: Lab, desk: Bedrock, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(method: str, path: str) -> None:
        if path.endswith(".out") and method == "GET":
            for name in KEYS:
                monkeypatch.delenv(name)
            object_store.fault = None

    object_store.fault = end
    with pytest.raises(NoAnswerError, match=r"cannot be read: .*credentials"):
        lab.run()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert [answer.text for answer in lab.run().answers.values()] == ["four words of answer"] * 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_a_job_that_wrote_nothing_has_failed_though_who_may_not_list_the_bucket_is_forbidden_to_ask_for_results(
    lab: Lab, desk: Bedrock, object_store: ObjectStore
) -> None:
    desk.ends = ["failed"]
    object_store.fault = lambda method, path: (
        refused("AccessDenied", "403 Forbidden") if path.endswith(".out") and method == "GET" else None
    )
    assert len(lab.run().unasked) == 3
    assert "was refused: less records than the required minimum of 100" in lab.warned[0]
    desk.ends = []
    with pytest.raises(NoAnswerError, match="cannot be read: HTTP 403"):
        lab.run()


def test_what_another_store_kept_a_run_from_deleting_is_deleted_when_the_store_is_named_again(
    lab: Lab, desk: Bedrock, object_store: ObjectStore
) -> None:
    object_store.fault = lambda method, path: refused("SlowDown", "503 Slow Down") if method == "DELETE" else None
    assert len(lab.run().answers) == 3
    object_store.fault = None
    there = [name for name in object_store.names() if name.startswith(FOLDER)]
    lab.models = (bedrock_entry(batch_store=read_address(f"{STORE}/elsewhere")),)
    lab.run()
    assert [name for name in object_store.names() if name.startswith(FOLDER)] == there != []
    lab.models = (bedrock_entry(),)
    lab.run()
    assert [name for name in object_store.names() if name.startswith(FOLDER)] == []
