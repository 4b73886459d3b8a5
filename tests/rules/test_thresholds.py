"""Thresholds by round: which goes before which, for every rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gate.rules import ThresholdRule
from gate.types import Action, Confidence, Stage

P = st.floats(0, 1)
ROUNDS = [Stage(name, passages) for name in ("small", "large") for passages in (False, True)]


@given(
    general=P,
    closed_book=st.none() | P,
    named=st.dictionaries(st.sampled_from([stage.round_key for stage in ROUNDS]), P),
    stage=st.sampled_from(ROUNDS),
    tier=st.integers(0, 2),
    p=P,
)
def test_the_threshold_of_a_round_goes_before_that_of_its_book_and_that_before_the_general_one(
    general: float, closed_book: float | None, named: dict[str, float], stage: Stage, tier: int, p: float
) -> None:
    rule = ThresholdRule(answer_at=general, closed_book_at=closed_book, answer_at_in=named)
    here = Stage(stage.upstream, stage.passages, tier)
    of_book = general if stage.passages or closed_book is None else closed_book
    assert rule.threshold(here) == named.get(stage.round_key, of_book)
    decision = rule.decide(Confidence(p, p, p), here, frozenset())
    assert decision.threshold == rule.threshold(here)
    assert (decision.action is Action.ANSWER) == (p >= rule.threshold(here))


@given(general=P, closed_book=st.none() | P, named=st.dictionaries(st.sampled_from(["a/closed_book", "b"]), P))
def test_there_is_one_threshold_everywhere_only_where_no_draft_has_another(
    general: float, closed_book: float | None, named: dict[str, float]
) -> None:
    rule = ThresholdRule(answer_at=general, closed_book_at=closed_book, answer_at_in=named)
    rounds = [*ROUNDS, Stage("a"), Stage("a", passages=True)]
    thresholds = {rule.threshold(stage) for stage in rounds} | set(named.values())
    assert rule.everywhere == (general if thresholds == {general} else None)


def test_more_evidence_goes_before_the_first_way_that_is_open() -> None:
    rule = ThresholdRule(answer_at=0.5, gather_above=0.2, otherwise=(Action.ESCALATE, Action.RETRIEVE))
    unsure = Confidence(0.3, 0.3, 0.3)
    assert rule.in_order(unsure, 0.5, frozenset(Action)) is Action.GATHER
    assert rule.in_order(unsure, 1.0, frozenset(Action)) is Action.ESCALATE  # nothing lifts p to 1
    assert rule.in_order(Confidence(0.1, 0.1, 0.1), 0.5, frozenset({Action.GATHER, Action.RETRIEVE})) is Action.RETRIEVE
    assert rule.in_order(unsure, 0.5, frozenset()) is Action.ABSTAIN
