"""Arbitration: what the judge is shown, on which side, and what its letter stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.effects import Generate
from gate.errors import EvidenceUnavailable
from gate.evidence import Arbitration, ArbitrationSource, ClosedBook, Draft
from gate.evidence.arbitration import draft_is_second
from gate.ports import Evidence
from gate.types import Cost, Generation
from tests.evidence.asking_again import gathered, reading
from tests.scripted import Scripted, always

ROUND = reading("Lagos is a city in Nigeria.")


def evidence(draft: str, memory: str, *, same: bool = False) -> Evidence:
    made = Evidence().having(Draft(Cost(), Generation(draft), "small"))
    return made.having(ClosedBook(Cost(), Generation(memory), same, 0.0))


def judged(draft: str, memory: str, said: str) -> tuple[Arbitration, Generate]:
    small = Scripted("small", always(said))
    fact = gathered(ArbitrationSource(), ROUND, small, evidence=evidence(draft, memory))
    assert isinstance(fact, Arbitration)
    (asked,) = small.asked
    return fact, asked


@pytest.mark.parametrize("draft", ["Nigeria", "Peru", "Chad", "Mali", "Togo"])
def test_the_letter_stands_for_the_answer_that_was_shown_under_it(draft: str) -> None:
    fact, asked = judged(draft, "Ghana", "A")
    text = asked.messages[-1].content
    answers = text.partition("answer A")[2]
    turned = answers.index("Ghana") < answers.index(draft)
    assert fact.choice == ("memory" if turned else "draft")
    assert judged(draft, "Ghana", "(B)")[0].choice == ("draft" if turned else "memory")
    assert judged(draft, "Ghana", "C) Neither")[0].choice == "neither"
    assert "[1] Lagos is a city in Nigeria." in text
    assert (asked.temperature, asked.n) == (0.0, 1)


def test_neither_side_has_a_letter_of_its_own() -> None:
    turned = sum(draft_is_second(f"question {number}", "Nigeria", "Ghana") for number in range(400))
    assert 160 < turned < 240


@given(st.text(), st.text(), st.text())
def test_the_side_is_settled_by_what_is_asked_and_answered(question: str, draft: str, memory: str) -> None:
    assert draft_is_second(question, draft, memory) is draft_is_second(question, draft, memory)


def test_where_both_say_the_same_nobody_is_asked() -> None:
    small = Scripted("small", always("A"))
    fact = gathered(ArbitrationSource(), ROUND, small, evidence=evidence("Nigeria", "nigeria", same=True))
    assert fact == Arbitration(Cost(), "draft")
    assert small.asked == []


def test_what_cannot_be_weighed_is_missing() -> None:
    small = Scripted("small", always("Both are fine"))
    with pytest.raises(EvidenceUnavailable, match="none of the letters") as raised:
        gathered(ArbitrationSource(), ROUND, small, evidence=evidence("Nigeria", "Ghana"))
    assert raised.value.cost is not None
    with pytest.raises(EvidenceUnavailable, match="memory gives no answer"):
        gathered(ArbitrationSource(), ROUND, small, evidence=evidence("Nigeria", ""))
    lacking = Evidence().having(Draft(Cost(), Generation("x"), "small")).lacking(ClosedBook, "is down")
    with pytest.raises(EvidenceUnavailable, match="is down"):
        gathered(ArbitrationSource(), ROUND, small, evidence=lacking)
    assert len(small.asked) == 1


def test_another_judge_can_be_named() -> None:
    small, large = Scripted("small", always("A")), Scripted("large", always("C"))
    source = ArbitrationSource(upstream="large")
    assert source.uses.upstreams == ("large",)
    fact = gathered(source, ROUND, small, large, evidence=evidence("Nigeria", "Ghana"))
    assert isinstance(fact, Arbitration)
    assert (fact.choice, len(large.asked), small.asked) == ("neither", 1, [])
