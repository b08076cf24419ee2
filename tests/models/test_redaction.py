"""What a provider quotes of a request reaches no error message, and so no ledger, bank or result file."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest

from jisi_cli.config import ModelEntry
from jisi_cli.models.redaction import Withheld, redact, withheld_from, without_private_parts
from tests.loopback import Fault, Loopback
from tests.models.asking import ask_once, entry, everything_written, ledger_in, pool

SECRET = "Pl4nted/Key+With=Signs-0123456789"
QUESTION = 'My name is Erika Mustermann and my account is DE44 5001.\nWhy was "card 4711" refused in Garmisch?'


def spelt(secret: str) -> dict[str, str]:
    """Return ways in which servers, proxies and logs write a key."""
    raw = secret.encode()
    return {
        "plain": secret,
        "capitals": secret.upper(),
        "small letters": secret.lower(),
        "URL-encoded": quote(secret, safe=""),
        "URL-encoded in small letters": quote(secret, safe="").lower(),
        "URL-encoded twice": quote(quote(secret, safe=""), safe=""),
        "base64": base64.b64encode(raw).decode(),
        "base64 without padding": base64.b64encode(raw).decode().rstrip("="),
        "base64 for addresses": base64.urlsafe_b64encode(raw).decode(),
        "basic authentication": base64.b64encode(b"me:" + raw).decode(),
        "basic authentication of another user": base64.b64encode(b"user:" + raw).decode(),
        "basic authentication with the key as the user": base64.b64encode(raw + b":x").decode(),
        "base64 in lines": "\n".join(textwrap.wrap(base64.b64encode(raw).decode(), 16)),
        "backwards": secret[::-1],
        "hexadecimal digits": raw.hex(),
        "hexadecimal capitals": raw.hex().upper(),
        "JSON": json.dumps(secret).replace("/", "\\/"),
    }


@pytest.mark.parametrize("spelling", spelt(SECRET).values(), ids=spelt(SECRET))
def test_a_key_is_found_however_it_is_spelt(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    said = without_private_parts(f"upstream refused <{spelling}> here")
    assert said.replace('"', "") == "upstream refused <[redacted]> here"


def test_a_key_in_base64_is_found_behind_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    assert redact(f"b64={base64.b64encode(SECRET.encode()).decode()};") == "b64=[redacted];"


def test_words_that_only_resemble_a_key_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    said = "the model `Pl4nted` does not exist; see https://host.example/docs/models"
    assert redact(said) == said


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "quoted",
    [
        QUESTION,
        QUESTION.upper(),
        json.dumps({"messages": [{"role": "user", "content": QUESTION}]}),
        json.dumps(json.dumps(QUESTION)),
        quote(QUESTION),
        QUESTION[15:70],
        QUESTION.replace(" ", "  \n"),
    ],
    ids=["as it is", "capitals", "JSON", "JSON in JSON", "URL-encoded", "a part", "other spaces"],
)
def test_a_question_that_a_provider_quotes_is_left_out(
    loopback: Loopback, tmp_path: Path, quoted: str, streamed: bool
) -> None:
    loopback.script("a", faults=[Fault("status", status=400, message=f"cannot parse {quoted} as a prompt")])
    asked = pool(entry(loopback), ledger=ledger_in(tmp_path))
    answer = ask_once(asked, QUESTION, on_text=(lambda _: None) if streamed else None)
    (row,) = ledger_in(tmp_path).rows()
    assert answer.error == row.error
    assert answer.error is not None and answer.error.startswith("HTTP 400: cannot parse ")
    assert "…" in answer.error and answer.error.endswith("as a prompt")
    for private in ("Erika", "Mustermann", "5001", "4711", "Garmisch"):
        assert private.casefold() not in answer.error.casefold()
    assert b"Mustermann" not in everything_written(tmp_path)


@pytest.mark.parametrize(
    ("question", "said", "shown"),
    [
        ("What is 6 * 7?", "bad prompt: What is 6 * 7? (flagged)", "bad prompt: …? (flagged)"),
        ("我的账号是多少请告诉我", "内容违规：我的账号是多少请告诉我。", "内容违规：…。"),
        ("คุณชื่ออะไรและอยู่ที่ไหน", "refused คุณชื่ออะไรและอยู่ที่ไหน now", "refused … now"),
        ("temperature", "unsupported parameter: temperature", "unsupported parameter: temperature"),
        ("is it", "this item is italic", "this item is italic"),
        ("How long is it?", "maximum context length is 8192 tokens", "maximum context length is 8192 tokens"),
    ],
)
def test_short_questions_and_other_scripts_are_left_out_and_the_providers_own_words_stay(
    question: str, said: str, shown: str
) -> None:
    assert without_private_parts(said, Withheld(texts=(question,))) == shown


def test_what_stands_in_other_parts_of_a_request_is_left_out_too() -> None:
    credentials = base64.b64encode(b"me:s3same1").decode()
    request = {
        "model": "openai/a-model-with-quite-a-long-name-2024",
        "messages": [{"role": "system", "content": "The house rule is never to mention the merger."}],
        "extra_body": {"documents": [{"text": "The merger with Example Ltd is planned for May."}]},
        "extra_headers": {
            "X-Team": "team-blue-42",
            "Authorization": f"Basic {credentials}",
        },
        "tools": [{"auth": {"api_key": "tool-key-77"}}],
    }
    withheld = withheld_from(request)
    for quoted in (
        "The house rule is never to mention the merger.",
        "the merger with Example Ltd is planned for may",
        "team-blue-42",
        "me:s3same1",
        "s3same1",
        "tool-key-77",
    ):
        assert quoted.casefold().strip(".") not in without_private_parts(f"no: {quoted}", withheld).casefold()
    said = "the model a-model-with-quite-a-long-name-2024 does not exist"
    assert without_private_parts(said, withheld) == said


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/t3nant-s3cret-path/v1",
        "http://127.0.0.1:{port}/openai/hiddenpath/v1",
        "http://user:passw0rd-in-userinfo@127.0.0.1:{port}/nothing",
    ],
)
def test_secrets_in_an_address_are_left_out_though_the_host_is_told(loopback: Loopback, address: str) -> None:
    address = address.format(port=loopback.port)
    withheld = withheld_from({"model": "openai/a", "api_base": address})
    said = without_private_parts(f"no route {address}/chat/completions for model a", withheld)
    assert f"127.0.0.1:{loopback.port}" in said and said.endswith("for model a")
    for secret in ("t3nant-s3cret-path", "hiddenpath", "passw0rd"):
        assert secret not in said


def test_a_path_that_the_server_quotes_is_not_in_the_ledger(loopback: Loopback, tmp_path: Path) -> None:
    message = "nothing at /k/0f9e8d7c6b5a/v1/chat/completions"
    loopback.script("a", faults=[Fault("status", status=404, message=message)])
    asked = ModelEntry("a", "openai/a", api_base=f"http://127.0.0.1:{loopback.port}/k/0f9e8d7c6b5a/v1")
    error = ask_once(pool(asked, ledger=ledger_in(tmp_path))).error
    assert error == "HTTP 404: nothing at /k/[redacted]/v1/chat/completions"
    assert b"0f9e8d7c6b5a" not in everything_written(tmp_path)


def test_addresses_in_the_environment_keep_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/t3nant-77/v1?sig=abcdef99")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xy-pass@proxy.example:3128")
    said = redact("gateway.example/t3nant-77/v1 (abcdef99) through proxy.example with pr0xy-pass")
    assert said == "gateway.example/[redacted]/v1 ([redacted]) through proxy.example with [redacted]"


def test_control_characters_of_a_provider_go_nowhere() -> None:
    said = without_private_parts("red \x1b[31malert\\u001b]52;c;eA==\\u0007\u202e done\r\n")
    assert not any(ord(character) < 32 or character in "\u202e" for character in said)


def test_a_long_prompt_and_a_long_error_are_compared_in_one_pass() -> None:
    prompt = " ".join(str(number) for number in range(100_000))
    # Every beginning tried against every other would take minutes.
    assert without_private_parts(f"no: {prompt}", Withheld(texts=(prompt, prompt))) == "no: …"
