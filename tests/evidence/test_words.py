"""Parting text into words, names and sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.words import NEGATIONS, STOP_WORDS, names, placed_words, sentences, spaced_words, words


@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("Where is Southend-on-Sea?", ["Where", "is", "Southend-on-Sea"]),
        ("It's 3.5 km, or 1,000 m.", ["It's", "3.5", "km", "or", "1,000", "m"]),
        ("snake_case (x)", ["snake", "case", "x"]),
        ("東京 نعم", ["東京", "نعم"]),
        ("?! …", []),
    ],
)
def test_words(text: str, parted: list[str]) -> None:
    assert words(text) == parted


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Where is Lagos?", ["Lagos"]),
        ("Did Ann win in 1966?", ["Ann", "1966"]),
        ("Lagos", []),
        ("where is it", []),
        ("東京はどこですか", []),
        ("", []),
    ],
)
def test_names(text: str, named: list[str]) -> None:
    assert names(text) == named


@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 3.5 m.\nNext line", ["It is 3.5 m.", "Next line"]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("東京です。大阪です。", ["東京です。", "大阪です。"]),
        ("  ", []),
    ],
)
def test_sentences(text: str, parted: list[str]) -> None:
    assert sentences(text) == parted


@given(st.text(max_size=60))
def test_no_word_and_no_sentence_is_blank_and_all_stand_in_the_text(text: str) -> None:
    for part in (*words(text), *sentences(text)):
        assert part.strip()
        assert part in text


@given(st.text(max_size=60))
def test_placed_words_are_the_words_where_they_stand(text: str) -> None:
    placed = placed_words(text)
    assert [word for _, _, word in placed] == words(text)
    assert all(text[begin:end] == word for begin, end, word in placed)


def test_no_negation_is_a_stop_word() -> None:
    assert not NEGATIONS & STOP_WORDS
    assert len(STOP_WORDS) > 100


def test_spaces_part_words_and_in_scripts_with_few_of_them_every_sign_stands_alone() -> None:
    assert spaced_words("ville de lagos à $5") == ("ville", "de", "lagos", "à", "$5")
    assert spaced_words("東京 in 1964年") == ("東", "京", "in", "1964", "年")
    assert spaced_words("\u2028") == ()
    assert len(spaced_words("a " * 20_000)) == 1000
