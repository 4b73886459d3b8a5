"""P(True): the share of the true option, by probability, by votes, and with the judge's leaning taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import PTrue
from gate.evidence.p_true import NO_LOGPROBS, NO_TWIN, NOT_LISTED, Options
from gate.ports import Evidence, Missing
from gate.signals.p_true import P_TRUE_SIGNALS, debiased
from gate.types import Cost

BY_NAME = {signal.name: signal for signal in P_TRUE_SIGNALS}


def value(
    name: str,
    options: Options | Missing = NO_LOGPROBS,
    votes: tuple[bool | None, ...] = (),
    twin: Options | Missing = NO_TWIN,
) -> float | Missing:
    return BY_NAME[name].measure(Evidence().having(PTrue(Cost(), options, votes, twin)))


def test_the_worked_example_of_taking_a_leaning_out() -> None:
    assert debiased((0.6, 0.3, 0.1), (0.5, 0.25, 0.25)) == pytest.approx((0.42857, 0.42857, 0.14286), abs=1e-5)


@pytest.mark.parametrize(
    ("probabilities", "null"),
    [((0.6, 0.4), (1.0, 0.0)), ((0.0, 0.0), (0.5, 0.5)), ((1.0, 1.0), (5e-324, 5e-324)), ((1.0, 1.0), (1e-310, 1.0))],
)
def test_where_it_is_undefined_there_is_none(probabilities: tuple[float, ...], null: tuple[float, ...]) -> None:
    assert debiased(probabilities, null) is None


SHARES = st.floats(1e-6, 1)


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=5), st.floats(0.01, 100))
def test_what_is_left_sums_to_one_and_scale_is_no_matter(pairs: list[tuple[float, float]], scale: float) -> None:
    p, null = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    made = debiased(p, null)
    assert made is not None
    assert sum(made) == pytest.approx(1.0)
    assert debiased([x * scale for x in p], null) == pytest.approx(made)


@given(st.lists(SHARES, min_size=2, max_size=5))
def test_a_null_without_leaning_changes_nothing_but_the_scale(p: list[float]) -> None:
    assert debiased(p, [0.25] * len(p)) == pytest.approx([x / sum(p) for x in p])


@pytest.mark.parametrize(
    ("options", "share"),
    [(Options(0.6, 0.2), 0.75), (Options(0.3, 0.0), 1.0), (Options(0.0, 1e-9), 0.0), (Options(0.5, 0.5), 0.5)],
)
def test_it_is_the_true_options_share_of_both(options: Options, share: float) -> None:
    assert value("p_true", options) == pytest.approx(share)


def test_what_could_not_be_read_is_missing_for_its_reason() -> None:
    assert value("p_true", NOT_LISTED) == NOT_LISTED
    assert value("p_true", NO_LOGPROBS) == NO_LOGPROBS


@pytest.mark.parametrize(
    ("votes", "share"),
    [((True, True, False, True), 0.75), ((False,), 0.0), ((True, None), 0.5), ((None, None, False), 0.0)],
)
def test_a_vote_for_neither_is_none_for_true(votes: tuple[bool | None, ...], share: float) -> None:
    assert value("p_true_votes", votes=votes) == pytest.approx(share)


def test_votes_that_were_not_asked_for_or_name_nothing_are_missing() -> None:
    assert value("p_true_votes") == Missing("no votes were asked for")
    assert value("p_true_votes", votes=(None, None)) == Missing("no vote names an option")


def test_a_judge_that_says_true_to_nothing_as_often_says_nothing() -> None:
    assert value("p_true_debiased", Options(0.8, 0.2), twin=Options(0.8, 0.2)) == pytest.approx(0.5)
    assert value("p_true_debiased", Options(0.8, 0.2), twin=Options(0.2, 0.8)) == pytest.approx(16 / 17)


def test_without_a_twin_or_with_one_that_rules_an_option_out_it_is_missing() -> None:
    assert value("p_true_debiased", Options(0.8, 0.2)) == NO_TWIN
    assert value("p_true_debiased", NOT_LISTED, twin=Options(0.8, 0.2)) == NOT_LISTED
    out = value("p_true_debiased", Options(0.8, 0.2), twin=Options(1.0, 0.0))
    assert out == Missing("the judge's leaning cannot be taken out: it rules an option out")
