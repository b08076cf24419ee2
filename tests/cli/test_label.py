"""`jisi bank label`: through a pipe, on a terminal, interrupted and killed, and by files that come from elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.labels import change_labels
from jisi_cli.bank.manifest import Label, read_manifest
from jisi_cli.collect.labelling import Labelling
from tests.cli.commands import ROOT, Run, jisi, says_one_error, write_lines
from tests.cli.test_agreement import MODELS, build, lines, scores

FOUR = [f"The answer is {number}." for number in (1, 2, 3, 4)]
AGREED = ["The answer is 7."] * 4


def label(bank: Path, *replies: str, options: tuple[str, ...] = ()) -> Run:
    """Pipe replies in, one a line."""
    return jisi("bank", "label", bank, *options, stdin="".join(f"{reply}\n" for reply in replies))


def labels(bank: Path) -> list[tuple[str, str | None, bool]]:
    return [(label.index, label.answer, label.skipped) for label in read_manifest(bank).labels]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Three questions of which the second splits the models most, then the third, and nobody doubts the first."""
    return build(tmp_path, answers=lines([AGREED, FOUR, [FOUR[0], FOUR[0], FOUR[1], FOUR[2]]]))


# Replies.


def test_questions_whose_answers_differ_most_come_first_without_the_names_of_models(bank: Path) -> None:
    run = label(bank)
    assert run.exit_code == 0 and "What is riddle number 1?" in run.stderr
    assert "riddle number 2" not in run.stderr and not any(model in run.stderr for model in MODELS)
    run = label(bank, "1")
    assert run.stderr.index("riddle number 1") < run.stderr.index("riddle number 2")
    table = run.stderr[run.stderr.index("riddle number 2") :].splitlines()[1:5]
    assert [line.split() for line in table[1:]] == [["1", "1", "2"], ["2", "2", "1"], ["3", "3", "1"]]


