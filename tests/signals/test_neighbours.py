"""The signals read off a reference pool: worked values, and what few or distant neighbours are worth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Neighbours
from gate.ports import Evidence, Missing
from gate.signals.neighbours import NEIGHBOUR_SIGNALS, ndcg, sdm, sigmoid
from gate.types import Cost

BY_NAME = {signal.name: signal for signal in NEIGHBOUR_SIGNALS}
FACT = Neighbours(
    Cost(),
    distances=(0.0, 1.0, math.sqrt(2)),
    correct=(1.0, 0.0, 0.0),
    base_rate=0.5,
    cluster_accuracy=0.7,
    similarity=3,
    closeness=0.4,
    class_closeness=0.5,
    skill=1.0,
    text=-1.0,
    shared=(False, True),
)


def value(name: str, fact: Neighbours = FACT) -> float | Missing:
    return BY_NAME[name].measure(Evidence({Neighbours: fact}))


@pytest.mark.parametrize(
    ("q", "d", "logits", "expected"),
    [
        (3, 0.5, (1, 0), (0.69098, 0.30902)),
        (math.e - 2, 1, (1, 0), (0.73106, 0.26894)),
        (3, 0, (1, 0), (0.5, 0.5)),
    ],
)
def test_similarity_distance_magnitude_as_worked_out(
    q: float, d: float, logits: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert sdm(q, d, logits) == pytest.approx(expected, abs=5e-6)


@given(
    q=st.floats(0, 100),
    d=st.floats(0, 1),
    logits=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=4),
    shift=st.floats(-5, 5),
)
def test_it_is_a_distribution_that_a_shift_does_not_change(
    q: float, d: float, logits: list[float], shift: float
) -> None:
    shares = sdm(q, d, logits)
    assert math.fsum(shares) == pytest.approx(1)
    assert sdm(q, d, [z + shift for z in logits]) == pytest.approx(shares, abs=1e-6)


@given(q=st.integers(0, 99), d=st.floats(0, 0.9), skill=st.floats(0.01, 5))
def test_more_neighbours_that_bear_it_out_and_nearer_ones_make_it_surer(q: int, d: float, skill: float) -> None:
    here = replace(FACT, similarity=q, class_closeness=d, skill=skill)
    for surer in (replace(here, similarity=q + 1), replace(here, class_closeness=d + 0.1)):
        assert value("sdm_magnitude", surer) >= value("sdm_magnitude", here)  # type: ignore[operator]
    wrong, surely_wrong = replace(here, skill=-skill), replace(here, skill=-skill, similarity=q + 1)
    for name in ("sdm_magnitude", "sdm_similarity"):
        assert value(name, surely_wrong) <= value(name, wrong) <= value(name, here)  # type: ignore[operator]


def test_agreement_as_worked_out() -> None:
    assert ndcg([False, True]) == pytest.approx(0.38685, abs=5e-6)
    assert ndcg([True] * 7) == 1
    assert ndcg([False] * 7) == 0
    assert value("neighbour_agreement") == pytest.approx(0.38685, abs=5e-6)


def test_values() -> None:
    expected = {
        "neighbour_accuracy": 1.5 / 4,
        "neighbour_accuracy_weighted": (1 + 0.05) / (1 + 0.25 + 0 + 0.1),
        "cluster_accuracy": 0.7,
        "neighbour_distance": 0.4,
        "sdm_similarity": math.log(4) / math.log(101),
        "sdm_distance": 0.5,
        "sdm_magnitude": sdm(3, 0.5, (0, 1))[1],
        "upstream_skill": 0.731059,
        "text_regressor": 0.268941,
    }
    assert {name: value(name) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert value("sdm_magnitude") == pytest.approx(0.69098, abs=5e-6)


def test_what_lies_far_off_counts_for_nothing_and_leaves_the_base_rate() -> None:
    far = replace(FACT, distances=(1.5, 1.6, 2.0), correct=(1.0, 1.0, 1.0), base_rate=0.3)
    assert value("neighbour_accuracy_weighted", far) == pytest.approx(0.3)
    alone = replace(far, distances=(1.5,), correct=(1.0,))
    assert value("neighbour_accuracy", alone) == pytest.approx(0.65)


def test_what_is_not_there_is_missing() -> None:
    bare = replace(FACT, text=None, shared=None)
    for name in ("text_regressor", "neighbour_agreement"):
        assert isinstance(value(name, bare), Missing)


@given(st.floats(-1e9, 1e9))
def test_a_sigmoid_never_overflows(z: float) -> None:
    assert 0 <= sigmoid(z) <= 1
    assert sigmoid(z) + sigmoid(-z) == pytest.approx(1)
