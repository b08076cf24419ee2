"""Experts by keyword: a planted skill is found; calls through LiteLLM on the loopback server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jisi_cli.errors import InputError
from jisi_cli.methods.ensembles.symbolic_moe import Keywords
from jisi_cli.methods.registry import make_method
from tests.loopback import Fault, Loopback
from tests.methods.live import answer, fenced, models_of, ranked, script_all, system_of, user_of
from tests.methods.synthetic import Setting, changed, setting

SKILLS = {"a": "triangle", "b": "verdict", "c": "enzyme", "d": "sonnet"}


def planted() -> Setting:
    """Train questions about four things, each of which one model knows."""
    given = setting(rows=40)
    words = list(SKILLS.values())
    texts = [f"Which {words[row % 4]} comes after number {row}?" for row in range(40)]
    scores = np.eye(4)[[row % 4 for row in range(40)]]
    bank = replace(given.context.bank, scores=scores)
    return replace(given, context=changed(given.context, bank=bank, texts=texts))


def experts(given: Setting, text: str, name: str = "symbolic-moe:experts=1") -> list[str]:
    query = replace(given.tests.queries[0], text=text)
    (panel,) = make_method(name, given.context).plan([query])
    return [member.model for member in panel.members]


def test_the_expert_of_a_questions_keyword_is_found() -> None:
    given = planted()
    for model, word in SKILLS.items():
        assert experts(given, f"Please describe this {word} to me") == [model]


def test_skills_add_up_over_keywords() -> None:
    given = planted()
    assert set(experts(given, "A sonnet about an enzyme", "symbolic-moe:experts=2")) == {"c", "d"}


def test_without_a_known_keyword_the_best_on_train_are_the_experts() -> None:
    given = planted()
    best = list(ranked(given))
    assert experts(given, "¿?", "symbolic-moe") == experts(given, "xylophone", "symbolic-moe") == best[:3]
    wordless = replace(given, context=changed(given.context, texts=["?"] * 40))
    unread = replace(given, context=changed(given.context, texts=()))
    for other in (wordless, unread):
        assert experts(other, "Which triangle?", "symbolic-moe") == best[:3]


def test_an_answer_that_is_missing_says_nothing_about_a_skill() -> None:
    given = planted()
    bank = given.context.bank
    present = bank.present.copy()
    present[:, 0] = False
    scores = bank.scores.copy()
    scores[:, 0] = 1.0
    given = replace(given, context=replace(given.context, bank=replace(bank, present=present, scores=scores)))
    # What the others got wrong about triangles counts less than nothing.
    assert experts(given, "triangle") == ["a"]
    assert experts(given, "verdict") == ["b"]


def test_keywords_are_the_rarest_words_first_and_no_stop_words() -> None:
    keywords = Keywords(["the cat and the dog", "the cat and the bird", "the cat"], 2)
    assert keywords.of(["the cat and the bird", "dog bird", "of the", ""]) == [
        ["bird", "cat"],
        ["bird", "dog"],
        [],
        [],
    ]


def test_the_best_model_can_name_the_keywords_in_a_call_of_its_own(loopback: Loopback) -> None:
    given = planted()
    best = ranked(given)[0]
    query = replace(given.tests.queries[0], text="How do cells break down sugar?", grader=None)

    def reply(messages: list[dict[str, object]]) -> str:
        return "Let me think.\n1. Enzyme, sonnet, frobnication" if "single words" in str(messages[0]) else "so"

    loopback.script(best, text=reply)
    script_all(loopback, *SKILLS)
    outcome = answer(loopback, "symbolic-moe:named_by=model:experts=2", given, query=query)
    first, *proposals, last = loopback.requests
    assert first.model == best and "in at most 5 single words" in system_of(first)
    assert user_of(first) == "Question:\nHow do cells break down sugar?"
    assert set(models_of(proposals)) == {"c", "d"}
    assert last.model == best
    assert [call.role for call in outcome.calls] == ["judge", "expert", "expert", "aggregator"]


def test_where_the_model_names_nothing_known_or_dies_the_questions_own_words_count(loopback: Loopback) -> None:
    given = planted()
    best = ranked(given)[0]
    query = replace(given.tests.queries[0], text="Is this a sonnet about an enzyme?", grader=None)
    for how in ({"text": "Frobnication"}, {"text": "so", "faults": (Fault("status", status=500),)}):
        loopback.script(best, **how)
        script_all(loopback, *SKILLS)
        answer(loopback, "symbolic-moe:named_by=model:experts=2", given, query=query)
        first, *proposals, last = loopback.requests[-4:]
        assert (first.model, last.model, set(models_of(proposals))) == (best, best, {"c", "d"})
    with pytest.raises(InputError, match="named_by is tfidf or model, not 'me'"):
        make_method("symbolic-moe:named_by=me", given.context)


def test_the_experts_answer_at_once_and_the_best_on_train_aggregates(loopback: Loopback) -> None:
    given = planted()
    script_all(loopback, *SKILLS)
    loopback.script("c", faults=(Fault("status", status=500),))
    query = replace(given.tests.queries[0], text="A sonnet about an enzyme", grader=None)
    outcome = answer(loopback, "symbolic-moe", given, query=query)
    *proposals, last = loopback.requests
    assert {"c", "d"} < set(models_of(proposals)) and len(proposals) == 3
    assert last.model == ranked(given)[0]
    assert len(fenced(system_of(last))) == 2
    assert outcome.mode == "aggregate"
