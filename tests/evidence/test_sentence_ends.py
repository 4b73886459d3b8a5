"""Ends of sentences: told as soon as they show, whatever the pieces, and never in the middle of one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.sentence_ends import SentenceEnds


def parts(text: str) -> list[str]:
    """The text cut at its ends."""
    places = SentenceEnds().grew(text)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("It is so. Then what? Stop! Now", ["It is so.", " Then what?", " Stop!", " Now"]),
        ('He said "No." Then he left. Why', ['He said "No."', " Then he left.", " Why"]),
        ("Pi is 3.14159. See example.com. Now", ["Pi is 3.14159.", " See example.com.", " Now"]),
        ("Dr. Ho met J. R. Li, e.g. in the U.S. Army. Then", ["Dr. Ho met J. R. Li, e.g. in the U.S. Army.", " Then"]),
        ("She has a Ph.D. in law at 5 p.m. sharp. Yes", ["She has a Ph.D. in law at 5 p.m. sharp.", " Yes"]),
        ("Symphony No. 5 is his. No. Never. So", ["Symphony No. 5 is his.", " No. Never.", " So"]),
        ("No. It is not. So", ["No.", " It is not.", " So"]),
        ("approx. five, et al. went on. Then", ["approx. five, et al. went on.", " Then"]),
        ("It took weeks... then it was over. So", ["It took weeks... then it was over.", " So"]),
        ('"Why?" he asked. So', ['"Why?" he asked.', " So"]),
        ("Steps:\n1. Go there.\n2. Come back\n\nDone", ["Steps:", "\n1. Go there.", "\n2. Come back", "\n\nDone"]),
        ("- **A.** one\n- (b) two\n* iv. three\n", ["- **A.** one", "\n- (b) two", "\n* iv. three", "\n"]),
        ("这是一。“二。”三！四", ["这是一。", "“二。”", "三！", "四"]),
        ("これは本です。**次**は？はい", ["これは本です。", "**次**は？", "はい"]),
        ("यह है। और वह। तब", ["यह है।", " और वह।", " तब"]),
        ("So:\n```python\nx = 1. \n\nz\n```\nThen. And", ["So:", "\n```python\nx = 1. \n\nz\n```", "\nThen.", " And"]),
        ("~~~\na\n```\nb\n~~~\nc", ["~~~\na\n```\nb\n~~~", "\nc"]),
        ("---\n\n***\nOne.  Two", ["---\n\n***\nOne.", "  Two"]),
        ("Am I? I am. So am I. Go", ["Am I?", " I am.", " So am I.", " Go"]),
        ("", [""]),
    ],
)  # fmt: skip
def test_where_sentences_end(text: str, cut: list[str]) -> None:
    assert parts(text) == cut


def test_an_end_is_told_with_the_sign_that_shows_it() -> None:
    ends = SentenceEnds()
    assert ends.grew("It is so.") == []
    assert ends.open_at == 9
    assert ends.grew('"') == []
    assert ends.open_at == 10
    assert ends.grew(" ") == []
    assert ends.grew("T") == [10]
    assert ends.open_at is None
    assert ends.grew("hen.\n") == [16]
    assert ends.grew("以上。") == []
    assert ends.grew("又") == [20]


def test_what_goes_on_in_small_letters_was_no_end() -> None:
    ends = SentenceEnds()
    assert ends.grew("It is so. ") == []
    assert ends.grew("and") == []
    assert ends.open_at is None


PIECES = (
    *"aBI1 \n.!?\"')*`-#…。！」", "Dr", "e.g.", "```", "\n- ", "3.5", ". The", ".\n", "It is.", " So", "```\n", "1. ",
    "No. 5",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(TEXTS, st.lists(st.integers(0, 60)))
def test_pieces_make_no_difference(text: str, cuts: list[int]) -> None:
    whole, piecemeal, found = SentenceEnds(), SentenceEnds(), list[int]()
    at = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    for a, b in pairwise(at):
        found += piecemeal.grew(text[a:b])
    assert found == whole.grew(text)
    assert piecemeal.open_at == whole.open_at


@given(TEXTS)
def test_ends_rise_and_each_part_says_something(text: str) -> None:
    places = SentenceEnds().grew(text)
    assert places == sorted(set(places))
    assert all(any(sign.isalnum() for sign in part) for part in parts(text)[:-1])


@given(TEXTS)
def test_no_end_comes_before_one_that_is_open(text: str) -> None:
    """Whoever waits while an end is open sees the ends in the order of their places."""
    ends, told = SentenceEnds(), 0
    for sign in text:
        before = ends.open_at
        for place in ends.grew(sign):
            assert place > told or told == 0
            assert before is None or place >= before
            told = place
