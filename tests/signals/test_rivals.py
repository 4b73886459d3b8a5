"""Rivals: who agrees, and who says nothing."""

from __future__ import annotations

import pytest

from gate.evidence import Draft
from gate.ports import Evidence, Missing
from gate.signals.rivals import RivalAgreement
from gate.types import Cost, Generation


@pytest.mark.parametrize(
    ("draft", "rivals", "value"),
    [
        ("Nigeria", ("nigeria.", "Peru"), 0.5),
        ("Nigeria", ("Nigeria", ""), 1.0),
        ("Nigeria", ("Peru",), 0.0),
        ("Nigeria", ("", ""), Missing("no other retriever's passages led to an answer")),
        ("Nigeria", (), Missing("no other retriever's passages led to an answer")),
        ("", ("Peru",), Missing("the draft says nothing")),
    ],
)
def test_agreement_is_the_share_that_says_the_same(draft: str, rivals: tuple[str, ...], value: float | Missing) -> None:
    fact = Draft(Cost(), Generation(draft), "small", tuple(map(Generation, rivals)))
    assert RivalAgreement().measure(Evidence().having(fact)) == value
