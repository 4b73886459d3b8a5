"""The ``gate`` object of a reply and what an answer used: the same behind every door.

`Decided` is one answer: its outcome and its trace. Where several were asked for, each has its verdict in
``gate.choices``, in order. Of a stream that began before the verdict, whose headers could not tell it, the object is
always there: with the ``action``, the ``reason``, the ``confidence`` (``p``, or null), the ``id`` of the decision, and
what is to be thought of the ``certificate``, as the headers have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gate.log.explain import beside, explanation, sources
from gate.proxy.wire_errors import ABSTENTION, WireError
from gate.traces import TapeEntry, TraceRecord
from gate.types import Action, Cost, Outcome

Decided = tuple[Outcome, TraceRecord]


def told(decided: Sequence[Decided], *, explain: bool, certificate: str | None = None) -> dict[str, Any] | None:
    """The whole decision where it was asked for, and why, wherever nothing was answered; None where all is well and the
    headers say so. ``certificate``: what stands in them otherwise, where they left before the verdict."""
    if not explain and certificate is None and all(outcome.answered for outcome, _ in decided):
        return None
    each = [_explained(*one) if explain else _brief(*one, whole=certificate is not None) for one in decided]
    made = each[0] if len(each) == 1 else {"choices": [{"index": place, **one} for place, one in enumerate(each)]}
    return made if certificate is None else {**made, "certificate": certificate}


def _explained(outcome: Outcome, record: TraceRecord) -> dict[str, Any]:
    return {**explanation(record), "passages": sources(outcome), "usage": spent_on(outcome, record)}


def _brief(outcome: Outcome, record: TraceRecord, *, whole: bool) -> dict[str, Any]:
    made = {"action": outcome.action.value, "reason": outcome.decision.reason, **beside(outcome)}
    if whole:
        confidence = outcome.confidence
        made |= {"confidence": None if confidence is None else {"p": confidence.p}, "id": record.id}
    return made


def abstained(decided: Sequence[Decided]) -> bool:
    """Whether no answer came through: what is given unsure is none, and a question asked back is no refusal."""
    return all(outcome.action is Action.ABSTAIN for outcome, _ in decided)


def abstention_error(decided: Sequence[Decided], *, explain: bool = False, certificate: str | None = None) -> WireError:
    """HTTP 422 for programs that prefer errors: the refusal and its reason, and the ``gate`` object. ``certificate`` as
    `told` has it."""
    outcome = decided[0][0]
    gate = told(decided, explain=explain, certificate=certificate)
    return WireError(422, outcome.text, ABSTENTION, outcome.decision.reason, gate=gate)


def total(decided: Iterable[Decided]) -> Cost:
    """Every token any upstream read or wrote for these answers, not only those of the text returned."""
    listed = [outcome.cost for outcome, _ in decided]
    return listed[0] if len(listed) == 1 else Cost.together(listed)


def spent_on(outcome: Outcome, record: TraceRecord) -> dict[str, Any]:
    """How many tokens are the answer's own and how many were spent to judge it, and on what, as the tape has it."""
    own = _own(outcome, record.tape)
    rest = Cost.together(entry.cost for entry in record.tape if entry is not own)
    kinds: dict[tuple[str, str], list[Cost]] = {}
    for entry in record.tape:
        kinds.setdefault((entry.kind, entry.to), []).append(entry.cost)
    return {
        "answer": None if own is None else _counted(own.cost),
        "evidence": _counted(rest),
        "by_kind": [
            {"kind": kind, "to": to, "requests": len(costs), **_counted(Cost.together(costs))}
            for (kind, to), costs in kinds.items()
        ],
    }


def _counted(cost: Cost) -> dict[str, Any]:
    return {
        "calls": cost.calls,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "money": cost.money,
    }


def _own(outcome: Outcome, tape: Sequence[TapeEntry]) -> TapeEntry | None:
    """The request that brought the answer: the last that alone gave these words, else the last that gave them."""
    said = outcome.generation
    if said is None:
        return None
    bringing = [
        entry
        for entry in tape
        if entry.to == outcome.upstream
        for choice in (entry.generations.choices if entry.generations else ())
        if (choice.text, choice.tokens, choice.tool_calls) == (said.text, said.tokens, said.tool_calls)
    ]
    alone = [entry for entry in bringing if entry.n == 1]
    return next(reversed(alone or bringing), None)


_NO_PROMPT_DETAILS: Mapping[str, int] = {"cached_tokens": 0, "audio_tokens": 0}
_NO_COMPLETION_DETAILS: Mapping[str, int] = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}
"""Upstreams' own details are not kept, so none is known."""


def usage(decided: Sequence[Decided]) -> dict[str, Any]:
    """OpenAI's ``usage``, in tokens, of all upstreams and all answers."""
    cost = total(decided)
    return {
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "total_tokens": cost.prompt_tokens + cost.completion_tokens,
        "prompt_tokens_details": _NO_PROMPT_DETAILS,
        "completion_tokens_details": _NO_COMPLETION_DETAILS,
    }
