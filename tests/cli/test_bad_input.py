"""Bad input: one line that says what, where and what to do, the right exit code, no traceback, no secret."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import (
    MODELS,
    SCORES,
    build_small_bank,
    finish,
    interrupt,
    jisi,
    on_a_terminal,
    pool_file,
    recorded_answers,
    says_one_error,
    start,
    wait_for,
    write_lines,
)
from tests.faults.afflictions import unhurried
from tests.faults.forked import start_here
from tests.loopback import Fault, Loopback

QUESTION = "What is 3 plus 6?"
KEY = "sk-loopback-0123456789abcdef"


@pytest.fixture
def copied_bank(small_bank: Path, tmp_path: Path) -> Path:
    """A bank to break."""
    return Path(shutil.copytree(small_bank, tmp_path / "bank"))


def edit_manifest(bank: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((bank / "bank.json").read_text())
    change(data)
    (bank / "bank.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def bank_to_compare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with test rows."""
    folder = tmp_path_factory.mktemp("compared")
    source = write_lines(folder / "answers.jsonl", recorded_answers())
    command = ("bank", "build", source, "-o", folder / "bank", "--embedder", "hashing:64", "--split", "0.7")
    assert jisi(*command).exit_code == 0
    return folder / "bank"


COMMANDS = [("ask", QUESTION), ("route", QUESTION), ("bank", "inspect")]


def on_bank(command: tuple[str, ...], bank: Path, pool: Path) -> list[str | Path]:
    """Return a command line that opens a bank."""
    named: list[str | Path] = [bank] if command[0] == "bank" else ["--bank", bank]
    return [*command, *named, "--config", pool]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_bank_is_named_with_the_command_that_builds_one(
    command: tuple[str, ...], pool: Path, tmp_path: Path, loopback: Loopback
) -> None:
    run = jisi(*on_bank(command, tmp_path / "no-bank", pool))
    says_one_error(run, 3, f"no bank at {tmp_path / 'no-bank'}", "jisi bank build")
    assert loopback.count() == 0


