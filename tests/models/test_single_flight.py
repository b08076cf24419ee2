"""One call for all that want the same: every order in which they come and go, and in which the call ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from itertools import count

import pytest

from jisi_cli.models.single_flight import SingleFlight

LENGTHS = [2, 3, 4, pytest.param(5, marks=pytest.mark.slow)]
"""How many things happen in a story."""


class OwnError(Exception):
    """One that concerns nobody but the one who began the call."""


class Scene:
    """A call that ends when it is told to, and those that wait for it.

    Args:
        breaks: Whether something else goes wrong where it is cut off.
    """

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.flights = SingleFlight[int](own=(OwnError,))
        self.waiting: list[asyncio.Task[tuple[int, bool]]] = []
        self.open: list[asyncio.Future[int]] = []
        self.made = self.cut_off = self.at_once = 0
        self.names: dict[asyncio.Task[tuple[int, bool]], int] = {}
        self.left: set[asyncio.Task[tuple[int, bool]]] = set()

    def has_gone(self, task: asyncio.Task[tuple[int, bool]]) -> None:
        """Check one that no longer waits."""
        assert task.cancelled() == (task in self.left), "cancelled by somebody else"
        assert self.at_once == 0 or any(not other.done() for other in self.names), "left before the call had ended"

    async def call(self) -> int:
        self.made += 1
        self.at_once += 1
        assert self.at_once == 1, "two calls for one key"
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.open.append(end)
        try:
            return await end
        except asyncio.CancelledError:
            self.cut_off += 1
            await asyncio.sleep(0)  # as closing a connection takes a while
            if self.breaks:
                raise ZeroDivisionError from None  # and can go wrong
            raise
        finally:
            self.open.remove(end)
            self.at_once -= 1

    def happens(self, event: str) -> None:
        """Let one thing happen."""
        if event == "join":
            task = asyncio.create_task(self.flights.join("key", self.call))
            self.names[task] = len(self.names)
            self.waiting.append(task)
            task.add_done_callback(self.has_gone)
        elif event in ("first leaves", "last leaves"):
            task = self.waiting.pop(0 if event == "first leaves" else -1)
            if task.cancel():
                self.left.add(task)
        elif self.open and not self.open[0].done():
            if event == "ends":
                self.open[0].set_result(self.made)
            else:
                self.open[0].set_exception(OwnError() if event == "own error" else ZeroDivisionError())


class Model:
    """What is to come of it, in plain words: names of those that wait, the one who began first."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.begins: int | None = None
        self.made = self.cut_off = 0
        self.results: dict[int, object] = {}
        self._names = count()

    def happens(self, event: str) -> None:
        if event == "join":
            self.waiting.append(next(self._names))
            if len(self.waiting) == 1:
                self._begin()
        elif event in ("first leaves", "last leaves"):
            self.results[self.waiting.pop(0 if event == "first leaves" else -1)] = asyncio.CancelledError
            self.cut_off += not self.waiting
        elif event == "own error":
            if self.begins in self.waiting:
                self.waiting.remove(self.begins)
                self.results[self.begins] = OwnError
            if self.waiting:
                self._begin()
        else:
            for name in self.waiting:
                self.results[name] = (self.made, name == self.begins) if event == "ends" else ZeroDivisionError
            self.waiting.clear()

    def _begin(self) -> None:
        self.made += 1
        self.begins = self.waiting[0]


def stories(length: int, waiting: int = 0) -> Iterator[tuple[str, ...]]:
    """Yield every order of so many events; somebody may be left to wait."""
    if length == 0:
        yield ()
        return
    for rest in stories(length - 1, waiting + 1):
        yield ("join", *rest)
    if waiting:
        for event, left in (("first leaves", waiting - 1), ("ends", 0), ("breaks", 0), ("own error", waiting - 1)):
            for rest in stories(length - 1, left):
                yield (event, *rest)
    if waiting > 1:
        for rest in stories(length - 1, waiting - 1):
            yield ("last leaves", *rest)


async def settled() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


def result_of(task: asyncio.Task[tuple[int, bool]]) -> object:
    if task.cancelled():
        return asyncio.CancelledError
    error = task.exception()
    return task.result() if error is None else type(error)


async def all_of(length: int, told: Callable[[tuple[str, ...], Scene], Coroutine[None, None, None]]) -> None:
    """Tell every story, and check that no task is left and none failed unseen."""
    unseen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    for story in stories(length):
        for breaks in (False, True):
            await told(story, Scene(breaks=breaks))
            assert asyncio.all_tasks() == {asyncio.current_task()}, story
    gc.collect()
    assert not unseen


@pytest.mark.parametrize("length", LENGTHS)
def test_in_whatever_order_they_come_and_go_one_call_serves_all_that_wait(length: int) -> None:
    async def told(story: tuple[str, ...], scene: Scene) -> None:
        model = Model()
        for event in story:
            if event != "join" and not model.waiting:
                continue  # an error that left nobody
            scene.happens(event)
            model.happens(event)
            await settled()
            scene.waiting = [task for task in scene.waiting if not task.done()]
            assert (scene.made, scene.cut_off) == (model.made, model.cut_off), story
        while scene.waiting:
            scene.happens("ends")
            model.happens("ends")
            await settled()
            scene.waiting = [task for task in scene.waiting if not task.done()]
        assert {name: result_of(task) for task, name in scene.names.items()} == model.results, story
        assert scene.at_once == 0 and not scene.flights._flights, story

    asyncio.run(all_of(length, told))


@pytest.mark.parametrize("steps", range(5))
def test_however_fast_it_happens_nobody_is_forgotten_and_nothing_is_left(steps: int) -> None:
    async def told(story: tuple[str, ...], scene: Scene) -> None:
        for event in story:
            if event == "join" or scene.waiting:
                scene.happens(event)
            for _ in range(steps):  # of the event loop
                await asyncio.sleep(0)
        for _ in story:
            await settled()
            scene.happens("ends")
        await settled()
        assert all(task.done() for task in scene.names), story
        assert scene.at_once == 0 and not scene.open and not scene.flights._flights, story
        results = [result_of(task) for task in scene.names]
        assert "breaks" in story or ZeroDivisionError not in results, story
        assert sum(isinstance(result, tuple) and result[1] for result in results) <= scene.made

    asyncio.run(all_of(4, told))
