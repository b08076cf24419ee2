"""JiSi on its way through a pool: steps 6 and 12-14, its fallbacks, the budget, consensus; counted call by call.

The bank is made so that everything can be worked out by hand. All its queries are the new question, so s = 1
and g counts what a model solved. `near` are the rows whose recorded responses are like the candidates' new
ones: the filter keeps them, so gf counts what a model solved among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from jisi_cli.errors import BudgetError, NoAnswerError
from jisi_cli.hyperparameters import Hyperparameters
from jisi_cli.methods.jisi import Aggregation, JiSi
from jisi_cli.methods.prompts import aggregation_messages
from jisi_cli.methods.protocol import Outcome, Query, Silent
from jisi_cli.models.replay import RecordedAnswer, ReplayPool
from jisi_cli.scoring import BankArrays
from jisi_cli.types import Answer, Request, Role, Sampling
from tests.methods.synthetic import WIDTH, Respond, ToldPool, hashing_embedder, plain_query

QUESTION = "What is 6 times 7?"
LIKE, UNLIKE = np.eye(WIDTH, dtype=np.float32)[:2]

# Four models on eight rows, of which the first four are near.
SOLVED = {
    "ann": (1, 1, 0, 0, 1, 1, 1, 1),  # g = 6, gf = 2: the best at large
    "ben": (1, 1, 1, 0, 1, 1, 0, 0),  # g = 5, gf = 3
    "cat": (1, 1, 1, 1, 0, 0, 0, 0),  # g = 4, gf = 4: the best nearby
    "dan": (1, 1, 1, 0, 0, 0, 0, 0),  # g = 3, gf = 3: no candidate, and as good nearby as ben
}
NEAR = (0, 1, 2, 3)


def bank(solved: Mapping[str, Sequence[int]] = SOLVED, near: Sequence[int] = NEAR, tokens: float = 100) -> BankArrays:
    count = len(next(iter(solved.values())))
    responses = np.stack([LIKE if row in near else UNLIKE for row in range(count)])
    return BankArrays(
        query_vectors=np.stack([LIKE] * count),
        response_vectors=[responses] * len(solved),
        scores=np.array(list(solved.values()), dtype=float).T,
        completion_tokens=np.full((count, len(solved)), tokens),
        present=np.ones((count, len(solved)), dtype=bool),
        model_names=tuple(solved),
    )


def says(text: str, tokens: int | None = 100, *, embedded: bool = False) -> Respond:
    """Answer with this text; its vector is one like those of the near rows, or left to the embedder."""
    return lambda call: Answer(call.model, text, completion_tokens=tokens, vector=None if embedded else LIKE)


def fails(words: str = "out of order") -> Respond:
    return lambda call: Answer(call.model, "", error=words)


def is_too_dear(call: Request) -> Answer:
    raise BudgetError(f"a call to `{call.model}` may cost more than is left; raise --max-cost")


def by_role(**respond: Respond) -> Respond:
    """Answer by the role of the call."""
    return lambda call: respond[call.role](call)


def pool(**respond: Respond) -> ToldPool:
    """Four models that answer `<name> says so`, but for those told otherwise."""
    return ToldPool({name: respond.get(name, says(f"{name} says so")) for name in SOLVED})


def method(aggregation: Aggregation = "auto", given: BankArrays | None = None, **changes: object) -> JiSi:
    settings = Hyperparameters().with_changes({"t": 0.7, **changes}, "test")
    return JiSi(given or bank(), hashing_embedder(), settings, aggregation)


def query(system: str | None = None, grader: str | None = None) -> Query:
    return Query(QUESTION, LIKE, system=system, grader=grader)


def answer(jisi: JiSi, asked: object, given: Query | None = None, listener: object | None = None) -> Outcome:
    given = given or query()
    (plan,) = jisi.plan([given])
    return asyncio.run(jisi.answer(given, plan, asked, listener or Silent()))  # type: ignore[arg-type]


def called(asked: ToldPool) -> list[tuple[str, Role]]:
    return [(call.model, call.role) for call in asked.asked]


PROBES = [("ann", "probe"), ("ben", "probe"), ("cat", "probe")]


def test_candidates_are_probed_missing_aggregatees_called_and_the_best_at_large_writes() -> None:
    asked = pool()
    outcome = answer(method(), asked)
    # t = 0.7 of cat's gf = 4 leaves ben and dan with 3; ben goes first by its mean score.
    assert called(asked) == [*PROBES, ("dan", "expert"), ("ann", "aggregator")]
    assert outcome.mode == "aggregate"
    assert outcome.answer.text == "ann says so"
    assert outcome.reason == "3 models score within t=0.7 of the best"
    decision = outcome.decision
    assert decision is not None and decision.fine is not None
    assert decision.candidates == decision.answered == ("ann", "ben", "cat")
    assert decision.aggregator == "ann"
    assert decision.aggregatees == ("cat", "ben", "dan")
    assert decision.fine.ratios == (1.0, 0.75, 0.75)
    assert sorted(decision.fine.kept.tolist()) == list(NEAR)
    assert [call.role for call in outcome.calls] == ["probe"] * 3 + ["expert", "aggregator"]


def test_the_aggregator_gets_the_question_and_the_responses_best_first() -> None:
    asked = pool()
    answer(method(), asked, query(system="Answer in French."))
    *earlier, last = asked.asked
    texts = ["cat says so", "ben says so", "dan says so"]
    assert last.messages == aggregation_messages(plain_query(QUESTION, "Answer in French."), texts)
    for call in earlier:
        assert call.messages == [
            {"role": "system", "content": "Answer in French."},
            {"role": "user", "content": QUESTION},
        ]


@pytest.mark.parametrize(
    ("compat", "sampling"), [("paper", Sampling(0.2, 1.0)), ("openjisi", Sampling(0.7, 1.0, max_tokens=32_768))]
)
def test_only_the_released_code_writes_at_another_temperature(compat: str, sampling: Sampling) -> None:
    asked = pool()
    answer(method(compat=compat), asked)
    assert [call.sampling for call in asked.asked] == [Sampling(0.2, 1.0)] * 4 + [sampling]


def test_one_aggregatee_answers_without_a_further_call() -> None:
    asked = pool()
    outcome = answer(method(t=0.8), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.text) == ("route", "cat says so")
    assert outcome.reason == "no other model scores within t=0.8 of it"


def test_the_router_takes_the_best_aggregatee_and_calls_no_other() -> None:
    asked = pool()
    outcome = answer(method("never"), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.text) == ("route", "cat says so")
    assert outcome.decision is not None and outcome.decision.aggregatees == ("cat",)


def test_the_static_variant_aggregates_the_top_k_whatever_their_distance() -> None:
    asked = pool()
    outcome = answer(method("always", t=1.0), asked)
    assert called(asked) == [*PROBES, ("dan", "expert"), ("ann", "aggregator")]
    assert outcome.mode == "aggregate"


NEARBY_EXPERT = {**SOLVED, "cat": (1, 0, 0, 0, 1, 1, 1, 0), "dan": (1, 1, 1, 0, 0, 0, 0, 0), "ben": SOLVED["ann"]}
"""dan (g = 3) is no candidate and solved most nearby: gf = 3 against 2, 2 and 1."""


@pytest.mark.parametrize("aggregation", ["auto", "never"])
def test_a_chosen_model_that_was_no_candidate_is_called_for_its_answer(aggregation: Aggregation) -> None:
    asked = pool()
    outcome = answer(method(aggregation, bank(NEARBY_EXPERT), t=0.9), asked)
    assert called(asked) == [*PROBES, ("dan", "expert")]
    assert (outcome.mode, outcome.answer.text) == ("route", "dan says so")


def test_k_of_one_probes_one_model_and_routes() -> None:
    asked = pool()
    outcome = answer(method(k=1, t=0.0), asked)
    assert called(asked) == [("ann", "probe"), ("cat", "expert")]
    assert (outcome.mode, outcome.answer.text) == ("route", "cat says so")


def test_k_beyond_the_number_of_models_asks_them_all() -> None:
    asked = pool()
    outcome = answer(method(k=9, t=0.0), asked)
    assert called(asked) == [*PROBES, ("dan", "probe"), ("ann", "aggregator")]
    assert outcome.decision is not None
    # gf: cat 4, ben 3, dan 3, ann 2.
    assert outcome.decision.aggregatees == ("cat", "ben", "dan", "ann")


def test_where_nobody_solved_anything_nearby_the_first_candidate_answers() -> None:
    solved = {name: (0, 0, 0, 0, *row[4:]) for name, row in SOLVED.items()}
    asked = pool(ann=fails())
    outcome = answer(method(given=bank(solved)), asked)
    assert (outcome.mode, outcome.answer.text) == ("route", "ben says so")
    assert outcome.reason == "no model solved a question like this; the first candidate answers"


def test_candidates_are_asked_at_the_same_time() -> None:
    class Counting(ToldPool):
        now = most = 0

        async def ask(self, request: Request) -> Answer:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return await super().ask(request)

    asked = Counting(pool().respond)
    answer(method(t=0.8), asked)
    assert asked.most == 3


# Step 6 and step 12: who has no answer drops out.


def test_a_failed_candidate_drops_out_and_k_is_the_number_that_answered() -> None:
    asked = pool(ben=fails())
    outcome = answer(method(t=0.0), asked)
    decision = outcome.decision
    assert decision is not None and decision.fine is not None
    assert decision.answered == ("ann", "cat")
    # f = 0.5 K s + 0.3 K + 0.2 K = 2 for the near rows, with K = 2.
    assert decision.fine.mixed.tolist() == pytest.approx([2.0] * 4 + [1.4] * 4)
    # The two largest gf: cat, then ben, who failed and is neither asked again nor replaced.
    assert decision.fine.aggregatees == (2, 1)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.text) == ("route", "cat says so")
    assert outcome.reason == "the other chosen models did not answer"


def test_an_empty_answer_is_no_answer() -> None:
    for nothing in ("", " \n\t"):
        asked = pool(ben=says(nothing))
        outcome = answer(method(t=0.0), asked)
        assert outcome.decision is not None and outcome.decision.answered == ("ann", "cat")
        assert outcome.answer.text == "cat says so"


def test_a_failed_expert_is_dropped_and_nobody_replaces_it() -> None:
    asked = pool(dan=fails())
    outcome = answer(method(), asked)
    assert called(asked) == [*PROBES, ("dan", "expert"), ("ann", "aggregator")]
    assert asked.asked[-1].messages == aggregation_messages(plain_query(QUESTION), ["cat says so", "ben says so"])
    assert outcome.decision is not None and outcome.decision.aggregatees == ("cat", "ben")


@pytest.mark.parametrize("aggregation", ["auto", "never"])
def test_when_no_chosen_model_answered_the_best_answer_there_is_counts(aggregation: Aggregation) -> None:
    asked = pool(cat=fails())
    outcome = answer(method(aggregation, t=0.9), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.text) == ("fallback", "ben says so")
    assert outcome.reason == "no chosen model answered"
    asked = pool(dan=fails())
    outcome = answer(method(aggregation, bank(NEARBY_EXPERT), t=0.9), asked)
    assert called(asked) == [*PROBES, ("dan", "expert")]
    # gf: ann and ben 2, cat 1; ann by its name.
    assert (outcome.mode, outcome.answer.text) == ("fallback", "ann says so")


def test_when_no_candidate_answers_the_models_behind_them_are_asked_in_turn() -> None:
    asked = pool(ann=fails(), ben=fails(), cat=fails())
    outcome = answer(method(), asked)
    assert called(asked) == [*PROBES, ("dan", "expert")]
    assert (outcome.mode, outcome.answer.text, outcome.reason) == ("fallback", "dan says so", "no candidate answered")
    asked = pool(ann=fails(), ben=fails())
    outcome = answer(method(k=1), pool(ann=fails(), ben=fails()))
    assert [(call.model, call.role) for call in outcome.calls] == [
        ("ann", "probe"),
        ("ben", "expert"),
        ("cat", "expert"),
    ]


def test_when_nobody_answers_every_models_own_words_are_told() -> None:
    asked = pool(ann=fails("no credit"), ben=fails("overloaded"), cat=says(" "), dan=fails("unknown model"))
    with pytest.raises(NoAnswerError) as error:
        answer(method(), asked)
    for words in ("ann: no credit", "ben: overloaded", "cat: empty answer", "dan: unknown model"):
        assert words in str(error.value)


# Step 13: responses that are too long together.


@pytest.mark.parametrize(
    ("tokens", "used"),
    [
        ((100, 100, 100), ("cat", "ben", "dan")),
        ((5000, 5000, 3000), ("cat", "ben", "dan")),
        ((5000, 5000, 3001), ("cat", "ben")),
        ((9000, 9000, None), ("cat", "ben")),
        ((9000, None, None), ("cat", "ben", "dan")),
    ],
)
def test_three_responses_beyond_the_limit_are_cut_to_two(tokens: tuple[int | None, ...], used: tuple[str, ...]) -> None:
    cat, ben, dan = tokens
    lengths = {"cat": says("cat says so", cat), "ben": says("ben says so", ben), "dan": says("dan says so", dan)}
    # With sigma alone, the lengths of the new responses do not move the filter.
    asked = pool(**lengths)
    outcome = answer(method(epsilon=0.0, sigma=1.0, delta=0.0), asked)
    assert outcome.decision is not None and outcome.decision.aggregatees == used
    assert asked.asked[-1].messages == aggregation_messages(plain_query(QUESTION), [f"{name} says so" for name in used])


@pytest.mark.parametrize(("compat", "used"), [("paper", 2), ("openjisi", 3)])
def test_four_responses_beyond_the_limit_are_cut_to_two_or_lose_one(compat: str, used: int) -> None:
    asked = ToldPool({name: says(f"{name} says so", 9000) for name in SOLVED})
    outcome = answer(method(k=4, t=0.0, compat=compat, epsilon=0.0, sigma=1.0, delta=0.0), asked)
    assert outcome.decision is not None and len(outcome.decision.aggregatees) == used


def test_two_long_responses_stay_two() -> None:
    asked = pool(cat=says("cat says so", 90_000), ben=says("ben says so", 90_000), dan=fails())
    outcome = answer(method(epsilon=0.0, sigma=1.0, delta=0.0), asked)
    assert outcome.decision is not None and outcome.decision.aggregatees == ("cat", "ben")
    assert outcome.mode == "aggregate"


# Step 14: the aggregator and those who stand in for it.


def test_when_the_aggregator_fails_the_next_by_coarse_score_writes() -> None:
    asked = pool(
        ann=by_role(probe=says("ann says so"), aggregator=fails()), ben=by_role(probe=says("b"), aggregator=says(""))
    )
    outcome = answer(method(), asked)
    assert called(asked)[4:] == [("ann", "aggregator"), ("ben", "aggregator"), ("cat", "aggregator")]
    assert (outcome.mode, outcome.answer.model) == ("aggregate", "cat")
    assert outcome.reason.endswith("cat stood in for ann")


def test_when_no_aggregator_answers_the_best_response_itself_is_the_answer() -> None:
    silent = {
        name: by_role(probe=says(f"{name} says so"), expert=says("dan says so"), aggregator=fails()) for name in SOLVED
    }
    asked = ToldPool(silent)
    outcome = answer(method(), asked)
    assert called(asked)[4:] == [(name, "aggregator") for name in SOLVED]
    assert (outcome.mode, outcome.answer.text) == ("fallback", "cat says so")
    assert outcome.reason == "no aggregator answered; this is the best response"
    assert not outcome.stopped_by_budget
    assert len(outcome.calls) == 8


# The budget, in every phase.


def test_a_budget_that_stops_one_probe_leaves_the_others_and_is_told() -> None:
    asked = pool(ben=is_too_dear)
    outcome = answer(method(t=0.9), asked)
    assert (outcome.mode, outcome.answer.text) == ("route", "cat says so")
    assert outcome.stopped_by_budget
    assert [call.model for call in outcome.calls] == ["ann", "cat"]


def test_a_budget_that_stops_all_probes_leaves_the_cheaper_models_behind_them() -> None:
    asked = pool(ann=is_too_dear, ben=is_too_dear, cat=is_too_dear)
    outcome = answer(method(), asked)
    assert (outcome.mode, outcome.answer.text) == ("fallback", "dan says so")
    assert outcome.stopped_by_budget


def test_a_budget_that_stops_every_call_is_an_error_of_its_own() -> None:
    everybody = ToldPool(dict.fromkeys(SOLVED, is_too_dear))
    with pytest.raises(BudgetError, match="raise --max-cost"):
        answer(method(), everybody)


def test_a_budget_that_stops_an_expert_leaves_the_candidates() -> None:
    asked = pool(dan=is_too_dear)
    outcome = answer(method(), asked)
    assert outcome.decision is not None and outcome.decision.aggregatees == ("cat", "ben")
    assert outcome.stopped_by_budget
    assert outcome.mode == "aggregate"


def test_a_budget_that_stops_the_aggregator_gives_the_best_response_and_asks_no_other() -> None:
    asked = pool(ann=by_role(probe=says("ann says so"), aggregator=is_too_dear))
    outcome = answer(method(), asked)
    assert called(asked)[4:] == [("ann", "aggregator")]
    assert (outcome.mode, outcome.answer.text) == ("fallback", "cat says so")
    assert outcome.reason == "the budget left no room for the aggregator; this is the best response"
    assert outcome.stopped_by_budget


# Where vectors and lengths come from.


def test_a_response_without_a_vector_is_embedded_by_the_banks_embedder() -> None:
    text = "cat says that it is forty-two"
    vector = hashing_embedder().embed([text])[0]
    given: Respond = lambda call: Answer(call.model, text, completion_tokens=100, vector=vector)  # noqa: E731
    own = answer(method(t=0.8), pool(cat=given)).decision
    embedded = answer(method(t=0.8), pool(cat=says(text, embedded=True))).decision
    assert own is not None and own.fine is not None
    assert embedded is not None and embedded.fine is not None
    assert embedded.fine.mixed.tolist() == own.fine.mixed.tolist()
    assert embedded.fine.mixed.tolist() != answer(method(t=0.8), pool()).decision.fine.mixed.tolist()  # type: ignore[union-attr]


def test_an_unknown_length_takes_no_part_in_the_filter() -> None:
    outcome = answer(method(t=0.8), pool(cat=says("cat says so", tokens=None)))
    assert outcome.decision is not None and outcome.decision.fine is not None
    assert outcome.decision.fine.cost_similarities.tolist() == [2.0] * 8


def test_a_replay_without_the_aggregators_answer_says_so_and_invents_none() -> None:
    recorded = {
        (QUESTION, name): RecordedAnswer(f"{name} says so", completion_tokens=100, vector=LIKE) for name in SOLVED
    }
    outcome = answer(method(), ReplayPool(recorded))
    assert [call.error for call in outcome.calls] == [None] * 4 + [ReplayPool.NOT_RECORDED] * 4
    assert (outcome.mode, outcome.answer.text) == ("fallback", "cat says so")
    assert answer(method("never"), ReplayPool(recorded)).answer.text == "cat says so"


def test_only_the_released_code_leaves_out_models_without_a_recorded_answer() -> None:
    recorded = {
        (QUESTION, name): RecordedAnswer(f"{name} says so", completion_tokens=100, vector=LIKE)
        for name in ("ann", "ben")
    }
    asked = ReplayPool(recorded, tuple(SOLVED))
    paper, released = (answer(method(compat=compat, t=0.9), asked) for compat in ("paper", "openjisi"))
    assert (paper.mode, paper.answer.model, paper.reason) == ("fallback", "ben", "no chosen model answered")
    assert (released.mode, released.answer.model) == ("route", "ben")


# Probing alone.


def test_probing_completes_the_decision_and_calls_neither_experts_nor_the_aggregator() -> None:
    asked = pool()
    jisi, given = method(), query()
    (plan,) = jisi.plan([given])
    decision, calls = asyncio.run(jisi.probe(given, plan, asked, Silent()))
    assert called(asked) == PROBES
    assert [call.model for call in calls] == ["ann", "ben", "cat"]
    assert decision.aggregatees == ("cat", "ben", "dan")
    with pytest.raises(NoAnswerError, match="ann: out of order; ben: out of order; cat: out of order"):
        asyncio.run(jisi.probe(given, plan, pool(ann=fails(), ben=fails(), cat=fails()), Silent()))
    with pytest.raises(BudgetError):
        asyncio.run(jisi.probe(given, plan, ToldPool(dict.fromkeys(SOLVED, is_too_dear)), Silent()))


# What a listener hears.


class Hearing:
    """A listener that keeps what it is told."""

    streams = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    def asked(self, model: str, role: Role) -> None:
        self.heard.append(("asked", model, role))

    def answered(self, answer: Answer) -> None:
        self.heard.append(("answered", answer.model, answer.role))

    def writing(self, model: str) -> None:
        self.heard.append(("writing", model))

    def text(self, piece: str) -> None:
        self.heard.append(("text", piece))


def test_a_listener_hears_every_call_and_the_text_of_the_final_answer_alone() -> None:
    listener = Hearing()
    answer(method(), pool(ann=by_role(probe=says("a"), aggregator=fails()), ben=says("final")), listener=listener)
    assert [event for event in listener.heard if event[0] in ("writing", "text")] == [
        ("writing", "ann"),
        ("writing", "ben"),
        ("text", "final"),
    ]
    asked = [event[1:] for event in listener.heard if event[0] == "asked"]
    answered = [event[1:] for event in listener.heard if event[0] == "answered"]
    assert sorted(asked) == sorted(answered) and len(asked) == 6


# Consensus: ours. Coarse scores are 6, 5 and 4, so the shares of three candidates are 6/15, 5/15 and 4/15.


def ours(aggregation: Aggregation = "auto", **changes: object) -> JiSi:
    return method(aggregation, **{"switch": "consensus", **changes})


def finals(ann: int, ben: int, cat: int) -> ToldPool:
    """Candidates whose final answers are these."""
    given = {"ann": ann, "ben": ben, "cat": cat}
    return pool(**{name: says(f"I, {name}, think so. The answer is {final}.") for name, final in given.items()})


def test_candidates_that_agree_end_the_question() -> None:
    asked = finals(42, 42, 42)
    outcome = answer(ours(), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.model) == ("consensus", "ann")
    assert outcome.reason == "3 of 3 candidates agree, with 100% of the weight"
    assert outcome.decision is not None and outcome.decision.fine is None
    assert outcome.decision.aggregatees == ("ann", "ben", "cat")


def test_answers_are_compared_by_what_they_say() -> None:
    texts = {"ann": "Thus \\boxed{42}.", "ben": '{"answer": "42.0"}', "cat": "The answer is 42"}
    asked = pool(**{name: says(text) for name, text in texts.items()})
    assert answer(ours(), asked).mode == "consensus"
    # As choice letters the same texts say nothing.
    assert answer(ours(), asked, query(grader="choice")).mode == "aggregate"


@pytest.mark.parametrize(
    ("given", "u", "winner"),
    [
        ((42, 42, 7), 0.999, None),  # 11/15
        ((42, 42, 7), 0.7, "ann"),
        ((7, 42, 42), 0.6, "ben"),  # 9/15
        ((7, 42, 42), 0.61, None),
        ((1, 2, 3), 0.4, "ann"),  # 6/15
        ((1, 2, 3), 0.5, None),
    ],
)
def test_the_heaviest_answer_wins_from_a_share_of_u(given: tuple[int, int, int], u: float, winner: str | None) -> None:
    asked = finals(*given)
    outcome = answer(ours(u=u), asked)
    if winner is None:
        assert called(asked) == [*PROBES, ("dan", "expert"), ("ann", "aggregator")]
        assert outcome.mode == "aggregate"
    else:
        assert called(asked) == PROBES
        assert (outcome.mode, outcome.answer.model) == ("consensus", winner)


def test_a_candidate_that_failed_still_weighs_against_the_others() -> None:
    asked = finals(42, 42, 42)
    asked = ToldPool({**asked.respond, "cat": fails()})
    # 11/15, not 11/11.
    assert answer(ours(u=0.74), asked).mode != "consensus"
    assert answer(ours(u=0.73), asked).mode == "consensus"


def test_the_paper_switch_hears_no_consensus() -> None:
    outcome = answer(method(), finals(42, 42, 42))
    assert outcome.mode == "aggregate"


@pytest.mark.parametrize(("given", "winner"), [((7, 42, 42), "ben"), ((1, 2, 3), "ann"), ((7, 7, 42), "ann")])
def test_the_vote_takes_the_heaviest_answer_without_a_further_call(given: tuple[int, int, int], winner: str) -> None:
    asked = finals(*given)
    outcome = answer(ours("never"), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.model) == ("consensus", winner)


def test_bare_replies_are_counted_as_the_answers_that_they_are() -> None:
    asked = pool(ann=says("Lyon"), ben=says("**Paris**"), cat=says("The answer is Paris."))
    outcome = answer(ours("never"), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.model) == ("consensus", "ben")


def test_the_vote_routes_where_no_final_answer_can_be_read() -> None:
    asked = pool(**dict.fromkeys(SOLVED, says("It depends on whom you ask.")))
    outcome = answer(ours("never"), asked)
    assert called(asked) == PROBES
    assert (outcome.mode, outcome.answer.model) == ("route", "cat")


def test_the_vote_without_any_candidate_falls_back_like_everybody() -> None:
    outcome = answer(ours("never"), pool(ann=fails(), ben=fails(), cat=fails()))
    assert (outcome.mode, outcome.answer.model) == ("fallback", "dan")


@pytest.mark.parametrize("u", [0.5, 0.999])
@pytest.mark.parametrize("aggregation", ["auto", "never"])
def test_thrifty_probing_asks_the_third_only_where_the_first_two_differ(aggregation: Aggregation, u: float) -> None:
    thrifty = ours(aggregation, probe_schedule="2,1", u=u)
    asked = finals(42, 42, 7)
    outcome = answer(thrifty, asked)
    assert called(asked) == PROBES[:2]
    assert outcome.reason == "2 of 2 candidates agree, with 100% of the weight"
    asked = finals(7, 42, 42)
    outcome = answer(thrifty, asked)
    assert called(asked)[:3] == PROBES
    if u == 0.5 or aggregation == "never":
        assert len(asked.asked) == 3
        assert (outcome.mode, outcome.answer.model) == ("consensus", "ben")


def test_thrifty_probing_asks_on_where_one_of_two_failed_or_said_nothing_to_compare() -> None:
    for other in (fails(), says("Who knows?")):
        asked = ToldPool({**finals(42, 42, 42).respond, "ben": other})
        answer(ours("never", probe_schedule="2,1", u=0.5), asked)
        assert called(asked) == PROBES


def test_one_candidate_alone_is_no_agreement_that_ends_probing() -> None:
    asked = finals(42, 42, 42)
    outcome = answer(ours("never", probe_schedule="1,1,1"), asked)
    assert called(asked) == PROBES[:2]
    assert outcome.reason == "2 of 2 candidates agree, with 100% of the weight"


def test_thrifty_probing_decides_like_probing_at_once_where_all_were_asked() -> None:
    thrifty, at_once = finals(1, 2, 3), finals(1, 2, 3)
    first, second = answer(ours(probe_schedule="2,1"), thrifty), answer(ours(), at_once)
    assert first.decision is not None and second.decision is not None
    assert first.decision.to_json() == second.decision.to_json()
    assert called(thrifty) == called(at_once)


def test_thrifty_probing_with_fewer_models_than_places_asks_whom_there_is() -> None:
    two = {name: SOLVED[name] for name in ("ann", "ben")}
    asked = ToldPool({name: finals(1, 2, 3).respond[name] for name in two})
    outcome = answer(ours("never", given=bank(two), probe_schedule="2,1"), asked)
    assert called(asked) == PROBES[:2]
    assert (outcome.mode, outcome.answer.model) == ("consensus", "ann")
