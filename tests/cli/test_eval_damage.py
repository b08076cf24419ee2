"""A file of 3,000 lines with a hundred kinds of damage: every good line is evaluated, every bad one named."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Run, jisi, says_one_error
from tests.cli.evaluation_data import build

LINES = 3_000
DAMAGED_OF_EACH_KIND = 8

Row = dict[str, Any]
Damage = Callable[[Row], bytes]


def good(number: int) -> Row:
    """One line of the plain format: an answer of ada's to a question of its own."""
    return {
        "dataset": "sums" if number % 3 else "trees",
        "index": number,
        "query": f"What is {number} plus {number % 7}?",
        "gt": str(number + number % 7),
        "model": "ada",
        "response": f"The answer is {number}",
        "prompt_tokens": 12,
        "completion_tokens": number % 50,
        "cost": 0.001,
        "score": float(number % 2),
    }


def dumps(row: Row) -> str:
    return json.dumps(row)


def text(change: Callable[[str], str]) -> Damage:
    """Damage the line as text."""
    return lambda row: change(dumps(row)).encode()


def raw(change: Callable[[bytes], bytes]) -> Damage:
    """Damage the line as bytes; they stay one line."""
    return lambda row: change(dumps(row).encode()).replace(b"\n", b"?")


def value(key: str, written: str) -> Damage:
    """Write something else as the value of a key, JSON or not."""
    return lambda row: dumps({**row, key: "<here>"}).replace('"<here>"', written).encode()


def without(key: str) -> Damage:
    return lambda row: dumps({name: part for name, part in row.items() if name != key}).encode()


def instead(line: str | bytes) -> Damage:
    """Something that has nothing to do with the line."""
    return lambda row: line if isinstance(line, bytes) else line.encode()


