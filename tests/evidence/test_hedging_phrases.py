"""The tables of hedges: every phrase is found, and so is every whole answer."""

from __future__ import annotations

import pytest

from gate.evidence.hedging_phrases import BUT, HEDGES, NO_ANSWERS, UNKNOWING
from gate.evidence.phrases import Phrases, spelled


@pytest.mark.parametrize("table", [BUT, HEDGES, UNKNOWING], ids=["but", "hedges", "unknowing"])
def test_every_phrase_of_a_table_is_found_and_none_that_is_excepted(table: Phrases) -> None:
    assert all(table.within(spelled(f"x {phrase} y")) for phrase in table.listed)
    assert not [phrase for phrase in table.unless if table.within(spelled(f"x {phrase} y"))]


def test_whole_answers_are_spelt_as_texts_are() -> None:
    assert {spelled(answer).strip() for answer in NO_ANSWERS} == NO_ANSWERS
