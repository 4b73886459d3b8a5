"""Second opinions: agreement by meaning, likeness by words, and what a refusal is worth."""

from __future__ import annotations

import pytest

from gate.evidence import ClosedBook, SecondOpinion
from gate.evidence.comparison import OtherAnswer
from gate.ports import Evidence, Missing
from gate.signals.second_opinion import SECOND_OPINION_SIGNALS
from gate.types import Cost, Generation

SIGNAL = {signal.name: signal for signal in SECOND_OPINION_SIGNALS}


def other(kind: str, said: Generation, same: bool, similarity: float) -> OtherAnswer:
    if kind == "second_opinion":
        return SecondOpinion(Cost(), said, same, similarity, "large")
    return ClosedBook(Cost(), said, same, similarity)


@pytest.mark.parametrize("kind", ["second_opinion", "closed_book"])
@pytest.mark.parametrize("same", [True, False])
def test_agreement_is_all_or_nothing_and_similarity_is_graded(kind: str, same: bool) -> None:
    evidence = Evidence().having(other(kind, Generation("Niger"), same, 0.83))
    assert SIGNAL[f"{kind}_agreement"].measure(evidence) == float(same)
    assert SIGNAL[f"{kind}_similarity"].measure(evidence) == 0.83


@pytest.mark.parametrize("name", SIGNAL)
@pytest.mark.parametrize("said", [Generation(""), Generation("Nigeria", refusal="no")], ids=["silent", "refusing"])
def test_a_refusal_is_no_vote(name: str, said: Generation) -> None:
    kind = name.rpartition("_")[0]
    evidence = Evidence().having(other(kind, said, False, 0.0))
    assert SIGNAL[name].measure(evidence) == Missing("the other answer is a refusal")


def test_the_two_kinds_are_not_mixed_up() -> None:
    evidence = Evidence().having(other("closed_book", Generation("Nigeria"), True, 1.0))
    assert SIGNAL["second_opinion_agreement"].measure(evidence) == Missing("no other answer was asked for")
    assert SIGNAL["closed_book_agreement"].measure(evidence) == 1.0
