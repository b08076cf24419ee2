"""What `jisi bank build --call --dry-run` shows: the calls, tokens and dollars to expect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from jisi_cli.bank.bank import Bank
from jisi_cli.cli.build_vectors import embedder_of
from jisi_cli.cli.building import BuildRequest, checked_options
from jisi_cli.cli.collecting import CallRequest, chosen_models, known_answers, read_all_questions
from jisi_cli.cli.grading import judges_of
from jisi_cli.cli.output import Column, Output, count, dollars
from jisi_cli.cli.pool import require_models
from jisi_cli.cli.purse import endpoint_entry
from jisi_cli.cli.questions import Problems
from jisi_cli.collect.collect import check_graders, pairs_of
from jisi_cli.collect.forecast import ExpectedAnswer, Forecast, Recall, forecast, forecast_embedding, forecast_judge
from jisi_cli.config import Config
from jisi_cli.embed.litellm_endpoint import TEXTS_PER_REQUEST
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Question
from jisi_cli.grading.grader_set import GraderSet
from jisi_cli.models.cache import AnswerCache
from jisi_cli.models.json_disk import open_cache
from jisi_cli.models.replay import ReplayPool
from jisi_cli.paths import cache_folder

_BASES = {"bank": "mean in the bank", "max_tokens": "max_tokens (worst case)", "model limit": "its limit (worst case)"}
_ROLES = {"expert": "answers", "judge": "grading", "embedding": "embedding"}


def run_forecast(request: BuildRequest, config: Config, out: Output, *, as_json: bool) -> None:
    """Show what a build would ask; nobody is asked and nothing is written.

    Raises:
        InputError: There are no questions to ask, or an option cannot be used.
        BankError: The bank to extend cannot be opened.
    """
    if request.call is None:
        raise InputError("--dry-run tells what --call would ask; give both, or leave it out")
    require_models(config)
    checked_options(request)
    problems = Problems(out, strict=request.strict)
    questions = read_all_questions(request.sources, problems, request.datasets, request.limit)
    problems.summarise()
    # No grader is run; a judge only has to be in the pool.
    pool = ReplayPool({}, [entry.name for entry in config.models])
    check_graders(questions, GraderSet(request.call.grading, pool))
    bank = Bank(request.bank) if request.append else None
    found, answers = _forecast_answers(request, request.call, config, questions, bank, recall := _recall(request, out))
    grading = request.call.grading
    judges = [entry for entry in config.models if entry.name in judges_of(grading, config)]
    found += [forecast_judge(entry, answers, grading, recall) for entry in judges]
    found += _forecast_embedding(request, config, questions, bank, answers)
    if as_json:
        out.json(_to_json(found, len(questions)))
    else:
        _show(found, len(questions), request.pool.max_cost, out)


def _forecast_answers(
    request: BuildRequest,
    call: CallRequest,
    config: Config,
    questions: Sequence[Question],
    bank: Bank | None,
    recall: Recall,
) -> tuple[list[Forecast], list[ExpectedAnswer]]:
    """Work out what asking each model would take, and what answers would come."""
    known = known_answers(bank, retry_failed=call.retry_failed) if bank is not None else set()
    models = chosen_models(call, config)
    pairs = pairs_of(questions, models, known)
    keys = {question.key for question in questions}
    in_bank = Counter(model for *key, model in known if tuple(key) in keys)
    found: list[Forecast] = []
    answers: list[ExpectedAnswer] = []
    for entry in config.models:
        if entry.name in models:
            mean = _mean_length(bank, entry.name)
            asked, expected = forecast(entry, pairs, in_bank=in_bank[entry.name], recall=recall, mean_length=mean)
            found.append(asked)
            answers += expected
    return found, answers


def _forecast_embedding(
    request: BuildRequest,
    config: Config,
    questions: Sequence[Question],
    bank: Bank | None,
    answers: Sequence[ExpectedAnswer],
) -> list[Forecast]:
    """Work out what an endpoint that embeds would be asked; nothing for an embedder that works on this machine."""
    spec = embedder_of(request, config, None if bank is None else bank.manifest.embedder)
    entry = endpoint_entry(spec, config)
    if entry is None or request.vectors is not None:
        return []
    embedded = {question.key for question in bank.questions} if bank is not None else set()
    new = [question.query for question in questions if question.key not in embedded]
    return [forecast_embedding(entry, new, answers, per_request=request.batch_size or TEXTS_PER_REQUEST)]


def _recall(request: BuildRequest, out: Output) -> Recall:
    """Return what finds a response in the cache; a cache that is not there is not made."""
    folder = cache_folder() / "answers"
    if not folder.is_dir():
        return lambda key: None
    answers = AnswerCache(open_cache(folder, warn=out.warn), read=request.pool.use_cache, write=False)

    def recall(key: str) -> str | None:
        stored = answers.get(key)
        return None if stored is None else stored.text

    return recall


def _mean_length(bank: Bank | None, model: str) -> float | None:
    """Return the mean tokens of a model's answers in a bank."""
    if bank is None or model not in bank.models:
        return None
    tokens = bank.answers(model).completion_tokens
    known = tokens[~np.isnan(tokens)]
    return math.fsum(known.tolist()) / len(known) if len(known) else None


def _to_json(found: Sequence[Forecast], questions: int) -> dict[str, Any]:
    return {"questions": questions, "models": [asdict(model) for model in found], "total": _total(found)}


def _total(found: Sequence[Forecast]) -> dict[str, Any]:
    prompts = [model.prompt_tokens for model in found if model.prompt_tokens is not None]
    lengths = [model.completion_tokens for model in found if model.completion_tokens is not None]
    costs = [model.cost_usd for model in found if model.cost_usd is not None]
    return {
        "calls": sum(model.calls for model in found),
        "in_bank": sum(model.in_bank for model in found),
        "in_cache": sum(model.in_cache for model in found),
        "prompt_tokens": sum(prompts) if len(prompts) == len(found) else None,
        "completion_tokens": sum(lengths) if len(lengths) == len(found) else None,
        "cost_usd": math.fsum(costs) if len(costs) == len(found) else None,
    }


def _show(found: Sequence[Forecast], questions: int, max_cost: float | None, out: Output) -> None:
    titles = ("calls", "in bank", "in cache", "prompt", "completion", "cost")
    columns = [Column("model"), Column("for"), *(Column(title, right=True) for title in titles)]
    columns.append(Column("length of an answer"))
    rows = [[model.model, _ROLES[model.role], *_cells(asdict(model)), _basis(model)] for model in found]
    total = _total(found)
    if len(found) > 1:
        rows.append(["total", "", *_cells(total), ""])
    out.table(columns, rows)
    out.note(f"{count(questions, 'question')}, nobody was asked; prompt, completion: tokens expected, without retries")
    if max_cost is not None and total["cost_usd"] is not None and total["cost_usd"] > max_cost:
        out.note(f"--max-cost {max_cost:g} would stop it before the end")


def _basis(model: Forecast) -> str:
    return "" if model.role == "embedding" else _BASES.get(model.length_basis or "", "unknown")


def _cells(row: dict[str, Any]) -> list[str]:
    counts = [f"{row[name]:,}" for name in ("calls", "in_bank", "in_cache")]
    tokens = [
        "unknown" if row[name] is None else f"{row[name]:,.0f}" for name in ("prompt_tokens", "completion_tokens")
    ]
    return [*counts, *tokens, dollars(row["cost_usd"])]
