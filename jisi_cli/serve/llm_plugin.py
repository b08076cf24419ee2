"""The pool as a model of the command-line tool `llm`: `llm -m jisi "..."`.

`llm` imports this module at every start, where jisi is installed beside it; so it imports nothing of jisi until the
model is asked.
"""

from __future__ import annotations

import atexit
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field

if TYPE_CHECKING:
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.protocol import Outcome

_open: dict[str, Jisi] = {}
"""What is open, by its options: a chat asks the same pool again."""


class PoolOptions(llm.Model.Options):
    """What `-o NAME VALUE` may say; what is left out is as `jisi ask` has it."""

    config: str | None = Field(default=None, description="The pool file")
    bank: str | None = Field(default=None, description="The bank")
    method: str | None = Field(default=None, description="Who answers; `jisi eval --list-methods` names all")
    mode: str | None = Field(default=None, description="auto, route or aggregate")
    max_cost: float | None = Field(default=None, description="Dollars at most for everything asked in one process")
    max_tokens: int | None = Field(default=None, description="Length of an answer at most")
    temperature: float | None = Field(default=None, description="Sampling temperature of every call")
    store: bool | None = Field(default=None, description="false keeps questions out of jisi's cache and ledger")


class Pool(llm.Model):
    """The pool, for a program that waits."""

    model_id = "jisi"
    can_stream = True
    Options = PoolOptions

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Yield the answer: piece by piece, or as a whole."""
        pool, messages = _pool(prompt), _messages(prompt)
        if stream:
            yield from pool.stream(messages, ended=lambda outcome: _note(response, outcome))
        else:
            outcome = pool.ask(messages)
            _note(response, outcome)
            yield outcome.answer.text


class AsyncPool(llm.AsyncModel):
    """The pool, for a program with an event loop."""

    model_id = "jisi"
    can_stream = True
    Options = PoolOptions

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """Yield the answer: piece by piece, or as a whole."""
        pool, messages = _pool(prompt), _messages(prompt)
        if stream:
            async for piece in pool.astream(messages, ended=lambda outcome: _note(response, outcome)):
                yield piece
        else:
            outcome = await pool.aask(messages)
            _note(response, outcome)
            yield outcome.answer.text


@llm.hookimpl
def register_models(register: Any) -> None:  # noqa: ANN401 - llm gives it no type
    """Tell `llm` of the model."""
    register(Pool(), AsyncPool())


def _pool(prompt: llm.Prompt) -> Jisi:
    """Return the pool with a prompt's options, opened once for as long as the program runs."""
    options = {name: value for name, value in prompt.options.model_dump().items() if value is not None}
    key = repr(sorted(options.items()))
    if key not in _open:
        from jisi_cli.jisi import Jisi

        _open[key] = Jisi(**options, calls="required", command="llm")
        atexit.register(_open[key].close)
    return _open[key]


def _messages(prompt: llm.Prompt) -> list[dict[str, Any]]:
    """Return the conversation in OpenAI's shape."""
    if not hasattr(prompt, "messages"):
        raise llm.ModelError("the model `jisi` needs llm 0.32 or later; `pip install -U llm` brings it")
    return [{"role": message.role, "content": _text(message)} for message in prompt.messages]


def _text(message: Any) -> str:  # noqa: ANN401 - llm.Message, which has kinds of parts of its own
    kinds = [part.to_dict()["type"] for part in message.parts]
    strange = [kind for kind in kinds if kind not in ("text", "reasoning")]
    if strange:
        raise llm.ModelError(f"the model `jisi` takes text alone, and this conversation holds a {strange[0]}")
    return "\n".join(part.text for part, kind in zip(message.parts, kinds, strict=True) if kind == "text")


def _note(response: Any, outcome: Outcome) -> None:  # noqa: ANN401 - llm's responses, waiting or not
    """Let `llm` log who wrote the answer, what was decided and what it cost."""
    from jisi_cli.serve.responses import told, usage

    found, tokens = told(outcome), usage(outcome)
    response.response_json = found
    response.set_resolved_model(outcome.answer.model)
    details = {"calls": len(outcome.calls), "cost_usd": found["cost_usd"]}
    response.set_usage(input=tokens["prompt_tokens"], output=tokens["completion_tokens"], details=details)
