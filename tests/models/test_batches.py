"""Calls by batch: submitted once, whatever breaks; answered, priced and kept as live calls are."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jisi_cli.config import ModelEntry, Price
from jisi_cli.errors import ExitCode, InputError, NoAnswerError
from jisi_cli.models.batch import openai_service
from jisi_cli.models.batch.batches import Batches, Polling
from jisi_cli.models.batch.journal import BatchJournal
from jisi_cli.models.batch.pool import Fetched
from jisi_cli.models.batch.queue import BatchesLeftError, BatchQueue
from jisi_cli.models.batch.rows import Rows
from jisi_cli.models.batch.terms import require_batch
from jisi_cli.models.failure import ProviderFailure
from jisi_cli.models.limits import Budget
from jisi_cli.models.live import LivePool
from jisi_cli.models.provider import Provider
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.types import Request, Sampling
from tests.batch_desk import BatchDesk
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, cache_in, entry, everything_written, ledger_in, pool, user

HALF = Price(1000, 2000, batch=0.5)
"""A tenth and two tenths of a cent a token; half of that by batch."""
AT_ONCE = Polling(0.001, 1.0, 0.001)


class Lab:
    """A pool over the loopback server, in a folder that outlives it.

    Args:
        server: The server.
        folder: Where cache, ledger and journal lie.
        models: The pool's entries; by default one model, `a`.
    """

    def __init__(self, server: Loopback, folder: Path, *models: ModelEntry) -> None:
        self.server, self.folder = server, folder
        self.models = models or (entry(server, price=HALF),)
        self.told: list[str] = []
        self.warned: list[str] = []
        self.held: set[tuple[str, str]] = set()

    def pool(self, **options: Any) -> LivePool:
        return pool(*self.models, cache=cache_in(self.folder), ledger=ledger_in(self.folder), **options)

    async def fetch(
        self, requests: Sequence[Request], budget: Budget | None = None, retries: int = 3, **how: Any
    ) -> Fetched:
        """Ask by batch, as one run of jisi does."""
        async with self.pool() as asked:
            batches = self.batches(asked, budget, retries, **how)
            try:
                return await batches.fetch(requests)
            finally:
                await batches.close()

    def batches(self, asked: LivePool, budget: Budget | None = None, retries: int = 3, **how: Any) -> Batches:
        return Batches(
            asked,
            Rows(Provider(60.0)),
            BatchJournal(self.folder / "batches"),
            held=self.held,
            budget=budget,
            policy=RetryPolicy(max_retries=retries),
            timeout=60.0,
            tell=self.told.append,
            warn=self.warned.append,
            polling=AT_ONCE,
            **how,
        )

    async def queued(self, requests: Sequence[Request]) -> list[Any]:
        """Ask one by one, as methods do; return the answers, or what was raised instead."""
        async with self.pool() as asked:
            queue = BatchQueue(asked, lambda on_progress: self.batches(asked), quiet=0.01)
            try:
                return await asyncio.gather(*map(queue.ask, requests), return_exceptions=True)
            finally:
                await queue.close()

    def run(self, count: int = 3, **options: Any) -> Fetched:
        """Ask so many questions by batch; answer, ledger, cache and journal are those of a run."""
        return asyncio.run(self.fetch(questions(count), **options))

    def rows(self) -> list[Any]:
        return list(ledger_in(self.folder).rows())

    def paid(self) -> float:
        return sum(row.cost_usd or 0.0 for row in self.rows())


def questions(count: int, model: str = "a") -> list[Request]:
    return [Request(model, user(f"question {n}"), "expert", Sampling(max_tokens=20)) for n in range(count)]


@pytest.fixture
def lab(loopback: Loopback, tmp_path: Path) -> Lab:
    loopback.script("a", text="four words of answer")
    return Lab(loopback, tmp_path)


def test_each_request_is_submitted_once_answered_and_billed_at_half_price(lab: Lab) -> None:
    fetched = lab.run()
    assert [answer.text for answer in fetched.answers.values()] == ["four words of answer"] * 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]
    assert lab.server.count() == 0, "no call was made live"
    # 2 tokens of prompt and 4 of response, at 0.1 and 0.2 cents.
    assert lab.paid() == pytest.approx(3 * 0.5 * (2 * 0.001 + 4 * 0.002))
    assert sum(row.list_cost_usd for row in lab.rows()) == pytest.approx(2 * lab.paid())
    assert lab.warned == []


def test_the_answers_are_those_of_live_calls_under_their_keys(lab: Lab) -> None:
    lab.run()
    answer = ask_once(lab.pool(), "question 1", role="expert", sampling=Sampling(max_tokens=20))
    assert (answer.text, answer.cached) == ("four words of answer", True)
    assert lab.server.count() == 0
    assert lab.run().answers == {}, "nor are they submitted again"
    assert len(lab.server.batches.batches) == 1


@pytest.mark.parametrize("params", [{}, {"seed": 3, "stop": ["x"]}, {"max_completion_tokens": 7}])
def test_a_row_is_the_request_that_the_live_path_sends(lab: Lab, params: dict[str, Any]) -> None:
    lab.models = (replace(lab.models[0], params=params, system="Be short."),)
    lab.run(2)
    ask_once(pool(*lab.models), "question 1", role="expert", sampling=Sampling(max_tokens=20))
    (live,) = lab.server.requests
    assert lab.server.batches.batches[0].rows[1]["body"] == live.body


def test_rows_that_failed_are_submitted_again_alone(lab: Lab) -> None:
    lab.server.script("a", text="4", faults=(None, Fault("status", status=500), Fault("status", status=429)))
    fetched = lab.run()
    assert all(answer.ok for answer in fetched.answers.values())
    assert [len(batch.rows) for batch in lab.server.batches.batches] == [3, 2]
    assert [row.attempts for row in lab.rows()] == [1, 2, 2]


def test_a_row_that_fails_each_time_is_given_up_after_as_many_attempts_as_a_live_call(lab: Lab) -> None:
    lab.server.script("a", text="4", fails=lambda messages: Fault("status") if "1" in messages[-1]["content"] else None)
    fetched = lab.run(retries=2)
    assert [answer.ok for answer in fetched.answers.values()].count(False) == 1
    assert [len(batch.rows) for batch in lab.server.batches.batches] == [3, 1, 1]
    (failed,) = (row for row in lab.rows() if row.error)
    assert (failed.attempts, failed.cost_usd) == (3, 0.0)
    assert "HTTP 500" in failed.error


def test_a_parameter_that_a_model_refuses_is_left_out_of_the_next_batch(lab: Lab) -> None:
    def answer(body: dict[str, Any]) -> Any:
        from tests.loopback import Raw

        words = "Unsupported parameter: 'temperature' is not supported with this model."
        return Raw({"error": {"message": words, "param": "temperature"}}, 400) if "temperature" in body else None

    lab.server.script("a", text="4", raw=answer)
    assert all(answer.ok for answer in lab.run().answers.values())
    first, second = lab.server.batches.batches
    assert all("temperature" in row["body"] for row in first.rows)
    assert [len(second.rows), *("temperature" in row["body"] for row in second.rows)] == [3, False, False, False]


def test_what_an_expired_batch_has_finished_is_kept_and_paid_and_the_rest_submitted_again(lab: Lab) -> None:
    lab.server.batches.ends, lab.server.batches.finished = ["expired"], 1
    assert all(answer.ok for answer in lab.run().answers.values())
    assert [len(batch.rows) for batch in lab.server.batches.batches] == [3, 2]
    assert any("(expired): 1 of 3 requests answered, 2 to be submitted again" in line for line in lab.told)
    assert lab.paid() == pytest.approx(3 * 0.5 * (2 * 0.001 + 4 * 0.002))


def test_what_expired_each_time_is_told_and_is_no_wrong_answer(lab: Lab) -> None:
    lab.server.batches.ends, lab.server.batches.finished = ["expired"], 1
    fetched = lab.run(retries=0)
    assert (len(fetched.answers), len(fetched.unasked)) == (1, 2)
    assert "expired, and this run does not submit it again, before it reached 2 requests" in lab.warned[0]
    assert len(lab.run().answers) == 2, "a later run submits it again"


def test_what_was_cancelled_at_the_provider_is_neither_asked_again_nor_recorded_as_failed(lab: Lab) -> None:
    lab.server.batches.ends, lab.server.batches.finished = ["cancelled"], 1
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked)) == (1, 2)
    assert len(lab.rows()) == 1
    assert len(lab.server.batches.batches) == 1
    assert "was cancelled" in lab.warned[0]
    assert len(lab.run().answers) == 2, "a later run asks what is left"


def test_a_batch_that_the_provider_refuses_is_told_in_its_words(lab: Lab) -> None:
    lab.server.batches.ends = ["failed"]
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked), lab.rows()) == (0, 3, [])
    assert "was refused: the file is not one of ours; 3 requests not answered" in lab.warned[0]


def test_what_is_too_much_for_a_provider_is_submitted_in_smaller_parts(lab: Lab) -> None:
    lab.server.batches.most = 3
    fetched = lab.run(10)
    assert (len(fetched.answers), fetched.unasked) == (10, {})
    assert set(lab.server.batches.asked().values()) == {1}
    assert max(len(batch.rows) for batch in lab.server.batches.batches if batch.end != "failed") <= 3
    assert "submitting 5 at a time" in lab.warned[0]
    assert [row.attempts for row in lab.rows()] == [1] * 10


def test_a_batch_is_found_again_among_many_others(lab: Lab) -> None:
    lab.server.batches.unheard["POST batches"], lab.server.batches.busy["GET batches"] = 1, 4
    with pytest.raises(NoAnswerError, match=r"submits nothing twice"):
        lab.run()
    (ours,) = lab.server.batches.batches
    others = {"metadata": {"jisi": "another"}, "input_file_id": "file-x"}
    strangers = [replace(ours, id=f"batch_x{n}", **others) for n in range(25)]
    lab.server.batches.batches += strangers
    assert len(lab.run().answers) == 3
    assert lab.server.batches.requests["POST batches"] == 1
    assert lab.server.batches.requests["GET batches"] > 4 + 1, "ours was on a later page"


@pytest.mark.parametrize("name", ["../files", "batch_1/cancel?x=", "", 7, "b" * 200])
def test_a_name_that_could_lead_elsewhere_is_put_into_no_address(lab: Lab, name: object) -> None:
    handle, paths = lab.server.batches.handle, list[str]()

    def lying(method: str, path: str, *rest: Any) -> Any:
        paths.append(path)
        found = handle(method, path, *rest)
        if method == "POST" and path == "/v1/batches":
            return 200, json.dumps({**json.loads(found[1]), "id": name}).encode(), found[2]
        if method == "GET" and path.startswith("/v1/batches?"):
            page = json.loads(found[1])
            return 200, json.dumps({**page, "data": [{**row, "id": name} for row in page["data"]]}).encode(), found[2]
        return found

    lab.server.batches.handle = lying  # type: ignore[method-assign]
    with pytest.raises(NoAnswerError, match="is none that can be used"):
        lab.run()
    assert set(paths) <= {"/v1/files", "/v1/batches", "/v1/batches?limit=100"}


def test_a_server_without_batches_is_told_and_nothing_stays_open(lab: Lab, tmp_path: Path) -> None:
    lab.models = (replace(lab.models[0], api_base=lab.server.api_base.replace("/v1", "/v2")),)
    fetched = lab.run()
    assert len(fetched.unasked) == 3
    assert "accepts no batch of a: HTTP 404" in lab.warned[0]
    assert BatchJournal(tmp_path / "batches").open_with(fetched.unasked) == []


@pytest.mark.parametrize("endpoint", ["POST files", "POST batches"])
def test_what_was_submitted_without_our_hearing_of_it_is_found_and_not_submitted_twice(lab: Lab, endpoint: str) -> None:
    lab.server.batches.unheard[endpoint] = 1
    assert len(lab.run().answers) == 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]


@pytest.mark.parametrize("endpoint", ["POST files", "POST batches", "GET batches/id", "GET files/content"])
def test_a_provider_that_is_busy_is_asked_again(lab: Lab, endpoint: str) -> None:
    lab.server.batches.busy[endpoint] = 2
    assert len(lab.run().answers) == 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]


def test_odd_lines_among_the_results_are_left_out_and_told(lab: Lab) -> None:
    def altered(lines: list[bytes]) -> list[bytes]:
        stranger = json.dumps({**json.loads(lines[0]), "custom_id": "no request of ours"}).encode()
        poisoned = json.loads(lines[0])
        poisoned["response"]["body"]["choices"][0]["message"]["content"] = "said later"
        return [b"[]", b"{", *lines, b"", stranger, json.dumps(poisoned).encode(), b"[" * 100_000]

    lab.server.batches.altered = altered
    fetched = lab.run()
    assert {answer.text for answer in fetched.answers.values()} == {"four words of answer"}
    assert len(lab.rows()) == 3
    for words in ("3 of the lines", "is about no request of this batch", "has a result already"):
        assert any(words in line for line in lab.warned), words


def test_a_request_without_a_result_may_have_cost_its_worst_case_and_is_asked_once_more(lab: Lab) -> None:
    lab.server.batches.altered = lambda lines: lines[:1]
    budget = Budget(10.0)
    fetched = lab.run(2, budget=budget)
    assert all(answer.ok for answer in fetched.answers.values())
    assert [len(batch.rows) for batch in lab.server.batches.batches] == [2, 1]
    assert [row.cost_usd for row in lab.rows()].count(None) == 1
    # Its worst case is 20 tokens of response alone, at 0.1 cents.
    assert budget.spent_usd > lab.paid() + 0.02


def test_the_budget_holds_at_batch_price_and_what_does_not_fit_waits_for_what_was_cheaper(lab: Lab) -> None:
    budget = Budget(0.15)
    fetched = lab.run(10, budget=budget)
    assert fetched.stopped is None
    assert len(fetched.answers) == 10
    assert len(lab.server.batches.batches) > 1
    assert budget.spent_usd == pytest.approx(lab.paid())
    assert budget.spent_usd == pytest.approx(0.05)
    assert budget.left_usd == pytest.approx(0.10)


def test_what_the_budget_does_not_allow_is_not_submitted(lab: Lab) -> None:
    fetched = lab.run(10, budget=Budget(0.06))
    assert fetched.stopped is not None and "are left; raise --max-cost" in fetched.stopped
    assert 0 < len(fetched.answers) < 10
    assert len(fetched.answers) + len(fetched.unasked) == 10
    assert lab.paid() <= 0.06


def test_what_one_run_submitted_another_waits_for(lab: Lab) -> None:
    async def both() -> tuple[Fetched, Fetched]:
        return await asyncio.gather(lab.fetch(questions(4)), lab.fetch(questions(6)))

    one, other = asyncio.run(both())
    assert set(lab.server.batches.asked().values()) == {1}
    assert len(lab.server.batches.asked()) == 6
    assert len(one.answers.keys() | other.answers.keys()) == 6
    assert len(lab.rows()) == 6, "each is booked once"


def test_runs_with_a_limit_a_day_count_what_a_run_without_any_has_submitted(lab: Lab, tmp_path: Path) -> None:
    lab.server.batches.busy["GET batches/id"] = 1000
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(lab.fetch(questions(3)), 2.0))
    journal = BatchJournal(tmp_path / "batches")
    assert journal.promised_usd(datetime.now(UTC)) > 3 * 20 * 0.001
    one = next((tag, key) for tag, key in lab.held)
    rest = journal.promised_usd(datetime.now(UTC), {one})
    assert rest == pytest.approx(journal.promised_usd(datetime.now(UTC)) * 2 / 3), "others' requests of the same batch"
    assert journal.promised_usd(datetime.now(UTC), lab.held) == 0.0


def test_a_batch_that_the_provider_has_no_more_ends_and_is_no_wrong_answer(lab: Lab) -> None:
    lab.server.batches.hidden.add("batch_1")
    budget = Budget(10.0)
    fetched = lab.run(budget=budget)
    assert (len(fetched.answers), len(fetched.unasked)) == (0, 3)
    assert lab.server.batches.requests["GET batches/id"] == 3, "once is no proof"
    assert "batch_1 is gone, and with it the results, which may be billed all the same, of 3 requests" in lab.warned[0]
    assert [row.cost_usd for row in lab.rows()] == [None] * 3
    assert budget.spent_usd > 3 * 20 * 0.001
    assert len(lab.run().answers) == 3


@pytest.fixture
def keyed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The same with a key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first")
    lab.models = (entry(lab.server, price=HALF, api_key_env="OPENAI_API_KEY"),)
    return lab


@pytest.mark.parametrize("step", ["GET batches/id", "POST batches"], ids=["named", "not named yet"])
def test_what_another_key_submitted_is_neither_gone_nor_submitted_again_unasked(
    keyed: Lab, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    desk = keyed.server.batches
    left_alone(keyed, step)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    # The other account has neither the batch nor its file.
    there, desk.batches, desk.hidden = desk.batches, [], {"batch_1"}
    with pytest.raises(InputError, match=r"3 requests to a submitted to 127.0.0.1 with another key .*set that key"):
        keyed.run()
    assert (desk.batches, keyed.rows()) == ([], []), "nothing is submitted, and nothing counts as gone"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first")
    desk.batches, desk.hidden = there, set()
    assert len(keyed.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_what_another_key_submitted_is_submitted_again_where_the_user_says_so_and_may_have_cost_its_most(
    keyed: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left_alone(keyed, "GET batches/id")
    journal = BatchJournal(tmp_path / "batches")
    promised = journal.promised_usd(datetime.now(UTC))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    keyed.server.batches.hidden = {"batch_1"}
    budget = Budget(10.0)
    assert len(keyed.run(resubmits=True, budget=budget).answers) == 3
    assert budget.spent_usd == pytest.approx(promised + keyed.paid()), "this run has caused what is not known, too"
    assert "3 requests to a submitted again: another key's batch" in keyed.warned[0]
    lost, answered = keyed.rows()[:3], keyed.rows()[3:]
    assert [row.cost_usd for row in lost] == [None] * 3
    assert sum(row.counted_usd for row in lost) == pytest.approx(promised)
    assert [row.error for row in answered] == [None] * 3
    assert journal.promised_usd(datetime.now(UTC)) == 0.0


def test_a_new_key_that_sees_the_same_batches_goes_on_with_them(keyed: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    left_alone(keyed, "GET batches/id")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-new")
    assert len(keyed.run().answers) == 3
    assert list(keyed.server.batches.asked().values()) == [1, 1, 1]


def test_a_journal_of_an_older_version_is_read_and_holds_no_key_afterwards(
    keyed: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left_alone(keyed, "GET batches/id")
    with sqlite3.connect(tmp_path / "batches" / "journal.sqlite") as rows:
        rows.execute("ALTER TABLE batches DROP COLUMN account")
        rows.execute("ALTER TABLE batches DROP COLUMN deleted")
        rows.execute("ALTER TABLE requests DROP COLUMN booked")
        rows.execute("DROP TABLE secret")
    assert len(keyed.run(4).answers) == 4
    assert b"sk-first" not in everything_written(tmp_path / "batches")


def left_alone(lab: Lab, step: str, desk: BatchDesk | None = None) -> None:
    """End a run when it has reached a step, so that its batch is left to the provider."""
    desk = desk or lab.server.batches

    async def run() -> None:
        work = asyncio.create_task(lab.fetch(questions(3)))
        while not desk.reached.is_set():
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    desk.held = {step}
    asyncio.run(run())
    desk.held = set()


def test_results_that_the_provider_has_no_more_end_a_run(lab: Lab) -> None:
    lab.server.batches.hidden.add("file-out-batch_1")
    fetched = lab.run()
    assert (len(fetched.answers), len(fetched.unasked)) == (0, 3)


def test_results_that_the_provider_refuses_to_give_end_the_run_and_a_later_one_goes_on(lab: Lab) -> None:
    lab.server.batches.refused.add("GET files/content")
    with pytest.raises(NoAnswerError, match=r"the results of batch_1 cannot be read: HTTP 403"):
        lab.run()
    lab.server.batches.refused.clear()
    assert len(lab.run().answers) == 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]


def test_a_server_that_keeps_no_tags_is_handed_nothing_in_twice(lab: Lab) -> None:
    lab.server.batches.keeps_metadata = False
    lab.server.batches.unheard["POST batches"] = 1
    assert len(lab.run().answers) == 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]


def test_money_that_other_calls_of_the_run_hold_is_waited_for_while_others_can_take_results_in(lab: Lab) -> None:
    budget = Budget(0.06)

    async def several() -> list[Fetched]:
        ones = (lab.fetch(questions(10)[start : start + 2], budget) for start in range(0, 10, 2))
        return await asyncio.wait_for(asyncio.gather(*ones), 60.0)

    found = asyncio.run(several())
    assert sum(len(one.answers) for one in found) + sum(len(one.unasked) for one in found) == 10
    assert lab.paid() <= 0.06
    assert len(lab.rows()) >= 4


def test_a_sum_of_worst_cases_fits_however_it_is_rounded() -> None:
    budget = Budget(sum([0.1] * 3))
    assert budget.reserve_now("a", math.nextafter(budget.limit_usd, 1.0)) is not None
    assert budget.reserve_now("a", 0.01) is None


def test_no_header_of_the_environment_goes_to_a_server_that_is_not_openais(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "a secret of mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: a secret of mine")
    lab.models = (replace(lab.models[0], params={"extra_headers": {"X-Mine": "goes along"}}),)
    assert len(lab.run().answers) == 3
    assert len(lab.server.batches.headers) >= 4
    for headers in lab.server.batches.headers:
        assert headers["x-mine"] == "goes along"
        assert [n for n, value in headers.items() if "a secret of mine" in value] == []


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("groq/llama-3.3-70b", r"`groq` is not among the providers whose batch endpoints jisi speaks \(openai, azure"),
        ("bedrock/claude", r"Amazon Bedrock takes batches from a bucket of yours: write `batch_store = "),
        (
            "vertex_ai/gemini-2.5-pro",
            'Vertex AI takes batches from a bucket .*: write `batch_store = "gs://BUCKET/FOLDER"`',
        ),
        ("local:x.gguf", "it is served on this machine"),
    ],
)
def test_a_model_of_another_provider_is_refused_with_the_reason_and_the_remedy(lab: Lab, model: str, why: str) -> None:
    with pytest.raises(InputError, match=rf"`other` cannot be asked by batch, because {why}.*; give --models a"):
        require_batch([*lab.models, ModelEntry("other", model)])


def test_a_list_of_batches_without_end_is_no_proof_that_a_batch_is_not_in_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x", "y", "z"):
        asyncio.run(lab.fetch([Request("a", user(name), "expert", Sampling(max_tokens=20))]))
    monkeypatch.setattr(openai_service, "MOST_LISTED", 2)
    lab.server.batches.busy["POST batches"] = 1
    with pytest.raises(NoAnswerError, match="list of batches goes on without end"):
        lab.run()
    assert len(lab.server.batches.batches) == 3
    monkeypatch.setattr(openai_service, "MOST_LISTED", 10_000)
    assert len(lab.run().answers) == 3


def test_a_batch_whose_provider_cannot_be_asked_any_more_is_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.server.batches.refused.add("GET batches/id")
    with pytest.raises(NoAnswerError):
        lab.run()

    async def sent(self: Rows, call: object) -> None:
        raise ProviderFailure("no key")

    monkeypatch.setattr(Rows, "sent", sent)
    with pytest.raises(NoAnswerError, match="cannot be looked for: no key; run the same command again later"):
        lab.run()
    assert len(lab.server.batches.batches) == 1


@pytest.mark.parametrize(
    ("end", "answer", "words"),
    [
        ("batches/batch_1", (302, b"", "text/html"), "not say how batch_1 is doing"),
        ("batches/batch_1", (200, b"<html>", "text/html"), "not say how batch_1 is doing"),
        ("batches/batch_1", (200, b"{}", "application/json"), "not say how batch_1 is doing"),
        ("content", (302, b"", "text/html"), "the results of batch_1 cannot be read"),
    ],
)
def test_a_provider_that_says_what_cannot_be_read_time_after_time_ends_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, end: str, answer: tuple[int, bytes, str], words: str
) -> None:
    desk = lab.server.batches
    handle = desk.handle

    def page(method: str, path: str, *rest: Any) -> Any:
        return answer if path.endswith(end) else handle(method, path, *rest)

    monkeypatch.setattr(desk, "handle", page)
    with pytest.raises(NoAnswerError, match=rf"{words}.*again later: nothing is submitted twice"):
        lab.run()
    monkeypatch.setattr(desk, "handle", handle)
    assert len(lab.run().answers) == 3
    assert list(desk.asked().values()) == [1, 1, 1]


def test_methods_do_not_take_a_provider_that_refuses_to_say_for_models_that_failed(lab: Lab) -> None:
    lab.server.batches.refused.add("GET batches/id")
    for found in asyncio.run(lab.queued(questions(2))):
        assert isinstance(found, BatchesLeftError), found
        assert (found.exit_code, "HTTP 403" in str(found)) == (ExitCode.NO_ANSWER, True)


def test_a_fault_of_ours_keeps_none_waiting_for_ever(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batches, "fetch", lambda self, requests: 1 / 0)
    found = asyncio.run(asyncio.wait_for(lab.queued(questions(2)), 30.0))
    assert [type(error) for error in found] == [ZeroDivisionError] * 2


def test_a_provider_that_refuses_to_say_ends_the_run_and_a_later_one_goes_on(lab: Lab) -> None:
    lab.server.batches.altered = lambda lines: lines
    handle = lab.server.batches.handle

    def forbidden(method: str, path: str, *rest: Any) -> Any:
        return (
            (403, b'{"error": {"message": "not yours"}}', "application/json")
            if method == "GET"
            else handle(method, path, *rest)
        )

    lab.server.batches.handle = forbidden  # type: ignore[method-assign]
    with pytest.raises(NoAnswerError, match=r"does not say how batch_1 is doing: HTTP 403: not yours"):
        lab.run()
    lab.server.batches.handle = handle  # type: ignore[method-assign]
    assert len(lab.run().answers) == 3
    assert list(lab.server.batches.asked().values()) == [1, 1, 1]