def test_a_bank_that_was_never_named_tells_the_three_ways_to_name_one(pool: Path) -> None:
    for command in (("bank", "inspect"), ("eval",), ("bank", "calibrate")):
        says_one_error(jisi(*command, "--config", pool), 2, "no bank was named", "JISI_BANK", "--bank", "jisi.toml")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bank_of_a_newer_version_asks_for_an_upgrade(
    command: tuple[str, ...], copied_bank: Path, pool: Path, loopback: Loopback
) -> None:
    edit_manifest(copied_bank, lambda data: data.update(format_version=99))
    says_one_error(jisi(*on_bank(command, copied_bank, pool)), 3, "bank format 99", "upgrade jisi", str(copied_bank))
    assert loopback.count() == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("victim", ["queries*.parquet", "responses/model=ada/*.parquet"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_parquet_file_is_named(
    command: tuple[str, ...], victim: str, kept: float, copied_bank: Path, pool: Path
) -> None:
    (part,) = copied_bank.glob(victim)
    data = part.read_bytes()
    part.write_bytes(data[: int(len(data) * kept)])
    says_one_error(jisi(*on_bank(command, copied_bank, pool)), 3, part.name, "--force")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_parquet_file_is_named(command: tuple[str, ...], copied_bank: Path, pool: Path) -> None:
    (part,) = copied_bank.glob("responses/model=bob/*.parquet")
    part.unlink()
    says_one_error(jisi(*on_bank(command, copied_bank, pool)), 3, part.name)


def test_a_bank_of_another_embedder_is_refused_with_both_names(
    small_bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    pool = pool_file(tmp_path / "jisi.toml", loopback, extra='[embedder]\nname = "hashing:128"\n')
    for command in ("ask", "route"):
        run = jisi(command, QUESTION, "--bank", small_bank, "--config", pool)
        says_one_error(run, 3, "hashing:64", "hashing:128", str(small_bank), str(pool))
    assert loopback.count() == 0


@pytest.mark.parametrize("setting", ["max_tokens = 7", 'truncation = "tail"', 'prompt = "query: "', 'revision = "x"'])
def test_an_embedder_that_reads_texts_in_another_way_is_another_embedder(
    setting: str, small_bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    pool = pool_file(tmp_path / "jisi.toml", loopback, extra=f'[embedder]\nname = "hashing:64"\n{setting}\n')
    key = setting.split()[0]
    says_one_error(jisi("route", QUESTION, "--bank", small_bank, "--config", pool), 3, key, str(pool))


def test_a_bank_whose_embedder_has_another_revision_here_is_refused(copied_bank: Path, pool: Path) -> None:
    edit_manifest(copied_bank, lambda data: data["embedder"].update(revision="words 1-7"))
    says_one_error(jisi("route", QUESTION, "--bank", copied_bank, "--config", pool), 3, "words 1-7", str(copied_bank))


def test_an_empty_jsonl_makes_no_bank(tmp_path: Path) -> None:
    source = tmp_path / "empty.jsonl"
    source.write_text("")
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    says_one_error(run, 2, str(source), "empty")
    assert not (tmp_path / "bank").exists()


def test_an_empty_jsonl_of_questions_routes_nothing(small_bank: Path, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    for source, stdin in ((tmp_path / "empty.jsonl", None), (Path("-"), "")):
        run = jisi("route", "--input", source, "--bank", small_bank, "--config", pool, stdin=stdin)
        says_one_error(run, 2, str(source), "question")


def test_a_line_that_is_not_json_is_skipped_and_counted_unless_strict(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:3], '{"query": "cut of', *lines[3:]]))
    build = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    says_one_error(jisi(*build, "--strict"), 2, f"{source}:4", "not JSON")
    assert not (tmp_path / "bank" / "bank.json").exists()
    run = jisi(*build, "--json")
    assert (run.exit_code, run.json["questions"]) == (0, 12)
    assert [f"{source}:4" in warning for warning in run.warnings] == [True]


def test_a_file_without_any_json_is_no_source(tmp_path: Path) -> None:
    source = tmp_path / "answers.jsonl"
    source.write_text("this is\nno JSON at all\n")
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    says_one_error(run, 2, str(source))


def test_many_broken_lines_are_shown_in_part_and_counted(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    source.write_text(source.read_text() + "{\n" * 1000)
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    assert run.exit_code == 0
    assert len(run.warnings) == 12
    assert "1,000 lines were skipped" in run.warnings[-2]
    assert "23-1012" in run.warnings[-1]


def test_a_pool_without_a_model_of_the_bank_lists_both(small_bank: Path, loopback: Loopback, tmp_path: Path) -> None:
    pool = pool_file(tmp_path / "jisi.toml", loopback, ["zoe", "yan"])
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool)
    says_one_error(run, 2, "no model in common", "zoe", "yan", *MODELS)


def test_a_model_that_the_pool_has_and_the_bank_lacks_is_left_out(
    small_bank: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("ada")
    pool = pool_file(tmp_path / "jisi.toml", loopback, ["ada", "zoe"])
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "-v")
    assert (run.exit_code, loopback.count("zoe")) == (0, 0)
    assert "zoe is in the pool but not in the bank" in run.stderr
    for name in ("zoe", "nobody"):
        run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "--models", name)
        says_one_error(run, 2, "--models", name, "ada")


def test_a_provider_that_litellm_does_not_know_is_a_failed_call(
    small_bank: Path, tmp_path: Path, loopback: Loopback
) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text('[[models]]\nname = "ada"\nlitellm = "no-such-provider/ada"\n')
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", config)
    says_one_error(run, 4, "ada", "no such provider")


@pytest.mark.parametrize("command", [("ask", QUESTION), ("route", QUESTION, "--probe")])
def test_without_a_key_the_variable_is_named_and_the_offline_pool_offered(
    command: tuple[str, ...], small_bank: Path, tmp_path: Path
) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(
        '[[models]]\nname = "ada"\nlitellm = "openai/gpt-4o-mini"\n'
        '[[models]]\nname = "bob"\nlitellm = "anthropic/claude-3-haiku-20240307"\n'
    )
    run = jisi(*command, "--bank", small_bank, "--config", config)
    says_one_error(run, 4, "ada", "OPENAI_API_KEY", "bob", "ANTHROPIC_API_KEY", "jisi demo")


def test_a_wrong_key_fails_with_the_providers_words_and_without_the_key(
    small_bank: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusal = Fault("status", status=401, message="Incorrect API key provided: {authorization}. Find yours at home.")
    loopback.script("ada", every=1, every_fault=refusal)
    pool = pool_file(tmp_path / "jisi.toml", loopback, ["ada"], key="OPENAI_API_KEY")
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "-v")
    assert run.exit_code == 4
    assert len(run.errors) == 1
    assert "HTTP 401" in run.errors[0]
    assert "Incorrect API key" in run.errors[0]
    assert loopback.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in run.stderr + run.stdout
    assert "Traceback" not in run.stderr


def test_an_unknown_host_is_a_failed_call(small_bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(
        "[budget]\nmax_retries = 0\n"
        '[[models]]\nname = "ada"\nlitellm = "openai/ada"\napi_base = "http://no-such-host.invalid/v1"\n'
    )
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", config)
    says_one_error(run, 4, "ada", "connection failed", "no-such-host.invalid")


def test_a_user_name_and_password_in_an_address_are_not_shown(small_bank: Path, tmp_path: Path) -> None:
    config = tmp_path / "jisi.toml"
    config.write_text(
        "[budget]\nmax_retries = 0\n"
        '[[models]]\nname = "ada"\nlitellm = "openai/ada"\napi_base = "http://me:hunter22@no-such-host.invalid/v1"\n'
    )
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", config)
    says_one_error(run, 4, "ada", secrets=["hunter22"])


@pytest.mark.parametrize("kind", ["empty", "null_content"])
def test_models_that_return_nothing_are_no_answer(small_bank: Path, pool: Path, loopback: Loopback, kind: Any) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault(kind))
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool)
    says_one_error(run, 4, *MODELS, "returned no text")


