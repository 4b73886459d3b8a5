"""What is known of each field of a structured answer: who agrees with it, and how likely its tokens were.

A field is a scalar or an empty container of a JSON answer, or an argument of a tool call, and goes by its JSON pointer
(RFC 6901). Of each there are three signals, higher = more likely right, or the reason why one is missing:

``field_posterior``
    (k + 1) / (n + 2) for the k of n samples that give the field the draft's value: Laplace's rule of succession, by
    which three of three say less than ten of ten.
``field_logprob_sum``, ``field_logprob_min``
    Of the log-probabilities of the tokens that wrote the value, quotes included (what closes a string says that it ends
    there): their sum, and the least of them. Tokens are found by what they spell; where they do not spell the text,
    nothing is guessed.

What is made of them is in `gate.decorator.field_confidence`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gate.signals.json_fields import fields_or_none, json_part, parse_json, shares
from gate.signals.json_places import places
from gate.signals.tool_call import arguments_of, calls_at
from gate.types import Generation, Reading, SignalVector, Stage, TokenLogprob

FIELD_SIGNALS = ("field_posterior", "field_logprob_sum", "field_logprob_min")
FIELD_BOUNDS: Mapping[str, tuple[float, float]] = {
    "field_posterior": (0.0, 1.0),
    "field_logprob_sum": (-math.inf, 0.0),
    "field_logprob_min": (-math.inf, 0.0),
}
FIELD_STAGE = Stage("fields")
"""Under which a calibrator of fields holds its weights."""
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field of the draft, or one that it lacks although most samples have it."""

    pointer: str
    value: Any
    """As JSON has it; None of one that is lacking."""
    signals: SignalVector
    """`FIELD_SIGNALS`, in that order."""
    agreeing: int = 0
    samples: int = 0
    """How many there are, of which so many agree."""
    present: bool = True
    """False: the draft lacks it. Samples that lack it too agree then."""

    @property
    def agreement(self) -> float | None:
        """The share of the samples that agree; None without samples."""
        return self.agreeing / self.samples if self.samples else None

    @property
    def logprob_sum(self) -> float | None:
        return self.signals.value("field_logprob_sum")

    @property
    def logprob_min(self) -> float | None:
        return self.signals.value("field_logprob_min")

    @property
    def missing(self) -> Mapping[str, str]:
        """Why signals are missing."""
        return {r.signal: r.missing for r in self.signals.readings if r.missing is not None}


def field_readings(draft: Generation, samples: Sequence[Generation] = ()) -> tuple[FieldReading, ...]:
    """The fields of a draft: of its tool calls where it makes any, else of its text.

    Arguments go by the pointers of `gate.signals.tool_call.argument_agreement`. A text that is no JSON object or array
    has no fields, and a sample without fields agrees with none. Raises nothing, whatever the texts are.
    """
    held = _held(draft)
    if not held:
        return ()
    found = shares(held, [_held_alike(draft, sample) for sample in samples]) if samples else dict.fromkeys(held, 0.0)
    written = _written(draft)
    made = []
    for pointer, share in found.items():
        present, agreeing = pointer in held, round(share * len(samples))
        told = written.get(pointer, _NOWHERE) if present else "the draft does not write it"
        readings = (_posterior(agreeing, len(samples)), *_logprobs(told))
        made.append(FieldReading(pointer, held.get(pointer), SignalVector(readings), agreeing, len(samples), present))
    return tuple(made)


def _held(generation: Generation) -> Mapping[str, Any]:
    return arguments_of(generation) if generation.tool_calls else fields_or_none(generation.text)


def _held_alike(draft: Generation, sample: Generation) -> Mapping[str, Any]:
    """The fields of a sample that can be those of the draft: calls are compared with calls, text with text."""
    return _held(sample) if bool(sample.tool_calls) == bool(draft.tool_calls) else {}


def _posterior(agreeing: int, samples: int) -> Reading:
    if not samples:
        return Reading("field_posterior", None, "there are no samples")
    return Reading("field_posterior", (agreeing + 1) / (samples + 2))


def _logprobs(told: Sequence[float] | str) -> tuple[Reading, Reading]:
    """``told``: of the tokens, or why there are none."""
    if isinstance(told, str):
        return Reading("field_logprob_sum", None, told), Reading("field_logprob_min", None, told)
    return Reading("field_logprob_sum", math.fsum(told)), Reading("field_logprob_min", min(told))


# --- which tokens wrote it ---------------------------------------------------------------------------------------

_NOWHERE = "where it stands in the text could not be told"


def _written(draft: Generation) -> dict[str, Sequence[float] | str]:
    """For each field the log-probabilities of its tokens, or why they are not known."""
    tokens = _Tokens(draft.tokens or ())
    none = "" if draft.tokens else "the upstream gave no log-probabilities"
    found: dict[str, Sequence[float] | str] = {}
    for pointer, text, span in _spans(draft):
        found[pointer] = none or tokens.of(text, span)
    return found


def _spans(draft: Generation) -> Iterator[tuple[str, str, _Span]]:
    """Each field with the text it stands in, and where."""
    if not draft.tool_calls:
        part, start = json_part(draft.text)
        for pointer, (a, b) in _places(part, "").items():
            yield pointer, draft.text, (start + a, start + b)
        return
    for at, call in calls_at(draft):
        for pointer, span in (_places(call.arguments, at) or {at: (0, len(call.arguments))}).items():
            yield pointer, call.arguments, span


def _places(text: str, at: str) -> dict[str, _Span]:
    """None of a text that is no JSON."""
    try:
        parse_json(text)
        return places(text, at)
    except ValueError:
        return {}


class _Tokens:
    """Tokens, by what they spell."""

    def __init__(self, tokens: Sequence[TokenLogprob]) -> None:
        self._logprobs = [token.logprob for token in tokens]
        self._spelt = "".join(token.token for token in tokens)
        self._starts = list(accumulate((len(token.token) for token in tokens), initial=0))
        self._at: dict[str, int | None] = {}

    def of(self, text: str, span: _Span) -> Sequence[float] | str:
        """Those that wrote a piece of a text: also in part, as the one that writes a quote and a comma."""
        if text not in self._at:
            self._at[text] = self._where(text)
        at = self._at[text]
        if at is None:
            return "the tokens do not spell the text"
        start, end = at + span[0], at + span[1]
        first = bisect_right(self._starts, start) - 1
        last = first
        while self._starts[last] < end:
            last += 1
        told = self._logprobs[first:last]
        if not told or not all(map(math.isfinite, told)):
            return "a token has no log-probability"
        return [min(0.0, logprob) for logprob in told]

    def _where(self, text: str) -> int | None:
        """Where the text begins in what they spell: they may go on after it (what ends an answer), and begin before it
        where it is told from all else they spell (thoughts). None where it is not there, or not there alone."""
        at = self._spelt.find(text) if text else -1
        alone = at >= 0 and (not self._spelt[:at].strip() or self._spelt.rfind(text) == at)
        return at if alone else None
