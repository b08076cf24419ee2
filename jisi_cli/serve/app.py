"""The server: OpenAI's API over one pool, as an ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jisi_cli.errors import InputError, JisiError
from jisi_cli.jisi import Jisi
from jisi_cli.methods.protocol import Outcome, Pieces
from jisi_cli.methods.registry import all_methods
from jisi_cli.serve.feedback import Desk
from jisi_cli.serve.guard import App, Guard
from jisi_cli.serve.metrics import CONTENT_TYPE, Metrics
from jisi_cli.serve.openapi import description
from jisi_cli.serve.requests import (
    ChatRequest,
    RequestError,
    parse_json,
    read_chat_request,
    read_question,
    read_settings,
    refused_setting,
)
from jisi_cli.serve.responses import KEEP_ALIVE, Completion, error_parts, event, headers

_Body = TypeVar("_Body")

KEEP_ALIVE_SECONDS = 10.0
_PATIENCE = 2.0
"""Seconds in which a stream that fails can still be refused with an HTTP status: it begins with the first piece."""
_TRAINING_SECONDS = 20
"""What a method that a client names may take to be trained on a usual bank, while others wait; `--method` takes any."""
_TINY = 2048
"""Bytes of a request that takes no longer to read than to hand it to a thread."""
_LARGE = 100_000
"""Bytes of a body that takes a while to read."""
_VARIANTS = 32
"""Ways of answering that are kept ready: a method, its settings, its sampling."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server serves.

    Attributes:
        host: The address that it listens on.
        key: The bearer token that clients must send; None for none.
        places: Questions that may be under way at one time, those that wait included.
        most_bytes: Bytes of a request at most.
    """

    host: str = "127.0.0.1"
    key: str | None = None
    places: int = 256
    most_bytes: int = 10_000_000


def make_app(pool: Jisi, options: ServerOptions | None = None) -> App:
    """Return the server's application; it closes the pool when it ends.

    Args:
        pool: Who answers.
        options: How.
    """
    options = options or ServerOptions()
    server = Server(pool, options)
    routes = [
        Route("/v1/chat/completions", server.chat, methods=["POST"]),
        Route("/v1/models", server.models, methods=["GET"]),
        Route("/v1/models/{name:path}", server.model, methods=["GET"]),
        Route("/v1/route", server.route, methods=["POST"]),
        Route("/v1/feedback", server.feedback, methods=["POST"]),
        Route("/openapi.json", server.described, methods=["GET"]),
        Route("/health", server.health, methods=["GET"]),
        Route("/metrics", server.prometheus, methods=["GET"]),
    ]
    errors: Mapping[Any, Callable[..., Any]] = {404: _not_found, 405: _not_allowed}
    app = Starlette(routes=routes, exception_handlers=errors, lifespan=server.lifespan)
    return Guard(app, key=options.key, host=options.host, most_bytes=options.most_bytes)


class Server:
    """Answers requests with one pool.

    Args:
        pool: Who answers.
        options: How.
    """

    def __init__(self, pool: Jisi, options: ServerOptions) -> None:
        self._pool, self._options = pool, options
        self._metrics = Metrics()
        self._desk = Desk(pool.user, store=pool.account.store)
        self._variants: OrderedDict[tuple[Any, ...], Jisi] = OrderedDict()
        self._keeping = Lock()
        self._reading_large = asyncio.Semaphore(1)
        self._running = 0
        self._ready = self._has_failed = False

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Open bank and embedder while the first requests may wait already; close the pool at the end."""
        opening = asyncio.create_task(asyncio.to_thread(self._open))
        try:
            yield
        finally:
            with suppress(JisiError):
                await opening
            await asyncio.to_thread(self._pool.close)
            await asyncio.to_thread(self._desk.close)

    def _open(self) -> None:
        try:
            self._pool.warm_up()
        except JisiError as error:
            self._has_failed = True
            self._pool.user.warn(str(error))
        else:
            self._ready = True

    # What clients ask for.

    async def chat(self, request: Request) -> Response:
        """Answer a conversation, whole or in pieces."""
        return await self._counted("/v1/chat/completions", self._chat(request))

    async def _chat(self, request: Request) -> Response:
        body = await request.body()
        asked = await self._read(body)
        pool = await self._pool_for(asked)
        completion = Completion(asked.model)
        answering = _Answering(self, pool, asked, completion.id)
        if asked.stream:
            return await answering.stream(completion)
        outcome = await _unless_gone(request, answering.begin())
        return JSONResponse(completion.whole(outcome, answering.decision(outcome)), headers=headers(outcome))

    async def _read(self, body: bytes) -> ChatRequest:
        """Read a request, in a thread but for a tiny one: a large body, its pictures and its schema take a while.

        Large ones take turns, so that many of them leave threads for what others wait for.
        """
        if len(body) <= _TINY:
            return read_chat_request(parse_json(body))
        async with nullcontext() if len(body) < _LARGE else self._reading_large:
            return await asyncio.to_thread(lambda: read_chat_request(parse_json(body)))

    async def route(self, request: Request) -> Response:
        """Decide without a call."""
        return await self._counted("/v1/route", self._route(request))

    async def _route(self, request: Request) -> Response:
        body = parse_json(await request.body())
        unknown = sorted(set(body) - {"query", "messages", "model", "jisi"})
        if unknown:
            raise RequestError(f"`{unknown[0][:80]}` is unknown", unknown[0][:80])
        settings, options = read_settings(body.get("jisi"))
        conversation = read_question(body)
        if not conversation.routed_text:
            raise RequestError("pictures without words are not routed by what they show; add words", "messages")
        asked = ChatRequest(str(body.get("model", "jisi")), conversation, settings=settings, **options)
        pool = await self._pool_for(asked)
        self.take_place()
        try:
            decision = await asyncio.to_thread(pool.route, conversation.routed_text)
            return JSONResponse(await asyncio.to_thread(pool.explain, conversation.routed_text, decision))
        finally:
            self.leave_place()

    async def feedback(self, request: Request) -> Response:
        """Take what a client says of an answer."""
        return await self._counted("/v1/feedback", self._feedback(request))

    async def _feedback(self, request: Request) -> Response:
        return JSONResponse(await self._desk.take(parse_json(await request.body())))

    async def models(self, request: Request) -> Response:
        """List what can be asked by name."""
        return JSONResponse({"object": "list", "data": [_model(name) for name in self._names()]})

    async def model(self, request: Request) -> Response:
        """Describe one of them."""
        name = request.path_params["name"]
        return JSONResponse(_model(name)) if name in self._names() else _error(_no_model(name))

    async def health(self, request: Request) -> Response:
        """Say whether bank and embedder are open; to anybody, so not why not."""
        if self._ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "failed" if self._has_failed else "starting"}, status_code=503)

    async def described(self, request: Request) -> Response:
        """Describe all of this by OpenAPI."""
        return JSONResponse(description())

    async def prometheus(self, request: Request) -> Response:
        """Return the counters."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    # How they are answered.

    async def _counted(self, path: str, work: Awaitable[Response]) -> Response:
        """Turn errors into responses, and count the request when its answer has ended."""
        started = time.perf_counter()
        try:
            response = await work
        except JisiError as error:
            response = _error(error)
        except ClientDisconnect:
            response = Response(status_code=499)

        def count() -> None:
            self._metrics.request(path, response.status_code, time.perf_counter() - started)

        if isinstance(response, StreamingResponse):
            response.body_iterator = _then(response.body_iterator, count)
        else:
            count()
        return response

    async def _pool_for(self, asked: ChatRequest) -> Jisi:
        """Return the pool that answers in the way that was asked for."""
        ready = self._ready_variant(asked)
        return await asyncio.to_thread(self._variant, asked) if ready is None else ready

    def _ready_variant(self, asked: ChatRequest) -> Jisi | None:
        """Return what `_variant` returns, where nothing has to be made for it; a thread's turn costs as much as it."""
        if asked.model != "jisi" and "_methods" not in self.__dict__:
            return None
        return self._kept(self._way(asked))

    def _variant(self, asked: ChatRequest) -> Jisi:
        """Return the pool that answers in the way that was asked for."""
        way = self._way(asked)
        found = self._kept(way)
        if found is not None:
            return found
        try:
            found = self._pool.with_changes(
                way[0], asked.mode, temperature=asked.temperature, max_tokens=asked.max_tokens, **asked.settings
            )
            found.make_method()  # a method that cannot be made is refused here
        except InputError as error:
            raise refused_setting(error, asked) from None
        with self._keeping:
            self._variants[way] = found
            while len(self._variants) > _VARIANTS:
                self._variants.popitem(last=False)
        return found

    def _way(self, asked: ChatRequest) -> tuple[Any, ...]:
        """Return what decides how a question is answered, its method first."""
        settings = tuple(sorted((name, repr(value)) for name, value in asked.settings.items()))
        return self._method(asked.model), asked.mode, asked.temperature, asked.max_tokens, settings

    def _kept(self, way: tuple[Any, ...]) -> Jisi | None:
        with self._keeping:
            found = self._variants.get(way)
            if found is not None:
                self._variants[way] = found
                self._variants.move_to_end(way)
            return found

    def _method(self, name: str) -> str:
        if name == "jisi":
            return self._pool.method
        if name in self._methods:
            return name
        if name in self._pool.models:
            return f"model:{name}"
        raise _no_model(name)

    @cached_property
    def _methods(self) -> list[str]:
        """The methods that a client may name: those that answer any question and are trained at once, if at all."""
        if not self._pool.bank.questions:
            return []
        infos = [info for info in all_methods().values() if info.needs != "labels" and not info.argument]
        quick = [info for info in infos if (info.training_seconds or 0) <= _TRAINING_SECONDS]
        return [info.name for info in quick if not info.name.endswith("-oracle")]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(["jisi", *self._methods, *self._pool.models]))

    def take_place(self) -> None:
        """Count a question that is under way.

        Raises:
            RequestError: There are too many already.
        """
        if self._running >= self._options.places:
            words = f"{self._options.places} questions are under way; try again in a second"
            raise RequestError(words, status=429, code="rate_limit_exceeded")
        self._running += 1
        self._metrics.running.set(self._running)

    def leave_place(self) -> None:
        """Count a question that is no longer under way."""
        self._running -= 1
        self._metrics.running.set(self._running)

    def note(self, name: str, asked: ChatRequest, outcome: Outcome) -> None:
        """Count an answer and its calls, and remember it."""
        self._metrics.outcome(outcome)
        self._desk.remember(name, asked.conversation, outcome)


