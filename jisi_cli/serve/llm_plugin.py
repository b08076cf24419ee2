"""The pool as a model of the command-line tool `llm`: `llm -m jisi "..."`.

`llm` imports this module at every start, where jisi is installed beside it; so it imports nothing of jisi until the
model is asked.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field

if TYPE_CHECKING:
    from jisi_cli.jisi import Jisi
    from jisi_cli.messages import ToolCall
    from jisi_cli.methods.protocol import Outcome

_open: dict[str, Jisi] = {}
"""What is open, by its options: a chat asks the same pool again."""
_opening = Lock()


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


_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class Pool(llm.Model):
    """The pool, for a program that waits."""

    model_id = "jisi"
    can_stream = True
    supports_schema = True
    supports_tools = True
    attachment_types = _IMAGES
    Options = PoolOptions

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """Yield the answer: piece by piece, or as a whole."""
        pool, messages, more = _pool(prompt), _messages(prompt), _wanted(prompt)
        if stream and not more:
            yield from pool.stream(messages, ended=lambda outcome: _note(response, pool, messages, outcome))
        else:
            outcome = pool.ask(messages, **more)
            _note(response, pool, messages, outcome)
            yield outcome.answer.text


class AsyncPool(llm.AsyncModel):
    """The pool, for a program with an event loop."""

    model_id = "jisi"
    can_stream = True
    supports_schema = True
    supports_tools = True
    attachment_types = _IMAGES
    Options = PoolOptions

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """Yield the answer: piece by piece, or as a whole."""
        pool, messages, more = _pool(prompt), _messages(prompt), _wanted(prompt)
        if stream and not more:
            async for piece in pool.astream(messages, ended=lambda outcome: _note(response, pool, messages, outcome)):
                yield piece
        else:
            outcome = await pool.aask(messages, **more)
            _note(response, pool, messages, outcome)
            yield outcome.answer.text


@llm.hookimpl
def register_models(register: Any) -> None:  # noqa: ANN401 - llm gives it no type
    """Tell `llm` of the model."""
    register(Pool(), AsyncPool())


def _pool(prompt: llm.Prompt) -> Jisi:
    """Return the pool with a prompt's options, opened once for as long as the program runs."""
    options = {name: value for name, value in prompt.options.model_dump().items() if value is not None}
    key = repr(sorted(options.items()))
    with _opening:  # two pools would have a budget each
        if key not in _open:
            from jisi_cli.jisi import Jisi

            _open[key] = Jisi(**options, calls="required", command="llm")
            atexit.register(_open[key].close)
        return _open[key]


def _messages(prompt: llm.Prompt) -> list[dict[str, Any]]:
    """Return the conversation in OpenAI's shape."""
    if not hasattr(prompt, "messages"):
        raise llm.ModelError("the model `jisi` needs llm 0.32 or later; `pip install -U llm` brings it")
    return [turn for message in prompt.messages for turn in _turns(message.role, message.parts)]


def _turns(role: str, parts: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield a message of llm's in OpenAI's shape, in which each result of a tool is a message of its own."""
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        kind = part.to_dict()["type"]
        if kind == "text":
            content.append({"type": "text", "text": part.text})
        elif kind == "attachment":
            picture = part.attachment
            url = f"data:{picture.resolve_type()};base64,{picture.base64_content()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        elif kind == "tool_call":
            function = {"name": part.name, "arguments": json.dumps(part.arguments)}
            calls.append({"id": part.tool_call_id, "type": "function", "function": function})
        elif kind == "tool_result":
            yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.output}
    if calls:
        yield {"role": role, "content": content or None, "tool_calls": calls}
    elif content:
        is_plain = all(part["type"] == "text" for part in content)
        yield {"role": role, "content": "\n".join(part["text"] for part in content) if is_plain else content}


def _wanted(prompt: llm.Prompt) -> dict[str, Any]:
    """Return what a prompt asks for besides words."""
    found: dict[str, Any] = {}
    if prompt.schema:
        found["schema"] = prompt.schema
    if prompt.tools:
        functions = (
            {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
            for tool in prompt.tools
        )
        found["tools"] = [{"type": "function", "function": function} for function in functions]
    return found


def _note(
    response: Any,  # noqa: ANN401 - llm's responses, waiting or not
    pool: Jisi,
    messages: Sequence[Mapping[str, Any]],
    outcome: Outcome,
) -> None:
    """Remember the answer, and let `llm` log its name, who wrote it, what was decided and what it cost."""
    from jisi_cli.serve.responses import told, usage

    for call in outcome.answer.tool_calls:
        response.add_tool_call(_tool_call(call))
    found, tokens = {"id": pool.remember(messages, outcome), **told(outcome)}, usage(outcome)
    response.response_json = found
    response.set_resolved_model(outcome.answer.model)
    details = {"calls": len(outcome.calls), "cost_usd": found["cost_usd"]}
    response.set_usage(input=tokens["prompt_tokens"], output=tokens["completion_tokens"], details=details)


def _tool_call(call: ToolCall) -> llm.ToolCall:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        raise llm.ModelError(f"the call of the tool `{call.name}` has arguments that are no JSON") from None
    return llm.ToolCall(name=call.name, arguments=arguments, tool_call_id=call.id)
