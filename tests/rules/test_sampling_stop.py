"""When to stop sampling: worked values, and that what is said to be settled is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from gate.rules.sampling_stop import (
    SamplingStop,
    above_share,
    can_no_longer_change,
    majority_is_clear,
    share_is_clear,
    votes_needed,
)

VOTES = st.integers(0, 20)
SHARES = st.floats(0.05, 0.95)
KINDS = st.sampled_from(["none", "can_no_longer_change", "unlikely_to_change"])


@pytest.mark.parametrize(
    ("first", "second", "p", "stop"),
    [(4, 0, 0.96875, True), (4, 1, 0.89063, False), (6, 1, 0.96484, True), (3, 3, 0.5, False)],
)
def test_the_worked_values_of_adaptive_consistency(first: int, second: int, p: float, stop: bool) -> None:
    assert above_share(first, second) == pytest.approx(p, abs=1e-5)
    assert majority_is_clear((second, first)) is stop


def test_only_the_two_most_frequent_answers_count() -> None:
    assert majority_is_clear((1, 6, 1, 1))
    assert not majority_is_clear(())
    assert majority_is_clear((4,))


@given(VOTES, VOTES, SHARES)
def test_it_is_the_tail_of_a_beta_distribution(agreeing: int, others: int, share: float) -> None:
    assert above_share(agreeing, others, share) == pytest.approx(beta.sf(share, agreeing + 1, others + 1), abs=1e-9)


@given(VOTES, VOTES, SHARES)
def test_a_vote_for_it_makes_a_larger_share_likelier(agreeing: int, others: int, share: float) -> None:
    here = above_share(agreeing, others, share)
    more, less = above_share(agreeing + 1, others, share), above_share(agreeing, others + 1, share)
    assert more + 1e-12 >= here >= less - 1e-12


def test_it_is_the_answer_on_trial_whose_share_counts() -> None:
    assert share_is_clear(0, 4)  # clear that it is the minority's
    assert share_is_clear(4, 0)
    assert not share_is_clear(4, 0, share=0.8)
    assert not share_is_clear(3, 3)


@pytest.mark.parametrize(
    ("n", "share", "needed"), [(5, 0.6, 3), (10, 0.7, 7), (20, 0.5, 10), (7, 0.5, 4), (10, 0.1, 1)]
)
def test_a_share_of_votes_is_reckoned_without_rounding_errors(n: int, share: float, needed: int) -> None:
    assert votes_needed(n, share) == needed


@given(VOTES, VOTES, st.integers(0, 12), SHARES)
def test_what_can_no_longer_change_does_not(agreeing: int, others: int, left: int, share: float) -> None:
    n = agreeing + others + left
    ends = {agreeing + more >= votes_needed(n, share) for more in range(left + 1)}
    assert can_no_longer_change(agreeing, others, left, share) == (len(ends) == 1)


@given(KINDS, VOTES, VOTES, st.integers(0, 12), SHARES)
def test_no_vote_before_the_soonest_stops_it(kind: str, agreeing: int, others: int, left: int, share: float) -> None:
    rule = SamplingStop(kind, share)  # type: ignore[arg-type]
    soonest = rule.soonest(agreeing, others, left)
    for more in range(1, soonest):
        for votes in range(more + 1):
            assert rule.stops(agreeing + votes, others + more - votes, left - more) is False
    assert soonest <= left


def test_what_is_unlikely_to_change_includes_what_cannot() -> None:
    assert SamplingStop("can_no_longer_change").stops(3, 0, 2)
    assert SamplingStop("unlikely_to_change").stops(3, 0, 2)
    assert not SamplingStop("can_no_longer_change").stops(4, 0, 6)
    assert SamplingStop("unlikely_to_change").stops(4, 0, 6)
    assert not SamplingStop("none").stops(4, 0, 1)
    assert SamplingStop("none").stops(4, 0, 0)


def test_a_unanimous_vote_ends_at_the_first_look_that_settles_it() -> None:
    rule = SamplingStop("unlikely_to_change")
    assert rule.unanimous(10, (4, 6, 8, 10)) == 4
    assert rule.unanimous(10, (3, 6, 9)) == 6
    assert rule.unanimous(3, (2, 3)) == 2
    assert SamplingStop("none").unanimous(10, (10,)) == 10
