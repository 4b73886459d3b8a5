"""What probes read of a block, and their log-odds worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.evidence.probe_models import (
    CLIP,
    KINDS,
    EncoderProbe,
    LinearProbe,
    arrays,
    codes,
    elu,
    features,
    joined,
    sides_of,
)
from gate.hidden_states.layout import Layout
from gate.hidden_states.rows import FURTHEST
from tests.evidence.probed import SIZE, block


def single(*values: object) -> np.ndarray:
    """With the sides in front that ``values`` nest in."""
    return np.array(values, dtype=np.float32)


@given(st.integers(1, 8), st.integers(1, 300))
def test_every_probe_reads_as_many_values_as_the_layout_promises(layers: int, width: int) -> None:
    layout = Layout(8, width, tuple(range(1, layers + 1)))
    one = block(1.0, layout=layout)
    assert {name: getattr(features(name, one), "shape", None) for name in KINDS} == {
        name: sides_of(name, layout) for name in KINDS
    }


def test_each_probe_reads_its_own_part_of_a_block() -> None:
    one = block(np.arange(SIZE))
    by_layer = features("contrastive", one)
    assert by_layer is not None
    assert by_layer[1].tolist() == [*range(18, 36), 37], "all three pools of the second layer, and its scale"
    linear = features("linear", one)
    assert linear is not None
    assert linear.tolist() == [by_layer.ravel().tolist()]
    before_and_last = features("semantic_entropy", one)
    assert before_and_last is not None
    assert before_and_last.tolist() == [[*range(6, 18), *range(24, 36)]], "all but the means"
    told = features("stability", one)
    assert told is not None
    assert sorted(told[0].tolist()) == list(range(38, 38 + 12 + 30)), "neither states nor attention"


@pytest.mark.parametrize("part", ["lens", "stability"])
def test_what_a_server_could_not_work_out_leaves_only_the_stability_probe_without_values(part: str) -> None:
    one = block()
    getattr(one, part).ravel()[-1] = np.nan
    assert features("stability", one) is None
    assert features("linear", one) is not None


def test_a_token_that_never_flips_is_read_as_it_is_written() -> None:
    one = block()
    one.stability[:, 13] = FURTHEST
    told = features("stability", one)
    assert told is not None
    assert told[0, 13] == told[0, 28] == FURTHEST


def test_attention_is_read_where_there_were_passages_to_look_at() -> None:
    one = block()
    one.attention[:] = (0.5, -1, 0, 2)
    told = features("attention", one)
    assert told is not None
    assert told.tolist() == [[0.5, -1, 0, 2]]
    one.attention[1] = np.nan
    one.scales[0] = np.nan
    assert features("attention", one) is None  # whatever the states are


@pytest.mark.parametrize("name", ["linear", "contrastive", "semantic_entropy", "certain_error"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_no_number_have_no_log_odds(name: str, value: float) -> None:
    one = block()
    one.scales[0] = value
    with pytest.raises(ValueError, match="not finite"):
        features(name, one)


def test_log_odds_of_a_linear_probe() -> None:
    probe = LinearProbe(
        centre=single([[1, 0, 0]], [[0, 0, 0]]),
        gain=single([[2, 1, 0]], [[1, 1, 1]]),
        intercepts=single(0.5, 7),
        weights=single([[1, -1, 9]], [[0, 0, 0]]),
    )
    assert probe.log_odds(0, single([2, 3, 4])) == pytest.approx(2 - 3 + 0.5)
    assert probe.log_odds(1, single([2, 3, 4])) == 7
    far = probe.log_odds(0, single([1e30, 0, 1e30]))
    assert far == CLIP + 0.5, "strange values are held back, and those that never changed count for nothing"


def test_codes_of_a_small_network_worked_by_hand() -> None:
    x = np.array([[[1.0], [-1.0]]])  # one answer, two layers of one value
    layers, coded = codes(x, np.array([[1.0, 2.0]]), np.array([0.0, 1.0]), np.full((4, 1), 0.1), np.array([0.2]))
    low = np.exp(-1) - 1
    assert layers[0].tolist() == [[1, 3], [pytest.approx(low), pytest.approx(low)]]
    assert coded == pytest.approx(np.tanh(0.1 * (4 + 2 * low) + 0.2))


def test_log_odds_of_an_encoder_are_those_of_its_members_together() -> None:
    probe = EncoderProbe(
        centre=single([[1.0]]),
        gain=single([[1.0]]),
        intercepts=single(0.25),
        shared=single([[[1.0]], [[-1.0]]]),
        shared_bias=single([[0.0], [0.0]]),
        joint=single([[[1.0]], [[1.0]]]),
        joint_bias=single([[0.0], [0.5]]),
        heads=single([[2.0], [3.0]]),
    )
    x = 1.0
    expected = 0.25 + 2 * np.tanh(x) + 3 * np.tanh(np.expm1(-x) + 0.5)
    assert probe.log_odds(0, single([x + 1])) == pytest.approx(expected, abs=1e-6)


def test_parts_are_joined_in_order() -> None:
    def part(level: float) -> LinearProbe:
        return LinearProbe(single([[0.0]]), single([[1.0]]), single(level), single([[1.0]]))

    both = joined([part(1), part(2)])
    assert both.intercepts.tolist() == [1, 2]
    assert {name: array.shape for name, array in arrays(both).items()} == {
        "centre": (2, 1, 1),
        "gain": (2, 1, 1),
        "intercepts": (2,),
        "weights": (2, 1, 1),
    }


@given(st.floats(-1e4, 1e4))
def test_elu_is_the_identity_above_zero_and_ends_at_minus_one(u: float) -> None:
    assert elu(np.array(u)) == (u if u > 0 else pytest.approx(np.exp(u) - 1, abs=1e-12))
