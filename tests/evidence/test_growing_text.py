"""Tokens and ends of sentences of a draft under way: in one order, whatever the pieces."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.growing_text import Event, GrowingText, SentenceEnd
from gate.types import TokenLogprob


def tokens(*pieces: str) -> tuple[TokenLogprob, ...]:
    return tuple(TokenLogprob(piece, -0.5) for piece in pieces)


def shown(events: Iterable[Event]) -> list[str | int]:
    return [event.at if isinstance(event, SentenceEnd) else event.token.token for event in events]


def test_an_end_follows_the_last_token_that_begins_before_it() -> None:
    growing = GrowingText()
    assert shown(growing.grew("It is.", tokens("It", " is", "."))) == ["It", " is", "."]
    assert shown(growing.grew(" So", tokens(" So"))) == [6, " So"]
    assert shown(growing.grew(" it", tokens(" it"))) == [" it"]
    assert growing.length == 12


def test_a_token_that_an_end_cuts_goes_with_what_is_before_it() -> None:
    assert shown(GrowingText().grew("It.\n\nSo", tokens("It", ".\n\n", "So"))) == ["It", ".\n\n", 3, "So"]


def test_tokens_wait_for_their_text_and_ends_for_their_tokens() -> None:
    growing = GrowingText()
    assert shown(growing.grew("", tokens("It", ".", " So"))) == []
    assert shown(growing.grew("It. S")) == ["It", ".", 3]
    assert shown(growing.grew("o. And")) == [" So"]
    assert shown(growing.grew("", tokens("."))) == [".", 7]


def test_where_it_is_open_whether_a_sentence_ended_the_token_behind_waits() -> None:
    growing = GrowingText()
    assert shown(growing.grew("It. ", tokens("It", ".", " "))) == ["It", "."]
    assert shown(growing.grew("and", tokens("and"))) == [" ", "and"]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Paris. So", (" Paris", ".", " So")),
        ("né. So", ("n", "<0xC3>", "<0xA9>", ".", " So")),
        ("né. So", ("n", "bytes:\\xc3", "bytes:\\xa9", ".", " So")),
        ("a né. So", ("▁a", "▁né", ".", "▁So")),
        ("né. So", ("<|begin|>", "nÃ©", "né", ".", " So")),
    ],
)
def test_tokens_in_raw_form_are_spelled_out(text: str, pieces: tuple[str, ...]) -> None:
    growing = GrowingText()
    events = [*growing.grew(text + "  ", tokens(*pieces)), *growing.ended()]
    assert shown(events) == [*pieces[:-1], text.index(".") + 1, pieces[-1]]


def test_an_end_marker_takes_up_no_room_and_comes_last() -> None:
    growing = GrowingText()
    assert shown(growing.grew("It. So.", tokens("It", ".", " So", ".", "<|eot|>"))) == ["It", ".", 3, " So", "."]
    assert shown(growing.ended()) == ["<|eot|>"]


def test_without_tokens_ends_are_told_when_nothing_more_comes() -> None:
    growing = GrowingText()
    assert shown(growing.grew("It. So. A")) == []
    assert shown(growing.ended()) == [3, 7]


PIECES = ("It", " is", ".", " So", "\n", "。", " e.g.", " 3", ".5", "!\n", " ", "", "<|x|>", "<0xC3>", "é", ' "')


@given(
    st.lists(st.sampled_from(PIECES), max_size=20),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 20))),
)
def test_pieces_make_no_difference(pieces: list[str], raw: bool, cuts: list[tuple[int, int]]) -> None:
    text = "".join(piece for piece in pieces if not (raw and piece.startswith("<")))
    said = tokens(*pieces)
    whole = GrowingText()
    expected = shown([*whole.grew(text, said), *whole.ended()])
    places = [(0, 0), *sorted((min(a, len(text)), min(b, len(said))) for a, b in cuts), (len(text), len(said))]
    growing, found = GrowingText(), list[str | int]()
    done = 0
    for (a, _), (b, upto) in pairwise(places):
        upto = max(done, upto)
        found += shown(growing.grew(text[a:b], said[done:upto]))
        done = upto
    assert found + shown(growing.ended()) == expected
    assert [event for event in expected if isinstance(event, str)] == [token.token for token in said]
    assert growing.length == len(text)
