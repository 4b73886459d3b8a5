"""Vote share: of the answer that is returned, whoever wins the vote."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.calibration import VoteShareCalibrator
from gate.evidence import Meanings
from gate.ports import Evidence, Missing
from gate.signals.agreement import AGREEMENT_SIGNALS, VotePosterior, VoteShare
from gate.types import Cost, Reading, SignalVector, Stage


def share(draft: int, *samples: int, asked: int = 0) -> float | Missing:
    return VoteShare().measure(Evidence().having(Meanings(Cost(), draft, samples, asked=asked)))


@pytest.mark.parametrize(("draft", "value"), [(0, 0.6), (1, 0.2), (2, 0.2), (3, 0.0)])
def test_the_share_is_that_of_the_draft_not_of_the_majority(draft: int, value: float) -> None:
    assert share(draft, 0, 0, 0, 1, 2) == pytest.approx(value)


def test_the_draft_itself_has_no_vote() -> None:
    assert share(0, 1, 1) == 0.0
    assert share(0, 0, 0) == 1.0


def test_a_sample_that_was_asked_for_and_did_not_come_is_no_vote() -> None:
    assert share(0, 0, 0, 0, asked=5) == pytest.approx(0.6)
    assert share(0, 0, 0, asked=1) == 1.0


@given(st.integers(2, 32), st.data())
def test_fewer_samples_than_were_asked_for_never_pass_for_all_of_them(asked: int, data: st.DataObject) -> None:
    drawn = data.draw(st.integers(2, asked))
    value = share(0, *[0] * drawn, asked=asked)
    assert isinstance(value, float)
    read = SignalVector((Reading("vote_share", value),))
    p = VoteShareCalibrator(asked).confidence(read, Stage("small")).p
    assert p <= (drawn + 1) / (drawn + 2) + 1e-9


def test_a_reason_why_there_are_no_meanings_is_passed_on() -> None:
    assert VoteShare().measure(Evidence()) == Missing("no samples were drawn")
    assert VoteShare().measure(Evidence().lacking(Meanings, "is down")) == Missing("is down")


LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=12)


@given(LABELS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(labels: list[int], random: Random) -> None:
    shuffled = [*labels]
    random.shuffle(shuffled)
    assert share(0, *shuffled) == share(0, *labels)


@given(LABELS)
def test_the_shares_of_all_meanings_add_up_to_one(labels: list[int]) -> None:
    values = [share(draft, *labels) for draft in set(labels)]
    assert sum(value for value in values if isinstance(value, float)) == pytest.approx(1.0)


@given(LABELS, st.data())
def test_one_sample_more_that_agrees_never_lowers_it(labels: list[int], data: st.DataObject) -> None:
    agreeing = [*labels]
    agreeing[data.draw(st.integers(0, len(labels) - 1))] = 0
    one, other = share(0, *labels), share(0, *agreeing)
    assert isinstance(one, float)
    assert isinstance(other, float)
    assert one <= other


def test_samples_that_all_decline_agree_on_no_answer_but_are_votes_against_the_draft() -> None:
    evidence = Evidence().having(Meanings(Cost(), 0, (1, 1, 1), declined=True))
    said = {signal.name: signal.measure(evidence) for signal in (VoteShare(), *AGREEMENT_SIGNALS)}
    declines = Missing("every sample declines")
    assert said == {
        "vote_share": 0.0, "draft_mode_margin": -1.0, "single_meaning": declines, "largest_meaning_share": declines,
    }  # fmt: skip


def readings(draft: int, *samples: int) -> dict[str, float | Missing]:
    evidence = Evidence().having(Meanings(Cost(), draft, samples))
    return {signal.name: signal.measure(evidence) for signal in AGREEMENT_SIGNALS}


@pytest.mark.parametrize(
    ("draft", "samples", "single", "largest", "margin"),
    [
        (0, (0, 0, 0, 1, 2), 0.5, 0.6, 0.4),
        (1, (0, 0, 0, 1, 2), 0.5, 0.6, -0.4),
        (3, (0, 0, 0, 1, 2), 0.5, 0.6, -0.6),
        (0, (0, 0, 1, 1), 2 / 3, 0.5, 0.0),
        (0, (0, 0, 0), 1.0, 1.0, 1.0),
        (1, (0, 0, 0), 1.0, 1.0, -1.0),
        (0, (0, 1, 2), 0.0, 1 / 3, 0.0),
    ],
)
def test_how_many_meanings_how_large_and_by_how_much_the_draft_leads(
    draft: int, samples: tuple[int, ...], single: float, largest: float, margin: float
) -> None:
    expected = {"single_meaning": single, "largest_meaning_share": largest, "draft_mode_margin": margin}
    assert readings(draft, *samples) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("samples", "why"), [((), "no samples were drawn"), ((1,), "one sample has no spread"), ((0,), "one sample has no")]
)
def test_one_sample_agrees_with_itself_alone(samples: tuple[int, ...], why: str) -> None:
    for said in (share(0, *samples), *readings(0, *samples).values()):
        assert isinstance(said, Missing)
        assert said.reason.startswith(why)


@given(LABELS)
def test_the_draft_leads_by_its_share_less_the_best_of_the_others(labels: list[int]) -> None:
    said = readings(0, *labels)
    others = max((labels.count(label) for label in set(labels) - {0}), default=0)
    assert said["draft_mode_margin"] == pytest.approx((labels.count(0) - others) / len(labels))
    largest, own = said["largest_meaning_share"], share(0, *labels)
    assert isinstance(largest, float)
    assert isinstance(own, float)
    assert largest >= own


@pytest.mark.parametrize(
    ("samples", "asked", "mean"), [((0,) * 4, 4, 5 / 6), ((0,) * 8, 8, 0.9), ((1, 1), 2, 0.25), ((0, 0), 4, 0.5)]
)
def test_few_votes_of_one_mind_are_not_taken_for_many(samples: tuple[int, ...], asked: int, mean: float) -> None:
    evidence = Evidence().having(Meanings(Cost(), 0, samples, asked=asked))
    assert VotePosterior().measure(evidence) == pytest.approx(mean)
    read = SignalVector((Reading("vote_share", VoteShare().measure(evidence)),))  # type: ignore[arg-type]
    assert VoteShareCalibrator(asked).confidence(read, Stage("small")).p == pytest.approx(mean)


def test_without_meanings_there_is_no_posterior() -> None:
    assert VotePosterior().measure(Evidence()) == Missing("no samples were drawn")
    assert VotePosterior().measure(Evidence().having(Meanings(Cost(), 0, (0,)))) == Missing("one sample has no spread")
