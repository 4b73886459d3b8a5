"""Semantic volume: worked values, the two ends of the scale, centring and projection."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import AnswerVectors
from gate.ports import Evidence, Missing
from gate.signals.volume import SemanticCompactness, semantic_volume
from gate.types import Cost
from tests.signals.scenes.sampling import vectors

SIXTY = [[1.0, 0.5], [0.5, 1.0]]
DUPLICATE = [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]]


def compactness(*directions: list[int] | None) -> float | Missing:
    return SemanticCompactness().measure(Evidence().having(vectors(list(directions))))


def test_two_vectors_by_the_angle_between_them() -> None:
    assert semantic_volume(SIXTY, epsilon=0.0) == pytest.approx(-0.28768, abs=1e-5)
    assert semantic_volume([[1.0, 0.0], [0.0, 1.0]], epsilon=0.0) == pytest.approx(0.0)


def test_a_duplicate_sends_it_down_by_about_ln_eps() -> None:
    assert semantic_volume(DUPLICATE, epsilon=1e-3) == pytest.approx(-6.50029, abs=1e-5)
    assert semantic_volume([[1.0, 1.0], [1.0, 1.0]], epsilon=0.0) == -math.inf


def test_projecting_on_all_directions_changes_nothing_and_on_fewer_takes_the_largest() -> None:
    assert semantic_volume(DUPLICATE, dimensions=3) == pytest.approx(semantic_volume(DUPLICATE))
    largest = np.linalg.eigvalsh(np.array(DUPLICATE))[-2:] + 1e-3
    assert semantic_volume(DUPLICATE, dimensions=2) == pytest.approx(float(np.log(largest).sum()))


@pytest.mark.parametrize("dimensions", [0, 4, -1])
def test_there_are_no_more_directions_than_vectors(dimensions: int) -> None:
    with pytest.raises(ValueError, match="3 vectors have at most 3 principal directions"):
        semantic_volume(DUPLICATE, dimensions=dimensions)


def test_centring_takes_the_mean_vector_away() -> None:
    rows = np.array([[1.0, 0.0], [0.5, 0.75**0.5]])
    centred = rows - rows.mean(axis=0)
    expected = np.log(np.linalg.det(centred @ centred.T + 1e-6 * np.eye(2)))
    assert semantic_volume(SIXTY, epsilon=1e-6, centred=True) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("m", [3, 11])
def test_one_direction_is_one_and_right_angles_are_nought(m: int) -> None:
    assert compactness(*[[1, 2, 3]] * m) == pytest.approx(1.0)
    assert compactness(*[None] * m) == pytest.approx(0.0)
    assert compactness([1, 0, 0], [0, 1, 0], [0, 0, 1]) == pytest.approx(0.0)


def test_the_closer_the_answers_the_more_compact() -> None:
    said = [compactness([1, 0, 0], [1, 0, 0], [wide, 1, 0]) for wide in (0, 1, 3, 10)]
    assert said == sorted(said, key=lambda value: value if isinstance(value, float) else math.nan)
    assert said[1] != said[2]


def test_one_sample_takes_up_no_room_and_reasons_are_passed_on() -> None:
    assert compactness([1, 0, 0]) == Missing("no samples were drawn")
    assert compactness([1, 0, 0], [1, 0, 0]) == Missing("one sample has no spread")
    assert SemanticCompactness().measure(Evidence().lacking(AnswerVectors, "is down")) == Missing("is down")


DIRECTIONS = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=3, max_size=6)


@given(DIRECTIONS, st.data())
def test_the_order_of_the_answers_changes_nothing(directions: list[list[int]], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(directions))
    assert compactness(*directions) == pytest.approx(compactness(*shuffled), abs=1e-7)


@given(DIRECTIONS)
def test_the_volume_lies_between_the_ends_of_the_scale(directions: list[list[int]]) -> None:
    m, volume = len(directions), semantic_volume(vectors(list(directions)).cosines)
    assert math.log(m + 1e-3) + (m - 1) * math.log(1e-3) - 1e-6 <= volume <= m * math.log1p(1e-3) + 1e-9


def test_answers_the_embedder_sees_nothing_in_are_left_out() -> None:
    seen = AnswerVectors(Cost(), "table", ((1.0, 0.0), None, (1.0, 0.0)), ((1.0, 1.0), (1.0, 1.0)))
    assert SemanticCompactness().measure(Evidence().having(seen)) == pytest.approx(1.0)
    unseen = AnswerVectors(Cost(), "table", ((1.0, 0.0), None, None), ((1.0,),))
    assert SemanticCompactness().measure(Evidence().having(unseen)) == Missing(
        "the embedder has a vector for fewer than two answers"
    )
