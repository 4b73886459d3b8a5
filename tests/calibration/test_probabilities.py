"""Many answers at once come out as each does alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import LogisticCalibrator
from gate.calibration.ellipsoid import Ellipsoid
from gate.calibration.logistic import SignalWeight, StageWeights
from gate.calibration.probabilities import _BLOCK, probabilities
from gate.calibration.recalibration import Beta, Isotonic
from gate.types import Reading, SignalVector, Stage

STAGE = Stage("small")
SHARE = SignalWeight(transform="logit", clip=0.01, mean=0.4, scale=1.2, weight=1.1, missing=-0.3, low=0.1, high=0.9)
LENGTH = SignalWeight(mean=2, scale=3, weight=0.4, low=0, high=9)
LIKELY = SignalWeight(
    transform="negative_log", clip=1e-5, mean=1.0, scale=2.0, weight=0.7, missing=-0.1, low=-4, high=0
)
FITTED = StageWeights(intercept=-0.4, signals={"share": SHARE, "length": LENGTH, "likely": LIKELY}, n=80)
PARTS = (
    {},
    {"recalibration": Beta(a=0.7, b=1.4, c=-0.2)},
    {"recalibration": Isotonic(knots=((-1.0, -2.0), (0.2, 0.3), (1.0, 0.6)))},
    {"joint": Ellipsoid(triangle=(1.0, 0.9, 1.1, 0.5, 0.4, 1.0), threshold=0.5)},
)
VALUE = st.none() | st.floats(-20, 20) | st.floats(-1e300, 1e300)


def alone(fitted: StageWeights, row: list[float | None]) -> tuple[float, bool]:
    readings = [Reading(name, x, "lost" if x is None else None) for name, x in zip(fitted.signals, row, strict=True)]
    calibrator = LogisticCalibrator(signals=tuple(fitted.signals), stages={STAGE.key: fitted})
    said = calibrator.confidence(SignalVector(tuple(readings)), STAGE)
    return said.p, said.out_of_distribution


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: "".join(parts) or "plain")
@given(st.lists(st.tuples(st.none() | st.floats(0, 1), VALUE, st.none() | st.floats(-9, 0)), min_size=1, max_size=9))
def test_each_row_comes_out_as_it_does_alone(parts: dict[str, object], rows: list[tuple[float | None, ...]]) -> None:
    fitted = FITTED.model_copy(update=parts)
    p, outside = probabilities(fitted, np.array(rows, dtype=np.float64))
    one_by_one = [alone(fitted, list(row)) for row in rows]
    assert p == pytest.approx([p for p, _ in one_by_one], abs=1e-12)
    assert outside.tolist() == [out for _, out in one_by_one]


def test_rows_beyond_one_block_are_not_forgotten() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((_BLOCK + 3, 3)).astype(np.float32)
    p, outside = probabilities(FITTED, values)
    for place in (0, _BLOCK - 1, _BLOCK, _BLOCK + 2):
        expected = alone(FITTED, [float(x) for x in values[place]])
        assert (p[place], outside[place]) == (pytest.approx(expected[0], abs=1e-9), expected[1])


def test_no_rows_give_none_and_another_width_is_refused() -> None:
    assert [len(x) for x in probabilities(FITTED, np.empty((0, 3)))] == [0, 0]
    with pytest.raises(ValueError, match="3 signals"):
        probabilities(FITTED, np.empty((5, 2)))
