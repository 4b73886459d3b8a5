"""Perturbing text: what is moved, said again, dropped and cut; and how alike texts are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.perturbing import (
    amplified,
    halves,
    naming,
    permuted,
    without_stop_words,
)
from gate.evidence.words import sentences, words

CONTEXT = "Lagos is in Nigeria. It is large. The old capital was Lagos. Abuja is the capital. people live there."
TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(["Lagos is big. ", "It rains. ", "in Paris? ", "東京です。", "no! ", "\ud800 "]), max_size=9
).map("".join)


def test_sentences_that_name_something_are_told_by_their_capitals() -> None:
    assert naming(sentences(CONTEXT)) == [0, 2, 3]


def test_a_first_word_is_no_name_where_it_stands_in_lower_case_elsewhere() -> None:
    assert naming(["Cities grow.", "Many cities are old.", "Abuja grows."]) == [1, 2]
    assert naming(["Cities grow.", "Many cities are old, many new.", "Abuja grows."]) == [2]


def test_in_scripts_without_case_every_sentence_may_name_something() -> None:
    assert naming(sentences("東京は首都です。大阪は都市です。")) == [0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_permuting_moves_sentences_and_loses_none(seed: int) -> None:
    text = permuted(CONTEXT, random.Random(seed))
    assert text is not None
    assert text != CONTEXT
    assert sorted(sentences(text)) == sorted(sentences(CONTEXT))
    assert text == permuted(CONTEXT, random.Random(seed))


def test_what_names_nothing_keeps_its_order() -> None:
    text = permuted("it is large. Lagos is there. people live in it. so it goes.", random.Random(3))
    assert text is not None
    assert [part for part in sentences(text) if "Lagos" not in part] == [
        "it is large.",
        "people live in it.",
        "so it goes.",
    ]


@pytest.mark.parametrize("text", ["", "Lagos is in Nigeria.", "it rains. it pours.", "Lagos grows. Lagos grows."])
def test_nothing_is_permuted_without_two_sentences_of_which_one_names_something(text: str) -> None:
    assert permuted(text, random.Random(0)) is None


def test_amplifying_says_one_naming_sentence_three_times() -> None:
    text = amplified(CONTEXT, random.Random(0))
    assert text is not None
    counts = {part: sentences(text).count(part) for part in sentences(CONTEXT)}
    assert sorted(counts.values()) == [1, 1, 1, 1, 3]
    said = next(part for part, count in counts.items() if count == 3)
    assert sentences(CONTEXT).index(said) in naming(sentences(CONTEXT))


@pytest.mark.parametrize("text", ["", "Lagos is in Nigeria.", "it rains. it pours."])
def test_nothing_is_amplified_without_several_sentences_of_which_one_names_something(text: str) -> None:
    assert amplified(text, random.Random(0)) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Where is Lagos?", "Lagos?"),
        ("Which of the cities is not in Nigeria?", "cities not Nigeria?"),
        ("Who never sang in The Who?", "never sang The Who?"),
        ("Isn't it the one that doesn't float? The rain falls.", "Isn't one doesn't float? rain falls."),
        ("Lagos?", None),
        ("What is it?", None),
        ("¿Dónde está Lagos?", None),
        ("", None),
        ("東京はどこですか", None),
    ],
)
def test_stop_words_go_and_negations_and_names_stay(text: str, kept: str | None) -> None:
    assert without_stop_words(text) == kept


def test_halves_are_cut_at_different_sentence_boundaries() -> None:
    text = "One. Two. Three. Four."
    pairs = halves(text, 5, random.Random(1))
    assert len(set(pairs)) == len(pairs) == 3
    assert {f"{one} {other}" for one, other in pairs} == {text}
    assert len(halves(text, 2, random.Random(1))) == 2
    assert halves("One.", 5, random.Random(1)) == []
    assert halves("", 5, random.Random(1)) == []


@given(text=TEXTS, seed=st.integers(0, 9))
def test_whatever_the_text_no_perturbation_fails_or_invents_a_word(text: str, seed: int) -> None:
    known = words(text)
    for changed in (
        permuted(text, random.Random(seed)),
        amplified(text, random.Random(seed)),
        without_stop_words(text),
    ):
        assert changed is None or (changed != text and set(words(changed)) <= set(known))
    for one, other in halves(text, 5, random.Random(seed)):
        assert words(f"{one} {other}") == known
