"""Upper confidence bounds: the worked value, and that votes go further by them than in turn."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.rules.bandit import Votes, best, next_candidate, upper_bound

NUMBERS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=6)


def test_the_worked_value() -> None:
    assert [upper_bound(s, e) for s, e in ((0.6, 0.05), (0.5, 0.3))] == pytest.approx([0.66267, 0.876], abs=1e-5)
    assert next_candidate((0.6, 0.5), (0.05, 0.3)) == 1
    assert next_candidate((0.6, 0.5), (0.05, 0.3), gamma=0.0) == 0
    assert best((0.6, 0.5)) == 0


@given(NUMBERS, st.floats(0, 3))
def test_it_is_the_unfinished_one_with_the_highest_bound(listed: list[tuple[float, float, bool]], gamma: float) -> None:
    scores, errors, finished = zip(*listed, strict=True)
    place = next_candidate(scores, errors, finished, gamma)
    bounds = [upper_bound(s, e, gamma) for s, e, done in listed if not done]
    assert (place is None) == (not bounds)
    if place is not None:
        assert not finished[place]
        assert upper_bound(scores[place], errors[place], gamma) == max(bounds)


def test_of_equals_the_first_goes_before() -> None:
    assert next_candidate((0.5, 0.5), (0.1, 0.1)) == 0
    assert best((0.5, 0.7, 0.7)) == 1


def test_votes_are_read_as_a_beta_distribution() -> None:
    votes = Votes().with_(True).with_(True).with_(False)
    assert (votes.yes, votes.no, votes.mean) == (2, 1, 0.6)
    deviation = math.sqrt(3 * 2 / (5**2 * 6))  # of Beta(3, 2)
    assert upper_bound(0.0, votes.error) == pytest.approx(deviation)
    with pytest.raises(ValueError, match="zip"):
        next_candidate((0.5,), ())


def found(seed: int, budget: int, *, by_bound: bool) -> bool:
    """Whether the right one of six is picked, where a vote says so of it in .8 and of a wrong one in .3."""
    draw = random.Random(seed)
    right, votes = draw.randrange(6), [Votes()] * 6
    for number in range(budget):
        place = next_candidate([v.mean for v in votes], [v.error for v in votes], gamma=2.0)
        at = place if by_bound and place is not None else number % 6
        votes[at] = votes[at].with_(draw.random() < (0.8 if at == right else 0.3))
    return best([v.mean for v in votes]) == right


def test_two_thirds_of_the_votes_find_the_right_one_as_often_as_all_in_turn() -> None:
    """Of 800 simulated questions, to within twice the standard error of the difference, .015."""
    of = 800
    fewer = sum(found(seed, 24, by_bound=True) for seed in range(of)) / of
    in_turn = sum(found(seed, 36, by_bound=False) for seed in range(of)) / of
    as_few = sum(found(seed, 24, by_bound=False) for seed in range(of)) / of
    assert fewer > in_turn - 0.03
    assert fewer > as_few + 0.05
    assert fewer > 0.87
