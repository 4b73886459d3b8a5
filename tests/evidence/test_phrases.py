"""Phrases: what counts as holding one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.phrases import Phrases, spelled

TABLE = Phrases(("i don't know", "current", "aujourd'hui", "今天"), unless=("electric current",))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("I don\u2019t KNOW!", " i don t know "),
        ("self-check, 3.5", " self check 3 5 "),
        ("Ｗｉｄｅ", " wide "),
        ("", "  "),
    ],
)
def test_spelling(text: str, form: str) -> None:
    assert spelled(text) == form


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Sorry, I don't know.", True),
        ("I DON\u2019T KNOW", True),
        ("I know", False),
        ("the currents", False),
        ("the current king", True),
        ("an electric current", False),
        ("the current electric current", True),
        ("Quel jour est-on aujourd\u2019hui ?", True),
        ("北京今天天气怎么样", True),
        ("北京", False),
        ("", False),
    ],
)
def test_whole_words_are_found_and_anything_in_scripts_without_spaces(text: str, held: bool) -> None:
    assert TABLE.within(spelled(text)) is held


def test_different_phrases_are_counted_once_each() -> None:
    assert TABLE.count(spelled("the current or current 今天 今天")) == 2
    assert TABLE.count(spelled("nothing")) == 0


@given(st.text(max_size=80))
def test_any_text_can_be_looked_through(text: str) -> None:
    form = spelled(text)
    assert TABLE.within(form) is (TABLE.count(form) > 0)
    assert spelled(form) == form
