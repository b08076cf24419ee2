"""What each model answered to one question, and which answers agree: what a user of a pool of models pays for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jisi_cli.types import Answer, Role

if TYPE_CHECKING:
    from jisi_cli.methods.decision import Decision
    from jisi_cli.methods.protocol import Outcome

_ANSWERING: tuple[Role, ...] = ("probe", "expert")
"""Roles in which a model answers the question itself."""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What one model answered.

    Attributes:
        call: The call, with the response, or why there is none.
        score: What the last stage promised of the model: the weighted share of similar questions that it solved, in
            [0, 1]; None for methods that promise nothing.
        final_answer: The final answer read from the response, normalised; None where none can be read, as in open text.
        agrees: Whether that is the answer that was given in the end; None where the two cannot be compared.
    """

    call: Answer
    score: float | None
    final_answer: str | None
    agrees: bool | None

    def facts(self) -> list[str]:
        """Say whether it is the answer that was given, and what was promised of the model."""
        if not self.call.ok:
            said = "did not answer"
        else:
            said = {True: "agrees", False: "says otherwise", None: "cannot be compared"}[self.agrees]
        cut_off = ["cut off"] if self.call.cut_off is not None else []
        return [said, *cut_off, *([] if self.score is None else [promise_words(self.score)])]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "model": self.call.model,
            "role": self.call.role,
            "text": self.call.text if self.call.ok else None,
            "score": self.score,
            "final_answer": self.final_answer,
            "agrees": self.agrees,
            "cut_off": self.call.cut_off,
            "error": self.call.error,
        }


def answers_of(outcome: Outcome) -> tuple[GivenAnswer, ...]:
    """Return what each model answered, compared with the final answer; the model ranked best comes first."""
    final = _final(outcome.answer, is_json=outcome.is_json)
    return _compared(outcome.decision, _read(outcome.calls, is_json=outcome.is_json), final, outcome.answer.text)


def probed_answers(decision: Decision) -> tuple[GivenAnswer, ...]:
    """Return what each candidate answered, where a decision was completed without a final answer.

    They are compared with the most probable answer, where the method knows one; else with that of the only aggregatee;
    else, as an aggregator will write the answer, with the one that most models gave (of equals the better model's).
    """
    read = _read(decision.calls)
    return _compared(decision, read, _expected(decision, read))


def agreement_words(answers: Sequence[GivenAnswer]) -> str | None:
    """Say how many models gave the final answer; None where fewer than two can be compared, or it cannot itself."""
    answered = [answer for answer in answers if answer.call.ok]
    comparable = sum(answer.agrees is not None for answer in answered)
    return None if comparable < 2 else agree_words(sum(answer.agrees is True for answer in answered), len(answered))


def agree_words(agree: int, answered: int) -> str:
    """Say that some of several models gave an answer."""
    return f"{agree or 'none'} of {answered} {'agree' if agree > 1 else 'says so'}"


def in_plain_words(confidence: float | None, answers: Sequence[GivenAnswer]) -> str | None:
    """Say how sure an answer is and how many models gave it, as in `87 % sure: 3 of 3 agree`.

    Only a method that knows how sure it is says so, and answers agree only where they can be compared.

    Args:
        confidence: Probability that the answer is right; None where the method does not know.
        answers: What each model answered.

    Returns:
        The words; None where neither is known.
    """
    from jisi_cli.methods.decision import percent

    agreement = agreement_words(answers)
    if confidence is None:
        return agreement
    alone = "one model asked" if sum(answer.call.ok for answer in answers) == 1 else None
    return ": ".join(filter(None, (f"{percent(confidence)} sure", agreement or alone)))


def promise_words(score: float) -> str:
    """Say what was promised of a model: the weighted share of similar questions that it solved."""
    return f"promised {100 * score:.0f} %"


def promise_of(outcome: Outcome) -> float | None:
    """Return what was promised of a response that is the answer as it stands; None of one that was put together."""
    given, decision = outcome.answer, outcome.decision
    if decision is None or given.role not in _ANSWERING:
        return None
    return _promises(decision).get(given.model)


_Read = list[tuple[Answer, str | None]]
"""Calls with their final answers."""


def _read(calls: Sequence[Answer], *, is_json: bool = False) -> _Read:
    return [(call, _final(call, is_json=is_json)) for call in calls if call.role in _ANSWERING]


def _final(call: Answer, *, is_json: bool = False) -> str | None:
    from jisi_cli.methods.final_answers import final_answer

    return final_answer(call.text, None, is_json=is_json) if call.ok else None


def _compared(
    decision: Decision | None, read: _Read, reference: str | None, text: str | None = None
) -> tuple[GivenAnswer, ...]:
    promises = {} if decision is None else _promises(decision)
    places = {} if decision is None else {name: place for place, name in enumerate(decision.ranking)}
    from jisi_cli.grading.bare_reply import words_of

    words = None if text is None or reference is not None else words_of(text)

    def agrees(call: Answer, final: str | None) -> bool | None:
        if final is not None and reference is not None:
            return final == reference
        # Open text that says the same agrees; what says it otherwise cannot be told apart.
        return True if final is None and call.ok and words and words_of(call.text) == words else None

    given = [GivenAnswer(call, promises.get(call.model), final, agrees(call, final)) for call, final in read]
    return tuple(sorted(given, key=lambda answer: places.get(answer.call.model, len(places))))


def _expected(decision: Decision, read: _Read) -> str | None:
    """Return the final answer that the models are going to give, as far as is known without an aggregator."""
    by_model = {call.model: final for call, final in read}
    if decision.belief is not None and decision.belief.groups:
        return by_model.get(decision.belief.groups[0][0])
    if len(decision.aggregatees) == 1:
        return by_model.get(decision.aggregatees[0])
    ranked = [final for name in decision.ranking if (final := by_model.get(name)) is not None]
    # Of equally frequent ones max keeps the first, which the better model gave.
    return max(ranked, key=ranked.count, default=None)


def _promises(decision: Decision) -> dict[str, float]:
    if not len(decision.coarse.rows):
        return {}  # without a bank nothing is promised
    first, second = decision.expected_scores()
    return dict(zip(decision.models, first if second is None else second, strict=True))
