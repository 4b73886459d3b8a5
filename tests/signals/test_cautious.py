"""Signals from the answer that was only asked for if sure."""

from __future__ import annotations

import pytest

from gate.evidence import Cautious
from gate.ports import Evidence, Missing
from gate.signals.cautious import CautiousAgreement, CautiousAssured
from gate.types import Cost, Generation


def read(generation: Generation, *, same: bool = False, similarity: float = 0.0) -> tuple[float, float]:
    evidence = Evidence().having(Cautious(Cost(), generation, same, similarity))
    said = [signal.measure(evidence) for signal in (CautiousAssured(), CautiousAgreement())]
    assert all(isinstance(value, float) for value in said)
    return float(said[0]), float(said[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("generation", "same", "similarity", "values"),
    [
        (Generation("Nigeria"), True, 1.0, (1.0, 1.0)),
        (Generation("Ghana"), False, 0.4, (1.0, 0.4)),
        (Generation("I don't know"), False, 0.3, (0.0, 0.0)),
        (Generation("I don't know."), True, 1.0, (0.0, 0.0)),
        (Generation("", refusal="No."), False, 0.0, (0.0, 0.0)),
        (Generation("Perhaps Nigeria"), False, 0.7, (0.5, 0.7)),
    ],
)
def test_declining_when_it_may_is_a_vote_against_the_draft(
    generation: Generation, same: bool, similarity: float, values: tuple[float, float]
) -> None:
    assert read(generation, same=same, similarity=similarity) == pytest.approx(values)


def test_without_the_fact_the_reason_is_given() -> None:
    known = Evidence().lacking(Cautious, "the budget is spent")
    assert CautiousAssured().measure(known) == CautiousAgreement().measure(known) == Missing("the budget is spent")
