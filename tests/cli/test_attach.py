"""`jisi ask -a`: pictures beside a question, alone, in a conversation, and files that are none."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import build_small_bank, jisi, pool_file, says_one_error
from tests.loopback import Loopback, Script

PICTURES = {
    "a.png": b"\x89PNG\r\n\x1a\n" + bytes(9),
    "b.jpeg": b"\xff\xd8\xff\xe0" + bytes(9),
    "c.gif": b"GIF89a" + bytes(9),
    "d.webp": b"RIFF\x00\x00\x00\x00WEBP" + bytes(9),
}


@pytest.fixture
def given(tmp_path: Path, loopback: Loopback) -> list[str | Path]:
    loopback.scripts.update({model: Script(text=f"{model} sees it") for model in ("ada", "bob", "cyd", "dee")})
    for name, content in PICTURES.items():
        (tmp_path / name).write_bytes(content)
    lines = {"bob": "vision = true"}
    return ["--bank", build_small_bank(tmp_path), "--config", pool_file(tmp_path / "jisi.toml", loopback, lines=lines)]


def sent(loopback: Loopback) -> Any:
    return loopback.requests[-1].body["messages"][-1]["content"]


def test_pictures_of_all_four_kinds_reach_a_model_that_sees(
    given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    files = [part for name in PICTURES for part in ("-a", tmp_path / name)]
    run = jisi("ask", "What is on these?", *files, *given)
    assert (run.exit_code, run.stdout) == (0, "bob sees it\n")
    text, *pictures = sent(loopback)
    assert text == {"type": "text", "text": "What is on these?"}
    found = [picture["image_url"]["url"].removeprefix("data:image/") for picture in pictures]
    assert [url.partition(";")[0] for url in found] == ["png", "jpeg", "gif", "webp"]
    assert [base64.b64decode(url.partition(",")[2]) for url in found] == list(PICTURES.values())


def test_a_picture_alone_is_a_question_and_says_that_it_was_not_routed(
    given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    run = jisi("ask", "-a", tmp_path / "a.png", *given)
    assert (run.exit_code, run.stdout) == (0, "bob sees it\n")
    assert "a picture without words cannot be compared with the bank's questions" in run.stderr
    assert [part["type"] for part in sent(loopback)] == ["image_url"]


def test_a_conversation_goes_on_about_a_picture(given: list[str | Path], tmp_path: Path, loopback: Loopback) -> None:
    jisi("ask", "What is on it?", "-a", tmp_path / "a.png", *given)
    first = loopback.requests[-1].body["messages"]
    assert jisi("ask", "-c", "And what is behind it, do you think?", *given).exit_code == 0
    assert loopback.requests[-1].body["messages"][:2] == [*first, {"role": "assistant", "content": "bob sees it"}]


def test_a_budget_reserves_for_a_picture(given: list[str | Path], tmp_path: Path) -> None:
    asked = ("ask", "What?", "-a", tmp_path / "a.png", *given, "--no-store")
    says_one_error(jisi(*asked, "--max-cost", "0.01"), 5, "bob")
    assert jisi(*asked, "--max-cost", "0.03").exit_code == 0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"no picture", "is not a PNG, JPEG, GIF or WebP picture"),
        ("empty.png", b"", "is not a PNG"),
        ("large.png", PICTURES["a.png"] + bytes(20 * 2**20), "more than 20 MiB"),
        ("none.png", None, "No such file"),
    ],
)
def test_a_file_that_is_no_picture_is_exit_2(
    name: str, content: bytes | None, words: str, given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    says_one_error(jisi("ask", "What?", "-a", tmp_path / name, *given), 2, f"--attach: {tmp_path / name}", words)
    assert loopback.count() == 0


def test_the_lines_of_a_file_say_all(given: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"query": "What?"}\n')
    says_one_error(jisi("ask", "--input", tmp_path / "q.jsonl", "-a", tmp_path / "a.png", *given), 2, "--attach")


def test_a_large_picture_that_a_provider_refuses_and_quotes_is_not_in_the_error(
    given: list[str | Path], tmp_path: Path, loopback: Loopback
) -> None:
    from tests.loopback import Fault

    content = PICTURES["a.png"] + b"secret picture " * 100_000
    (tmp_path / "large.png").write_bytes(content)
    code = base64.b64encode(content).decode()[:300]
    refusal = Fault("status", status=400, message=f"cannot decode {code}")
    loopback.script("bob", faults=[refusal])
    line = says_one_error(jisi("ask", "What?", "-a", tmp_path / "large.png", *given), 4, "bob", "cannot decode")
    assert code[20:60] not in line
