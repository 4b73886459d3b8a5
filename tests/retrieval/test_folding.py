"""Folding: what makes no difference between words, and where words part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.retrieval.folding import folded, folded_words


@pytest.mark.parametrize(
    ("text", "same"),
    [("ZÜRICH", "zurich"), ("Straße", "strasse"), ("ＡＢＣ", "abc"), ("Café", "Cafe\u0301"), ("H210", "h210")],
)
def test_case_accents_and_width_make_no_difference(text: str, same: str) -> None:
    assert folded(text) == folded(same)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 2,850 km!", ["it", "s", "2", "850", "km"]),
        ("a_b-c", ["a", "b", "c"]),
        ("Łódź, 東京", ["łodz", "東京"]),
        ("?!", []),
    ],
)
def test_words_part_at_marks(text: str, words: list[str]) -> None:
    assert folded_words(text) == words


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_is_the_same(text: str) -> None:
    assert folded_words(text) == folded_words(f"é {text}")[1:]
    assert folded(text) == folded(f"é{text}")[1:]
