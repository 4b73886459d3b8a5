"""Log-probabilities that are none: whichever token they stand at, chosen or listed."""

from __future__ import annotations

import math

import pytest

from gate.evidence.log_probabilities import NO_NUMBER, no_number
from gate.types import TokenLogprob

FINE = TokenLogprob("a", -0.5, (("a", -0.5), ("b", -1.0)))


@pytest.mark.parametrize("logprob", [0.0, 1e-7, -0.5, -9999.0, -1e9])
def test_finite_numbers_up_to_rounding_can_be_read(logprob: float) -> None:
    assert no_number((FINE, TokenLogprob("a", logprob, (("b", logprob),)))) is None


@pytest.mark.parametrize("logprob", [math.nan, math.inf, 0.5, 1e-5])
def test_what_is_no_logarithm_of_a_probability_cannot_be_read_wherever_it_stands(logprob: float) -> None:
    assert no_number((FINE, TokenLogprob("a", logprob))) == NO_NUMBER
    assert no_number((TokenLogprob("a", -0.5, (("a", -0.5), ("b", logprob))), FINE)) == NO_NUMBER


@pytest.mark.parametrize("logprob", [-math.inf, -1e308])
def test_what_cannot_occur_may_be_listed_but_not_chosen(logprob: float) -> None:
    assert no_number((TokenLogprob("a", -0.5, (("b", logprob),)),)) is None
    assert no_number((TokenLogprob("a", logprob),)) == NO_NUMBER


def test_no_tokens_hold_nothing_that_cannot_be_read() -> None:
    assert no_number(None) is None
    assert no_number(()) is None


def test_equal_tokens_are_read_each_for_themselves() -> None:
    one, other = (TokenLogprob("a", math.nan),), (TokenLogprob("a", -1.0),)
    for _ in range(2):
        assert (no_number(one), no_number(other)) == (NO_NUMBER, None)
