"""Graph measures: worked values, the two ends of the scale, and what a permutation may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Similarities
from gate.ports import Evidence, Missing
from gate.signals.graph import GRAPH_SIGNALS, Rows, degrees, eccentricities, eigenvalue_sum
from gate.types import Cost
from tests.signals.scenes.sampling import SHARES, similarities

THREE: Rows = ((1.0, 0.9, 0.1), (0.9, 1.0, 0.1), (0.1, 0.1, 1.0))
each = pytest.mark.parametrize("signal", GRAPH_SIGNALS, ids=lambda signal: str(signal.name))


def readings(rows: Rows) -> dict[str, float | Missing]:
    evidence = Evidence().having(Similarities(Cost(), rows))
    return {signal.name: signal.measure(evidence) for signal in GRAPH_SIGNALS}


def everything_alike(m: int) -> Rows:
    return ((1.0,) * m,) * m


def nothing_alike(m: int) -> Rows:
    return tuple(tuple(float(i == j) for j in range(m)) for i in range(m))


def test_three_answers_of_which_two_are_alike() -> None:
    assert eigenvalue_sum(THREE) == pytest.approx(1.83333, abs=1e-5)
    assert degrees(THREE) == pytest.approx([1.0, 1.0, 1.8])
    assert degrees(THREE).mean() == pytest.approx(1.26667, abs=1e-5)
    assert degrees(THREE).mean() / 3 == pytest.approx(0.42222, abs=1e-5)
    assert eccentricities(THREE) == pytest.approx([0.40825, 0.40825, 0.81650], abs=1e-5)
    assert np.linalg.norm(eccentricities(THREE)) == pytest.approx(1.0)


def test_the_signals_of_those_three_answers() -> None:
    assert readings(THREE) == pytest.approx(
        {
            "graph_eigenvalue": 1 - 0.83333 / 2,
            "graph_degree": 1 - 1.26667 / 2,
            "graph_degree_draft": 0.5,
            "graph_eccentricity": 1 - 1 / 2**0.5,
            "graph_eccentricity_draft": 0.5,
        },
        abs=1e-5,
    )


def test_the_cut_decides_which_eigenvectors_count() -> None:
    first = np.sqrt([2.0, 2.0, 1.2]) / np.sqrt(5.2)  # the eigenvector of 0 is the root of the row sums
    assert eccentricities(THREE, cut=0.2) == pytest.approx(np.abs(first - first.mean()))
    assert (eccentricities(THREE, cut=1.0) >= eccentricities(THREE)).all()


@pytest.mark.parametrize("m", [3, 11, 33])
def test_one_answer_given_by_all_is_one_and_none_alike_is_nought(m: int) -> None:
    assert eigenvalue_sum(everything_alike(m)) == pytest.approx(1.0)
    assert eigenvalue_sum(nothing_alike(m)) == pytest.approx(m)
    assert readings(everything_alike(m)) == pytest.approx(dict.fromkeys(readings(THREE), 1.0), abs=1e-7)
    assert readings(nothing_alike(m)) == pytest.approx(dict.fromkeys(readings(THREE), 0.0), abs=1e-7)


def test_the_draft_alone_or_with_one_sample_is_missing() -> None:
    for rows, why in (
        ((), "no samples were drawn"),
        (nothing_alike(1), "no samples were drawn"),
        (everything_alike(2), "one sample has no spread"),
    ):
        assert set(readings(rows).values()) == {Missing(why)}


def test_the_draft_far_from_the_crowd_is_seen_in_its_own_measures_alone() -> None:
    outside = similarities(4, [0.1, 0.1, 0.9, 0.1, 0.9, 0.9]).rows
    inside = tuple(row[::-1] for row in outside[::-1])
    out, within = readings(outside), readings(inside)
    for name in ("graph_eigenvalue", "graph_degree", "graph_eccentricity"):
        assert out[name] == pytest.approx(within[name])
    for name in ("graph_degree_draft", "graph_eccentricity_draft"):
        one, other = out[name], within[name]
        assert isinstance(one, float)
        assert isinstance(other, float)
        assert one < other - 0.2


@given(st.lists(SHARES, min_size=10, max_size=10), st.permutations(range(1, 5)))
def test_the_order_of_the_samples_changes_nothing(shares: list[float], order: list[int]) -> None:
    rows = np.array(similarities(5, shares).rows)
    places = [0, *order]
    shuffled = tuple(map(tuple, rows[np.ix_(places, places)].tolist()))
    before, after = similarities(5, shares).rows, shuffled
    assert eigenvalue_sum(before) == pytest.approx(eigenvalue_sum(after), abs=1e-7)
    assert degrees(before)[places] == pytest.approx(degrees(after), abs=1e-9)
    values = np.linalg.eigvalsh(np.eye(5) - rows / np.sqrt(np.outer(rows.sum(1), rows.sum(1))))
    if np.abs(values - 0.9).min() > 1e-6:  # an eigenvalue at the cut may fall on either side
        assert eccentricities(before)[places] == pytest.approx(eccentricities(after), abs=1e-5)


@given(st.lists(SHARES, min_size=10, max_size=10))
def test_the_measures_lie_where_their_scale_says(shares: list[float]) -> None:
    rows = similarities(5, shares).rows
    assert 1.0 - 1e-9 <= eigenvalue_sum(rows) <= 5.0 + 1e-9
    assert np.linalg.norm(eccentricities(rows)) <= 2.0 + 1e-9
    assert eccentricities(rows).max() <= 0.8**0.5 + 1e-9
