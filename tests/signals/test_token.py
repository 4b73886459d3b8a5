"""Token statistics: worked values, and what more or less certainty does to each."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Draft
from gate.ports import Evidence, Missing
from gate.signals.token import (
    TOKEN_SIGNALS,
    Tokens,
    logprob_mean,
    logprob_min,
    logprob_sum,
    margin_min,
    negentropy_mean,
)
from gate.types import Cost, Generation, TokenLogprob


def token(*probabilities: float, chosen: int = 0) -> TokenLogprob:
    """A token among alternatives of these probabilities."""
    top = tuple((f"t{place}", math.log(p)) for place, p in enumerate(probabilities))
    return TokenLogprob(*top[chosen], top)


def bare(*probabilities: float) -> Tokens:
    return tuple(TokenLogprob(f"t{place}", math.log(p)) for place, p in enumerate(probabilities))


def measured(tokens: Tokens | None) -> dict[str, float | Missing]:
    evidence = Evidence().having(Draft(Cost(), Generation("Nigeria", tokens=tokens), "small"))
    return {signal.name: signal.measure(evidence) for signal in TOKEN_SIGNALS}


def test_the_log_probabilities_of_the_answer() -> None:
    tokens = bare(0.5, 0.8, 0.25)
    assert math.exp(logprob_sum(tokens)) == pytest.approx(0.1)
    assert logprob_mean(tokens) == pytest.approx(-0.767528, abs=1e-6)
    assert math.exp(-logprob_mean(tokens)) == pytest.approx(10 ** (1 / 3))
    assert logprob_min(tokens) == pytest.approx(math.log(0.25))


def test_the_margin_is_that_of_the_closest_race() -> None:
    assert margin_min((token(0.9, 0.05), token(0.6, 0.3, 0.1))) == pytest.approx(0.3)


def test_a_likelier_rival_makes_the_margin_negative() -> None:
    assert margin_min((token(0.2, 0.7, chosen=0),)) == pytest.approx(-0.5)


def test_the_entropy_is_the_mean_over_tokens_turned_round() -> None:
    assert negentropy_mean((token(0.7, 0.2, 0.1),)) == pytest.approx(-0.80182, abs=1e-5)
    assert negentropy_mean((token(0.7, 0.2, 0.1), token(0.1, 0.8, 0.1))) == pytest.approx(-0.72043, abs=1e-5)


def test_the_mass_that_is_not_listed_counts_as_one_more_outcome() -> None:
    assert negentropy_mean((token(0.7, 0.2),)) == pytest.approx(-0.80182, abs=1e-5)
    assert negentropy_mean((token(0.25, 0.25),)) == pytest.approx(-1.039721, abs=1e-6)


def test_a_chosen_token_that_is_not_among_its_alternatives_still_counts() -> None:
    outside = TokenLogprob("x", math.log(0.1), (("a", math.log(0.7)), ("b", math.log(0.2))))
    assert negentropy_mean((outside,)) == pytest.approx(-0.80182, abs=1e-5)
    assert margin_min((outside,)) == pytest.approx(-0.6)


def test_one_token_without_rivals_leaves_no_margin_and_no_entropy() -> None:
    tokens = (token(0.9, 0.1), token(0.9))
    assert margin_min(tokens) is None
    assert negentropy_mean(tokens) is None


@pytest.mark.parametrize(
    ("tokens", "signal", "reason"),
    [
        (None, "token_logprob_sum", "the upstream gave no log-probabilities"),
        ((), "token_logprob_mean", "the answer has no tokens"),
        (bare(0.5), "token_margin_min", "the upstream lists no alternatives to its tokens"),
    ],
)
def test_what_is_missing_is_told_apart(tokens: Tokens | None, signal: str, reason: str) -> None:
    assert measured(tokens)[signal] == Missing(reason)


def test_without_alternatives_the_log_probabilities_are_read_all_the_same() -> None:
    said = measured(bare(0.5, 0.8))
    assert [name for name, value in said.items() if isinstance(value, Missing)] == [
        "token_margin_min",
        "token_negentropy_mean",
    ]


def test_a_token_rounded_to_just_above_certainty_is_certain() -> None:
    over = (TokenLogprob("a", 1e-7, (("a", 1e-7), ("b", -20.0))),)
    assert (logprob_sum(over), logprob_min(over)) == (0.0, 0.0)
    assert margin_min(over) == pytest.approx(1.0)
    assert negentropy_mean(over) == pytest.approx(0.0, abs=1e-6)


PROBABILITIES = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=6)


@given(PROBABILITIES, st.data())
def test_no_statistic_of_log_probability_falls_when_a_token_grows_likelier(
    probabilities: list[float], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(probabilities) - 1))
    surer = [*probabilities]
    surer[place] = data.draw(st.floats(probabilities[place], 1.0))
    for statistic in (logprob_sum, logprob_mean, logprob_min):
        assert statistic(bare(*probabilities)) <= statistic(bare(*surer)) + 1e-12


@given(PROBABILITIES)
def test_the_least_likely_token_bounds_the_mean_and_the_sum_lies_below_both(probabilities: list[float]) -> None:
    tokens = bare(*probabilities)
    assert logprob_min(tokens) <= logprob_mean(tokens) + 1e-12
    assert logprob_sum(tokens) <= logprob_min(tokens) + 1e-12


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=8))
def test_listing_one_more_alternative_never_makes_the_entropy_smaller(weights: list[float]) -> None:
    shares = [weight / math.fsum(weights) for weight in weights]
    read = [negentropy_mean((token(*shares[:listed]),)) for listed in range(2, len(shares) + 1)]
    values = [value for value in read if value is not None]
    assert len(values) == len(shares) - 1
    assert all(less <= more + 1e-12 for more, less in pairwise(values))
    assert values[-1] >= -math.log(len(shares)) - 1e-12
