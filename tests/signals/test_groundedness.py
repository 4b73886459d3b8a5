"""Groundedness: the worst claim, the mean, and what is contradicted."""

from __future__ import annotations

import pytest

from gate.evidence import Groundedness
from gate.ports import Evidence, Missing
from gate.signals.groundedness import GROUNDEDNESS_SIGNALS
from gate.types import Cost


def measured(fact: Groundedness) -> list[float | Missing]:
    return [signal.measure(Evidence().having(fact)) for signal in GROUNDEDNESS_SIGNALS]


def test_the_worst_claim_counts_and_the_mean_and_the_one_contradicted_most() -> None:
    assert measured(Groundedness(Cost(), (1.0, 0.5, 0.9), (0.0, 0.25, 0.1))) == [0.5, pytest.approx(0.8), 0.75]
    assert measured(Groundedness(Cost(), (0.3,), (1.0,))) == [0.3, 0.3, 0.0]


def test_a_judge_that_tells_no_contradiction_leaves_it_open() -> None:
    assert measured(Groundedness(Cost(), (1.0,)))[-1] == Missing("the lexical judge tells no contradiction")
