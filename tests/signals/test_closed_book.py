"""Memory beside passages: how sure it was, whether they hold it, and which side the judge took."""

from __future__ import annotations

import pytest

from gate.evidence import Arbitration, ClosedBook, Passages
from gate.evidence.arbitration import Choice
from gate.ports import Evidence, Missing
from gate.signals.closed_book import CLOSED_BOOK_SIGNALS
from gate.types import Cost, Generation, Passage, TokenLogprob

LOGPROB, IN_PASSAGES, FOR_DRAFT = CLOSED_BOOK_SIGNALS
FOUND = Passages(
    Cost(), (Passage("a", "Lagos is in Nigeria."), Passage("b", "Abuja is in Nigeria."), Passage("c", "x"))
)


def memory(generation: Generation) -> Evidence:
    return Evidence().having(ClosedBook(Cost(), generation, False, 0.0)).having(FOUND)


def test_the_log_probability_is_that_of_the_whole_answer() -> None:
    said = Generation("Nigeria", tokens=(TokenLogprob("Nig", -0.5), TokenLogprob("eria", -0.25)))
    assert LOGPROB.measure(memory(said)) == -0.75
    assert LOGPROB.measure(memory(Generation("Nigeria"))) == Missing("the upstream gave no log-probabilities")
    assert LOGPROB.measure(memory(Generation("", tokens=said.tokens))) == Missing("the other answer is a refusal")


def test_the_passages_that_hold_it_are_counted() -> None:
    assert IN_PASSAGES.measure(memory(Generation("nigeria!"))) == pytest.approx(2 / 3)
    assert IN_PASSAGES.measure(memory(Generation("Peru"))) == 0.0
    assert IN_PASSAGES.measure(memory(Generation("", refusal="no"))) == Missing("the other answer is a refusal")


@pytest.mark.parametrize(("choice", "value"), [("draft", 1.0), ("neither", 0.5), ("memory", 0.0)])
def test_the_judge_is_for_the_draft_against_it_or_neither(choice: Choice, value: float) -> None:
    assert FOR_DRAFT.measure(Evidence().having(Arbitration(Cost(), choice))) == value
