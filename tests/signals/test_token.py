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
    gini_mean,
    inverse_perplexity,
    logprob_mean,
    logprob_min,
    logprob_sum,
    margin_min,
    negentropy_mean,
    probability_product,
    self_certainty_mean,
)
from gate.types import Cost, Generation, TokenLogprob


def token(*probabilities: float, chosen: int = 0) -> TokenLogprob:
    """A token among alternatives of these probabilities."""
    top = tuple((f"t{place}", math.log(p)) for place, p in enumerate(probabilities))
    return TokenLogprob(*top[chosen], top)


def bare(*probabilities: float) -> Tokens:
    return tuple(TokenLogprob(f"t{place}", math.log(p)) for place, p in enumerate(probabilities))


def measured(tokens: Tokens | None, text: str = "Nigeria") -> dict[str, float | Missing]:
    generation = Generation(text, tokens=None if tokens is None else tuple(tokens))
    evidence = Evidence().having(Draft(Cost(), generation, "small"))
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
    against = ("margin_min", "first_margin", "negentropy_mean", "gini_mean", "self_certainty_mean")
    missing = {name for name, value in said.items() if isinstance(value, Missing)}
    assert missing - {"token_entity_logprob_min"} == {name for name in said if name.endswith(against)}


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


# --- product, perplexity, Gini, self-certainty -------------------------------------------------------------------


def test_product_and_inverse_perplexity_are_exponentials_of_sum_and_mean() -> None:
    tokens = bare(0.5, 0.8, 0.25)
    assert probability_product(tokens) == pytest.approx(0.1)
    assert inverse_perplexity(tokens) == pytest.approx(0.1 ** (1 / 3))


def test_two_equal_outcomes() -> None:
    """The worked values of p = (.5, .5)."""
    even = (token(0.5, 0.5),)
    assert self_certainty_mean(even) == pytest.approx(0.0, abs=1e-12)
    assert negentropy_mean(even) == pytest.approx(-0.6931, abs=1e-4)
    assert gini_mean(even) == pytest.approx(0.5)


def test_gini_and_self_certainty_are_means_over_tokens() -> None:
    tokens = (token(0.7, 0.2, 0.1), token(0.5, 0.25, 0.25))
    assert gini_mean(tokens) == pytest.approx((0.54 + 0.375) / 2)
    ahead = -(math.log(3 * 0.7) + math.log(3 * 0.2) + math.log(3 * 0.1)) / 3
    behind = -(math.log(3 * 0.5) + 2 * math.log(3 * 0.25)) / 3
    assert self_certainty_mean(tokens) == pytest.approx((ahead + behind) / 2)


def test_a_flat_distribution_that_is_hardly_listed_looks_neither_pure_nor_certain() -> None:
    flat = (token(*[0.001] * 5),)
    assert gini_mean(flat) == pytest.approx(5e-6)
    assert self_certainty_mean(flat) == pytest.approx(0.0, abs=1e-12)


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=8))
def test_the_true_gini_lies_above_the_value_by_no_more_than_the_unlisted_mass_allows(weights: list[float]) -> None:
    shares = sorted((weight / math.fsum(weights) for weight in weights), reverse=True)
    whole = math.fsum(p * p for p in shares)
    for listed in range(2, len(shares) + 1):
        value = gini_mean((token(*shares[:listed]),))
        assert value is not None
        rest = 1.0 - math.fsum(shares[:listed])
        assert value - 1e-12 <= whole <= value + rest * shares[listed - 1] + 1e-12


def test_an_alternative_that_is_as_good_as_impossible_counts_alike_however_it_is_written() -> None:
    written = [(TokenLogprob("a", 0.0, (("a", 0.0), ("b", low))),) for low in (-40.0, -100.0, -9999.0, -math.inf)]
    for tokens in written:
        assert self_certainty_mean(tokens) == pytest.approx(15 - math.log(2))


# --- what lists of alternatives may hold -------------------------------------------------------------------------


def listing(*top: tuple[str, float], chosen: tuple[str, float]) -> Tokens:
    return (TokenLogprob(chosen[0], math.log(chosen[1]), tuple((text, math.log(p)) for text, p in top)),)


AGAINST = (margin_min, negentropy_mean, gini_mean, self_certainty_mean)


def test_the_chosen_token_counts_once_however_often_it_is_listed() -> None:
    once = listing(("a", 0.6), ("b", 0.3), chosen=("a", 0.6))
    twice = listing(("a", 0.6), ("a", 0.6), ("b", 0.3), chosen=("a", 0.6))
    absent = listing(("b", 0.3), chosen=("a", 0.6))
    for statistic in AGAINST:
        assert statistic(twice) == pytest.approx(statistic(once))
        assert statistic(absent) == pytest.approx(statistic(once))


def test_a_rival_that_is_listed_twice_counts_once_at_its_first_place() -> None:
    once = listing(("a", 0.5), ("b", 0.3), ("c", 0.1), chosen=("a", 0.5))
    twice = listing(("a", 0.5), ("b", 0.3), ("c", 0.1), ("b", 0.01), chosen=("a", 0.5))
    for statistic in AGAINST:
        assert statistic(twice) == pytest.approx(statistic(once))


def test_another_casing_is_another_token() -> None:
    cased = listing(("Paris", 0.6), ("paris", 0.3), chosen=("Paris", 0.6))
    assert margin_min(cased) == pytest.approx(0.3)
    assert gini_mean(cased) == pytest.approx(0.45)


def test_the_chosen_token_need_not_be_the_likeliest() -> None:
    second = listing(("a", 0.6), ("b", 0.3), chosen=("b", 0.3))
    first = listing(("a", 0.6), ("b", 0.3), chosen=("a", 0.6))
    assert margin_min(second) == pytest.approx(-0.3)
    for statistic in (negentropy_mean, gini_mean, self_certainty_mean):
        assert statistic(second) == pytest.approx(statistic(first))


