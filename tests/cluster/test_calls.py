"""Workers that make calls, as the driver keeps them: what is wrong with one node, and what is left at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from jisi_cli.cluster.call_worker import Greeting, hashed_addresses, litellm_version
from jisi_cli.cluster.calls import ClusterCaller
from jisi_cli.cluster.session import source_hash
from jisi_cli.config import ModelEntry
from jisi_cli.errors import JisiError
from jisi_cli.models.call import Asker, Call, Course
from jisi_cli.models.limits import Limits, RateLimiter
from jisi_cli.models.retry import RetryPolicy
from jisi_cli.types import Request

pytest.importorskip("ray", reason="needs the extra `ray`")

ENTRY = ModelEntry("ada", "openai/ada", api_base="http://127.0.0.1:9/v1")
CALL = Call(ENTRY, [], {}, Request("ada", [], "expert"), "key", Asker(lambda event: None, None))

Hello = Callable[[], Awaitable[Greeting]]


async def never() -> Any:
    await asyncio.get_running_loop().create_future()


async def welcome() -> Greeting:
    from jisi_cli import __version__

    return Greeting("one", __version__, source_hash(), litellm_version(), {}, hashed_addresses([ENTRY]))


class Rayless:
    """Stands where Ray does: each worker says what it is told to, takes every call, and never answers."""

    def __init__(self, *hellos: Hello) -> None:
        self._hellos = list(hellos)
        self.killed: list[Hello] = []
        self.closed: list[Hello] = []

    def remote(self, kind: object) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._start))

    def kill(self, handle: Any) -> None:
        self.killed.append(handle.said)

    def _start(self, settings: object) -> Any:
        hello = self._hellos.pop(0)

        async def close() -> None:
            self.closed.append(hello)

        def method(does: Callable[..., Awaitable[Any]]) -> Any:
            return SimpleNamespace(remote=does)

        return SimpleNamespace(
            said=hello,
            hello=method(lambda entries: hello()),
            put=method(lambda messages: asyncio.sleep(0)),
            take=method(never),
            close=method(close),
        )


def caller(ray: Rayless, size: int, require_head: Callable[[], None] = lambda: None) -> ClusterCaller:
    session: Any = SimpleNamespace(ray=ray, cpus=size, require_head=require_head)
    limiter, policy = RateLimiter(Limits(), [ENTRY]), RetryPolicy(2, 60.0)
    return ClusterCaller(session, size, [ENTRY], 10.0, limiter, None, policy, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"source": "another"}, "node two has another jisi"),
        ({"litellm": "1.0"}, "node two of the Ray cluster has LiteLLM 1.0"),
        ({"addresses": {"ada": "another"}}, "node two of the Ray cluster would reach ada at another address"),
    ],
    ids=["jisi", "litellm", "address"],
)
def test_what_is_wrong_with_one_node_ends_the_calls_of_all_and_leaves_no_worker(
    wrong: dict[str, Any], words: str
) -> None:
    has_begun = asyncio.Event()

    async def unfit() -> Greeting:
        await has_begun.wait()
        return replace(await welcome(), node="two", **wrong)

    async def run() -> None:
        cluster = caller(ray, 3)
        calls = [asyncio.create_task(cluster.call(CALL, Course())) for _ in range(4)]
        await asyncio.sleep(0.1)  # the calls are with the first worker
        has_begun.set()
        for call in calls:
            with pytest.raises(JisiError, match=words):
                await call
        problems = [keeper.exception() for keeper in cluster._keepers if keeper.done() and not keeper.cancelled()]
        assert problems == [None] * len(problems)
        await cluster.close()

    ray = Rayless(welcome, unfit, never)
    asyncio.run(run())
    assert {*ray.killed} == {welcome, unfit, never}


def test_calls_end_when_the_head_of_the_cluster_is_gone() -> None:
    is_gone = False

    def require_head() -> None:
        if is_gone:
            raise JisiError("the head is gone")

    async def run() -> None:
        nonlocal is_gone
        cluster = caller(ray, 1, require_head)
        call = asyncio.create_task(cluster.call(CALL, Course()))
        await asyncio.sleep(0.1)  # it is with the worker
        is_gone = True
        with pytest.raises(JisiError, match="the head is gone"):
            await call
        await cluster.close()

    ray = Rayless(welcome)
    asyncio.run(run())
    assert ray.killed == [welcome]


def test_a_worker_that_never_began_is_not_waited_for_at_the_end() -> None:
    async def run() -> None:
        cluster = caller(ray, 2)
        call = asyncio.create_task(cluster.call(CALL, Course()))
        await asyncio.sleep(0.1)
        call.cancel()
        await cluster.close()

    ray = Rayless(welcome, never)
    asyncio.run(run())
    assert ray.closed == [welcome] and {*ray.killed} == {welcome, never}
