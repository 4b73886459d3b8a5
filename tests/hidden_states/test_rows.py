"""The numbers of a row against worked values, and against the definitions they come from."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gate.hidden_states.layout import ATTENTION, KEY_TOKENS, LENS, STABILITY, Floats, Layout
from gate.hidden_states.rows import FURTHEST, Head, attention_to, lens, log_softmax, rows, stability


def named(values: Floats, names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def array(values: object) -> Floats:
    return np.asarray(values, dtype=np.float32)


def test_stability_of_two_words() -> None:
    found = named(stability(array([[1, 0]]), array([[1, 0]]), np.array([0]), np.eye(2, dtype=np.float32))[0], STABILITY)
    assert found["probability"] == pytest.approx(0.73106, abs=1e-5)
    assert found["gradient_norm"] == pytest.approx(0.38034, abs=1e-5)
    assert found["flip_radius"] == pytest.approx(math.sqrt(0.5), abs=1e-6)  # a grid of four units would say 4
    assert found["perturbation_energy"] == pytest.approx(12.962, abs=1e-3)
    assert found["logit_margin"] == 1
    assert found["is_top"] == 1
    assert found["entropy"] == pytest.approx(0.58220, abs=1e-5)


def test_a_target_that_is_not_the_likeliest_flips_at_once() -> None:
    found = named(stability(array([[1, 0]]), array([[1, 0]]), np.array([1]), np.eye(2, dtype=np.float32))[0], STABILITY)
    assert found["flip_radius"] == 0
    assert found["is_top"] == 0
    assert found["log_probability"] == pytest.approx(math.log(0.26894), abs=1e-4)
    assert found["top_probability"] == pytest.approx(0.73106, abs=1e-5)


def test_a_state_without_a_gradient_does_not_move() -> None:
    """A word as good as certain: the gradient has no direction, and nothing breaks."""
    logits = array([[200, 0, 0]])
    found = named(stability(array([[200, 0, 0]]), logits, np.array([0]), np.eye(3, dtype=np.float32))[0], STABILITY)
    assert found["gradient_norm"] == 0
    assert found["perturbation_energy"] == 0
    assert found["flip_radius"] == FURTHEST
    assert math.isfinite(found["entropy"])


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_flip_radius_is_where_the_likeliest_word_changes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, state = array(rng.normal(size=(30, 6))), array(rng.normal(size=(1, 6)))
    logits = state @ weight.T
    target = logits.argmax(axis=-1)
    runner_up, likeliest = np.sort(logits[0])[-2:]
    assume(likeliest - runner_up > 0.02)  # of words that are all but level, a thousandth of the way is lost in rounding
    found = named(stability(state, logits, target, weight)[0], STABILITY)
    error = np.exp(log_softmax(logits))
    error[0, target] -= 1
    gradient = error @ weight
    direction = gradient / np.linalg.norm(gradient)
    radius = found["flip_radius"]
    assert 0 < radius < FURTHEST
    assert ((state + 0.999 * radius * direction) @ weight.T).argmax() == target[0]
    assert ((state + 1.001 * radius * direction) @ weight.T).argmax() != target[0]
    drops = [0.0]
    for step in (4, 8, 12, 16, 20):
        pushed = log_softmax((state + step * direction) @ weight.T)[0, target[0]]
        drops.append(max(0.0, float(log_softmax(logits)[0, target[0]] - pushed)))
    expected = sum((a + b) / 2 for a, b in pairwise(drops)) / 5
    assert found["perturbation_energy"] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_lens_on_three_layers() -> None:
    layers = np.log(array([[[0.4, 0.3, 0.3], [0.6, 0.2, 0.2], [0.9, 0.05, 0.05]]]))
    found = lens(layers, layers[:, -1], np.array([0]))[0]
    assert LENS == ("divergence", "surprisal", "agreement")
    np.testing.assert_allclose(found[:, 0], [0.9451, 0.6207, 0.3944], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], [0.9163, 0.5108, 0.1054], atol=1e-4)
    np.testing.assert_array_equal(found[:, 2], 1)


def test_attention_of_two_tokens_to_three() -> None:
    found = named(attention_to(array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])), ATTENTION)
    assert found["coverage"] == pytest.approx(-0.07763, abs=1e-5)
    assert found["focus"] == pytest.approx(-0.72043, abs=1e-5)
    assert found["mass"] == pytest.approx(1)
    half = named(attention_to(array([[0.35, 0.1, 0.05], [0.05, 0.4, 0.05]])), ATTENTION)
    assert half["mass"] == pytest.approx(0.5)
    assert half["coverage"] == pytest.approx(found["coverage"], abs=1e-6)  # how it is spread, not how much


def test_attention_to_nothing_is_not_known() -> None:
    assert np.isnan(attention_to(np.zeros((2, 3), np.float32))).all()
    assert np.isnan(attention_to(np.zeros((0, 3), np.float32))).all()
    assert np.isfinite(attention_to(array([[0, 0], [0.5, 0]]))).all()  # one token did not look


def made(n: int, layout: Layout, targets: object = None) -> Floats:
    rng = np.random.default_rng(3)
    head = Head(array(rng.normal(size=(40, layout.width))), np.ones(layout.width, np.float32), 1e-5)
    states = array(rng.normal(size=(n, len(layout.layers), layout.width)))
    return rows(layout, states, states[:, -1], head, targets)  # type: ignore[arg-type]


def test_the_head_is_asked_about_the_first_tokens_alone() -> None:
    layout = Layout(6, 12, (2, 6))
    found = made(KEY_TOKENS + 3, layout)
    told = layout.row_parts["states"] + layout.row_parts["scales"]
    assert np.isfinite(found[:, :told]).all()
    assert np.isfinite(found[:KEY_TOKENS]).all()
    assert np.isnan(found[KEY_TOKENS:, told:]).all()


def test_what_follows_is_the_target_where_it_is_known() -> None:
    layout = Layout(6, 12, (2, 6))
    likeliest, one_known = made(3, layout), made(3, layout, np.array([-1, 7, -1]))
    place = layout.row_length - len(STABILITY)
    np.testing.assert_array_equal(likeliest[[0, 2]], one_known[[0, 2]])
    assert one_known[1, place] < likeliest[1, place]  # no word is likelier than the likeliest


def test_states_are_read_by_direction_and_size_apart() -> None:
    layout = Layout(6, 12, (2, 6))
    rng = np.random.default_rng(1)
    head = Head(array(rng.normal(size=(40, 12))), np.ones(12, np.float32), 1e-5)
    states = array(rng.normal(size=(2, 2, 12)))
    once, tenfold = (rows(layout, size * states, size * states[:, -1], head) for size in (1, 10))
    n = layout.row_parts["states"]
    np.testing.assert_allclose(once[:, :n], tenfold[:, :n], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tenfold[:, n : n + 2] - once[:, n : n + 2], math.log(10), rtol=1e-4)