def test_a_number_a_text_and_none_decide_every_models_score(bank: Path) -> None:
    run = label(bank, "3", "n", "=7.0", options=("--json",))
    assert run.exit_code == 0
    assert labels(bank) == [("0", "7.0", False), ("1", "3", False), ("2", None, False)]
    assert scores(bank) == [[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert run.json["labels"] == 3 and run.json["left"] == 0
    assert run.json["agreement"] == {"agreement": 0, "label": 3, "unscored": 0, "labels": 3, "graded": 0}
    found = jisi("bank", "inspect", bank, "--json").json
    assert found["score_source"] == {"grader": 0, "agreement": 0, "label": 1, "feedback": 0} and found["labels"] == 3


def test_an_answer_that_no_model_gave_makes_all_of_them_wrong_and_is_said(bank: Path) -> None:
    assert "no model answered 12: all are wrong here" in label(bank, "=12").stderr
    assert scores(bank)[1] == [0, 0, 0, 0]


def test_skip_leaves_a_question_for_the_end_and_undo_brings_it_back(bank: Path) -> None:
    run = label(bank, "s", "1", "u", "u", "2", "q")
    assert run.stderr.count("riddle number 1") == 2 and run.stderr.count("riddle number 2") == 3
    assert labels(bank) == [("1", "2", False)]
    label(bank, "s")
    assert labels(bank) == [("1", "2", False), ("2", None, True)]
    order = re.findall(r"riddle number (\d)", label(bank, "1").stderr)
    assert order == ["0", "2"]  # what was skipped comes last
    assert "nothing to undo" in label(bank, "u").stderr


def test_undoing_a_label_gives_the_scores_back_to_agreement(bank: Path) -> None:
    agreed = [[1, 1, 1, 1], [None] * 4, [1, 1, 0, 0]]
    label(bank, "4", "2")
    assert scores(bank) == [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    change_labels(bank, {("riddles", "1"): None, ("riddles", "2"): None})
    assert any(
        "do not heed all labels" in warning for warning in jisi("bank", "inspect", bank, "--json").json["warnings"]
    )
    label(bank)
    assert scores(bank) == agreed


def test_it_goes_on_where_it_stopped_until_enough_is_labelled(bank: Path) -> None:
    assert label(bank, "1", "q").exit_code == 0
    run = label(bank, "1", "1", options=("--n", "2", "--json"))
    assert run.json["labels"] == 2 and labels(bank) == [("1", "1", False), ("2", "1", False)]
    assert "riddle" not in label(bank, options=("--n", "2")).stderr


def test_labelling_again_changes_nothing(bank: Path) -> None:
    label(bank, "1", "1", "1")
    manifest = read_manifest(bank)
    run = label(bank, options=("--json",))
    assert run.json["changed"] == 0 and read_manifest(bank) == manifest
    assert jisi("bank", "grade", bank, "--grader", "agreement", "--json").json["changed"] == 0


def test_a_bank_without_labels_is_left_as_it_is(bank: Path) -> None:
    manifest = read_manifest(bank)
    assert label(bank, "q").exit_code == 0 and read_manifest(bank) == manifest


def test_a_reply_from_a_pipe_that_is_none_is_an_error_and_what_came_before_is_kept(bank: Path) -> None:
    run = label(bank, "1", "perhaps")
    assert run.exit_code == 2 and run.stdout == ""
    assert "line 2 of standard input: 'perhaps' is not a reply" in run.errors[0]
    assert labels(bank) == [("1", "1", False)] and scores(bank)[1] == [1, 0, 0, 0]
    for reply in ("0", "5", "99999999999999999999", "²", "=", ""):
        assert label(bank, reply).exit_code == 2, reply


def test_bytes_that_are_no_text_are_an_error(bank: Path) -> None:
    run = jisi("bank", "label", bank, stdin=b"1\n\xff\xfe\n")
    assert run.exit_code == 2 and len(run.errors) == 1


def test_graders_scores_are_never_touched(tmp_path: Path) -> None:
    keyed = lines([FOUR], gt="4", grader="numeric")
    bank = build(tmp_path, answers=[*keyed, *lines([AGREED, FOUR])[1:]])
    jisi("bank", "grade", bank)
    before = scores(bank)[0]
    run = label(bank, "2", "1")
    assert "riddle number 0" not in run.stderr
    assert scores(bank) == [before, [0, 1, 0, 0]]
    change_labels(bank, {("riddles", "0"): Label("riddles", "0", "1")})
    label(bank)
    assert scores(bank)[0] == before == [0, 0, 0, 1]


def test_where_graders_have_scored_all_there_is_nothing_to_label(tmp_path: Path) -> None:
    bank = build(tmp_path, answers=lines([FOUR], gt="4", grader="numeric"))
    jisi("bank", "grade", bank)
    run = label(bank)
    assert run.exit_code == 0 and "nothing to label" in run.stderr


def test_questions_without_a_readable_answer_are_not_asked(tmp_path: Path) -> None:
    bank = build(tmp_path, answers=lines([["Hard to say.", "It depends.", "", "Thrice, I say."]]))
    run = label(bank, options=("--json",))
    assert run.json["left"] == 0 and "riddle" not in run.stderr


def test_an_unreadable_answer_is_shown_as_such_and_stays_unscored(tmp_path: Path) -> None:
    bank = build(tmp_path, answers=lines([["It depends.", *FOUR[1:]]]))
    assert re.search(r"\(none that can be read\) +1", label(bank, "1").stderr)
    assert scores(bank) == [[None, 1, 0, 0]]


def test_from_twenty_labels_on_they_say_whom_to_believe_and_agreement_of_two_is_not_needed(tmp_path: Path) -> None:
    alone = [FOUR[0], FOUR[1], FOUR[1], FOUR[1]]
    bank = build(tmp_path, "--grader", "agreement", answers=lines([FOUR] * 20 + [alone] * 2))
    assert scores(bank) == [[None] * 4] * 20 + [[0, 1, 1, 1]] * 2
    run = label(bank, *["1"] * 19)
    assert "cannot see a model that is right alone" in run.stderr and scores(bank)[20:] == [[0, 1, 1, 1]] * 2
    run = label(bank, "1", "q")
    assert "cannot see a model" not in run.stderr and scores(bank) == [[1, 0, 0, 0]] * 22
    assert not any("cannot see" in warning for warning in jisi("bank", "inspect", bank, "--json").json["warnings"])


def test_test_rows_are_not_asked_about(tmp_path: Path) -> None:
    answers = [*lines([FOUR] * 4)]
    for line in answers[:2]:
        line["split"] = "test"
    bank = build(tmp_path, answers=answers)
    run = label(bank, "1", "1", "1", options=("--json",))
    assert run.json["labels"] == 2 and [index for index, *_ in labels(bank)] == ["2", "3"]


def test_labels_survive_an_extension_of_the_bank(bank: Path, tmp_path: Path) -> None:
    label(bank, "2", "q")
    build(tmp_path, "--append", answers=lines([AGREED, FOUR, FOUR, FOUR]))
    assert labels(bank) == [("1", "2", False)]
    label(bank)
    assert scores(bank)[1] == [0, 1, 0, 0]


# What answers may hold.


def test_ten_different_answers_can_all_be_picked(tmp_path: Path) -> None:
    models = [f"m{number:02}" for number in range(10)]
    line = {"dataset": "d", "index": 1, "query": "How many?", "records": dict.fromkeys(models)}
    line["raw_output"] = {model: f"The answer is {place + 20}." for place, model in enumerate(models)}
    bank = build(tmp_path, answers=[line])
    assert label(bank, "10").exit_code == 0
    assert labels(bank) == [("1", "29", False)] and scores(bank)[0][-1] == 1


def test_control_sequences_and_giant_answers_reach_no_terminal_whole(tmp_path: Path) -> None:
    wild = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e"
    answers = lines(
        [[f"The answer is {wild}cat{wild}.", "The answer is dog", "x" * 100_000, "\\boxed{" + "9" * 19_000 + "}"]]
    )
    answers[0]["query"] = f"{wild}Which?{wild}\n" + "long " * 50_000
    answers[0]["index"] = f"{wild}17"
    bank = build(tmp_path, answers=answers)
    run = label(bank, "m", "1")
    assert run.exit_code == 0
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", run.stderr)
    first, rest = run.stderr.split("the whole text)", 1)
    assert len(first) < 3000 and len(rest) > 250_000
    assert len(read_manifest(bank).labels) == 1 and sum(score == 1 for score in scores(bank)[0]) == 1


# Files.


def test_what_is_exported_filled_in_and_imported_counts_as_if_it_were_said(bank: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    assert jisi("bank", "label", bank, "--export", file, "--n", "2", "--json").json["exported"] == 2
    exported = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["index"] for line in exported] == ["1", "2"]
    assert exported[1]["answers"] == [
        {"answer": "1", "models": 2},
        {"answer": "2", "models": 1},
        {"answer": "3", "models": 1},
    ]
    assert not any(model in file.read_text() for model in MODELS)
    assert jisi("bank", "label", bank, "--import", file, "--json").json["imported"] == 0
    exported[0]["label"], exported[1]["none_right"] = 4, True
    run = jisi("bank", "label", bank, "--import", write_lines(tmp_path / "done.jsonl", exported), "--json")
    assert run.json["imported"] == 2 and scores(bank)[1:] == [[0, 0, 0, 1], [0, 0, 0, 0]]
    again = jisi("bank", "label", bank, "--import", tmp_path / "done.jsonl", "--json")
    assert again.json["changed"] == 0
    assert jisi("bank", "label", bank, "--export", tmp_path / "more.jsonl").exit_code == 0
    back = [json.loads(line) for line in (tmp_path / "more.jsonl").read_text().splitlines()]
    assert [(line["index"], line["label"], line["none_right"]) for line in back] == [
        ("1", "4", False),
        ("2", None, True),
        ("0", None, False),
    ]


def test_an_export_never_replaces_labels_that_somebody_gave(bank: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    jisi("bank", "label", bank, "--export", file)
    held = file.read_bytes()
    says_one_error(jisi("bank", "label", bank, "--export", file), 2, "is there already", "--import")
    says_one_error(jisi("bank", "label", bank, "--export", file, "--import", file), 2, "--export", "--import")
    assert file.read_bytes() == held


GOOD = {"dataset": "riddles", "index": "1", "label": "3"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({**GOOD, "index": "77"}, ["line.jsonl:1", "no question `77` of `riddles`"]),
        ({**GOOD, "dataset": "novels"}, ["no question"]),
        ({**GOOD, "label": ["3"]}, ["`label` must be text"]),
        ({**GOOD, "label": True}, ["`label` must be text"]),
        ('{"dataset": "riddles", "index": "1", "label": NaN}', ["no finite number"]),
        ({**GOOD, "label": "I believe that it is " + "the second of these " * 9}, ["line.jsonl", "cannot be compared"]),
        ({**GOOD, "none_right": "yes"}, ["`none_right` must be true or false"]),
        ({**GOOD, "none_right": True}, ["there is a `label`"]),
        ({"label": "3", "index": "1"}, ["dataset"]),
        ({**GOOD, "label": "x" * 20_001}, ["longer than 20,000"]),
        ({**GOOD, "dataset": {"riddles": 1}}, ["dataset"]),
        (
            {**GOOD, "query": "What is riddle number 2?"},
            ["line.jsonl:1", "`query` is not the question `1` of `riddles`"],
        ),
        (
            {"dataset": "riddles", "index": "1", "lable": "3"},
            ["line.jsonl:1", "no field `lable`; did you mean `label`?"],
        ),
        ({**GOOD, "label": None, "Label": "3"}, ["no field `Label`; did you mean `label`?"]),
        ({**GOOD, "label": "", "none-right": True}, ["no field `none-right`; did you mean `none_right`?"]),
        ({"dataset": "riddles", "index": "1", "answer": "3"}, ["line.jsonl:1", "there is no `label`"]),
        ("nonsense", ["line.jsonl:1", "not JSON"]),
        ([GOOD], ["not a JSON object"]),
    ],
)
def test_a_file_of_labels_is_trusted_in_nothing(bank: Path, tmp_path: Path, line: Any, words: list[str]) -> None:
    file = tmp_path / "line.jsonl"
    file.write_text(line if isinstance(line, str) else json.dumps(line))
    if isinstance(line, list):
        file.write_text(json.dumps(GOOD) + "\n" + json.dumps(line))
    says_one_error(jisi("bank", "label", bank, "--import", file), 2, *words)
    assert labels(bank) == []


def test_two_labels_of_one_question_are_an_error_and_a_missing_file_is(bank: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "twice.jsonl", [GOOD, {**GOOD, "label": "4"}])
    says_one_error(jisi("bank", "label", bank, "--import", file), 2, "twice.jsonl:2", "another label")
    says_one_error(jisi("bank", "label", bank, "--import", tmp_path / "none.jsonl"), 2, "none.jsonl")
    says_one_error(jisi("bank", "label", tmp_path / "nowhere"), 3, "no bank")


def test_a_label_that_no_model_gave_is_told(bank: Path, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "other.jsonl", [{**GOOD, "label": "12345"}])
    run = jisi("bank", "label", bank, "--import", file, "--json")
    assert run.json["imported"] == 1
    assert "no model gave the answer of 1 label: all models count as wrong" in run.stderr


def test_what_stands_beside_a_label_does_no_harm_and_colours_are_no_part_of_it(bank: Path, tmp_path: Path) -> None:
    query = "What is  riddle number 1?\r\n"
    line = {**GOOD, "label": "\x1b[31m3\x1b[0m\x07", "query": query, "labeller": "Ann", "note": "sure"}
    run = jisi("bank", "label", bank, "--import", write_lines(tmp_path / "labels.jsonl", [line]), "--json")
    assert run.json["imported"] == 1 and labels(bank) == [("1", "3", False)]


def test_an_import_says_which_labels_it_replaces_and_may_come_through_a_pipe(bank: Path) -> None:
    label(bank, "1", "q")
    run = jisi("bank", "label", bank, "--import", "-", "--json", stdin=json.dumps(GOOD) + "\n")
    assert (run.json["imported"], run.json["replaced"]) == (1, 1) and labels(bank) == [("1", "3", False)]
    assert any("1 label in the bank said something else" in line and "1 on question 1" in line for line in run.warnings)
    says_one_error(jisi("bank", "label", bank, "--import", "-", stdin="{\n"), 2, "standard input:1", "not JSON")


def test_a_dash_exports_to_standard_output(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = jisi("bank", "label", bank, "--export", "-", "--n", "2")
    assert run.exit_code == 0 and not (tmp_path / "-").exists()
    assert [json.loads(line)["index"] for line in run.stdout.splitlines()] == ["1", "2"]
    says_one_error(jisi("bank", "label", bank, "--export", "-", "--json"), 2, "--export -", "--json")


def test_an_export_of_nothing_makes_no_file(tmp_path: Path) -> None:
    bank = build(tmp_path, answers=lines([["Hard to say.", "It depends.", "", "Thrice, I say."]]))
    run = jisi("bank", "label", bank, "--export", tmp_path / "labels.jsonl", "--json")
    assert run.json["exported"] == 0 and "nothing was written" in run.stderr
    assert not (tmp_path / "labels.jsonl").exists()


def test_a_typed_answer_that_nothing_can_be_compared_with_is_refused(bank: Path) -> None:
    run = label(bank, "=I believe that it is " + "the second of these " * 9)
    assert run.exit_code == 2 and "cannot be compared" in run.errors[0] and labels(bank) == []


def test_through_a_pipe_what_somebody_else_said_meanwhile_stays(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Labelling._read

    def read_and_overtaken(labelling: Labelling) -> None:
        read(labelling)
        change_labels(bank, {("riddles", "1"): Label("riddles", "1", "3")})

    monkeypatch.setattr(Labelling, "_read", read_and_overtaken)
    run = label(bank, "1", "2", "q")
    assert run.exit_code == 0 and labels(bank) == [("1", "3", False), ("2", "2", False)]
    assert any("someone else has said meanwhile that 3 is right" in line for line in run.warnings)


def test_imported_labels_of_graded_questions_are_left_out_and_told(tmp_path: Path) -> None:
    bank = build(tmp_path, answers=[*lines([FOUR], gt="4", grader="numeric"), *lines([FOUR, FOUR])[1:]])
    jisi("bank", "grade", bank)
    file = write_lines(tmp_path / "labels.jsonl", [{**GOOD, "index": "0"}, GOOD])
    run = jisi("bank", "label", bank, "--import", file, "--json")
    assert run.json["imported"] == 1 and "1 label not kept" in run.stderr and labels(bank) == [("1", "3", False)]


# A terminal, Ctrl-C, a connection that ends, a kill.


class Terminal:
    """`jisi bank label` on a terminal of 60 columns."""

    def __init__(self, *arguments: str | Path, columns: int = 60) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        command = [sys.executable, "-m", "jisi_cli", "bank", "label", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={**env, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            os.close(self._master)

    def until(self, words: str, times: int = 1) -> str:
        """Read until the words were shown so many times since the last reply."""
        while self.shown.count(words) < times:
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        found, self.shown = self.shown, ""
        return found

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        os.close(self._master)

    def end(self) -> str:
        """Read what comes until the process ends."""
        with suppress(OSError):
            while chunk := os.read(self._master, 65536):
                self.shown += chunk.decode(errors="replace")
        self.process.wait(timeout=60)
        return self.shown


def plain(shown: str) -> list[str]:
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n").split("\n")
    return [line.rpartition("\r")[2] for line in lines]  # of a progress bar, what is left of it


def test_on_a_narrow_terminal_every_line_fits_and_a_slip_is_asked_again(tmp_path: Path) -> None:
    long = lines([FOUR] * 2)
    long[0]["query"] = "Why " + "or why not, " * 30 + "?"
    bank = build(tmp_path, answers=long)
    with Terminal(bank) as terminal:
        first = terminal.until("right answer?")
        assert max(map(len, plain(first))) <= 60 and "1 of 30" in first
        terminal.type("perhaps\n")
        assert "number: that answer is right" in " ".join(plain(terminal.until("right answer?")))
        terminal.type("1\n")
        assert "2 of 30" in terminal.until("right answer?")
        terminal.type("\x1b[A2\n")  # a stray arrow key
        rest = terminal.end()
    assert terminal.process.returncode == 0 and "2 questions labelled" in rest
    assert max(len(line) for line in plain(rest) if "agreement" not in line and "warning" not in line) <= 60
    assert [answer for _, answer, _ in labels(bank)] == ["1", "2"] or [answer for _, answer, _ in labels(bank)] == [
        "2",
        "1",
    ]


def test_ctrl_c_loses_nothing(bank: Path) -> None:
    with Terminal(bank) as terminal:
        terminal.until("right answer?")
        terminal.type("2\n")
        terminal.until("right answer?")
        terminal.type("\x03")
        shown = terminal.end()
    assert terminal.process.returncode == 130 and "Traceback" not in shown
    assert labels(bank) == [("1", "2", False)] and scores(bank)[1] == [0, 1, 0, 0]


def test_a_connection_that_ends_loses_nothing(bank: Path) -> None:
    with Terminal(bank) as terminal:
        terminal.until("right answer?")
        terminal.type("2\n")
        terminal.until("right answer?")
        terminal.hang_up()
        terminal.process.wait(timeout=60)
    assert labels(bank) == [("1", "2", False)] and scores(bank)[1] == [0, 1, 0, 0]


def test_after_a_kill_the_labels_are_there_and_the_next_run_heeds_them(bank: Path) -> None:
    with Terminal(bank) as terminal:
        terminal.until("right answer?")
        terminal.type("2\n")
        terminal.until("right answer?")
        terminal.process.send_signal(signal.SIGKILL)
        terminal.process.wait()
    assert labels(bank) == [("1", "2", False)] and scores(bank)[1] == [None] * 4
    assert label(bank).exit_code == 0
    assert scores(bank)[1] == [0, 1, 0, 0]


def test_two_people_may_label_at_a_time(bank: Path) -> None:
    with Terminal(bank) as one, Terminal(bank) as other:
        one.until("right answer?")
        other.until("right answer?")
        one.type("1\n")
        one.until("right answer?")
        other.type("s\n")
        other.until("right answer?")
        one.type("s\n")
        one.until("right answer?")
        other.type("2\n")
        other.until("right answer?")
        one.type("q\n")
        one.end()
        other.type("q\n")
        other.end()
    assert {index for index, *_ in labels(bank)} == {"1", "2"}
    assert not np.isnan(Bank(bank).answers("ada").scores).all()


def test_of_two_people_who_disagree_the_later_is_told_and_asked_again(bank: Path) -> None:
    with Terminal(bank) as one, Terminal(bank) as other:
        one.until("right answer?")
        other.until("right answer?")
        one.type("1\n")
        one.until("right answer?")
        other.type("2\n")
        shown = " ".join(" ".join(plain(other.until("right answer?"))).split())
        assert "someone else has said meanwhile that 1 is right on question `1` of `riddles`" in shown
        assert "reply again to replace that" in shown and labels(bank) == [("1", "1", False)]
        other.type("2\n")
        assert "riddle number 2" in other.until("right answer?")
        other.type("1\n")  # the second question, before the first person does
        other.until("right answer?")
        one.type("s\n")
        assert "riddle number 0" in one.until("right answer?")
        one.type("u\nq\n")
        one.end()
        other.type("q\n")
        other.end()
    assert labels(bank) == [("1", "2", False), ("2", "1", False)]
