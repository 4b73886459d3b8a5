"""Reciprocal rank fusion by worked values, and which queries ask for a name or number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.retrieval.fusion import fused, is_exact


def test_ranks_one_and_three_make_the_known_sum() -> None:
    sums = dict(fused([(1.0, [7, 8, 9]), (1.0, [1, 2, 7])]))
    assert sums[7] == pytest.approx(0.032266, abs=1e-6)
    assert sums[8] == pytest.approx(1 / 62)


def test_weights_count_and_equal_sums_keep_their_order() -> None:
    assert [id_ for id_, _ in fused([(1.0, [1, 2]), (1.0, [2, 1])])] == [1, 2]
    assert [id_ for id_, _ in fused([(1.0, [1, 2]), (3.0, [2, 1])])] == [2, 1]
    assert fused([]) == []


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.floats(0.1, 50))
def test_one_ranking_alone_keeps_its_order(ids: list[int], weight: float) -> None:
    assert [id_ for id_, _ in fused([(weight, ids), (1.0, [])])] == ids


@pytest.mark.parametrize(
    ("query", "exact"),
    [("Where is Lagos?", True), ("error E4031", True), ("a peak of 6,190 metres", True),
     ("What can I do about it?", False), ("how do I reset it", False), ("", False)],
)  # fmt: skip
def test_names_and_numbers_make_a_query_exact(query: str, exact: bool) -> None:
    assert is_exact(query) == exact
