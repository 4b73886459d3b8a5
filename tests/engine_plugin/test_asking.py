"""What a request may ask for, and where a given answer is found in its prompt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.engine_plugin.asking import FIELD, Opening, opening, spelling

PIECES = ("", " ", "\n", "a", "b", " a", "ab", " the", "The", "¡", "é", "�", "<end>")


def decode(tokens: list[int]) -> str:
    return "".join(PIECES[token] for token in tokens)


def encoded(text: str) -> list[int]:
    return [PIECES.index(piece) for piece in text.split("|")]


def test_without_a_given_answer_rows_begin_at_the_last_token_of_the_prompt() -> None:
    assert opening({}, [3, 4, 5], 3, None) == Opening(first=2)
    assert not opening({}, [3, 4, 5], 3, None).given


def test_a_given_answer_is_read_from_the_token_before_it_to_the_end() -> None:
    prompt = encoded("The|<end>| a|b|b")
    found = opening({"given": "abb"}, prompt, 5, decode)
    assert found == Opening(first=1, end=5, following=(5, 4, 4))
    assert found.given


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (7, "must be an object"),
        ([], "must be an object"),
        ({"gven": "a"}, "no other field than 'given'"),
        ({"given": 3}, "is no text"),
        ({"given": None}, "is no text"),
        ({"given": " \n"}, "is no text"),
        ({"given": "elsewhere"}, "does not end in the given answer"),
        ({"given": "The a b"}, "does not end in the given answer"),
    ],
)
def test_what_cannot_be_read_says_why(asked: Any, said: str) -> None:
    """The last one: nothing stands before the answer, so there is no token that foretells its first."""
    found = opening(asked, encoded("The| a|b"), 3, decode)
    assert said in found.missing
    assert not found.given


def test_a_server_without_a_tokenizer_reads_what_it_writes_but_finds_no_given_answer() -> None:
    assert "no tokenizer" in opening({"given": "a"}, [3, 3], 2, None).missing
    assert "no tokenizer" in opening({"given": "a"}, (), 2, decode).missing, "a prompt of embeddings has no tokens"
    assert not opening({}, (), 2, None).missing
    assert "no token" in opening({}, (), 0, None).missing


def test_the_field_is_the_one_of_the_wire() -> None:
    assert FIELD == "gate_states"


@pytest.mark.parametrize(
    ("text", "prompt", "tokens"),
    [
        ("a", "The| a", 1),
        ("a", "The|a| ", 2),  # a template may end a message with white space
        ("b", "a|b||", 3),  # and with tokens that spell nothing
        ("ab", "b|ab", 1),
        ("ab", "b|a|b", 2),
        ("a b", "The| a| |b", 3),
        ("é", "a|é", 1),
        ("ab", "ab|a", 0),
        ("bab", "ab", 0),
    ],
)
def test_the_fewest_tokens_that_spell_a_text(text: str, prompt: str, tokens: int) -> None:
    assert spelling(text, encoded(prompt), decode) == tokens


TOKENS = st.integers(0, len(PIECES) - 1)


@given(before=st.lists(TOKENS, min_size=1, max_size=40), answer=st.lists(TOKENS, min_size=1, max_size=60))
def test_whatever_ends_a_prompt_is_found_in_it(before: list[int], answer: list[int]) -> None:
    text = decode(answer)
    if not text.strip():
        return
    found = spelling(text, before + answer, decode)
    bare = "".join(text.split())
    if _silent(answer) <= 4:
        assert 0 < found <= len(answer)
    if found:
        assert "".join(decode((before + answer)[-found:]).split()) == bare


def _silent(tokens: list[int]) -> int:
    """Tokens at the end that spell nothing."""
    return next((n for n, token in enumerate(reversed(tokens)) if PIECES[token].strip()), len(tokens))


@given(text=st.text(max_size=30), prompt=st.lists(TOKENS, max_size=30))
def test_any_text_and_any_prompt_have_a_number(text: str, prompt: list[int]) -> None:
    assert 0 <= spelling(text or "x", prompt, decode) <= len(prompt)