# --- over spans --------------------------------------------------------------------------------------------------


def spoken(*tokens: tuple[str, float, float]) -> dict[str, float | Missing]:
    """Readings of tokens given as text, probability and that of the one rival. The end marker is not in the text."""
    made = tuple(TokenLogprob(t, math.log(p), ((t, math.log(p)), ("~", math.log(q)))) for t, p, q in tokens)
    return measured(made, "".join(t for t, _, _ in tokens).removesuffix("</s>").strip())


def test_each_span_has_its_own_statistics() -> None:
    said = spoken(
        ("The", 0.1, 0.5), (" answer", 0.9, 0.05), (" is", 0.8, 0.1), (" New", 0.5, 0.25), (" York", 0.8, 0.1),
        (".", 0.2, 0.7), ("</s>", 0.05, 0.9),
    )  # fmt: skip
    assert said["token_logprob_min"] == pytest.approx(math.log(0.05))
    assert said["token_margin_min"] == pytest.approx(-0.85)
    assert said["token_content_probability_product"] == pytest.approx(0.9 * 0.5 * 0.8)
    assert said["token_content_logprob_mean"] == pytest.approx(math.log(0.36) / 3)
    assert said["token_content_logprob_min"] == pytest.approx(math.log(0.5))
    assert said["token_content_inverse_perplexity"] == pytest.approx(0.36 ** (1 / 3))
    assert said["token_content_margin_min"] == pytest.approx(0.25)
    assert said["token_entity_logprob_min"] == pytest.approx(math.log(0.5))
    assert said["token_answer_probability_product"] == pytest.approx(0.4)
    assert said["token_answer_logprob_mean"] == pytest.approx(math.log(0.4) / 2)
    assert said["token_answer_logprob_min"] == pytest.approx(math.log(0.5))
    assert said["token_answer_inverse_perplexity"] == pytest.approx(0.4**0.5)
    assert said["token_answer_margin_min"] == pytest.approx(0.25)
    assert said["token_answer_gini_mean"] == pytest.approx((0.25 + 0.0625 + 0.64 + 0.01) / 2)
    assert said["token_answer_negentropy_mean"] == pytest.approx(-(1.039721 + 0.639032) / 2, abs=1e-6)
    assert said["token_answer_self_certainty_mean"] == pytest.approx(
        -(math.log(4 / 3) + math.log(2 / 3) + math.log(16 / 9) + math.log(2 / 9)) / 4
    )
    assert said["token_answer_first_probability"] == pytest.approx(0.5)
    assert said["token_answer_first_margin"] == pytest.approx(0.25)


def test_reasoning_does_not_swamp_the_answer() -> None:
    answer = ((" Answer", 0.9, 0.05), (":", 0.9, 0.05), (" 42", 0.4, 0.3))
    short = spoken(*answer)
    long = spoken(*[(" so", 0.99, 0.005)] * 400, ("\n", 0.9, 0.05), *answer)
    for name in short:
        if name.startswith("token_answer"):
            assert long[name] == pytest.approx(short[name])
    assert long["token_logprob_mean"] != pytest.approx(short["token_logprob_mean"], abs=0.1)


def test_an_empty_span_is_missing_for_its_own_reason() -> None:
    said = spoken(("?!", 0.9, 0.05))
    assert said["token_content_logprob_min"] == Missing("the answer has no words")
    assert said["token_entity_logprob_min"] == Missing(
        "the answer has no name and no number that can be told from other words"
    )
    assert isinstance(said["token_answer_logprob_min"], float)
    blank = spoken((" ", 0.9, 0.05))
    assert blank["token_answer_first_margin"] == Missing("the tokens spell no answer")
    assert isinstance(blank["token_logprob_min"], float)


ANY = st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, 0.0, 1e3, -1e4])


@given(
    st.text(max_size=8),
    st.lists(
        st.builds(
            TokenLogprob, st.text(max_size=3), ANY, st.lists(st.tuples(st.text(max_size=2), ANY), max_size=4).map(tuple)
        ),
        max_size=5,
    ),
)
def test_whatever_an_upstream_writes_a_value_is_a_number_within_bounds(text: str, tokens: list[TokenLogprob]) -> None:
    said = measured(tokens, text)
    for signal in TOKEN_SIGNALS:
        value = said[signal.name]
        if not isinstance(value, Missing):
            assert signal.bounds[0] <= value <= signal.bounds[1]


def test_a_log_probability_that_is_no_number_is_missing() -> None:
    said = measured((TokenLogprob("Nigeria", math.nan),))
    assert said["token_logprob_sum"] == Missing("a log-probability is no finite number")


BROKEN = [
    TokenLogprob("Nigeria", -math.inf, (("Ghana", -1.0),)),
    TokenLogprob("Nigeria", -0.1, (("Ghana", math.nan),)),
    TokenLogprob("Nigeria", -0.1, (("Ghana", math.inf),)),
    TokenLogprob("Nigeria", 3.0, (("Ghana", -1.0),)),
]


@pytest.mark.parametrize("token", BROKEN, ids=str)
def test_a_log_probability_that_is_none_says_nothing_of_the_answer(token: TokenLogprob) -> None:
    assert set(measured((token,)).values()) == {Missing("a log-probability is no finite number")}


def test_an_alternative_that_cannot_occur_counts_for_nothing() -> None:
    said = measured((TokenLogprob("Nigeria", 0.0, (("Ghana", -math.inf),)),))
    assert (said["token_margin_min"], said["token_gini_mean"], said["token_negentropy_mean"]) == (1.0, 1.0, 0.0)
