"""A question that resembles nothing in the bank: said to the user, ranked by the whole bank, and never in a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jisi_cli as library
from jisi_cli.errors import InputError
from jisi_cli.paths import cache_folder
from tests.cli.commands import MODELS, jisi
from tests.loopback import Loopback

ALIKE, UNLIKE = "What is 3 plus 6?", "xyzzy quux frobnicate"
SAID = "nothing in the bank resembles this; ranked by the whole bank"


@pytest.fixture
def common(small_bank: Path, pool: Path) -> tuple[Any, ...]:
    return ("--bank", small_bank, "--config", pool)


def test_it_is_said_and_ranked_by_the_whole_bank(common: tuple[Any, ...]) -> None:
    run = jisi("route", UNLIKE, *common, "--json")
    found = run.json
    assert found["unlike"]["nearest"] < found["unlike"]["usual"]
    assert (found["support_size"], found["candidates"]) == (12, ["ada", "bob", "cyd"])
    # The bank's means: eleven, ten, ... of twelve questions.
    scores = [row["coarse_score"] for row in found["models"]]
    assert scores == [round(score) for score in scores]
    assert SAID in jisi("route", UNLIKE, *common).stderr
    assert SAID in jisi("ask", UNLIKE, *common, "--explain").stderr


def test_a_question_that_resembles_some_is_decided_as_ever(common: tuple[Any, ...]) -> None:
    for question, words in ((ALIKE, ()), (UNLIKE, ("--unlike", "ignore")), (UNLIKE, ("--compat", "openjisi"))):
        found = jisi("route", question, *common, *words, "--json").json
        assert found["unlike"] is None
        scores = [row["coarse_score"] for row in found["models"]]
        assert scores != [round(score) for score in scores]
        assert SAID not in jisi("route", question, *common, *words).stderr
    plain = jisi("route", ALIKE, *common, "--json").json
    assert plain == jisi("route", ALIKE, *common, "--json", "--unlike", "ignore").json


def test_the_nearest_questions_are_shown_with_their_own_similarity(common: tuple[Any, ...]) -> None:
    for words in ((), ("--probe",)):
        found = jisi("route", UNLIKE, *common, "--json", "--explain", *words).json
        similarities = [row["similarity"] for row in found["neighbours"]]
        assert similarities[0] == found["unlike"]["nearest"] < 1
        assert similarities == sorted(similarities, reverse=True)
        assert any(row["kept"] for row in found["neighbours"]) == bool(words)


def test_the_page_says_so(common: tuple[Any, ...], tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="the extra `report` is not installed")
    assert jisi("route", UNLIKE, *common, "--html", tmp_path / "one.html").exit_code == 0
    assert SAID in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_the_cascade_asks_in_the_order_of_the_bank_s_means(common: tuple[Any, ...], small_bank: Path) -> None:
    found = jisi("route", UNLIKE, *common, "--method", "jisi-cascade", "--json").json
    assert [row["model"] for row in found["models"]] == list(MODELS)
    assert found["unlike"] is not None
    means = library.Bank(small_bank).arrays().mean_scores.tolist()
    likely = {row["model"]: row["coarse_score"] for row in found["models"]}
    assert [likely[model] for model in MODELS] == pytest.approx([min(0.98, max(0.02, mean)) for mean in means])


def test_what_is_usual_is_kept_in_the_cache_and_not_in_the_bank(
    common: tuple[Any, ...], small_bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path: path.read_bytes() for path in small_bank.rglob("*") if path.is_file()}
    first = jisi("route", UNLIKE, *common, "--json").json
    assert {path: path.read_bytes() for path in small_bank.rglob("*") if path.is_file()} == files
    assert len(list((cache_folder() / "trained").glob("usual-similarity-*"))) == 1

    def never(*_: object) -> float:
        raise AssertionError("it was found before")

    monkeypatch.setattr("jisi_cli.methods.familiar.usual_similarity", never)
    assert jisi("route", UNLIKE, *common, "--json").json == first


def test_a_replay_takes_all_questions_alike(small_bank: Path, loopback: Loopback, pool: Path) -> None:
    with library.open(small_bank, pool) as opened:
        coarse = type(opened.configured.context.coarse).__name__
        assert (coarse, type(opened.configured.made.coarse).__name__) == ("SharedCoarse", "FamiliarCoarse")  # type: ignore[attr-defined]


def test_other_words_are_refused(small_bank: Path) -> None:
    with pytest.raises(InputError, match="--unlike takes bank or ignore"):
        library.open(small_bank, unlike="perhaps")
