"""Which layers are read, how long everything is, and that projections keep what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.hidden_states.layout import MOST_LAYERS, Layout


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(1, (1,)), (2, (1, 2)), (4, (2, 4)), (6, (2, 3, 4, 6)), (32, (13, 16, 19, 32)), (80, (32, 40, 48, 80))],
)
def test_layers_lie_at_shares_of_the_depth(depth: int, layers: tuple[int, ...]) -> None:
    assert Layout.at(depth, 64).layers == layers


@given(st.integers(1, 200), st.integers(1, 20_000))
def test_a_block_is_compact_for_every_model(depth: int, width: int) -> None:
    layout = Layout.at(depth, width)
    shapes = layout.block_parts
    assert layout.places >= 1
    assert math.prod(shapes["states"]) + len(layout.layers) <= 256
    assert 2 * sum(math.prod(shape) for shape in shapes.values()) * 4 / 3 < 2048  # bytes in base64
    assert layout.row_length == sum(layout.row_parts.values())
    assert layout.layers[-1] == depth


@pytest.mark.parametrize("layers", [(), (0, 2), (2, 1), (2, 2), (3, 5), tuple(range(1, MOST_LAYERS + 2))])
def test_layers_the_model_does_not_have_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layers"):
        Layout(4 if layers != tuple(range(1, MOST_LAYERS + 2)) else 100, 8, layers)


def test_projections_are_the_same_on_every_machine() -> None:
    layout = Layout(4, 100, (2, 4))
    first = layout.projections()
    assert first.shape == (2, 100, 42)
    # bits of a hash, written down: another machine or another version of numpy must make the same ones
    assert (first[0, 0, :8] > 0).tolist() == [False, False, True, True, True, True, True, False]
    assert (first[1, 99, -8:] > 0).tolist() == [False, False, False, True, True, False, True, False]
    np.testing.assert_allclose(np.abs(first), 1 / math.sqrt(42), rtol=1e-6)
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(first, Layout(4, 100, (2, 4)).projections())


def test_projections_keep_lengths_and_angles() -> None:
    """At 84 numbers the relative error of a squared length has a deviation of sqrt(2 / 84) = .15."""
    layout = Layout(1, 2000, (1,))
    vectors = np.random.default_rng(0).normal(size=(200, 2000)).astype(np.float32)
    vectors[1] = vectors[0] + 0.1 * vectors[1]
    short = vectors @ layout.projections()[0]
    ratios = np.square(short).sum(1) / np.square(vectors).sum(1)
    assert layout.places == 84
    assert abs(ratios.mean() - 1) < 0.04
    assert 0.11 < ratios.std() < 0.21
    cosine = short[0] @ short[1] / np.linalg.norm(short[0]) / np.linalg.norm(short[1])
    assert cosine > 0.98


def test_what_fits_is_not_projected() -> None:
    np.testing.assert_array_equal(Layout(2, 8, (1,)).projections()[0], np.eye(8))
