"""Workers that die: what they had is done by others, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from jisi_cli.cluster.crew import Crew, Worker
from jisi_cli.errors import InputError, JisiError

pytest.importorskip("ray", reason="needs the extra `ray`")


class Rayless:
    """Stands where Ray does: workers are objects of this process, and a piece may end its worker.

    Args:
        fate: Returns what Ray raises instead of a result, given the piece; None for the result.
    """

    def __init__(self, fate: Callable[[Any], Exception | None]) -> None:
        self._fate = fate
        self.started = 0

    def remote(self, kind: type[Worker]) -> Any:
        def start(*given: Any) -> Any:
            self.started += 1
            worker = kind(*given)
            return SimpleNamespace(
                hello=SimpleNamespace(remote=lambda: Ref(worker.hello)),
                do=SimpleNamespace(remote=lambda piece: Ref(lambda: worker.do(piece), piece)),
            )

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def wait(self, refs: list[Ref], **_: object) -> tuple[list[Ref], list[Ref]]:
        return refs[:1], refs[1:]

    def get(self, ref: Ref) -> Any:
        error = None if ref.piece is None else self._fate(ref.piece)
        if error is not None:
            raise error
        return ref.make()

    def kill(self, handle: object) -> None:
        """End nothing: it is an object."""


class Ref:
    def __init__(self, make: Callable[[], Any], piece: Any = None) -> None:
        self.make, self.piece = make, piece


def doubling() -> Callable[[int], int]:
    return lambda number: 2 * number


@pytest.mark.slow  # Ray is imported
def test_a_piece_whose_result_is_lost_with_its_node_is_done_again() -> None:
    from ray.exceptions import ObjectLostError, OutOfMemoryError, WorkerCrashedError

    faults = [ObjectLostError("0" * 56, None, ""), OutOfMemoryError("full"), WorkerCrashedError()]
    ray = Rayless(lambda piece: faults.pop() if piece == 3 and faults else None)
    session: Any = SimpleNamespace(require_head=lambda: None, ray=ray)
    assert list(Crew(session, 2, doubling).in_order(range(1, 6))) == [2, 4, 6, 8, 10]
    assert ray.started == 2 + 3


@pytest.mark.slow  # Ray is imported
def test_a_piece_that_ends_every_worker_ends_the_run() -> None:
    from ray.exceptions import ActorDiedError

    session: Any = SimpleNamespace(
        require_head=lambda: None, ray=Rayless(lambda piece: ActorDiedError() if piece == 3 else None)
    )
    with pytest.raises(JisiError, match="died over the same piece of work"):
        list(Crew(session, 2, doubling).in_order(range(1, 6)))


@pytest.mark.slow  # Ray is imported
def test_work_after_an_error_gets_nothing_that_was_left_of_the_work_before() -> None:
    def doubling_some() -> Callable[[int], int]:
        def double(number: int) -> int:
            if number < 0:
                raise InputError(f"{number} is below 0")
            return 2 * number

        return double

    session: Any = SimpleNamespace(require_head=lambda: None, ray=Rayless(lambda piece: None))
    crew: Crew[int, int] = Crew(session, 2, doubling_some)
    with pytest.raises(InputError, match="-1 is below 0"):
        list(crew.in_order([1, 2, -1, 3, 4, 5, 6]))
    assert list(crew.in_order([7, 8, 9])) == [14, 16, 18]


def test_pieces_end_when_the_head_of_the_cluster_is_gone() -> None:
    def gone() -> None:
        raise JisiError("the head is gone")

    session: Any = SimpleNamespace(require_head=gone, ray=Rayless(lambda piece: None))
    with pytest.raises(JisiError, match="the head is gone"):
        list(Crew(session, 2, doubling).in_order(range(1, 6)))