class _Answering:
    """One question that is being answered."""

    def __init__(self, server: Server, pool: Jisi, asked: ChatRequest, name: str) -> None:
        self._server, self._pool, self._asked, self._name = server, pool, asked, name

    def decision(self, outcome: Outcome) -> dict[str, Any] | None:
        """Return what was decided, where that was asked for."""
        if not self._asked.explain or outcome.decision is None:
            return None
        routed_by = {"routed_by": self._asked.conversation.routed_text}
        return {**outcome.decision.to_json(0, None), **routed_by, "settings": self._pool.settings}

    def begin(self, pieces: Pieces | None = None) -> asyncio.Task[Outcome]:
        """Take a place and begin to answer the question.

        Raises:
            RequestError: There is no place.
        """
        self._server.take_place()
        work = asyncio.create_task(self._run(pieces))
        # Also of a task that is cancelled before it has begun, in which nothing runs.
        work.add_done_callback(lambda _: self._server.leave_place())
        return work

    async def _run(self, pieces: Pieces | None) -> Outcome:
        outcome = await self._pool.aask(self._asked.conversation, max_cost=self._asked.max_cost, watcher=pieces)
        if pieces is not None:
            pieces.finish(outcome.answer)
        self._server.note(self._name, self._asked, outcome)
        return outcome

    async def stream(self, completion: Completion) -> Response:
        """Answer in pieces; what fails before the first of them is refused with an HTTP status."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def put(piece: str | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, piece)

        pieces = Pieces(put)
        work = self.begin(pieces)
        work.add_done_callback(lambda _: put(None))
        first = None
        with suppress(TimeoutError):
            first = await asyncio.wait_for(queue.get(), _PATIENCE)
            if first is None:
                await work  # raises what went wrong
        events = self._events(completion, pieces, work, queue, first)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def _events(
        self,
        completion: Completion,
        pieces: Pieces,
        work: asyncio.Task[Outcome],
        queue: asyncio.Queue[str | None],
        piece: str | None,
    ) -> AsyncIterator[bytes]:
        is_first = True
        try:
            while not (work.done() and queue.empty() and piece is None):
                if piece is not None:
                    yield completion.piece(pieces.model, piece, first=is_first)
                    is_first = False
                try:
                    piece = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    yield KEEP_ALIVE
            outcome = work.result()
            decision, usage = self.decision(outcome), self._asked.include_usage
            yield completion.end(outcome, decision, include_usage=usage, first=is_first)
        except JisiError as error:
            yield event(error_parts(error)[1])
        finally:
            work.cancel()


async def _then(body: AsyncIterable[_Body], ended: Callable[[], None]) -> AsyncIterator[_Body]:
    """Pass a body on, and tell when it has ended, however that came about."""
    try:
        async for piece in body:
            yield piece
    finally:
        ended()


async def _unless_gone(request: Request, task: asyncio.Task[Outcome]) -> Outcome:
    """Wait for an answer, and cancel what is out for it when the client goes away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            raise ClientDisconnect
        return task.result()
    finally:
        leaving.cancel()
        task.cancel()


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "jisi"}


def _no_model(name: str) -> RequestError:
    words = f"there is no model `{name[:200]}`; GET /v1/models lists them"
    return RequestError(words, "model", status=404, code="model_not_found")


def _error(error: JisiError) -> Response:
    status, body = error_parts(error)
    retry = {"retry-after": "1"} if status == 429 and body["error"]["code"] == "rate_limit_exceeded" else None
    return JSONResponse(body, status_code=status, headers=retry)


async def _not_found(request: Request, error: Exception) -> Response:
    path = request.url.path
    instead = (
        "; ask by POST /v1/chat/completions" if path in ("/v1/responses", "/v1/completions", "/v1/messages") else ""
    )
    return _error(RequestError(f"there is no {path[:200]}{instead}", status=404, code="not_found"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    words = f"{request.url.path[:200]} does not take {request.method}"
    response = _error(RequestError(words, status=405, code="method_not_allowed"))
    response.headers.update(getattr(error, "headers", None) or {})  # `Allow`
    return response
