"""Telling of an answer as it is generated: what was told is never taken back, and all of it is the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.pocket.growing import Growth, settled_length
from gate.pocket.model import PocketModel
from gate.pocket.sampling import Sampling
from gate.types import Message, TokenLogprob

WILD = Sampling(temperature=3.0, max_tokens=24, top_logprobs=2)
"""Many tokens of many scripts, half characters among them."""


@pytest.mark.parametrize(
    ("text", "stop", "length"),
    [
        ("Lagos", (), 5),
        ("", ("a",), 0),
        ("Lag\ufffd", (), 3),
        ("Lag\ufffd\ufffd", ("g!",), 2),
        ("Lagos", ("s is",), 4),
        ("Lagos.", ("\n", ".\n", "s.\n"), 4),
        ("Lagos", ("Lagos is",), 0),
        ("Lagos", ("os",), 5),
        ("aaa", ("aaaa",), 0),
    ],
)
def test_what_may_still_change_is_not_settled(text: str, stop: tuple[str, ...], length: int) -> None:
    assert settled_length(text, stop) == length


def test_a_token_is_told_with_the_text_it_begins_in() -> None:
    told: list[tuple[str, tuple[TokenLogprob, ...]]] = []
    a, b = (TokenLogprob(text, -0.1) for text in ("Lagos", "."))

    def grew(text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        told.append((text, tokens))
        return True

    growth = Growth(grew, ("\n", ".\n\n"))
    assert growth.step("Lagos", [a])
    assert growth.step("Lagos.", [a, b])
    growth.end("Lagos.", [a, b])
    assert told == [("Lagos", (a,)), (".", (b,))]


@given(st.integers(0, 300), st.sampled_from([(), ("a",), ("an", "in "), ("e",), (" ",)]), st.booleans())
def test_the_pieces_are_the_answer(seed: int, stop: tuple[str, ...], logged: bool) -> None:
    model = PocketModel.load("small")
    how = Sampling(**{**_fields(WILD), "seed": seed, "stop": stop, "top_logprobs": 2 if logged else None})
    prompt = model.encode_chat([Message("user", "Where is Qxzbrunk?")])
    texts, tokens = list[str](), list[TokenLogprob]()

    def grew(text: str, further: tuple[TokenLogprob, ...]) -> bool:
        texts.append(text)
        tokens.extend(further)
        return True

    (answer,) = model.generate(prompt, how, grew=grew)
    assert (answer,) == model.generate(prompt, how)
    assert "".join(texts) == answer.text
    assert tuple(tokens) == (answer.tokens or ())


@given(st.integers(0, 100), st.integers(1, 5))
def test_it_ends_at_a_word_of_the_watcher(seed: int, pieces: int) -> None:
    model, texts = PocketModel.load("small"), list[str]()
    how = Sampling(**{**_fields(WILD), "seed": seed})
    prompt = model.encode_chat([Message("user", "Where is Qxzbrunk?")])

    def grew(text: str, further: tuple[TokenLogprob, ...]) -> bool:
        texts.append(text)
        return len(texts) < pieces

    (answer,) = model.generate(prompt, how, grew=grew)
    (whole,) = model.generate(prompt, how)
    assert len(texts) <= pieces
    assert whole.ids[: len(answer.ids)] == answer.ids
    assert "".join(texts) == answer.text[: len("".join(texts))]
    assert len(texts) < pieces or answer.ids == whole.ids or answer.finish_reason == "length"


def test_several_answers_are_told_of_by_nobody() -> None:
    model = PocketModel.load("small")
    how = Sampling(n=2, temperature=0, max_tokens=4)
    told = list[str]()
    model.generate(
        model.encode_chat([Message("user", "Where is Lagos?")]), how, grew=lambda text, _: bool(told.append(text))
    )
    assert told == []


def _fields(how: Sampling) -> dict[str, object]:
    return {name: getattr(how, name) for name in Sampling.__slots__}
