"""Semantic entropy, discrete and weighted: worked values, bounds, and what merging meanings does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import Meanings, Samples
from gate.ports import Evidence, Missing
from gate.signals.semantic_entropy import (
    SemanticConcentration,
    WeightedSemanticConcentration,
    discrete_entropy,
    entropy_direct,
    entropy_of_mean_mass,
    entropy_over_meanings,
    entropy_over_samples,
    weighted_entropy,
)
from gate.types import Cost, Generation, TokenLogprob

LABELS, PROBABILITIES = (0, 0, 0, 1, 2), (0.3, 0.2, 0.1, 0.05, 0.05)


def sample(logprob: float) -> Generation:
    """A sample of two tokens that share a log-probability."""
    half = TokenLogprob("x", logprob / 2)
    return Generation("x", tokens=(half, half))


def evidence(labels: tuple[int, ...], samples: tuple[Generation, ...]) -> Evidence:
    return Evidence().having(Meanings(Cost(), 0, labels)).having(Samples(Cost(), samples))


def weighted(labels: tuple[int, ...], probabilities: tuple[float, ...]) -> float | Missing:
    samples = tuple(sample(math.log(p)) for p in probabilities)
    return WeightedSemanticConcentration().measure(evidence(labels, samples))


def discrete(*labels: int) -> float | Missing:
    return SemanticConcentration().measure(Evidence().having(Meanings(Cost(), 0, labels)))


def test_five_samples_of_three_meanings() -> None:
    assert discrete_entropy(LABELS) == pytest.approx(0.95027, abs=1e-5)
    assert weighted_entropy(LABELS, [math.log(p) for p in PROBABILITIES]) == pytest.approx(0.50914, abs=1e-5)
    assert discrete(*LABELS) == pytest.approx(1 - 0.95027 / math.log(5), abs=1e-5)
    assert weighted(LABELS, PROBABILITIES) == pytest.approx(1 - 0.50914 / math.log(5), abs=1e-5)


def test_three_samples_that_all_differ_are_told_apart_by_their_probabilities() -> None:
    assert weighted((0, 1, 2), (0.7, 0.2, 0.1)) == pytest.approx(0.27015, abs=1e-5)
    assert discrete(0, 1, 2) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("m", [2, 5, 32])
def test_one_meaning_is_one_and_all_different_is_nought(m: int) -> None:
    equal = tuple([0.01] * m)
    assert discrete(*[0] * m) == weighted(tuple([0] * m), equal) == 1.0
    assert discrete(*range(m)) == pytest.approx(0.0, abs=1e-12)
    assert weighted(tuple(range(m)), equal) == pytest.approx(0.0, abs=1e-12)


def test_one_sample_has_no_spread() -> None:
    assert discrete(0) == weighted((0,), (0.5,)) == Missing("one sample has no spread")


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_one_sample_without_log_probabilities_takes_away_the_weighted_one_alone(lacking: int) -> None:
    samples = [sample(-1.0)] * 3
    samples[lacking] = Generation("x")
    facts = evidence((0, 0, 1), tuple(samples))
    assert WeightedSemanticConcentration().measure(facts) == Missing(
        "the upstream gave no log-probabilities for its samples"
    )
    assert SemanticConcentration().measure(facts) == pytest.approx(0.42062, abs=1e-5)


def test_a_reason_why_there_are_no_meanings_is_passed_on() -> None:
    for signal in (SemanticConcentration(), WeightedSemanticConcentration()):
        assert signal.measure(Evidence()) == Missing("no samples were drawn")
        assert signal.measure(Evidence().lacking(Meanings, "is down")) == Missing("is down")


def test_samples_too_unlikely_for_a_float_are_weighed_all_the_same() -> None:
    assert weighted_entropy((0, 1), (-9e4, -9e4)) == pytest.approx(math.log(2))
    assert weighted_entropy((0, 1), (-9e4, -9e4 - math.log(3))) == pytest.approx(0.562335, abs=1e-6)


DRAWN = st.lists(st.tuples(st.integers(0, 4), st.floats(-30, 0)), min_size=2, max_size=12)


@given(DRAWN)
def test_both_entropies_lie_between_nought_and_that_of_all_different(drawn: list[tuple[int, float]]) -> None:
    labels, logprobs = zip(*drawn, strict=True)
    for entropy in (discrete_entropy(labels), weighted_entropy(labels, logprobs)):
        assert 0.0 <= entropy <= math.log(len(labels)) + 1e-9


@given(DRAWN)
def test_taking_two_meanings_for_one_never_raises_an_entropy(drawn: list[tuple[int, float]]) -> None:
    labels, logprobs = zip(*drawn, strict=True)
    merged = tuple(0 if label == 1 else label for label in labels)
    assert discrete_entropy(merged) <= discrete_entropy(labels) + 1e-9
    assert weighted_entropy(merged, logprobs) <= weighted_entropy(labels, logprobs) + 1e-9


@given(DRAWN, st.floats(-500, 0), st.data())
def test_order_names_and_a_common_factor_change_nothing(
    drawn: list[tuple[int, float]], shift: float, data: st.DataObject
) -> None:
    labels, logprobs = zip(*drawn, strict=True)
    shuffled = data.draw(st.permutations(drawn))
    other_labels = [7 - label for label, _ in shuffled]
    other_logprobs = [logprob + shift for _, logprob in shuffled]
    assert discrete_entropy(other_labels) == pytest.approx(discrete_entropy(labels), abs=1e-9)
    assert weighted_entropy(other_labels, other_logprobs) == pytest.approx(weighted_entropy(labels, logprobs), abs=1e-9)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12), st.floats(-30, 0))
def test_equally_likely_samples_make_the_two_agree(labels: list[int], logprob: float) -> None:
    assert weighted_entropy(labels, [logprob] * len(labels)) == pytest.approx(discrete_entropy(labels), abs=1e-9)


@pytest.mark.parametrize(
    ("estimator", "value"),
    [
        (entropy_over_meanings, 2.16743),
        (entropy_over_samples, 1.50479),
        (entropy_direct, 1.21906),
        (entropy_of_mean_mass, 1.45529),
    ],
)
def test_the_other_estimators_give_other_values_for_the_same_samples(
    estimator: Callable[[Sequence[int], Sequence[float]], float], value: float
) -> None:
    logprobs = [math.log(p) for p in PROBABILITIES]
    assert estimator(LABELS, logprobs) == pytest.approx(value, abs=1e-5)
    assert estimator(LABELS[::-1], logprobs[::-1]) == pytest.approx(value, abs=1e-5)


def test_the_other_estimators_bear_samples_too_unlikely_for_a_float() -> None:
    far = [-9e4, -9e4, -9e4]
    assert entropy_over_meanings((0, 0, 1), far) == pytest.approx(9e4 - math.log(2) / 2)
    assert entropy_over_samples((0, 0, 1), far) == pytest.approx(9e4 - 2 * math.log(2) / 3)
    assert entropy_direct((0, 0, 1), far) == 0.0
    assert entropy_of_mean_mass((0, 0, 1), far) == pytest.approx(9e4 - math.log(1.5))


def test_per_token_a_long_answer_is_not_held_to_be_rare() -> None:
    token = TokenLogprob("x", -1.0)
    long, short = Generation("x" * 9, tokens=(token,) * 9), Generation("x", tokens=(token,))
    facts = evidence((0, 1), (long, short))
    per_token = WeightedSemanticConcentration("semantic_concentration_per_token", per_token=True)
    assert per_token.measure(facts) == pytest.approx(0.0, abs=1e-12)
    whole = WeightedSemanticConcentration().measure(facts)
    assert isinstance(whole, float)
    assert whole > 0.9
    assert per_token.measure(evidence((0, 0), (Generation("", tokens=()), short))) == 1.0


def test_samples_that_all_decline_agree_on_no_answer() -> None:
    no = Generation("", tokens=(), refusal="no")
    facts = Evidence().having(Samples(Cost(), (no, no))).having(Meanings(Cost(), 0, (1, 1), declined=True))
    for signal in (SemanticConcentration(), WeightedSemanticConcentration()):
        assert signal.measure(facts) == Missing("every sample declines")


def test_no_samples_and_samples_of_another_number_are_missing() -> None:
    for signal in (SemanticConcentration(), WeightedSemanticConcentration()):
        assert signal.measure(evidence((), ())) == Missing("no samples were drawn")
    said = WeightedSemanticConcentration().measure(evidence((0, 0), (sample(-1.0),) * 3))
    assert said == Missing("the samples are not those whose meanings are known")


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf, 0.5])
@pytest.mark.parametrize("per_token", [False, True])
def test_a_log_probability_that_is_none_is_missing(logprob: float, per_token: bool) -> None:
    facts = evidence((0, 0, 0), (sample(-1.0), sample(logprob), sample(-1.0)))
    said = WeightedSemanticConcentration(per_token=per_token).measure(facts)
    assert said == Missing("a log-probability is no finite number")
