"""Grading on a cluster: each worker has graders of its own; a judge, which costs money, is asked by the driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

from jisi_cli.cluster.crew import Crew
from jisi_cli.cluster.session import Session
from jisi_cli.collect.regrade import Graded, Submitted, graded
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.grading.registry import GradingOptions


class ClusterGrading:
    """Grades blocks of responses on a cluster; see `GradeElsewhere`. A context manager, which ends the workers.

    Args:
        session: The cluster.
        options: Which graders grade what, and what they may do.
    """

    def __init__(self, session: Session, options: GradingOptions) -> None:
        self._crew: Crew[Sequence[Submitted], Graded] = Crew(session, session.cpus, _grader, options)

    def grade(self, blocks: Iterable[Sequence[Submitted]]) -> Iterator[Graded]:
        """Yield what became of each block, in their order."""
        return self._crew.in_order(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.close()


def _grader(options: GradingOptions) -> Callable[[Sequence[Submitted]], Graded]:
    """Return what grades blocks in a worker."""

    async def grade_all(responses: Sequence[Submitted]) -> Graded:
        with GraderSet(options) as graders:
            scores = await graded(responses, graders)
            return Graded(scores, graders.unscored, graders.warnings)

    def grade(responses: Sequence[Submitted]) -> Graded:
        return asyncio.run(grade_all(responses))

    return grade
