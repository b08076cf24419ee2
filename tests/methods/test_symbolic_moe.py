"""Experts by keyword: a planted skill is found; calls through LiteLLM on the loopback server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jisi_cli.methods.registry import make_method
from jisi_cli.methods.symbolic_moe import Keywords
from tests.loopback import Fault, Loopback
from tests.methods.live import answer, fenced, models_of, ranked, script_all, system_of
from tests.methods.synthetic import Setting, setting

SKILLS = {"a": "triangle", "b": "verdict", "c": "enzyme", "d": "sonnet"}


def planted() -> Setting:
    """Train questions about four things, each of which one model knows."""
    given = setting(rows=40)
    words = list(SKILLS.values())
    texts = [f"Which {words[row % 4]} comes after number {row}?" for row in range(40)]
    scores = np.eye(4)[[row % 4 for row in range(40)]]
    bank = replace(given.context.bank, scores=scores)
    return replace(given, context=replace(given.context, bank=bank, texts=texts))


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
    wordless = replace(given, context=replace(given.context, texts=["?"] * 40))
    unread = replace(given, context=replace(given.context, texts=()))
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
