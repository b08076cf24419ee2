"""What the command line of `jisi eval` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jisi_cli.cli.embedder_choice import EmbedderChoice
from jisi_cli.cli.pool import PoolOptions
from jisi_cli.cli.test_sources import SourceRequest
from jisi_cli.grading.options import GradingOptions


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """The command line of `jisi eval`."""

    test: str | None
    bank: Path | None
    config: Path | None
    methods: tuple[str, ...]
    versus: tuple[str, ...]
    live: bool
    out_file: Path | None
    format: str | None
    models: list[str] | None
    datasets: list[str] | None
    limit: int | None
    prices: Path | None
    sweep: tuple[str, ...]
    grow: Path | None
    grow_from: int
    ablate: bool
    curve: bool
    seed: int
    fail_under: str | None
    strict: bool
    pool: PoolOptions
    routing: Mapping[str, Any]
    grading: GradingOptions
    as_json: bool
    report: Path | None = None
    embedder: EmbedderChoice = field(default_factory=EmbedderChoice)
    failed: str | None = None

    @property
    def is_comparison(self) -> bool:
        """Whether methods are compared as they are, rather than in an experiment of their settings."""
        return not (self.sweep or self.grow or self.ablate or self.curve)

    @property
    def source(self) -> SourceRequest:
        """Where the questions come from."""
        return SourceRequest(
            test=self.test,
            format=self.format,
            datasets=self.datasets,
            limit=self.limit,
            live=self.live,
            strict=self.strict,
        )
