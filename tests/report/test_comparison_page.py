"""The page of a comparison: its figures, its escaping, and that it is made from stored results, too."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jisi_cli.cli.report import origin_of
from jisi_cli.evaluation.comparison import MethodReport, build_report, headline, leading
from jisi_cli.evaluation.experiments import grown as grown_by
from jisi_cli.evaluation.results import Result, ResultFile
from jisi_cli.evaluation.test_set import TestSet
from jisi_cli.formats.record import Question
from jisi_cli.report.charts import NARROW, columns_of, draw
from jisi_cli.report.comparison_page import comparison_page, tiles
from jisi_cli.report.leaderboard import leaderboard
from jisi_cli.report.pool_charts import growth, modes, profile, selection
from jisi_cli.report.price_chart import cost_against_quality
from jisi_cli.report.questions import Details, PageData, StringTable, cut, titles
from jisi_cli.report.reliability import confidence, explained, margins, reliability, support_sizes
from tests.cli.commands import jisi
from tests.cli.evaluation_data import build
from tests.report.conftest import results_of

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")

PLANTED = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
Results = dict[str, list[Result]]


def unpacked(page: str, name: str) -> Any:
    found = re.search(f'id="{name}">([^<]*)</script>', page)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def compared(results: Results) -> list[MethodReport]:
    return build_report(results, ("best-single",), np.random.default_rng(1))


def test_the_leaderboard_has_the_averages_best_first_with_differences_and_prices(reports: list[MethodReport]):
    rows = leaderboard(reports).rows
    assert [row[:3] for row in rows] == [
        ("jisi-router", "75.00", "75.00"),
        ("best-single", "50.00", "50.00"),
        ("unpriced", "0.00", "0.00"),
    ]
    assert [row[3] for row in rows] == ["+25.00", "–", "−50.00"]
    assert [row[-1] for row in rows] == ["$1.00", "$2.00", "–"]


def test_a_lead_whose_interval_holds_0_is_said_to_be_unclear(reports: list[MethodReport], results: Results):
    assert leaderboard(reports).rows[0][6] == "no clear difference"
    assert headline(reports).startswith("Nobody clearly beats the best single model")
    assert "no clear difference" in tiles(reports, results)[0].note


def test_a_clear_lead_wins():
    results = {"best-single": results_of("best-single", [0] * 20, 0.002), "knn": results_of("knn", [1] * 20, 0.001)}
    reports = compared(results)
    assert headline(reports) == "knn wins with 100.00 %."
    how_much, price, where = tiles(reports, results)
    assert how_much.value == "+100.00 points"
    assert (price.value, price.note) == (
        "$1.00",
        "per 1,000 questions, all calls; 0.5 times the best single model's $2.00",
    )
    assert where.value == "1 of 1 dataset"


def test_an_oracle_never_wins(results: Results):
    for name in ("oracle", "best-per-dataset-oracle"):
        found = leading(compared({**results, name: results_of(name, [1, 1, 1, 1], 0.0)}))
        assert found and found.name == "jisi-router"


def test_a_method_without_a_price_is_named_and_not_drawn_at_0(reports: list[MethodReport]):
    chart = cost_against_quality(reports)
    assert [row[0] for row in chart.rows] == ["jisi-router", "best-single"]
    assert [row[3] for row in chart.rows] == ["yes", ""]
    assert "unpriced" in chart.note


def test_a_method_without_an_average_is_not_said_to_lack_a_price(results: Results):
    live = [replace(row, score=None, status="needs-live", cost_usd=None) for row in results["unpriced"]]
    note = cost_against_quality(compared({**results, "moa": live})).note
    assert "Without a known price: unpriced." in note and "moa" not in note


def test_the_price_of_a_winner_without_one_is_unknown_and_never_0(results: Results):
    reports = compared({"unpriced": results_of("unpriced", [1, 1], None)})
    assert tiles(reports, results)[1].value == "unknown"


def test_marks_tell_what_they_are_where_one_points_at_them(reports: list[MethodReport], results: Results):
    twins = compared({**results, 'a < b & "c"': results_of("twin", [1, 0, 0, 1], 0.002)})
    for width, svg in draw(leaderboard(reports)).items():
        assert "<title>jisi-router: 75.00 %, +25.00 points (" in svg, width
        assert 'role="graphics-symbol" aria-label' not in svg
    named = r"<title>[^<]*(best-single, a &lt; b &amp; &quot;c&quot;|a &lt; b &amp; &quot;c&quot;, best-single)[^<]*</"
    for chart in (cost_against_quality(twins), profile(twins)):
        assert re.search(named, draw(chart)["narrow"]), chart.title


def test_a_legend_stays_within_a_phone_beside_long_names():
    parts = ["route", "aggregate", "needs-live", "consensus"]
    assert columns_of(parts, NARROW) == 3
    assert columns_of(parts, NARROW, ["universal-self-consistency"]) == 2


def test_nothing_is_drawn_where_all_prices_are_equal(results: Results):
    free = compared({name: [replace(row, cost_usd=0.0) for row in rows] for name, rows in results.items()})
    chart = cost_against_quality(free)
    assert chart.spec is None and "$0" in chart.note


def test_methods_that_route_everything_are_told_and_not_drawn(reports: list[MethodReport], results: Results):
    assert modes(reports).rows == ()
    mixed = {
        **results,
        "jisi": [replace(row, mode="aggregate" if at else "route") for at, row in enumerate(results["jisi-router"])],
    }
    assert modes(compared(mixed)).rows == (("jisi", "route", "25.0 %"), ("jisi", "aggregate", "75.0 %"))
    assert "jisi-router" in modes(compared(mixed)).note


def test_selection_shows_who_wrote_the_leader_s_answers(reports: list[MethodReport]):
    assert selection(reports).rows[:2] == (("all datasets", "ada", "50.0 %"), ("all datasets", "bob", "50.0 %"))


def test_support_sizes_and_margins_are_counted(reports: list[MethodReport], results: Results):
    assert explained(reports, results) == ["jisi-router"]
    assert support_sizes(results, "jisi-router").rows == (("7", "4"),)
    chart = margins(results, "jisi-router")
    assert chart is not None and [row[1] for row in chart.rows] == ["4"]


def test_no_margin_lies_beyond_the_whole():
    rows = results_of("jisi-router", [1] * 4, 0.001, 7)
    for at, row in enumerate(rows):
        assert row.evidence is not None
        rows[at] = replace(row, evidence=replace(row.evidence, margin=1.0))
    chart = margins({"jisi-router": rows}, "jisi-router")
    assert chart is not None and chart.rows == (("90 to 100 %", "4"),)


def test_reliability_compares_what_was_promised_with_what_came_true():
    # ada was promised 0.9 and is right half of the time, bob was promised 0.1 and is always right.
    rows = results_of("jisi-router", [at % 4 != 0 for at in range(60)], 0.001, 7)
    chart = reliability({"jisi-router": rows}, ["jisi-router"])
    assert chart is not None
    assert chart.rows[0][1:3] == ("10.0 %", "100.0 %")
    assert chart.rows[-1][1] == "90.0 %"
    assert float(chart.rows[-1][2].split()[0]) == pytest.approx(50, abs=5)


def test_reliability_needs_more_than_a_handful_of_answers(results: Results):
    assert reliability(results, ["jisi-router"]) is None


def sure(*answers: tuple[float, float]) -> list[Result]:
    """Return results of (confidence, score)."""
    rows = results_of("jisi-cascade", [score for _, score in answers], 0.001)
    return [replace(row, confidence=confidence) for row, (confidence, _) in zip(rows, answers, strict=True)]


def test_the_reliability_diagram_sets_confidence_beside_how_often_it_was_right():
    calibrated = [(0.75, 1.0)] * 3 + [(0.75, 0.0), (0.25, 1.0)] + [(0.25, 0.0)] * 3
    chart = confidence(compared({"jisi-cascade": sure(*calibrated)}))
    assert chart is not None
    assert [row[1:4] + row[5:] for row in chart.rows] == [
        ("20 to 30 %", "25.0 %", "25.0 %", "4"),
        ("70 to 80 %", "75.0 %", "75.0 %", "4"),
    ]
    assert chart.note.endswith("jisi-cascade 0.0.")
    assert "confidence 75.0 %, right 75.0 % of 4" in draw(chart)["wide"]


def test_who_is_too_sure_has_the_distance_as_its_error(results: Results):
    chart = confidence(compared({**results, "jisi-cascade": sure(*[(0.95, 1.0)] * 2, *[(0.95, 0.0)] * 2)}))
    assert chart is not None and chart.note.endswith("jisi-cascade 45.0.")


def test_no_diagram_is_drawn_where_no_method_says_how_sure_it_is(reports: list[MethodReport]):
    assert confidence(reports) is None


def test_a_growing_pool_is_drawn_by_its_size(results: Results):
    grown = {f"knn · {size} models": results_of("knn", scores, 0.001) for size, scores in ((5, [1, 0]), (6, [1, 1]))}
    chart = growth(compared(grown))
    assert chart is not None and chart.rows == (("5", "50.00"), ("6", "100.00"))
    assert {">5</text>", ">6</text>"} <= set(re.findall(r">\d+</text>", draw(chart)["wide"]))
    assert tiles(compared(grown), grown)[0].value == "+50.00 points"
    assert growth(compared(results)) is None
    assert grown_by("knn · 12 models") == ("knn", 12)
    for label in ("knn", "knn · models", "knn · x models", f"knn · {'9' * 5000} models"):
        assert grown_by(label) is None


def test_the_policy_allows_the_page_s_own_script_and_style_alone(reports: list[MethodReport], results: Results):
    page = comparison_page(reports, results, {"command": PLANTED})
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and policy[1].startswith("default-src 'none'") and "unsafe" not in policy[1]
    for tag in ("style", "script"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert text
        assert base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode() in policy[1]
    assert PLANTED not in page


def test_the_same_results_make_the_same_page_to_the_byte(reports: list[MethodReport], results: Results):
    assert comparison_page(reports, results, {}) == comparison_page(reports, results, {})


@pytest.mark.parametrize("names", [["best-single"], ["jisi-router"], ["unpriced"]])
def test_a_page_is_made_of_one_method_alone(names: list[str], results: Results):
    some = {name: results[name] for name in names}
    assert "NaN" not in comparison_page(compared(some), some, {})


def test_a_page_is_made_where_nothing_has_a_score(results: Results):
    unscored = {name: [replace(row, score=None, status="unscored") for row in rows] for name, rows in results.items()}
    assert "No method has an average" in comparison_page(compared(unscored), unscored, {})


def test_a_replay_writes_its_page_and_one_made_later_of_its_results_holds_the_same_questions(tmp_path: Path):
    bank, stored = build(tmp_path), tmp_path / "results.jsonl"
    run = jisi("eval", bank, "--out", stored, "--report", tmp_path / "now.html")
    assert run.exit_code == 0, run
    run = jisi("report", stored, "--bank", bank, "-o", tmp_path / "later.html")
    assert run.exit_code == 0, run
    now, later = ((tmp_path / name).read_text(encoding="utf-8") for name in ("now.html", "later.html"))
    assert unpacked(now, "chunk-0") == unpacked(later, "chunk-0")
    first = unpacked(now, "chunk-0")[0]
    assert "how many is that?" in first["text"] and first["reference"] and first["answers"]
    assert len(first["near"]) == 5 and all(line[4] for line in first["near"])
    for what in ("command", "seed", "SHA-256 of the bank&#39;s questions", "versions"):
        assert f"<dt>{what}</dt>" in now


def test_without_the_bank_a_page_knows_questions_by_name(tmp_path: Path, results: Results):
    with ResultFile(tmp_path / "results.jsonl") as file:
        for row in (row for rows in results.values() for row in rows):
            file.write(row)
    run = jisi("report", tmp_path / "results.jsonl", "-o", tmp_path / "out.html")
    assert run.exit_code == 0, run
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    main = unpacked(page, "questions")
    assert [method["name"] for method in main["methods"]] == list(results)
    assert main["titles"] is None
    assert unpacked(page, "chunk-0")[0]["near"][0][1] == "near-1"


def test_results_of_different_questions_are_refused(tmp_path: Path, results: Results):
    with ResultFile(tmp_path / "results.jsonl") as file:
        for row in [*results["best-single"], results["jisi-router"][0]]:
            file.write(row)
    assert jisi("report", tmp_path / "results.jsonl", "-o", tmp_path / "out.html").exit_code == 2


def test_a_bank_without_these_questions_is_refused(tmp_path: Path, results: Results):
    with ResultFile(tmp_path / "results.jsonl") as file:
        for row in results["best-single"]:
            file.write(row)
    run = jisi("report", tmp_path / "results.jsonl", "--bank", build(tmp_path), "-o", tmp_path / "out.html")
    assert run.exit_code == 2 and "d/0" in run.stderr


def test_a_common_beginning_is_left_out_of_the_titles():
    shared = "Read this carefully and answer with a number only: "
    texts = [f"{shared}what is {number}?" for number in ("one", "two", "six")]
    questions = [Question("d", str(at), text, None) for at, text in enumerate(texts)]
    assert titles(questions, 300) == ["… one?", "… two?", "… six?"]
    assert titles(questions, 3) == ["… one", "… two", "… six"]
    assert titles(questions[:2], 300) == texts[:2]


def test_neighbours_are_told_apart_behind_the_instructions_of_their_dataset():
    instructions = "Read this carefully and answer with a number only. " * 4
    bank = {("d", str(at)): Question("d", str(at), f"{instructions}What is {at}?") for at in range(3)}
    (row,) = results_of("jisi-router", [1], 0.001, 7)
    assert row.evidence is not None
    near = tuple(("d", str(at), 0.9, None) for at in range(3))
    result = {"jisi-router": [replace(row, answer="7", evidence=replace(row.evidence, neighbours=near))]}
    tests = TestSet([Question("d", "0", "What?")], [], (), np.empty((1, 0)), None, "here")  # type: ignore[arg-type]
    found = Details(result, PageData(tests, bank), "jisi-router", ("ada", "bob"), StringTable()).of(0)
    assert [line[4] for line in found["near"]] == ["… 0?", "… 1?", "… 2?"]


def test_a_long_answer_is_cut_in_its_middle():
    text = "a" * 100 + "b" * 200
    assert cut(text, 300) == text
    assert cut(text, 30) == "a" * 10 + "\n[… 270 characters are left out …]\n" + "b" * 20


def test_answers_of_a_live_run_are_shown_by_method(results: Results):
    live = {name: [replace(row, answer=f"{name} says {row.index}") for row in rows] for name, rows in results.items()}
    page = comparison_page(compared(live), live, {})
    names = unpacked(page, "questions")["names"]
    found = [(names[name], text) for name, text in unpacked(page, "chunk-0")[2]["answers"]]
    assert unpacked(page, "questions")["live"] is True
    assert found[0] == ("jisi-router", "jisi-router says 2") and len(found) == 3


def test_a_key_in_the_command_is_not_passed_on_with_the_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["jisi", "eval", "--grader-command", "grade --token sk-abcdefgh12345678"])
    assert "sk-abcdefgh" not in str(origin_of({"seed": 42})) and "--grader-command" in origin_of({})["command"]
    monkeypatch.setattr("sys.argv", ["jisi", "eval", "--judge", "sk-abcdefgh12345678"])
    assert "sk-abcdefgh" not in str(origin_of({"seed": 42})) and "[redacted]" in origin_of({})["command"]
