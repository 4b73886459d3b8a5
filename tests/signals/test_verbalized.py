"""Signals of stated confidence: worked values, and what is missing rather than zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence import StatedLinguistic, StatedOneStage, StatedTopK, StatedTwoStage
from gate.evidence.stated import ABOVE, NONE_STATED
from gate.evidence.stated_one_stage import StatedAnswer
from gate.ports import Evidence, Fact, Missing
from gate.signals.verbalized import VERBALIZED_SIGNALS
from gate.types import Cost

BY_NAME = {signal.name: signal for signal in VERBALIZED_SIGNALS}
WORKED = (StatedAnswer("a", 0.9), StatedAnswer("a", 0.8), StatedAnswer("b", 0.6))


def value(name: str, fact: Fact) -> float | Missing:
    return BY_NAME[name].measure(Evidence().having(fact))


def one_stage(name: str, *replies: StatedAnswer, draft: str = "a") -> float | Missing:
    return value(name, StatedOneStage(Cost(), draft, replies))


def test_two_of_three_that_agree_give_the_worked_values() -> None:
    assert one_stage("stated_consistency", *WORKED) == pytest.approx(0.66667, abs=1e-5)
    assert one_stage("stated_average", *WORKED) == pytest.approx(0.73913, abs=1e-5)
    assert one_stage("stated_one_stage", *WORKED) == pytest.approx(0.85)


def test_for_the_answer_of_the_fewer_they_are_those_of_the_fewer() -> None:
    assert one_stage("stated_consistency", *WORKED, draft="b") == pytest.approx(1 / 3)
    assert one_stage("stated_average", *WORKED, draft="b") == pytest.approx(0.26087, abs=1e-5)
    assert one_stage("stated_one_stage", *WORKED, draft="b") == pytest.approx(0.6)


def test_when_no_reply_agrees_its_confidence_is_missing_and_its_shares_are_zero() -> None:
    assert one_stage("stated_one_stage", *WORKED, draft="c") == Missing("no reply gives the draft's answer")
    assert one_stage("stated_average", *WORKED, draft="c") == 0.0
    assert one_stage("stated_consistency", *WORKED, draft="c") == 0.0


def test_a_reply_without_a_number_still_has_its_answer() -> None:
    silent, loud = StatedAnswer("a", None), StatedAnswer("b", 0.5)
    assert one_stage("stated_consistency", silent, loud) == 0.5
    assert one_stage("stated_average", silent, loud) == 0.0
    assert one_stage("stated_one_stage", silent, loud) == Missing(
        "the replies that give the draft's answer state no confidence"
    )
    assert one_stage("stated_average", silent) == Missing("no reply states a confidence")


def test_confidences_of_zero_have_no_share() -> None:
    assert one_stage("stated_average", StatedAnswer("a", 0.0)) == Missing("every reply states a confidence of 0")
    assert one_stage("stated_one_stage", StatedAnswer("a", 0.0)) == 0.0


def test_an_empty_draft_agrees_with_nothing() -> None:
    for name in ("stated_one_stage", "stated_average", "stated_consistency"):
        assert one_stage(name, StatedAnswer("", 0.9), draft="") == Missing("the draft says nothing")
    assert value("stated_top_k", StatedTopK(Cost(), "", (("", 0.9),))) == Missing("the draft says nothing")


@pytest.mark.parametrize(
    ("draft", "chance", "lead"), [("nigeria", 0.6, 0.35), ("ghana", 0.25, -0.35), ("chad", 0.0, -0.6)]
)
def test_the_draft_among_the_guesses_or_not(draft: str, chance: float, lead: float) -> None:
    fact = StatedTopK(Cost(), draft, (("nigeria", 0.6), ("ghana", 0.25)))
    assert value("stated_top_k", fact) == pytest.approx(chance)
    assert value("stated_top_k_lead", fact) == pytest.approx(lead)


def test_a_sole_guess_leads_by_all_it_has() -> None:
    assert value("stated_top_k_lead", StatedTopK(Cost(), "nigeria", (("nigeria", 0.6),))) == 0.6


def test_without_guesses_both_are_missing() -> None:
    for name in ("stated_top_k", "stated_top_k_lead"):
        assert value(name, StatedTopK(Cost(), "nigeria", ())) == Missing("the reply lists no guesses")


def test_what_was_read_of_the_reply_is_passed_on_number_or_reason() -> None:
    assert value("stated_two_stage", StatedTwoStage(Cost(), 0.85)) == 0.85
    assert value("stated_two_stage", StatedTwoStage(Cost(), 0.0)) == 0.0
    assert value("stated_two_stage", StatedTwoStage(Cost(), ABOVE)) == ABOVE
    assert value("stated_linguistic", StatedLinguistic(Cost(), 0.45)) == 0.45
    assert value("stated_linguistic", StatedLinguistic(Cost(), NONE_STATED)) == NONE_STATED


SHARES = st.floats(0, 1)
REPLIES = st.lists(st.builds(StatedAnswer, st.sampled_from(["a", "b", "c"]), SHARES), min_size=1, max_size=8)


@given(REPLIES)
def test_the_order_of_replies_changes_nothing(replies: list[StatedAnswer]) -> None:
    for name in ("stated_one_stage", "stated_average", "stated_consistency"):
        assert one_stage(name, *replies) == one_stage(name, *reversed(replies))


@given(REPLIES)
def test_the_shares_of_all_answers_add_up_to_one(replies: list[StatedAnswer]) -> None:
    for name in ("stated_average", "stated_consistency"):
        shares = [one_stage(name, *replies, draft=draft) for draft in "abc"]
        held = [share for share in shares if isinstance(share, float)]
        assert not held or sum(held) == pytest.approx(1.0)


@given(REPLIES, SHARES)
def test_one_more_reply_that_agrees_never_lowers_the_shares(replies: list[StatedAnswer], confidence: float) -> None:
    for name in ("stated_average", "stated_consistency"):
        one, more = one_stage(name, *replies), one_stage(name, *replies, StatedAnswer("a", confidence))
        if isinstance(one, float):
            assert isinstance(more, float)
            assert more >= one - 1e-12