DAMAGE: dict[str, Damage] = {
    # Cut off, or put together wrongly.
    "a quarter": text(lambda line: line[: len(line) // 4]),
    "half": text(lambda line: line[: len(line) // 2]),
    "all but the end": text(lambda line: line[:-1]),
    "no beginning": text(lambda line: line[1:]),
    "the second half": text(lambda line: line[len(line) // 2 :]),
    "a brace too many": text(lambda line: line + "}"),
    "a bracket too many": text(lambda line: line + "]"),
    "two objects": text(lambda line: line + line),
    "two objects and a comma": text(lambda line: f"{line}, {line}"),
    "in a list": text(lambda line: f"[{line}]"),
    "in a string": text(json.dumps),
    "a comma behind": text(lambda line: line + ","),
    "a comma before the end": text(lambda line: line[:-1] + ",}"),
    "two commas": text(lambda line: line.replace(", ", ",, ", 1)),
    "no commas": text(lambda line: line.replace(", ", " ")),
    "semicolons": text(lambda line: line.replace(", ", "; ")),
    "no colon": text(lambda line: line.replace(": ", " ", 1)),
    "equals signs": text(lambda line: line.replace(": ", " = ")),
    "bare keys": text(lambda line: re.sub(r'"(\w+)":', r"\1:", line)),
    "keys in single quotes": text(lambda line: line.replace('"', "'")),
    "a key that is a number": text(lambda line: line.replace('"dataset"', "1", 1)),
    "a quote too few": text(lambda line: line.replace('"', "", 1)),
    "a quote inside": text(lambda line: line.replace("What is", 'What "is"')),
    "a comment behind": text(lambda line: line + " // see below"),
    "a comment inside": text(lambda line: line.replace("{", "{ /* the first */ ", 1)),
    "commented out": text(lambda line: "# " + line),
    "a prompt before": text(lambda line: "> " + line),
    "a stream's mark before": text(lambda line: "data: " + line),
    "a number before": text(lambda line: "17 " + line),
    "wrong escape": text(lambda line: line.replace("What is", "What \\is")),
    "half an escape": text(lambda line: line.replace("What is", "What \\u12")),
    # Bytes that are no text.
    "a tab inside": raw(lambda line: line.replace(b"What is", b"What\tis")),
    "a zero inside": raw(lambda line: line.replace(b"What is", b"What\0is")),
    "an escape inside": raw(lambda line: line.replace(b"What is", b"What\x1b[31mis")),
    "a carriage return inside": raw(lambda line: line.replace(b"What is", b"What\ris")),
    "bytes that are no UTF-8": raw(lambda line: line.replace(b"What is", b"What \xff is")),
    "half a character": raw(lambda line: line.replace(b"What is", b"What \xe2\x82 is")),
    "Latin-1": raw(lambda line: line.replace(b"What is", "Qu’est-ce que é".encode("cp1252"))),
    "an overlong character": raw(lambda line: line.replace(b"What is", b"What \xc0\xaf is")),
    "half a surrogate pair in bytes": raw(lambda line: line.replace(b"What is", b"What \xed\xa0\x80 is")),
    "UTF-16": raw(lambda line: line.decode().encode("utf-16-le")),
    "UTF-16 the other way round": raw(lambda line: line.decode().encode("utf-16-be")),
    "UTF-32": raw(lambda line: line.decode().encode("utf-32-le")),
    "two marks of byte order": raw(lambda line: b"\xef\xbb\xbf" * 2 + line),
    "compressed": raw(gzip.compress),
    "in base64": raw(base64.b64encode),
    "zeros": instead(b"\0" * 512),
    "noise": instead(random.Random(7).randbytes(300).replace(b"\n", b"?").replace(b"\r", b"?")),
    # Something else altogether.
    "a number": instead("17"),
    "not a number": instead("NaN"),
    "null": instead("null"),
    "true": instead("true"),
    "a string": instead('"What is 2 plus 2?"'),
    "an empty list": instead("[]"),
    "an empty object": instead("{}"),
    "prose": instead("What is 2 plus 2?"),
    "Python": instead("{'query': None, 'score': True}"),
    "CSV": instead("dataset,index,query,model,score"),
    "YAML": instead("query: What is 2 plus 2?"),
    "XML": instead("<row><query>What is 2 plus 2?</query></row>"),
    "a log line": instead("2026-01-01 12:00:00 ERROR worker 3 died"),
    "a traceback": instead("Traceback (most recent call last):"),
    "a merge conflict": instead("<<<<<<< HEAD"),
    "the other side of it": instead(">>>>>>> theirs"),
    "a rule": instead("=" * 70),
    "a pretty-printed brace": instead("{"),
    "a nest of lists": instead("[" * 200_000),
    "a nest of objects": instead('{"a":' * 100_000),
    "somebody else's object": instead('{"id": 7, "choices": []}'),
    # Values that cannot be.
    "no question": without("query"),
    "a null question": value("query", "null"),
    "an empty question": value("query", '""'),
    "a blank question": value("query", '" \\n\\t "'),
    "a list of questions": value("query", '["What?"]'),
    "a question that is an object": value("query", '{"text": "What?"}'),
    "no model": without("model"),
    "a null model": value("model", "null"),
    "a blank model": value("model", '"  "'),
    "a list of models": value("model", '["ada"]'),
    "a list of data sets": value("dataset", '["sums"]'),
    "a data set that is an object": value("dataset", "{}"),
    "a data set that is true": value("dataset", "true"),
    "a list of indices": value("index", "[1]"),
    "an index that is an object": value("index", '{"n": 1}'),
    "an index that is false": value("index", "false"),
    "an index of 5,000 digits": value("index", "9" * 5000),
    "a leading zero": value("index", "007"),
    "a plus sign": value("score", "+1"),
    "no digit before the point": value("score", ".5"),
    "a hexadecimal number": value("score", "0x1"),
    "a status that nobody knows": lambda row: dumps({**row, "status": "done"}).encode(),
    "a second answer": lambda row: dumps({**good(1), "response": "No, it is another."}).encode(),
    "another question of the same name": lambda row: dumps({**row, "index": 1, "dataset": "sums"}).encode(),
}

ODD_NUMBERS: dict[str, Damage] = {
    "a score above 1": value("score", "1.5"),
    "a score below 0": value("score", "-0.5"),
    "a score in per cent": value("score", "85"),
    "an infinite score": value("score", "Infinity"),
    "a score beyond any": value("score", "1e999"),
    "a score in words": value("score", '"good"'),
    "a list of scores": value("score", "[1]"),
    "a score that is an object": value("score", '{"value": 1}'),
    "a negative count": value("prompt_tokens", "-1"),
    "half a token": value("prompt_tokens", "10.5"),
    "a count in words": value("completion_tokens", '"many"'),
    "a count that is true": value("completion_tokens", "true"),
    "a count beyond any": value("completion_tokens", "9999999999"),
    "a list of counts": value("completion_tokens", "[1, 2]"),
    "a negative cost": value("cost", "-0.01"),
    "a cost in words": value("cost", '"free"'),
    "an infinite cost": value("cost", "Infinity"),
}
"""They cost the number, not the answer."""


def damaged_file(path: Path, seed: int) -> tuple[set[int], int]:
    """Write the file; return the numbers of the damaged lines, and how many are good."""
    chance = random.Random(seed)
    kinds = [kind for kind in DAMAGE for _ in range(DAMAGED_OF_EACH_KIND)]
    places = dict(
        zip(sorted(chance.sample(range(5, LINES + 1), len(kinds))), chance.sample(kinds, len(kinds)), strict=True)
    )
    with path.open("wb") as file:
        for number in range(1, LINES + 1):
            line = DAMAGE[places[number]](good(number)) if number in places else dumps(good(number)).encode()
            assert b"\n" not in line, places[number]
            file.write(line + b"\n")
    return set(places), LINES - len(places)


def named(run: Run, path: Path) -> tuple[set[int], int]:
    """Return the lines that the warnings name, and the count that they give."""
    found: set[int] = set()
    for warning in run.warnings:
        place = re.match(rf"warning: {re.escape(str(path))}:(\d+): ", warning)
        listed = re.match(rf"warning: {re.escape(str(path))}: skipped lines, .*: ([\d, -]+)$", warning)
        if place is not None:
            found.add(int(place[1]))
        elif listed is not None:
            found.update(_numbers(listed[1]))
    (count,) = re.findall(r"warning: ([\d,]+) lines were skipped", run.stderr)
    return found, int(count.replace(",", ""))


def _numbers(listed: str) -> Iterator[int]:
    for part in listed.split(", "):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int], int]:
    path = tmp_path_factory.mktemp("damaged") / "answers.jsonl"
    return (path, *damaged_file(path, seed=20260101))


def test_there_are_a_hundred_kinds_of_damage() -> None:
    assert len(DAMAGE) + len(ODD_NUMBERS) >= 100


@pytest.fixture(scope="module", params=[(), ("-q",)], ids=["loud", "quiet"])
def evaluated(request: pytest.FixtureRequest, bank: Path, damaged: tuple[Path, set[int], int]) -> Run:
    return jisi("eval", damaged[0], "--bank", bank, "--method", "model:ada", "--json", *request.param)


def test_every_good_line_is_evaluated_and_every_bad_one_named(
    evaluated: Run, damaged: tuple[Path, set[int], int]
) -> None:
    run, (path, bad, good_lines) = evaluated, damaged
    assert run.exit_code == 0
    assert run.json["questions"] == good_lines
    method, best = run.json["methods"]
    assert (method["name"], best["name"]) == ("model:ada", "best-single")
    assert (method["questions"], method["scored"]) == (good_lines, good_lines)
    assert named(run, path) == (bad, len(bad))
    # Nothing in a damaged line steers the terminal.
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", run.stderr)
    assert max(map(len, run.stderr.splitlines())) < 10_000


def test_scores_are_those_of_the_good_lines_alone(evaluated: Run, damaged: tuple[Path, set[int], int]) -> None:
    _, bad, _ = damaged
    scores: dict[str, list[float]] = {}
    for number in set(range(1, LINES + 1)) - bad:
        scores.setdefault(good(number)["dataset"], []).append(good(number)["score"])
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    assert evaluated.json["methods"][0]["averages"]["datasets"] == pytest.approx(means, rel=1e-12)


def test_verbose_says_of_every_bad_line_why(bank: Path, damaged: tuple[Path, set[int], int]) -> None:
    path, bad, _ = damaged
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada", "--json", "-v")
    reasons = {int(number) for number in re.findall(rf"warning: {re.escape(str(path))}:(\d+): .+", run.stderr)}
    assert reasons == bad


def test_strict_stops_at_the_first_bad_line(bank: Path, damaged: tuple[Path, set[int], int]) -> None:
    path, bad, _ = damaged
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada", "--strict")
    says_one_error(run, 2, f"{path}:{min(bad)}: ", "--strict")


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_kind_of_damage_costs_its_own_line(bank: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [dumps(good(number)).encode() for number in range(1, 5)]
    path.write_bytes(b"\n".join([*lines[:3], DAMAGE[kind](good(9)), lines[3]]) + b"\n")
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada", "--json")
    assert run.exit_code == 0
    assert run.json["questions"] == 4
    (warning,) = run.warnings
    assert warning.startswith(f"warning: {path}:4: ")


@pytest.mark.parametrize("kind", ODD_NUMBERS)
def test_a_number_that_cannot_be_is_unknown_and_its_answer_is_kept(bank: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "answers.jsonl"
    lines = [dumps(good(number)).encode() for number in range(1, 5)]
    path.write_bytes(b"\n".join([*lines[:3], ODD_NUMBERS[kind](good(9)), lines[3]]) + b"\n")
    run = jisi("eval", path, "--bank", bank, "--method", "model:ada", "--json")
    assert run.exit_code == 0
    scored = 4 if "score" in kind else 5
    assert (run.json["questions"], run.json["methods"][0]["scored"]) == (5, scored)
    assert any(warning.startswith(f"warning: {path}") for warning in run.warnings)


def test_a_damaged_file_of_questions_names_its_lines_too(bank: Path) -> None:
    lines = [b'{"query": "What?"}', b"not JSON", b'{"answer": 4}', b"", b'{"query": ["What?"]}']
    stdin = b"\n".join(lines)
    run = jisi("eval", "-", "--bank", bank, stdin=stdin)
    assert [warning.split(": ")[1] for warning in run.warnings] == ["-:2", "-:3", "-:5"]
    says_one_error(run, 2, "add --live")
