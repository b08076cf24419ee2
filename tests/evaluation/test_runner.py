"""Running methods: what is scored, what is not and why, what is used again, and where a budget stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jisi_cli.errors import BudgetError, InputError, NoAnswerError
from jisi_cli.evaluation.one_question import Entry
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.runner import Timing, run_method
from jisi_cli.evaluation.test_set import TestSet, blocks, from_questions
from jisi_cli.methods.registry import make_method
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from jisi_cli.types import Answer, Pool, Request
from tests.methods.synthetic import Setting, ToldPool, hashing_embedder, setting


def entry(name: str, given: Setting, *identity: object) -> Entry:
    return Entry(name, make_method(name, given.context) if name != "oracle" else None, identity)


def run(
    name: str,
    given: Setting,
    pool: Pool | None = None,
    path: Path | None = None,
    *,
    identity: tuple[object, ...] = (),
    compares_answers: bool = False,
    **how: object,
) -> list[Result]:
    with ResultFile(path) as file:
        who = replace(entry(name, given, *identity), compares_answers=compares_answers)
        results, timing = asyncio.run(run_method(who, given.tests, pool or given.tests.pool, file, **how))  # type: ignore[arg-type]
    assert isinstance(timing, Timing) and min(timing.plan, timing.answer) >= 0
    return results


def with_tests(given: Setting, **changes: object) -> Setting:
    return replace(given, tests=replace(given.tests, **changes))  # type: ignore[arg-type]


def recorded(given: Setting, change: Callable[[str, str, RecordedAnswer], RecordedAnswer]) -> Setting:
    """Return the setting with other recorded answers, each made from (question, model, answer)."""
    texts = [question.query for question in given.tests.questions]
    answers = {
        (text, model): change(text, model, answer)
        for text in texts
        for model, answer in given.tests.pool.recorded(text)
    }
    return with_tests(given, pool=ReplayPool(answers, given.models))


# Replays.


def test_a_replay_scores_the_recorded_answer_of_the_model_that_answered() -> None:
    given = setting()
    results = run("jisi-router", given)
    assert [(result.dataset, result.index) for result in results] == [q.key for q in given.tests.questions]
    for row, result in enumerate(results):
        assert result.status == "scored" and result.mode == "route" and result.model is not None
        assert result.score == given.tests.scores[row, given.models.index(result.model)]
        assert result.answer is None and result.error is None
        assert result.support_size is not None and result.support_size >= 8


def test_calls_dollars_and_tokens_are_those_of_all_calls_and_the_winners_apart() -> None:
    given = setting()
    for row, result in enumerate(run("jisi-query", given)):
        ((_, answer),) = [pair for pair in given.tests.pool.recorded(f"question {row}?") if pair[0] == result.model]
        assert (result.calls, result.cost_usd, result.tokens) == (1, answer.cost_usd, answer.completion_tokens)
        assert result.winner_cost_usd == answer.cost_usd
        assert result.support_size is None
    for row, result in enumerate(run("jisi-vote", given.with_settings(k=4))):
        answers = dict(given.tests.pool.recorded(f"question {row}?"))
        assert result.calls == 4
        assert result.cost_usd == pytest.approx(sum(answer.cost_usd or 0 for answer in answers.values()))
        assert result.tokens == sum(answer.completion_tokens or 0 for answer in answers.values())
        assert result.winner_cost_usd == answers[result.model or ""].cost_usd


def test_one_unknown_cost_leaves_the_questions_cost_unknown() -> None:
    given = recorded(setting(), lambda _, model, answer: replace(answer, cost_usd=None) if model == "d" else answer)
    for result in run("jisi-vote", given.with_settings(k=4)):
        assert result.cost_usd is None
        assert (result.winner_cost_usd is None) == (result.model == "d")
        assert result.tokens is not None
    given = recorded(setting(), lambda _, model, answer: replace(answer, completion_tokens=None))
    assert {result.tokens for result in run("model:a", given)} == {None}


def test_a_call_that_was_not_recorded_is_marked_and_never_approximated() -> None:
    given = setting()
    results = run("jisi-static", given)
    assert {result.status for result in results} == {"needs-live"}
    for result in results:
        assert (result.score, result.model, result.answer, result.mode) == (None, None, None, "aggregate")
        assert result.support_size is not None
    some = run("jisi", given.with_settings(t=1.0))
    assert {(result.status, result.mode) for result in some} == {("scored", "route")}


def test_a_question_that_nobody_answered_counts_as_wrong_with_what_it_cost() -> None:
    given = setting(gaps=0.4)
    gaps = np.isnan(given.tests.scores[:, given.models.index("c")])
    results = run("model:c", given)
    for result, gap in zip(results, gaps, strict=True):
        assert result.status == ("failed" if gap else "scored")
        if gap:
            assert (result.score, result.model, result.mode, result.calls) == (0.0, None, None, 1)
            assert result.error == "no model could answer (c: recorded as missing)"
    failed = recorded(given, lambda _, __, answer: replace(answer, error="503", cost_usd=0.25, completion_tokens=7))
    for result in run("best-single", failed):
        assert (result.status, result.calls, result.cost_usd, result.tokens) == ("failed", 4, 1.0, 28)


def test_an_answer_without_a_recorded_score_is_unscored() -> None:
    given = setting()
    scores = given.tests.scores.copy()
    scores[::2] = np.nan
    results = run("model:b", with_tests(given, scores=scores))
    assert [result.status for result in results] == ["unscored", "scored"] * (len(results) // 2)
    assert {result.score for result in results[::2]} == {None}
    assert {result.model for result in results} == {"b"}


def test_the_oracle_takes_the_best_label_and_claims_no_cost() -> None:
    given = setting(gaps=0.3)
    scores = given.tests.scores.copy()
    scores[0] = np.nan
    scores[1] = [0.25, np.nan, 0.75, 0.5]
    results = run("oracle", with_tests(given, scores=scores))
    assert (results[0].status, results[0].score) == ("unscored", None)
    assert (results[1].score, results[1].model, results[1].cost_usd) == (0.75, "c", None)
    for result, row in zip(results[2:], scores[2:], strict=True):
        if not np.isnan(row).all():
            assert result.score == np.nanmax(row)


def test_a_grader_of_another_program_is_no_obstacle_to_a_replay() -> None:
    given = setting()
    questions = [replace(question, grader="bleurt") for question in given.tests.questions]
    tests = from_questions(questions, hashing_embedder(), "made up")
    assert {query.grader for query in tests.queries} == {None}
    results = run("jisi-vote", with_tests(given, questions=questions, queries=tests.queries))
    assert {result.status for result in results} == {"scored"}


def test_more_questions_than_a_block_are_answered_in_order() -> None:
    given = setting(tests=1030)
    results = run("jisi-query", given)
    assert [result.index for result in results] == [str(number) for number in range(1030)]
    assert [result.model for result in results[1024:]] == [
        result.model for result in run("jisi-query", with_tests(given, **_rows(given.tests, range(1024, 1030))))
    ]
    assert [part.stop - part.start for part in blocks(1030, 1024)] == [1024, 6]


def _rows(tests: TestSet, rows: Sequence[int]) -> dict[str, object]:
    chosen = list(rows)
    return {
        "questions": [tests.questions[row] for row in chosen],
        "queries": [tests.queries[row] for row in chosen],
        "scores": tests.scores[chosen],
    }


# Live runs: any pool that is not a replay.


def says(text: str) -> Callable[[Request], Answer]:
    return lambda call: Answer(
        call.model, text, prompt_tokens=10, completion_tokens=5, cost_usd=0.0, list_cost_usd=0.5, cached=True
    )


def live(given: Setting, text: str = "The answer is 1") -> ToldPool:
    return ToldPool(dict.fromkeys(given.models, says(text)))


@pytest.mark.parametrize(
    ("text", "reference", "grader", "status", "score"),
    [
        ("The answer is 1", "1", "numeric", "scored", 1.0),
        ("The answer is 2", "1", "numeric", "scored", 0.0),
        ("I cannot say.", "1", "numeric", "unscored", None),
        ("The answer is 1", None, "numeric", "unscored", None),
        ("The answer is 1", "1", None, "unscored", None),
        ("(B), because of A", "B", "choice", "scored", 1.0),
    ],
)
def test_live_answers_are_graded_and_kept(
    text: str, reference: str | None, grader: str | None, status: str, score: float | None
) -> None:
    given = setting(tests=3)
    questions = [replace(question, reference=reference, grader=grader) for question in given.tests.questions]
    # Recorded scores are of other answers.
    given = with_tests(given, questions=questions, scores=np.full((3, 4), 0.5))
    for result in run("best-single", given, live(given, text)):
        assert (result.status, result.score, result.answer) == (status, score, text)
        # What it costs when nothing is cached.
        assert (result.cost_usd, result.winner_cost_usd) == (0.5, 0.5)


def test_a_failed_call_costs_what_was_paid_for_it() -> None:
    given = setting(tests=3)

    def broken(call: Request) -> Answer:
        return Answer(call.model, "", error="503", cost_usd=0.0)

    best = run("best-single", given)[0].model
    pool = ToldPool({**live(given).respond, best: broken})
    for result in run("best-single", given, pool):
        assert (result.status, result.mode, result.calls, result.cost_usd) == ("scored", "fallback", 2, 0.5)
    unknown = ToldPool({**pool.respond, best: lambda call: Answer(call.model, "", error="reset")})
    assert {result.cost_usd for result in run("best-single", given, unknown)} == {None}


def test_an_unknown_grader_is_told_before_a_call_is_paid_for() -> None:
    given = setting()
    questions = list(given.tests.questions)
    questions[5] = replace(questions[5], grader="bleurt")
    pool = live(given)
    with pytest.raises(InputError, match=r"zoo/5: no grader is called `bleurt`; the graders are agreement, choice"):
        run("best-single", with_tests(given, questions=questions), pool)
    assert pool.asked == []


class Busy(ToldPool):
    """A pool that counts how many calls are out at one time."""

    now = most = 0

    async def ask(self, request: Request) -> Answer:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now -= 1
        return await super().ask(request)


@pytest.mark.parametrize("concurrency", [1, 3, 100])
def test_so_many_questions_are_under_way_at_one_time(concurrency: int) -> None:
    given = setting(tests=12)
    pool = Busy(live(given).respond)
    results = run("best-single", given, pool, concurrency=concurrency)
    assert pool.most == min(concurrency, 12)
    assert [result.index for result in results] == [str(number) for number in range(12)]


# What an earlier run settled.


def test_a_second_run_asks_nothing_and_tells_every_result_again(tmp_path: Path) -> None:
    given, path = setting(), tmp_path / "r.jsonl"
    pool, told = live(given), []
    first = run("best-single", given, pool, path, on_result=told.append)
    assert told == first and len(pool.asked) == 24
    content = path.read_bytes()
    again = live(given)
    assert run("best-single", given, again, path, on_result=told.append) == first
    assert told == first * 2 and again.asked == []
    assert path.read_bytes() == content


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    given, path = setting(), tmp_path / "r.jsonl"
    whole = run("jisi-router", given, None, path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:10]) + lines[10][:50])
    pool = ReplayPoolThatCounts(given)
    assert run("jisi-router", given, pool, path) == whole
    assert pool.questions == {f"question {row}?" for row in range(10, 24)}
    assert len(path.read_bytes().splitlines()) == 24


class ReplayPoolThatCounts(ReplayPool):
    """A replay that remembers the questions."""

    def __init__(self, given: Setting) -> None:
        self.questions: set[str] = set()
        texts = [question.query for question in given.tests.questions]
        super().__init__({(text, model): answer for text in texts for model, answer in given.tests.pool.recorded(text)})

    async def ask(self, request: Request) -> Answer:
        self.questions.add(request.messages[0]["content"])
        return await super().ask(request)


def test_what_is_answered_is_in_the_file_while_a_later_question_of_the_block_waits(tmp_path: Path) -> None:
    given, path = setting(), tmp_path / "r.jsonl"
    written: list[int] = []

    class Waits(ReplayPoolThatCounts):
        async def ask(self, request: Request) -> Answer:
            if request.messages[0]["content"] == "question 20?":
                for _ in range(50):
                    await asyncio.sleep(0)
                written.append(len(path.read_bytes().splitlines()))
            return await super().ask(request)

    results = run("best-single", given, Waits(given), path)
    assert written == [20]
    with ResultFile(path) as file:
        assert list(file.known.values()) == results


def test_a_failed_live_question_is_asked_again_and_a_recorded_failure_is_not(tmp_path: Path) -> None:
    given = setting(tests=4)
    dead = ToldPool(dict.fromkeys(given.models, lambda call: Answer(call.model, "", error="503")))
    path = tmp_path / "live.jsonl"
    assert {result.status for result in run("model:a", given, dead, path)} == {"failed"}
    assert {result.status for result in run("model:a", given, live(given), path)} == {"scored"}
    given, path = setting(tests=4, gaps=1.0), tmp_path / "replay.jsonl"
    first = run("model:a", given, None, path)
    size = path.stat().st_size
    assert run("model:a", given, None, path) == first
    assert path.stat().st_size == size


class Outage:
    """An embedder whose endpoint is down at first."""

    def __init__(self, given: Setting) -> None:
        self.spec, self.is_down = given.context.embedder.spec, True
        self._embed = given.context.embedder.embed

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if self.is_down:
            raise NoAnswerError("the embedder's endpoint is down")
        return self._embed(texts)


@pytest.mark.parametrize("name", ["jisi-router", "agent-forest"])
def test_a_replay_scores_again_what_failed_for_want_of_vectors(name: str, tmp_path: Path) -> None:
    given = recorded(setting(tests=4), lambda _, __, answer: replace(answer, vector=None))
    embedder, path = Outage(given), tmp_path / "r.jsonl"
    given = replace(given, context=replace(given.context, embedder=embedder))
    assert {result.status for result in run(name, given, None, path)} == {"failed"}
    embedder.is_down = False
    assert run(name, given, None, path) == run(name, given)
    assert {result.status for result in run(name, given, None, path)} == {"scored"}
    assert len(path.read_bytes().splitlines()) == 8


def changed(what: str) -> tuple[Setting, tuple[object, ...]]:
    """Return a setting and an identity of which one thing differs from `setting()` and `("bank",)`."""
    given = setting()
    first, *others = given.tests.questions
    match what:
        case "nothing":
            return given, ("bank",)
        case "identity":
            return given, ("another bank",)
        case "score":
            scores = given.tests.scores.copy()
            scores[0, 1] = 1 - scores[0, 1]
            return with_tests(given, scores=scores), ("bank",)
        case "recorded answer":
            return recorded(given, lambda text, model, answer: replace(answer, text="No.")), ("bank",)
        case "recorded cost":
            return recorded(given, lambda text, model, answer: replace(answer, cost_usd=9.0)), ("bank",)
        case _:
            return with_tests(given, questions=[replace(first, **{what: "new"}), *others]), ("bank",)


@pytest.mark.parametrize(
    ("what", "asked_again"),
    [
        ("nothing", 0),
        ("identity", 24),
        ("score", 1),
        ("recorded answer", 24),
        ("recorded cost", 24),
        ("dataset", 1),
        ("index", 1),
        ("reference", 1),
        ("grader", 1),
    ],
)
def test_a_result_is_used_again_only_where_all_that_decides_it_is_equal(
    tmp_path: Path, what: str, asked_again: int
) -> None:
    path = tmp_path / "r.jsonl"
    run("model:b", setting(), None, path, identity=("bank",))
    given, identity = changed(what)
    run("model:b", given, None, path, identity=identity)
    assert len(path.read_bytes().splitlines()) == 24 + asked_again
    run("model:a", given, None, path, identity=identity)
    assert len(path.read_bytes().splitlines()) == 48 + asked_again


def bracketed(given: Setting, place: int, grader: str | None = None) -> Setting:
    """Return the setting with one question that is answered `[[north]]`, which 0.1 did not read."""
    asked = given.tests.questions[place].query
    given = recorded(given, lambda text, _, answer: replace(answer, text="[[north]]") if text == asked else answer)
    return with_tests(given, queries=[replace(query, grader=grader) for query in given.tests.queries])


@pytest.mark.parametrize(("grader", "asked_again"), [(None, 1), ("contains", 1), ("numeric", 0)])
def test_votes_on_answers_that_an_earlier_version_could_not_read_are_counted_anew_and_no_others(
    tmp_path: Path, grader: str | None, asked_again: int
) -> None:
    given, path = bracketed(setting(), 3, grader), tmp_path / "r.jsonl"
    run(
        "majority-voting", given, None, path
    )  # its keys are those of an earlier version: nothing in them says how it read
    run("majority-voting", given, None, path, compares_answers=True)
    assert len(path.read_bytes().splitlines()) == 24 + asked_again
    run("majority-voting", given, None, path, compares_answers=True)
    assert len(path.read_bytes().splitlines()) == 24 + asked_again


def test_votes_on_answers_with_escape_sequences_are_counted_anew_whatever_the_grader(tmp_path: Path) -> None:
    given, path = setting(), tmp_path / "r.jsonl"
    first = given.tests.questions[0].query
    coloured = "\x1b[1mThe answer is 4\x1b[0m"
    given = recorded(given, lambda text, _, answer: replace(answer, text=coloured) if text == first else answer)
    run("majority-voting", given, None, path)
    run("majority-voting", given, None, path, compares_answers=True)
    assert len(path.read_bytes().splitlines()) == 25


@pytest.mark.parametrize("text", ["Which way? Put it into [[ ]].", "Which way?"])
def test_live_votes_are_counted_anew_where_no_grader_says_how_answers_are_read(tmp_path: Path, text: str) -> None:
    path, given = tmp_path / "r.jsonl", setting(tests=4)
    queries = [replace(query, grader="numeric") for query in given.tests.queries]
    queries[2] = replace(queries[2], text=text, grader=None)
    given = with_tests(given, queries=queries)
    run("majority-voting", given, live(given), path)
    pool = live(given)
    run("majority-voting", given, pool, path, compares_answers=True)
    assert len(pool.asked) == len(given.models)


def test_a_live_run_and_a_replay_share_no_result_and_live_ones_do_not_hang_on_what_was_recorded(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.jsonl"
    run("model:b", setting(), None, path)
    first, second = live(setting()), live(setting())
    run("model:b", setting(), first, path)
    assert len(first.asked) == 24
    run("model:b", changed("recorded answer")[0], second, path)
    assert second.asked == []


# Where a budget stops.


class Purse(ToldPool):
    """A pool that refuses calls once so many were made; a call takes a while."""

    def __init__(self, given: Setting, money: int) -> None:
        super().__init__(live(given).respond)
        self.money, self.finished = money, 0

    async def ask(self, request: Request) -> Answer:
        if self.money <= 0:
            raise BudgetError("nothing is left; raise --max-cost")
        self.money -= 1
        for _ in range(10):
            await asyncio.sleep(0)
        answer = await super().ask(request)
        self.finished += 1
        return answer


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_budget_ends_the_run_but_not_the_calls_that_are_out(tmp_path: Path, concurrency: int) -> None:
    given, path = setting(), tmp_path / "r.jsonl"
    purse = Purse(given, 10)
    with pytest.raises(BudgetError, match="raise --max-cost"):
        run("best-single", given, purse, path, concurrency=concurrency)
    assert purse.finished == len(path.read_bytes().splitlines()) == 10
    rest = Purse(given, 14)
    results = run("best-single", given, rest, path, concurrency=concurrency)
    assert rest.money == 0
    assert {result.status for result in results} == {"scored"}


def test_an_answer_that_the_budget_made_worse_is_not_a_result(tmp_path: Path) -> None:
    given, path = setting(tests=4).with_settings(t=0.0), tmp_path / "r.jsonl"
    # Three probes, and nothing for the aggregator: the best probe is an answer, but not the method's.
    with pytest.raises(BudgetError, match="the budget was used up at gsm/0; raise --max-cost"):
        run("jisi", given, Purse(given, 3), path)
    assert path.read_bytes() == b""


def test_a_full_disk_in_the_middle_of_a_run_is_one_error() -> None:
    given = setting()

    class Full(ResultFile):
        def write(self, result: Result) -> None:
            raise InputError("r.jsonl: cannot be written (No space left on device)")

    with pytest.raises(InputError, match="No space left"):
        asyncio.run(run_method(entry("best-single", given), given.tests, live(given), Full(None), concurrency=4))
