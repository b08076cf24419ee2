"""What makes an answer another answer."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from jisi_cli.config import ModelEntry, Price
from jisi_cli.conversation import read_tools
from jisi_cli.models.cache import cache_key, conversation, effective_parameters
from jisi_cli.types import Sampling
from tests.models.asking import user

ENTRY = ModelEntry("a", "openai/a", api_base="http://127.0.0.1:1/v1", params={"seed": 1})


def key(entry: ModelEntry = ENTRY, text: str = "?", sampling: Sampling | None = None, sample: int = 0) -> str:
    parameters = effective_parameters(entry, sampling or Sampling())
    return cache_key(entry, conversation(entry, user(text)), parameters, sample)


def test_everything_that_can_change_the_answer_changes_the_key() -> None:
    keys = [
        key(),
        key(text="??"),
        key(sample=1),
        key(sampling=Sampling(temperature=0.3)),
        key(sampling=Sampling(max_tokens=5)),
        key(replace(ENTRY, litellm="openai/b")),
        key(replace(ENTRY, api_base=None)),
        key(replace(ENTRY, system="Be brief.")),
        key(replace(ENTRY, params={"seed": 2})),
    ]
    assert len(set(keys)) == len(keys)


def test_what_cannot_change_the_answer_does_not_change_the_key() -> None:
    assert key() == key(replace(ENTRY, name="b", price=Price(1, 1), concurrency=3))
    one = replace(ENTRY, params={"seed": 1, "stop": ["x"]})
    other = replace(ENTRY, params={"stop": ["x"], "seed": 1})
    assert key(one) == key(other)


def test_the_pool_entrys_parameters_win() -> None:
    entry = replace(ENTRY, params={"temperature": 1.0, "max_completion_tokens": 9})
    asked = effective_parameters(entry, Sampling(temperature=0.1, max_tokens=5))
    assert asked == {"temperature": 1.0, "top_p": 1.0, "max_completion_tokens": 9}


def test_what_a_question_asks_for_is_in_the_key_and_nothing_is_where_it_asks_for_words_alone() -> None:
    def parameters(*asked: object) -> dict[str, object]:
        return effective_parameters(ENTRY, Sampling(), read_tools(*asked))

    def tool(name: str) -> list[dict[str, object]]:
        return [{"type": "function", "function": {"name": name}}]

    assert parameters(None) == parameters([]) == effective_parameters(ENTRY, Sampling())
    asked = [(), (tool("a"),), (tool("b"),), (tool("a"), "required"), (tool("a"), None, False)]
    keys = {cache_key(ENTRY, user("?"), parameters(*(given or (None,))), 0) for given in asked}
    assert len(keys) == len(asked)
    # As it was before a question could ask for anything: answers that were paid for are found again.
    assert key() == "0b949c9a76ba1ff31b2d64d6f5fbdceacdf4a1280e9a5776b97c211a4b3d3085"


def test_a_date_in_the_pool_file_has_a_key_too() -> None:
    entry = replace(ENTRY, params={"metadata_date": dt.date(2026, 1, 1)})
    assert len(key(entry)) == 64
