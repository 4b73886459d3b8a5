"""What can be read off a call before it is made: agreement of samples with each argument, and the tokens' own doubts.

A sample speaks of the call that would run: it agrees with it or it does not. What is not known is missing, never zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.agents.tool_settings import Tool
from gate.agents.verdict import ArgumentReading
from gate.answer_shapes import shape_of
from gate.signals.field_readings import field_readings
from gate.signals.json_fields import parse_json
from gate.signals.tool_call import argument_agreement, calls_at
from gate.types import Generation, Reading, SignalVector, ToolCall

BOUNDS: Mapping[str, tuple[float, float]] = {
    "call_agreement": (0.0, 1.0),
    "call_repeated": (0.0, 1.0),
    "argument_agreement": (0.0, 1.0),
    "argument_agreement_min": (0.0, 1.0),
    "argument_logprob": (-math.inf, 0.0),
    "argument_logprob_min": (-math.inf, 0.0),
    "reply_logprob": (-math.inf, 0.0),
    "reply_logprob_sum": (-math.inf, 0.0),
}
"""The signals of a call, in order, and their ranges.

``call_agreement``: samples that call the tool as often; ``call_repeated``: those that also pass all its critical
arguments alike. ``argument_agreement``: mean over the arguments, and ``_min`` the least agreed critical one. All four
are posterior means, (k + 1) / (m + 2) for k of m samples: few samples that all agree are not taken for many.
``argument_logprob``: mean over the arguments, of the whole value of each; ``_min``: the least likely critical one;
``reply_logprob``: mean token of the whole reply; ``_sum``: all of them.
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A reply with what came beside it."""

    generation: Generation
    others: tuple[Generation, ...] = ()
    model: str = ""


def read_calls(reply: Any) -> Said:
    """A call, several, or a reply of any shape in `gate.answer_shapes`. Raises `TypeError` for anything else."""
    if isinstance(reply, Generation):
        return Said(reply)
    if isinstance(reply, ToolCall):
        return Said(Generation("", "tool_calls", tool_calls=(reply,)))
    if isinstance(reply, list | tuple) and all(isinstance(each, ToolCall) for each in reply):
        return Said(Generation("", "tool_calls", tool_calls=tuple(reply)))
    read = shape_of(reply).read(reply)
    return Said(read.generation, read.others, read.model)


@dataclass(frozen=True, slots=True)
class Proposed:
    """One call of a reply, as it would run, and what samples and tokens say of it."""

    call: ToolCall
    agreement: Mapping[str, float] | None
    """For each field of the arguments, as a JSON pointer within them; None without samples."""
    named: int
    """Samples that call the tool at least as often."""
    apart: tuple[frozenset[str], ...]
    """Of each of these the arguments in which it differs."""
    samples: int
    logprobs: Mapping[str, float]
    """For each field of the arguments the summed log-probability of its tokens, where that is known."""
    reply_logprobs: tuple[float, ...]
    """Of all tokens of the reply."""

    def arguments(self, tool: Tool, passed: Mapping[str, Any]) -> tuple[ArgumentReading, ...]:
        """In the order they are passed; those that most samples pass and the call does not come last."""
        least: dict[str, float] = {}
        for pointer, share in (self.agreement or {}).items():
            name = _argument(pointer)
            if name is not None:
                least[name] = min(share, least.get(name, 1.0))
        spent: dict[str, float] = {}
        for pointer, logprob in self.logprobs.items():
            name = _argument(pointer)
            if name is not None:
                spent[name] = spent.get(name, 0.0) + logprob
        names = dict.fromkeys([*passed, *least])
        return tuple(ArgumentReading(n, tool.is_critical(n), least.get(n), spent.get(n)) for n in names)

    def signals(self, arguments: Sequence[ArgumentReading]) -> SignalVector:
        critical = [each for each in arguments if each.critical]
        repeated = sum({each.name for each in critical}.isdisjoint(names) for names in self.apart)
        values: dict[str, float | None] = {
            "call_agreement": _posterior(self.named, self.samples),
            "call_repeated": _posterior(repeated, self.samples),
            "argument_agreement": _mean([self._shrunk(each) for each in arguments]),
            "argument_agreement_min": _least([self._shrunk(each) for each in critical]),
            "argument_logprob": _mean([each.logprob for each in arguments]),
            "argument_logprob_min": _least([each.logprob for each in critical]),
            "reply_logprob": _mean(self.reply_logprobs),
            "reply_logprob_sum": math.fsum(self.reply_logprobs) if self.reply_logprobs else None,
        }
        return SignalVector(tuple(Reading(name, *self._or_why(name, values[name])) for name in BOUNDS))

    def _shrunk(self, argument: ArgumentReading) -> float | None:
        return None if argument.agreement is None else _posterior(argument.agreement * self.samples, self.samples)

    def _or_why(self, name: str, value: float | None) -> tuple[float | None, str | None]:
        if value is not None:
            return value, None
        if "logprob" in name:
            return None, "no log-probabilities of the tokens"
        return None, "the call has no such argument" if self.samples else "no samples were drawn"


def _argument(pointer: str) -> str | None:
    """The argument a field is part of: ``/at/lat`` is of ``at``."""
    return pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if pointer else None


def _posterior(agreeing: float, samples: int) -> float | None:
    return (round(agreeing) + 1) / (samples + 2) if samples else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _least(values: Sequence[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def proposed(draft: Generation, samples: Sequence[Generation]) -> tuple[Proposed, ...]:
    """Every call of a draft, in order, beside the samples: the n-th call of a tool with the n-th of the same tool."""
    alone = [argument_agreement(draft, [sample]) for sample in samples if draft.tool_calls]
    counted = [Counter(call.name for call in sample.tool_calls) for sample in samples]
    written = {f.pointer: f.logprob_sum for f in field_readings(draft)} if draft.tokens and draft.tool_calls else {}
    known = {pointer: logprob for pointer, logprob in written.items() if logprob is not None}
    whole = tuple(token.logprob for token in draft.tokens or () if math.isfinite(token.logprob))
    called: Counter[str] = Counter()
    found = []
    for at, call in calls_at(draft):
        called[call.name] += 1
        own = _shares([_within(each, at) for each in alone])
        also = [each for each, names in zip(alone, counted, strict=True) if names[call.name] >= called[call.name]]
        apart = tuple(
            frozenset(
                name for key, same in _within(each, at).items() if same < 1 and (name := _argument(key)) is not None
            )
            for each in also
        )
        shares = own if samples else None
        found.append(Proposed(call, shares, len(also), apart, len(samples), _within(known, at), whole))
    return tuple(found)


def _shares(alone: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """For each field the share of samples that agree, from what each sample has alone (`argument_agreement` of all).

    A field of the call stands in every sample's; another only where that sample has it, and counts where most do.
    """
    told = Counter(pointer for each in alone for pointer in each)
    agreeing = Counter(pointer for each in alone for pointer, same in each.items() if same)
    n = len(alone)
    return {p: agreeing[p] / n if times == n else 1 - times / n for p, times in told.items() if 2 * times > n}


def _within(agreement: Mapping[str, float], at: str) -> dict[str, float]:
    return {key[len(at) :]: share for key, share in agreement.items() if key == at or key.startswith(f"{at}/")}


def passed(call: ToolCall) -> Mapping[str, Any] | None:
    """The arguments by name; None where they are no JSON object."""
    try:
        value = parse_json(call.arguments or "{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
