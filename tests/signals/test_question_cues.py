"""The tables of cues: no phrase is shadowed, and none is looked for in vain."""

from __future__ import annotations

import pytest

from gate.evidence.phrases import Phrases, spelled
from gate.signals import question_cues

TABLES = {name: table for name, table in vars(question_cues).items() if isinstance(table, Phrases)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_every_phrase_of_a_table_is_found_and_none_that_is_excepted(table: Phrases) -> None:
    assert all(table.within(spelled(f"x {phrase} y")) for phrase in table.listed)
    assert not [phrase for phrase in table.unless if table.within(spelled(f"x {phrase} y"))]


def test_pronouns_and_dummies_are_spelt_as_texts_are() -> None:
    assert all(spelled(word).strip() == word for word in question_cues.PRONOUNS)
    assert all(spelled(dummy) == dummy for dummy in question_cues.DUMMY)
