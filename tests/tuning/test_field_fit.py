"""Fields that are labelled, and a confidence fitted on them that means what it says."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from gate.calibration.calibration_error import expected_calibration_error
from gate.calibration.logistic import LogisticCalibrator
from gate.signals.field_readings import FIELD_SIGNALS, FIELD_STAGE, FieldReading, field_readings
from gate.tuning.field_fit import LabelledField, fit_fields, label_fields
from gate.types import Generation, Reading, SignalVector, ToolCall


def simulated(answers: int, seed: int, *, fields: int = 6, samples: int = 5) -> list[LabelledField]:
    """Each answer is easy or hard, each field of it known with some probability q; the draft and the samples are right
    with q, else one of three wrong values; the draft's log-probability is that of what it chose, with noise. One field
    in five lacks its tokens."""
    rng = random.Random(seed)
    made = []
    for answer in range(answers):
        ease = rng.gauss(0.8, 1.0)
        for place in range(fields):
            q = 1 / (1 + math.exp(-(ease + rng.gauss(0, 1.2))))
            chances = [q, *((1 - q) * share for share in (0.6, 0.3, 0.1))]
            draft, *others = rng.choices(range(4), chances, k=1 + samples)
            agreeing = sum(other == draft for other in others)
            logprob = min(-1e-4, math.log(chances[draft]) + rng.gauss(0, 0.4))
            seen = rng.random() > 0.2
            readings = (
                Reading("field_posterior", (agreeing + 1) / (samples + 2)),
                Reading("field_logprob_sum", logprob if seen else None, None if seen else "none"),
                Reading("field_logprob_min", logprob if seen else None, None if seen else "none"),
            )
            reading = FieldReading(f"/{place}", draft, SignalVector(readings), agreeing, samples)
            made.append(LabelledField(reading, draft == 0, str(answer)))
    return made


def told(calibrator: LogisticCalibrator, labelled: list[LabelledField]) -> tuple[np.ndarray, np.ndarray]:
    p = [calibrator.confidence(each.reading.signals, FIELD_STAGE).p for each in labelled]
    return np.array(p), np.array([each.correct for each in labelled], dtype=float)


def test_p_is_calibrated_on_fields_it_has_not_seen() -> None:
    """1,800 fields to fit on, 3,000 to judge by. By chance alone, ECE over ten bins of equal mass is then about
    sqrt(p (1 - p) / 300) x sqrt(2 / pi) = 0.018; 0.05 leaves room for the fit's own error."""
    calibrator = fit_fields(simulated(300, 1))
    fresh = simulated(500, 2)
    p, right = told(calibrator, fresh)
    error = expected_calibration_error(p, right, equal_mass=True)
    assert error is not None
    assert error < 0.05
    assert abs(p.mean() - right.mean()) < 0.03
    rough = np.array([(f.reading.agreeing + 1) / (f.reading.samples + 2) for f in fresh])
    assert np.mean((p - right) ** 2) < np.mean((rough - right) ** 2) - 0.005, "labels and tokens told it something"


def test_no_signal_speaks_against_a_field_and_losing_one_does_not_help() -> None:
    stage = fit_fields(simulated(60, 3)).stages[FIELD_STAGE.key]
    assert tuple(stage.signals) == FIELD_SIGNALS
    assert all(learned.weight >= 0 >= learned.missing for learned in stage.signals.values())
    assert stage.signals["field_posterior"].weight > 0


def test_the_file_of_it_is_the_same_calibrator() -> None:
    made = fit_fields(simulated(40, 4))
    again = LogisticCalibrator.model_validate_json(made.dump())
    assert again == made
    assert again.fingerprint == made.fingerprint
    assert fit_fields(simulated(40, 5)).fingerprint != made.fingerprint


@pytest.mark.parametrize("labelled", [[], simulated(1, 1), [f for f in simulated(40, 1) if f.correct]], ids=len)
def test_nothing_can_be_learned_from_few_or_from_one_kind(labelled: list[LabelledField]) -> None:
    with pytest.raises(ValueError, match="need 20 labelled"):
        fit_fields(labelled)


def test_labels_by_the_value_that_is_right() -> None:
    samples = [Generation('{"city": "Lagos", "n": 1, "extra": 1, "more": 2}')] * 2
    readings = field_readings(Generation('{"city": "lagos", "n": 2, "made_up": null}'), samples)
    labelled = label_fields(readings, {"city": "Lagos", "n": 1, "extra": 5}, "first")
    assert {each.reading.pointer: each.correct for each in labelled} == {
        "/city": True, "/n": False, "/made_up": False, "/extra": False, "/more": True
    }  # fmt: skip
    assert {each.answer for each in labelled} == {"first"}
    call = field_readings(Generation("", tool_calls=(ToolCall("1", "find", '{"city": "Lagos", "n": 2}'),)))
    labelled = label_fields(call, {"find": [{"city": "Lagos", "n": 3}]})
    assert [each.correct for each in labelled] == [True, False]
