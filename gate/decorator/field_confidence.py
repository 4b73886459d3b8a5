"""Which fields of a structured answer to trust: a probability for each that it is right.

Fitted on fields that are known to be right or wrong (`gate.tuning.field_fit.fit_fields`), p is calibrated: a logistic
regression on how far samples agree with the field and how likely its tokens were, in which neither can speak against
a field by being high, and either may be missing. Without that, p is Laplace's rule on the agreement alone, and says of
itself that it is not calibrated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gate.answer_shapes import shape_of
from gate.calibration.logistic import LogisticCalibrator
from gate.calibration.vote_share import wilson
from gate.decorator.questions import tokens_of
from gate.signals.field_readings import FIELD_SIGNALS, FIELD_STAGE, FieldReading, field_readings
from gate.signals.json_fields import fields_or_none
from gate.traces import TapeEntry, TraceRecord
from gate.types import Confidence, Generation, Outcome

FieldCalibrator = LogisticCalibrator
"""Its file, its fingerprint and its errors are those of any calibrator."""
_NOTHING_KNOWN = Confidence(0.5, 0.0, 1.0, calibrated=False)


@dataclass(frozen=True, slots=True)
class FieldConfidence:
    """One field, and how likely it is right."""

    reading: FieldReading
    confidence: Confidence

    @property
    def pointer(self) -> str:
        """The JSON pointer; of a tool's argument it begins with the tool's name and which call of it this is."""
        return self.reading.pointer

    @property
    def value(self) -> Any:
        return self.reading.value

    @property
    def present(self) -> bool:
        """False: the answer lacks the field although most samples have it; p is that of lacking it."""
        return self.reading.present

    @property
    def p(self) -> float:
        return self.confidence.p

    @property
    def calibrated(self) -> bool:
        return self.confidence.calibrated

    @property
    def agreement(self) -> float | None:
        return self.reading.agreement

    @property
    def logprob_sum(self) -> float | None:
        return self.reading.logprob_sum

    @property
    def logprob_min(self) -> float | None:
        return self.reading.logprob_min


def field_confidence(
    answer: object,
    samples: Iterable[object] = (),
    *,
    logprobs: object = None,
    calibrator: FieldCalibrator | str | Path | None = None,
) -> tuple[FieldConfidence, ...]:
    """The fields of an answer with their confidence, in the answer's order; none of one that is no JSON and calls no
    tool.

    ``answer`` and ``samples`` are of any shape in `gate.answer_shapes`, or a `gate.types.Generation`. ``logprobs`` are
    those of the answer's tokens, where the answer does not bring them, as `Gate.judge` takes them; of plain numbers it
    stays unknown which field they are of. ``calibrator``: fitted, or its file. Raises
    `TypeError` for an answer of no shape that is known, `ConfigError` for a calibrator that cannot be used.
    """
    draft, others = _read(answer)
    if logprobs is not None:
        draft = replace(draft, tokens=tokens_of(logprobs))
    drawn = (*others, *(_read(sample)[0] for sample in samples))
    return confidences(field_readings(draft, drawn), calibrator)


def confidences(
    readings: Iterable[FieldReading], calibrator: FieldCalibrator | str | Path | None = None
) -> tuple[FieldConfidence, ...]:
    """What `gate.signals.field_readings.field_readings` found, with the confidence in each."""
    fitted = load_field_calibrator(calibrator) if isinstance(calibrator, str | Path) else calibrator
    if fitted is not None:
        fitted.check(FIELD_SIGNALS, (FIELD_STAGE,))
    return tuple(FieldConfidence(each, _confidence(each, fitted)) for each in readings)


def load_field_calibrator(path: str | Path) -> FieldCalibrator:
    """A calibrator that `gate.tuning.field_fit.fit_fields` made, from the file its ``dump()`` was written to. Raises
    `ConfigError`."""
    made = LogisticCalibrator.load(Path(path))
    made.check(FIELD_SIGNALS, (FIELD_STAGE,))
    return made


def _confidence(reading: FieldReading, fitted: FieldCalibrator | None) -> Confidence:
    if fitted is not None:
        return fitted.confidence(reading.signals, FIELD_STAGE)
    if not reading.samples:
        return _NOTHING_KNOWN
    low, high = wilson(reading.agreeing / reading.samples, reading.samples)
    p = (reading.agreeing + 1) / (reading.samples + 2)
    return Confidence(p, min(low, p), max(high, p), calibrated=False)


def _read(answer: object) -> tuple[Generation, tuple[Generation, ...]]:
    if isinstance(answer, Generation):
        return answer, ()
    read = shape_of(answer).read(answer)
    return read.generation, read.others


# --- of a decision -----------------------------------------------------------------------------------------------


def fields_of(
    outcome: Outcome, trace: TraceRecord, calibrator: FieldCalibrator | str | Path | None = None
) -> tuple[FieldConfidence, ...]:
    """The fields of the answer a decision was about, let through or withheld, with the samples its own round drew."""
    draft = outcome.generation or outcome.withheld
    if draft is None:
        return ()
    return confidences(field_readings(draft, drawn_beside(draft, trace.tape)), calibrator)


def drawn_beside(draft: Generation, tape: Sequence[TapeEntry]) -> tuple[Generation, ...]:
    """The other answers that were drawn to the request this one came from, as far as the tape tells.

    They come after the draft, from the same upstream, several to a request, and before the next search, with which
    another round begins. Where several such requests were made (for votes, say), it is the one whose replies have the
    most fields.
    """
    place = _place(draft, tape)
    if place is None:
        return ()
    families: dict[str, list[Generation]] = {}
    for number, entry in enumerate(tape[place:]):
        if number and entry.kind == "retrieve":
            break
        if entry.to == tape[place].to and (entry.family or entry.n > 1):
            families.setdefault(entry.family, []).extend(_choices(entry))
    if not families:
        return ()
    found = max(families.values(), key=lambda choices: sum(map(_has_fields, choices)))
    return tuple(choice for choice in found if choice is not draft)


def _place(draft: Generation, tape: Sequence[TapeEntry]) -> int | None:
    """Where on the tape the draft is; of several that are equal to it, the last."""
    places = [number for number, entry in enumerate(tape) if draft in _choices(entry)]
    own = [number for number in places if any(choice is draft for choice in _choices(tape[number]))]
    return own[0] if own else places[-1] if places else None


def _has_fields(choice: Generation) -> bool:
    return bool(choice.tool_calls) or bool(fields_or_none(choice.text))


def _choices(entry: TapeEntry) -> tuple[Generation, ...]:
    return entry.generations.choices if entry.generations is not None else ()
