"""Claims: what of an answer can be held against passages, and how many of its words stand there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.claims import Claim, claims_of, numbered, support_in_words, vocabulary
from gate.types import Generation

ASKED = "Where is Lagos?"


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("Nigeria", (Claim("Nigeria", ASKED),)),
        ("In Nigeria.", (Claim("In Nigeria.", ASKED),)),
        ("It is a large city on the coast of southern Nigeria.",) * 2,
        (
            "Lagos lies in Nigeria. It has 15.4 million people!",
            (Claim("Lagos lies in Nigeria."), Claim("It has 15.4 million people!")),
        ),
        (
            "- Lagos is large\n2. Abuja is the capital\n\n***\n",
            (Claim("Lagos is large"), Claim("Abuja is the capital")),
        ),
        ("", ()),
        ("?!", ()),
    ],
)
def test_an_answer_is_parted_into_claims(text: str, claims: str | tuple[Claim, ...]) -> None:
    wanted = (Claim(claims),) if isinstance(claims, str) else claims
    assert claims_of(ASKED, Generation(text), 9) == wanted


def test_no_more_claims_than_asked_for_and_none_of_what_is_cited() -> None:
    said = Generation("Lagos is large [1]. It lies in Nigeria [2]. It has a port [1].", cites=True)
    assert claims_of(ASKED, said, 2) == (Claim("Lagos is large."), Claim("It lies in Nigeria."))


@pytest.mark.parametrize(
    ("claim", "passages", "share"),
    [
        (Claim("Nigeria", ASKED), ("Lagos is a city in Nigeria.",), 1.0),
        (Claim("Peru", ASKED), ("Lagos is a city in Nigeria.",), 0.5),
        (Claim("Peru", ASKED), ("Lagos is a city in Nigeria.", "Lima is in Peru."), 0.5),  # no one passage has both
        (Claim("Lagos had 15.4 million people in 2015"), ("Lagos: 15.4 million people (2012)",), 4 / 5),
        (Claim("It has 15.5 million people"), ("Lagos: 15.4 million people",), 2 / 3),
        (Claim("The Lagos is not"), ("LAGOS",), 0.5),  # a negation is a word that counts
        (Claim("東京"), ("東京は日本の首都。",), 1.0),
        (Claim("Lagos"), ("",), 0.0),
        (Claim("Lagos"), (), 0.0),
    ],
)
def test_support_is_the_share_of_content_words_in_the_best_passage(
    claim: Claim, passages: tuple[str, ...], share: float
) -> None:
    assert support_in_words(claim, list(map(vocabulary, passages))) == pytest.approx(share)


@given(st.text(max_size=80), st.text(max_size=80))
def test_support_is_a_share_and_a_text_supports_itself(text: str, other: str) -> None:
    assert 0.0 <= support_in_words(Claim(text, other), [vocabulary(other)]) <= 1.0
    if vocabulary(text):
        assert support_in_words(Claim(text), [vocabulary(text)]) == 1.0


def test_claims_are_listed_a_line_each_with_the_question_of_a_short_one() -> None:
    assert numbered([Claim("Nigeria", ASKED), Claim("a\nb")]) == "1. Where is Lagos? Nigeria\n2. a b"
