"""`jisi ask`: the answer."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jisi_cli.cli.exchange import begin_talk, exit_code_of, remember, show_answers, show_footer, warn_of_failures
from jisi_cli.cli.live import view_for
from jisi_cli.cli.opening import Opening, opens_pool
from jisi_cli.cli.options import ContinueOption, ConversationOption, JsonOption, MapOption, SchemaOption, SystemOption
from jisi_cli.cli.output import Output, count, one_line
from jisi_cli.conversation import BEHIND, Conversation, as_conversation
from jisi_cli.errors import InputError
from jisi_cli.types import Answer

if TYPE_CHECKING:
    from jisi_cli.jisi import Jisi
    from jisi_cli.methods.protocol import Outcome

_NEIGHBOURS = 5
_SHOWN_WORDS = 200
"""Characters of the words that a question is routed by."""


@opens_pool("method", "mode", "unlike", "no_cache", "label", "temperature", "max_tokens", "concurrency")
def ask(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUERY]", help="The question; piped input is put after it, and `-` is piped input alone."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="Ask every question of a file (JSONL, CSV, Parquet; `-` is stdin)."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a line per question of --input; resumes.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line of --input that cannot be used.")
    ] = False,
    map_: MapOption = None,
    goes_on: ContinueOption = False,
    conversation: ConversationOption = None,
    system: SystemOption = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", "-a", metavar="FILE", help="A picture for the question; repeat for more."),
    ] = None,
    schema: SchemaOption = None,
    aggregate: Annotated[
        str | None,
        typer.Option("--aggregate", metavar="HOW", help="auto or never (--mode route)."),
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Also show what each model answered, side by side on stderr.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show on stderr how the decision came about.")] = False,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Write the answer as it arrives [on a terminal].")
    ] = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON document per line, as --input without --out does.")
    ] = False,
    *,
    opening: Opening,
) -> None:
    """Answer a question with the pool. stdout is the answer alone; a footer on stderr says how it came about.

    A question that resembles nothing in the bank (its largest similarity is below what 95 % of the bank's questions
    have to their nearest one) is ranked by the whole bank, and a note says so; --unlike ignore treats it like any
    other.

    The footer begins with how many models gave the answer, where final answers can be compared, and how sure it is,
    where the method knows (jisi-cascade); "promised" is the share of similar questions that the model solved.

    A pipe on standard input is added to the question, and so is a file (`< notes.txt`) unless something else has begun
    to read it. `-` is standard input alone. In a loop over questions (`while read -r q`) write `< /dev/null` after the
    question, or ask them all with --input.

    -c continues the last conversation: its questions and answers so far are sent along. A new --system replaces the
    one before. Conversations are kept in your data folder until `jisi cost --erase`, and not with --no-store; `jisi
    chat` is for more than one question.

    -a adds a picture (PNG, JPEG, GIF, WebP) to the question. Only models that can see are asked: those with
    `vision = true` in the pool file, or that LiteLLM knows to see. The question's words decide among them, or, without
    words, the whole bank.

    --schema asks every model for JSON that fits a schema, and checks it: an answer that does not fit counts as none, so
    that another model's is given instead. The schema is a single file; what it refers to elsewhere is not fetched.

    Without a bank, the first --k models of the pool file are asked: if they agree, that is the answer; if not, the
    first of them combines the answers.

    --input asks many questions, several at once, and prints one JSON document per line in their order, or adds each to
    --out as it comes: run again, it resumes, and asks again what failed. Lines that cannot be used are reported and
    counted. --max-cost is for all of them together. The exit code is 0 if all were answered, 1 if some were not, 4 if
    none was, and 5 if the budget ended it.

    Example: git diff | jisi ask "Review this change." --config sample_data/jisi.toml
    """
    from jisi_cli.cli.ask_file import ask_file, refuse_with_input, refuse_without_input
    from jisi_cli.cli.question import checked_text, read_question, read_schema, with_pictures

    if aggregate not in (None, "auto", "never"):
        raise InputError(f"--aggregate takes auto or never, not {aggregate!r}; --mode aggregate always aggregates")
    out = opening.out
    system = None if system is None else checked_text(system, "--system")
    if source is None:
        refuse_without_input(out=file, strict=strict, map=map_, jsonl=as_jsonl)
        text = read_question(query, out, may_be_empty=bool(attach))
        content = with_pictures(text, attach) if attach else text
    else:
        about_one: dict[str, object] = {"answers": answers, "explain": explain, "stream": stream}
        about_one |= {"continue": goes_on, "conversation": conversation, "attach": attach}
        refuse_with_input(query=query, json=as_json and as_jsonl, **about_one)
    form = None if schema is None else read_schema(schema)
    talk = begin_talk(conversation, goes_on=goes_on, store=opening.store)
    never = {"mode": "route"} if aggregate == "never" else {}
    with opening.open("ask", calls="required", **never) as jisi:
        if source is not None:
            how = {"strict": strict, "as_json": as_json, "as_jsonl": as_jsonl}
            ended = ask_file(jisi, source, file, out, system=system, schema=form, columns=map_ or (), **how)
            raise typer.Exit(int(ended))
        started = time.perf_counter()
        jisi.make_method()  # a method that trains shows its progress, which the view of the answer would hide
        with view_for(out, stream=stream, as_json=as_json) as view:
            asked = talk.messages(content, system)
            outcome = jisi.ask(asked, schema=form, watcher=view)
            view.finish(outcome.answer.text)
        seconds = time.perf_counter() - started
        name = remember(talk, asked, outcome, jisi, out, system)
        if as_json:
            kept = {"id": name, "conversation": talk.name if opening.store else None}
            kept["routed_by"] = as_conversation(asked).routed_text
            out.json({**_to_json(jisi, text, outcome, seconds, explain=explain), **kept})
        warn_of_failures(outcome, out)
        if answers and not as_json:
            show_answers(out, outcome.answers, stderr=True)
        if explain and not as_json:
            _explain(jisi, as_conversation(asked), outcome)
        show_footer(outcome, seconds, out)
        raise typer.Exit(int(exit_code_of(jisi, outcome, out)))


def _explain(jisi: Jisi, asked: Conversation, outcome: Outcome) -> None:
    from jisi_cli.answering import described
    from jisi_cli.cli.route import belief_words, show_neighbours

    out = Output(quiet=False)
    if asked.is_put_behind:
        out.note(f"{BEHIND}: {one_line(asked.routed_text, _SHOWN_WORDS)}")
    decision = outcome.decision
    if decision is None:
        out.note(f"{outcome.mode}: {outcome.reason}")
        out.note(_steps(outcome))
        return
    data = decision.to_json(_NEIGHBOURS, partial(described, jisi.configured))
    if data["support_size"] and decision.strangeness is None:
        out.note(f"support set: {count(data['support_size'], 'question')} with similarity from {data['threshold']:.3f}")
    out.note(f"candidates: {', '.join(decision.candidates)}; answered: {', '.join(decision.answered) or 'none'}")
    if decision.belief is not None:
        out.note(belief_words(decision.belief))
    if decision.fine is not None:
        ratios = ", ".join(f"{row['model']} {row['ratio']:.3f}" for row in data["aggregatees"])
        out.note(f"kept by the mixed filter: {data['filtered_size']}; aggregatees (share of the best): {ratios}")
    out.note(f"{outcome.mode}: {outcome.reason}")
    out.note(_steps(outcome))
    if data["neighbours"]:
        show_neighbours(out, data["neighbours"], stderr=True)


def _steps(outcome: Outcome) -> str:
    return "steps: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in outcome.seconds.items())


def _to_json(jisi: Jisi, text: str, outcome: Outcome, seconds: float, *, explain: bool) -> dict[str, Any]:
    from jisi_cli.answering import described

    answer, decision = outcome.answer, outcome.decision
    neighbours, describe = (_NEIGHBOURS, partial(described, jisi.configured)) if explain else (0, None)
    return {
        "query": text,
        "method": jisi.method,
        "answer": answer.text,
        "answers": [given.to_json() for given in outcome.answers],
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "cut_off": answer.cut_off,
        "mode": outcome.mode,
        "reason": outcome.reason,
        "confidence": outcome.confidence,
        "cost_usd": outcome.cost_usd,
        "seconds": seconds,
        "steps": outcome.seconds,
        "stopped_by_budget": outcome.stopped_by_budget,
        "missing": list(outcome.missing),
        "calls": [_call_to_json(call) for call in outcome.calls],
        "decision": decision.to_json(neighbours, describe) if decision else None,
        "settings": jisi.settings,
    }


def _call_to_json(answer: Answer) -> dict[str, Any]:
    return {
        "role": answer.role,
        "model": answer.model,
        "response": answer.text if answer.ok else None,
        "error": answer.error,
        "finish_reason": answer.finish_reason,
        "cut_off": answer.cut_off,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "cached_prompt_tokens": answer.cached_prompt_tokens,
        "tokens_source": answer.tokens_source,
        "cost_usd": answer.cost_usd,
        "list_cost_usd": answer.list_cost_usd,
        "price_source": answer.price_source,
        "seconds": answer.seconds,
        "cached": answer.cached,
    }
