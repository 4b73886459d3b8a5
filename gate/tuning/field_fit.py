"""Fit the confidence in single fields: from fields that are known to be right or wrong.

The same regression as for whole answers (`gate.tuning.fit`): no signal can speak against a field by being high, and any
may be missing. The fields of one answer are right or wrong together more than others, so they are never parted in
cross-validation; so many answers' worth of fields tell less than so many fields would.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gate.calibration.logistic import LogisticCalibrator
from gate.signals.field_readings import FIELD_BOUNDS, FIELD_SIGNALS, FIELD_STAGE, FieldReading
from gate.signals.json_fields import fields, shares
from gate.tuning.fit import FEWEST, Labelled, Readings, fit


@dataclass(frozen=True, slots=True)
class LabelledField:
    """A field, and whether it was right."""

    reading: FieldReading
    correct: bool
    answer: str = ""
    """Which answer it is of, by any name; without one it stands alone."""


def label_fields(readings: Iterable[FieldReading], right: Any, answer: str = "") -> tuple[LabelledField, ...]:
    """The fields of an answer, held against the JSON value that is right: for a tool's arguments
    ``{"<tool>": [<arguments of its first call>, …]}``.

    They are compared as samples are: numbers as numbers, text after normalising. A field that the answer lacks is right
    where the right value lacks it, too.
    """
    listed, wanted = list(readings), fields(right)
    same = shares({each.pointer: each.value for each in listed if each.present}, [wanted])
    return tuple(
        LabelledField(each, same[each.pointer] == 1.0 if each.present else each.pointer not in wanted, answer)
        for each in listed
    )


def fit_fields(labelled: Sequence[LabelledField], *, seed: int = 0) -> LogisticCalibrator:
    """A calibrator for `gate.decorator.field_confidence`; ``dump()`` is its file. Raises `ValueError` for fewer than 20
    fields, or where all are right or all wrong."""
    if len(labelled) < FEWEST:
        raise ValueError(f"need {FEWEST} labelled fields with both right and wrong ones, got {len(labelled)}")
    rows = [Labelled(each.reading.signals, each.correct, each.answer) for each in labelled]
    stage = fit(Readings.of(rows), FIELD_SIGNALS, FIELD_BOUNDS, seed=seed)
    return LogisticCalibrator(signals=FIELD_SIGNALS, stages={FIELD_STAGE.key: stage})
