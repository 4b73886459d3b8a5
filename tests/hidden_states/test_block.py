"""Pooling rows, and that a block is read as it was written or not at all."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.hidden_states.block import NOTHING_READ, Block, identity, packed, pooled, unpacked
from gate.hidden_states.layout import STABILITY, VERSION, Layout
from gate.types import InternalStates
from tests.hidden_states.blocks import LAYOUT, block, states

_TOLD = LAYOUT.row_parts["states"] + LAYOUT.row_parts["scales"]


def some_rows(n: int) -> Any:
    return np.random.default_rng(n).normal(size=(n, LAYOUT.row_length)).astype(np.float32)


def test_states_are_those_of_the_answer_and_of_the_token_before_it() -> None:
    rows = some_rows(4)
    made = pooled(LAYOUT, "m", rows)
    each = rows[:, : LAYOUT.row_parts["states"]].reshape(4, 2, 8)
    assert made.answer_tokens == 3
    np.testing.assert_allclose(made.states[:, 0], each[1:].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(made.states[:, 1], each[3])
    np.testing.assert_array_equal(made.states[:, 2], each[0])
    np.testing.assert_allclose(made.scales, rows[1:, 16:18].mean(0), rtol=1e-5, atol=1e-6)


def test_how_it_came_about_is_told_by_the_rows_that_foretold_it() -> None:
    rows = some_rows(4)
    rows[:, -len(STABILITY)] = [-1, -3, -2, -9]  # the last row foretells the end, which is no token of the answer
    made = pooled(LAYOUT, "m", rows)
    np.testing.assert_allclose(made.stability[0], rows[:3, -15:].mean(0), rtol=1e-5)
    np.testing.assert_array_equal(made.stability[1], rows[1, -15:])
    np.testing.assert_array_equal(made.lens[1], rows[1, _TOLD:-15].reshape(2, 3))


def test_rows_the_head_was_not_asked_about_are_left_out() -> None:
    rows = some_rows(5)
    rows[2:, _TOLD:] = np.nan
    made = pooled(LAYOUT, "m", rows)
    np.testing.assert_allclose(made.stability[0], rows[:2, -15:].mean(0), rtol=1e-5)
    rows[:, _TOLD:] = np.nan
    made = pooled(LAYOUT, "m", rows)
    assert np.isnan(made.stability).all()
    assert np.isfinite(made.states).all()
    assert np.isnan(made.attention).all()


@pytest.mark.parametrize("n", [0, 1])
def test_an_answer_of_which_nothing_was_taken_in_has_no_block(n: int) -> None:
    with pytest.raises(ValueError, match="took in no token") as caught:
        pooled(LAYOUT, "m", some_rows(n))
    assert str(caught.value) == NOTHING_READ


@given(st.integers(1, 40), st.integers(1, 600), st.integers(0, 100))
def test_what_is_packed_is_unpacked(depth: int, width: int, seed: int) -> None:
    made = block(seed, layout=Layout.at(depth, width))
    again = unpacked(packed(made))
    assert again.layout == made.layout
    assert (again.model, again.answer_tokens) == (made.model, made.answer_tokens)
    np.testing.assert_allclose(again.numbers, made.numbers, rtol=1e-3, atol=1e-6)


def test_numbers_beyond_half_precision_stay_finite() -> None:
    assert unpacked(states(stability=1e9)).stability.max() == 65504
    assert np.isnan(unpacked(states(attention=np.nan)).attention).all()


def test_what_is_infinite_was_not_worked_out() -> None:
    assert np.isnan(unpacked(states(lens=np.inf)).lens).all()
    with pytest.raises(ValueError, match="no state"):
        unpacked(states(states=-np.inf))


def with_numbers(made: InternalStates, content: bytes) -> InternalStates:
    """Signed anew, as somebody would who knows how."""
    from gate.hidden_states.block import _signed

    return _signed(replace(made, features=base64.b64encode(content).decode()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": VERSION + 1}, "version"),
        ({"features": states().features[:-4]}, "digest"),
        ({"features": "A" + states().features[1:]}, "digest"),
        ({"layers": (1, 4)}, "digest"),
        ({"model": "f" * 16}, "digest"),
        ({"answer_tokens": 5}, "digest"),
        ({"digest": ""}, "digest"),
        ({"features": "\udc00"}, "digest"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        unpacked(replace(states(), **change))


def test_what_was_signed_but_makes_no_sense_is_refused() -> None:
    good = states()
    content = base64.b64decode(good.features)
    with pytest.raises(ValueError, match="numbers, not"):
        unpacked(with_numbers(good, content[:-2]))
    for bad in (np.inf, np.nan):
        numbers = np.frombuffer(content, "<f2").copy()
        numbers[0] = bad
        with pytest.raises(ValueError, match="no state"):
            unpacked(with_numbers(good, numbers.tobytes()))
    with pytest.raises(ValueError, match="no state"):
        unpacked(with_numbers(replace(good, answer_tokens=0), content))
    numbers = np.frombuffer(content, "<f2").copy()
    numbers[-1] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        unpacked(with_numbers(good, numbers.tobytes()))


def test_an_identity_is_that_of_the_weights_in_any_precision() -> None:
    norm = np.array([1 + 2**-8, 1 + 3 * 2**-8, -0.25, 1.0009765625], dtype=np.float32)  # float16 holds all of them
    rounded = np.array([1, 1.015625, -0.25, 1], dtype=np.float32)  # bfloat16: to the nearest, ties to even
    assert identity(4, 64, {"a": norm}) == identity(4, 64, {"a": rounded})
    others = [
        identity(4, 64, {"a": norm * np.float32(1.05)}),
        identity(4, 64, {"b": norm}),
        identity(5, 64, {"a": norm}),
        identity(4, 64, {"a": norm, "b": norm}),
    ]
    assert len({identity(4, 64, {"a": norm}), *others}) == 5


def test_parts_have_names() -> None:
    made = block(attention=0.5)
    np.testing.assert_array_equal(made.attention, 0.5)
    with pytest.raises(KeyError):
        Block(LAYOUT, "m", 1, made.numbers)._part("nothing")