def test_models_that_return_only_blanks_are_no_answer(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, text=" \n\t ")
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool)
    says_one_error(run, 4, *MODELS, "returned no text")


def test_a_question_of_200_000_characters_is_asked_whole(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    question = "How many sheep? " + "sheep " * 33_331
    assert len(question) > 200_000
    run = jisi("ask", "--bank", small_bank, "--config", pool, "--mode", "route", stdin=question)
    assert (run.exit_code, run.stdout, run.errors) == (0, "ada says so\n", [])
    assert loopback.requests[0].body["messages"][-1]["content"] == question.strip()


@pytest.mark.parametrize("command", ["ask", "route"])
@pytest.mark.parametrize("question", [[""], [" \n\t"], ["-"], []])
@pytest.mark.parametrize("stdin", [None, "", " \n"])
def test_an_empty_question_is_refused(
    command: str, question: list[str], stdin: str | None, small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    run = jisi(command, *question, "--bank", small_bank, "--config", pool, stdin=stdin)
    says_one_error(run, 2, "the question is empty")
    assert loopback.count() == 0


@pytest.mark.parametrize("command", [["ask"], ["ask", "Summarise this."], ["route"]])
def test_binary_data_on_stdin_is_refused(command: list[str], small_bank: Path, pool: Path, loopback: Loopback) -> None:
    picture = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe"
    run = jisi(*command, "--bank", small_bank, "--config", pool, stdin=picture)
    says_one_error(run, 2, "not UTF-8 text")
    assert loopback.count() == 0


def test_binary_lines_of_questions_are_skipped(small_bank: Path, pool: Path) -> None:
    stdin = b'\xff\xfe\x00\n{"query": "What is 1 plus 1?"}\n\x00\n'
    run = jisi("route", "--input", "-", "--bank", small_bank, "--config", pool, stdin=stdin)
    assert (run.exit_code, run.json["query"]) == (0, "What is 1 plus 1?")
    assert [warning.split(":")[1:3] for warning in run.warnings] == [[" -", "1"], [" -", "3"]]


def test_a_question_that_is_not_text_in_the_shells_encoding_is_refused(small_bank: Path, pool: Path) -> None:
    # How Python hands over the byte E9 of an argument in Latin-1.
    for words in (("ask", "caf\udce9"), ("ask", QUESTION, "--system", "caf\udce9"), ("route", "caf\udce9")):
        says_one_error(jisi(*words, "--bank", small_bank, "--config", pool), 2, "not UTF-8 text")


@pytest.mark.parametrize("folder", ["JISI_CACHE_HOME", "JISI_DATA_HOME"])
def test_a_cache_or_ledger_that_cannot_be_written_is_a_warning(
    folder: str, small_bank: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(folder, str(tmp_path / "file" / "below"))
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "--mode", "route")
    assert (run.exit_code, run.stdout, run.errors) == (0, "ada says so\n", [])
    assert run.warnings
    assert all(str(tmp_path / "file") in warning for warning in run.warnings)


def test_a_home_of_nobody_is_refused_in_one_line(small_bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {
        "JISI_CACHE_HOME": ("cost", "--erase", "--yes"),
        "JISI_DATA_HOME": ("cost",),
        "JISI_CONFIG_HOME": ("eval", small_bank),
    }
    for folder, command in commands.items():
        with monkeypatch.context() as changed:
            changed.setenv(folder, "~nobody-of-this-name/jisi")
            says_one_error(jisi(*command), 2, folder, "write the folder out")


def test_an_embedder_in_a_home_of_nobody_is_refused_in_one_line(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers({"ada": 1}, questions=2))
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "~nobody-of-this-name/model")
    says_one_error(run, 2, "the embedder", "write the folder out")


def test_the_key_is_in_no_file_that_jisi_writes(
    small_bank: Path, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    pool.write_text(pool.read_text().replace("api_base", 'api_key_env = "OPENAI_API_KEY"\napi_base'))
    run = jisi("ask", QUESTION, "--bank", small_bank, "--config", pool, "--json", "--explain", "-v")
    assert run.exit_code == 0
    assert KEY not in run.stdout + run.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 2
    assert not any(KEY.encode() in path.read_bytes() for path in written)


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "--mode", "sometimes", QUESTION),
        ("ask", "--k", "0", QUESTION),
        ("ask", "--gamma", "1.5", QUESTION),
        ("ask", "--gamma", "nan", QUESTION),
        ("ask", "--epsilon", "0.9", QUESTION),
        ("ask", "--compat", "none", QUESTION),
        ("ask", "--probe-schedule", "2,2", "--switch", "consensus", QUESTION),
        ("ask", "--probe-schedule", "2,1", QUESTION),
        ("ask", "--max-cost", "-1", QUESTION),
        ("ask", "--max-cost", "nan", QUESTION),
        ("ask", "--timeout", "-3", QUESTION),
        ("ask", "--timeout", "0", QUESTION),
        ("ask", "--timeout", "1e300", QUESTION),
        ("ask", "--concurrency", "99999999999999999999", QUESTION),
        ("ask", "--k", "99999999999999999999", QUESTION),
        ("ask", "--prior", "1e300", QUESTION),
        ("ask", "--temperature", "nan", QUESTION),
        ("ask", "--temperature", "-1", QUESTION),
        ("ask", "--models", ",", QUESTION),
        ("route", "--input", "questions.jsonl", QUESTION),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused_before_any_call(
    words: tuple[str, ...], small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    says_one_error(jisi(*words, "--bank", small_bank, "--config", pool), 2)
    assert loopback.count() == 0


def test_a_message_that_quotes_odd_input_stays_one_harmless_line(small_bank: Path, pool: Path) -> None:
    hostile = "a\nerror: b\x1b[2J\r\n\x9bc"
    for words in (("--models", hostile), ("--mode", hostile), ("--compat", hostile), ("--probe-schedule", hostile)):
        says_one_error(jisi("ask", QUESTION, *words, "--bank", small_bank, "--config", pool), 2)


def test_streams_that_the_shell_closed_harm_nothing(small_bank: Path) -> None:
    route = ("route", QUESTION, "--bank", small_bank)
    run = finish(start(*route, preexec_fn=lambda: os.close(2)))
    assert (run.exit_code, run.stdout.splitlines()[1].split()[:2]) == (0, ["1", "ada"])
    run = finish(start(*route, preexec_fn=lambda: os.close(1)))
    assert run.exit_code == 0
    assert run.stderr.startswith("support set: 12 questions")
    for words in (("route", "--input", "-"), ("eval", "-")):
        run = finish(start(*words, "--bank", small_bank, stdin=None, preexec_fn=lambda: os.close(0)))
        says_one_error(run, 2, "standard input is closed")


@pytest.mark.parametrize(
    "command",
    [
        ("ask", QUESTION, "--mode", "aggregate"),
        ("ask", QUESTION, "--mode", "aggregate", "--stream"),
        ("route", "--input", "-"),
    ],
)
def test_a_reader_that_goes_away_ends_the_command_quietly(
    command: tuple[str, ...], small_bank: Path, pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.script("ada", text="\n".join(f"line-{number}" for number in range(20_000)))
    arguments = on_bank(command, small_bank, pool)
    if command[0] == "ask":
        assert jisi(*arguments).exit_code == 0  # what follows finds its answers in the cache, which is quicker
    questions = tmp_path / "questions.jsonl"
    write_lines(questions, [{"query": f"What is {n} plus {n}?"} for n in range(300)])
    with questions.open("rb") as stdin:
        process = start(*arguments, stdin=stdin if command[-1] == "-" else None)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0, err
    process.stderr.close()
    noise = [line for line in err.splitlines() if not line.startswith(("warning: ", "ada aggregated"))]
    assert noise == []


def test_ctrl_c_while_calls_are_out_ends_with_130_at_once(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("hang"))
    process = start("ask", QUESTION, "--bank", small_bank, "--config", pool)
    wait_for(process, lambda: loopback.count() == 3)
    run = interrupt(process)
    assert (run.exit_code, run.stdout, run.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_while_the_aggregator_writes_ends_with_130(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="one\ntwo \nthree ", piece_delay=30)
    process = start_here("ask", QUESTION, "--mode", "aggregate", "--stream", "--bank", small_bank, "--config", pool)
    # Scripted to dawdle between the pieces, the stream of the aggregator is the second call to ada.
    process.until(lambda: loopback.count("ada") == 2)
    process.send_signal(signal.SIGINT)
    run = process.finish()
    assert (run.exit_code, run.stderr) == (130, "interrupted\n")


def test_ctrl_c_while_a_bank_asks_its_pool_ends_with_130(pool: Path, loopback: Loopback, tmp_path: Path) -> None:
    loopback.script("ada", every=1, every_fault=Fault("hang"))
    asked = [{"query": f"What is {n}?", "gt": str(n), "grader": "numeric"} for n in range(8)]
    source = write_lines(tmp_path / "questions.jsonl", asked)
    command = ("bank", "build", source, "-o", tmp_path / "bank", "--call", "--embedder", "hashing:64")
    process = start_here(*command, "--config", pool, prepare=unhurried)
    process.until(lambda: loopback.count("ada") >= 1)
    process.send_signal(signal.SIGINT)
    run = process.finish()
    kept, last = run.stderr.splitlines()
    assert (run.exit_code, run.stdout, last) == (130, "", "interrupted")
    assert "every answer that came is kept" in kept
    assert not (tmp_path / "bank" / "bank.json").exists()


def test_a_process_that_is_told_to_end_leaves_no_traceback(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    for model in MODELS:
        loopback.script(model, every=1, every_fault=Fault("hang"))
    process = start_here("ask", QUESTION, "--bank", small_bank, "--config", pool)
    process.until(lambda: loopback.count() == 3)
    process.send_signal(signal.SIGTERM)
    assert "Traceback" not in process.finish().stderr


def test_sources_that_hold_nothing_of_what_was_asked_for_are_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    build = ("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64")
    says_one_error(jisi(*build, "--models", "zoe"), 2, "--models", "zoe")
    says_one_error(jisi(*build, "--datasets", "novels"), 2, "--datasets", "novels")
    says_one_error(jisi(*build, "--split", "0"), 2, "--split")
    says_one_error(jisi(*build, "--split", "nan"), 2, "--split")
    says_one_error(jisi(*build, "--append", "--force"), 2, "--append", "--force")
    says_one_error(jisi(*build, "--append"), 3, "no bank at", str(tmp_path / "bank"))
    says_one_error(jisi(*build, "--vector-dtype", "int8"), 2, "--vector-dtype")
    says_one_error(jisi(*build, "--truncation", "middle"), 2, "truncation")
    says_one_error(jisi(*build, "--format", "wav"), 2, "wav")
    says_one_error(jisi("bank", "build", tmp_path / "no.jsonl", "-o", tmp_path / "bank"), 2, "no.jsonl")
    assert not (tmp_path / "bank").exists()


def test_a_place_where_no_bank_can_be_written_is_refused(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        run = jisi("bank", "build", source, "-o", place, "--embedder", "hashing:64")
        says_one_error(run, 2, str(place))


def test_answers_that_cannot_be_saved_are_an_error_before_anything_is_paid(
    pool: Path, loopback: Loopback, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "questions.jsonl", [{"query": "What is 1?"}])
    command = ("bank", "build", source, "-o", tmp_path / "bank", "--call", "--embedder", "hashing:64")
    run = jisi(*command, "--config", pool, "--save-answers", tmp_path / "no-folder" / "answers.jsonl")
    says_one_error(run, 2, "no-folder")
    assert loopback.count() == 0


def test_no_file_that_is_written_replaces_what_it_is_made_of(bank_to_compare: Path, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    results = tmp_path / "results.jsonl"
    assert jisi("eval", bank_to_compare, "--method", "best-single", "--out", results).exit_code == 0
    for made, words in (
        (source, ("bank", "build", source, "-o", tmp_path / "bank", "--save-answers", tmp_path / "." / source.name)),
        (results, ("report", results, "-o", results)),
        (results, ("eval", bank_to_compare, "--method", "best-single", "--out", results, "--report", results)),
    ):
        before = made.read_bytes()
        says_one_error(jisi(*words), 2, "would replace", str(made))
        assert made.read_bytes() == before


def test_a_failed_answer_can_only_be_asked_again_where_a_bank_holds_it(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "answers.jsonl", recorded_answers())
    run = jisi("bank", "build", source, "-o", tmp_path / "bank", "--embedder", "hashing:64", "--retry-failed")
    says_one_error(run, 2, "--retry-failed", "--call --append")


@pytest.mark.parametrize("key", ["max_cost", "timeout", "concurrency", "max_retries"])
def test_a_limit_that_no_number_of_the_machine_holds_is_refused(small_bank: Path, pool: Path, key: str) -> None:
    text = pool.read_text().replace("max_retries = 0", f"{key} = 1{'0' * 400}")
    pool.write_text(text)
    says_one_error(jisi("ask", QUESTION, "--bank", small_bank, "--config", pool), 2, f"[budget] {key}")


def test_a_model_that_sends_half_a_character_does_no_harm(small_bank: Path, pool: Path, loopback: Loopback) -> None:
    loopback.script("ada", text="odd \ud83d end")
    for words in (("--mode", "route"), ("--mode", "aggregate", "--no-cache"), ("--json",), ("--stream", "--no-cache")):
        run = jisi("ask", QUESTION, *words, "--bank", small_bank, "--config", pool)
        assert (run.exit_code, run.errors) == (0, []), run
        assert "odd \N{REPLACEMENT CHARACTER} end" in run.stdout


def test_an_answer_beyond_the_terminals_character_set_is_written_all_the_same(
    small_bank: Path, pool: Path, loopback: Loopback
) -> None:
    loopback.script("ada", text="na\u00efve \U0001f600")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ask = ("ask", QUESTION, "--mode", "route", "--bank", small_bank, "--config", pool)
    assert jisi(*ask).stdout == "na\u00efve \U0001f600\n"
    run = finish(start(*ask, env=ascii_only))
    assert (run.exit_code, run.stdout, run.errors) == (0, "na?ve ?\n", [])
    assert finish(start(*ask, "--json", env=ascii_only)).json["answer"] == "na\u00efve \U0001f600"


def test_a_table_on_a_terminal_of_few_characters_is_drawn_all_the_same(small_bank: Path) -> None:
    words = ("route", QUESTION, "--bank", small_bank, "--explain")
    shown = on_a_terminal("-m", "jisi_cli", *words, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "What is 2 plus 5" in shown
    assert "?|" in shown.replace(" ", "")  # an ellipsis, where the terminal has none


def test_a_bank_may_lie_in_a_folder_of_any_name(tmp_path: Path, pool: Path) -> None:
    folder = tmp_path / "Bänke [1] 100% * 'q'"
    folder.mkdir()
    bank = build_small_bank(folder, SCORES)
    assert jisi("route", QUESTION, "--bank", bank, "--config", pool).exit_code == 0
    assert jisi("bank", "inspect", bank).exit_code == 0
