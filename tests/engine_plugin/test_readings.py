"""The numbers made with torch are those made with numpy. Runs where torch and vLLM are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gate.hidden_states.layout import KEY_TOKENS, LENS, STABILITY, Floats, Layout
from gate.hidden_states.rows import Ints

torch = pytest.importorskip("torch")
readings = pytest.importorskip("gate.engine_plugin.readings")
tiny = pytest.importorskip("tests.engine_plugin.tiny")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "get_tensor_model_parallel_world_size", lambda: 1)


def read(model: Any, layout: Layout, streams: Floats, last: Floats, targets: Ints | None = None) -> Floats:
    """[rows, row_length] by torch."""
    reader = readings.Reader(layout, lambda: readings.head_of(model, model.lm_head.weight.shape[1]), CPU)
    with torch.inference_mode():
        final = model.model.norm(torch.tensor(last))
        known = None if targets is None else torch.tensor(targets)
        states = reader.states(torch.tensor(streams))
        told = reader.told(torch.tensor(streams), final, known)
    assert reader.fault == ""
    return np.asarray(torch.cat([states, told], dim=1).numpy(), dtype=np.float32)


def agree(found: Floats, expected: Floats, layout: Layout, tolerance: float = 2e-4) -> None:
    start = 0
    for name, length in layout.row_parts.items():
        part = slice(start, start + length)
        np.testing.assert_allclose(found[:, part], expected[:, part], rtol=tolerance, atol=tolerance, err_msg=name)
        start += length


@pytest.mark.parametrize("layers", [(1, 3, 6), (2, 4), (6,), (3,)])
@pytest.mark.parametrize("width", [16, 300])
def test_random_states_have_the_numbers_of_numpy(layers: tuple[int, ...], width: int) -> None:
    layout = Layout(6, width, layers)
    model = tiny.random_model(width, 50)
    streams, last = tiny.random_states(layout, KEY_TOKENS)
    agree(read(model, layout, streams, last), tiny.every_row(layout, streams, last, model.head), layout)


def test_known_targets_are_the_ones_read() -> None:
    layout = Layout(6, 16, (1, 3, 6))
    model = tiny.random_model(16, 50)
    streams, last = tiny.random_states(layout, 12)
    targets = np.array([*range(0, 50, 5), -1, -1])
    found = read(model, layout, streams, last, targets)
    agree(found, tiny.every_row(layout, streams, last, model.head, targets), layout)
    is_top = found[:, layout.row_parts["states"] + 3 + 9 + STABILITY.index("is_top")]
    assert set(is_top) == {0.0, 1.0}, "targets that are the likeliest, and targets that are not"


@pytest.mark.parametrize("size", ["small", "large"])
def test_the_head_of_a_real_model_has_them_too(size: Any) -> None:
    from gate.pocket.model import PocketModel

    pytest.importorskip("safetensors")
    pocket = PocketModel.load(size)
    model = tiny.pocket_model(size)
    states = pocket.hidden_states(range(4, 4 + KEY_TOKENS))
    layout = Layout.at(pocket.layers, states.shape[-1])
    streams = np.stack([states[layer] for layer in layout.layers], axis=1)
    expected = tiny.every_row(layout, streams, states[-1], model.head)
    agree(read(model, layout, streams, states[-1]), expected, layout, 1e-3)


def test_a_token_that_is_all_but_certain_has_a_direction_still() -> None:
    """Its gradient is as short as what is left to other tokens, which one less its probability does not tell."""
    layout = Layout(6, 16, (1, 6))
    model = tiny.random_model(16, 50)
    streams = np.stack([model.head.weight[:8] * 9, model.head.weight[:8] * 9], axis=1)
    model.model.norm.weight.data *= 6
    expected = tiny.every_row(layout, streams, streams[:, -1], model.head)
    p = expected[:, STABILITY.index("probability") - len(STABILITY)]
    assert ((p > 1 - 1e-6) & (expected[:, STABILITY.index("gradient_norm") - len(STABILITY)] > 0)).any()
    agree(read(model, layout, streams, streams[:, -1]), expected, layout, 1e-3)


def test_rows_in_turns_are_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(6, 16, (1, 6))
    model = tiny.random_model(16, 50)
    streams, last = tiny.random_states(layout, 11)
    targets = np.arange(11)
    at_once = read(model, layout, streams, last, targets)
    monkeypatch.setattr(readings, "_MOST_LOGITS", 50 * (2 + 5) * 4)
    np.testing.assert_allclose(read(model, layout, streams, last, targets), at_once, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        read(model, layout, streams, last), tiny.every_row(layout, streams, last, model.head), rtol=2e-4, atol=2e-4
    )


def test_the_head_is_used_as_far_as_it_is_the_product_with_its_weight() -> None:
    layout = Layout(6, 16, (1, 6))
    streams, last = tiny.random_states(layout, 4)
    for after in (lambda x: x * 0.5, lambda x: x + 1, lambda x: torch.tanh(x / 30) * 30):
        model = tiny.random_model(16, 50)
        model.after = after
        assert readings.head_of(model, 16).weight is None
        found = read(model, layout, streams, last)
        unknown = np.isnan(found).all(axis=0)
        gradient = STABILITY.index("gradient_norm") - len(STABILITY)
        assert unknown[gradient:].all(), "without the weight no gradient"
        assert not np.isnan(found[:, :gradient]).any(), "all else is told"


def test_a_quantised_head_has_no_weight_to_use() -> None:
    model = tiny.random_model(16, 50)
    words = model.lm_head.weight.detach()
    model.lm_head = torch.nn.Module()
    model.lm_head.weight = torch.zeros(16, 50, dtype=torch.int8)
    model.compute_logits = lambda states: states @ words.T
    assert readings.head_of(model, 16).weight is None


def test_a_worker_holds_the_weights_of_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is the sum of what both workers make of their halves."""
    layout = Layout(6, 16, (1, 6))
    whole = tiny.random_model(16, 50)
    streams, last = tiny.random_states(layout, 5)
    halves = [tiny.random_model(16, 50), tiny.random_model(16, 50)]
    for place, half in enumerate(halves):
        bounds = slice(25 * place, 25 * place + 25)
        weight = whole.lm_head.weight.detach()
        half.lm_head.weight.data = torch.cat([weight[bounds], torch.full((7, 16), 9.0)])  # padded
        half.lm_head.shard_indices = type(
            "Shard", (), {"org_vocab_start_index": bounds.start, "org_vocab_end_index": bounds.stop}
        )
        half.compute_logits = whole.compute_logits
    monkeypatch.setattr(readings, "get_tensor_model_parallel_world_size", lambda: 2)
    local: list[Any] = []
    monkeypatch.setattr(readings, "tensor_model_parallel_all_reduce", lambda x: local.append(x) or x)
    read(halves[1], layout, streams, last)
    monkeypatch.setattr(readings, "tensor_model_parallel_all_reduce", lambda x: x + local[0])
    agree(read(halves[0], layout, streams, last), tiny.every_row(layout, streams, last, whole.head), layout)


@pytest.mark.parametrize("fault", ["no norm", "no logits", "breaks"])
def test_states_are_read_without_a_head(fault: str) -> None:
    layout = Layout(6, 16, (1, 6))
    model = tiny.random_model(16, 50)
    streams, last = tiny.random_states(layout, 3)
    expected = tiny.every_row(layout, streams, last, model.head)
    final = model.model.norm(torch.tensor(last)).detach()
    if fault == "no norm":
        del model.model.norm
        model.model.other = torch.nn.Linear(16, 16)
    elif fault == "no logits":
        model.compute_logits = lambda states: None
    else:
        model.compute_logits = lambda states: 1 / 0
    reader = readings.Reader(layout, lambda: readings.head_of(model, model.lm_head.weight.shape[1]), CPU)
    told = reader.told(torch.tensor(streams), final, None)
    assert told.shape == (3, 2 * len(LENS) + len(STABILITY))
    assert torch.isnan(told).all()
    np.testing.assert_allclose(reader.states(torch.tensor(streams)), expected[:, : told.shape[1] * -1], rtol=1e-4)


def test_a_head_that_fails_later_is_left_alone_from_then_on() -> None:
    layout = Layout(6, 16, (1, 6))
    model = tiny.random_model(16, 50)
    streams, last = map(torch.tensor, tiny.random_states(layout, 3))
    reader = readings.Reader(layout, lambda: readings.head_of(model, model.lm_head.weight.shape[1]), CPU)
    model.after = lambda logits: 1 / 0
    assert torch.isnan(reader.told(streams, last, None)).all()
    assert "ZeroDivisionError" in reader.fault
    model.after = lambda logits: logits
    assert torch.isnan(reader.told(streams, last, None)).all()


def test_half_precision_is_near() -> None:
    layout = Layout(6, 64, (2, 6))
    model = tiny.random_model(64, 200)
    streams, last = tiny.random_states(layout, 8)
    expected = tiny.every_row(layout, streams, last, model.head)
    model.to(torch.bfloat16)
    reader = readings.Reader(layout, lambda: readings.head_of(model, model.lm_head.weight.shape[1]), CPU)
    streams_, last_ = torch.tensor(streams).bfloat16(), torch.tensor(last).bfloat16()
    with torch.inference_mode():
        found = torch.cat([reader.states(streams_), reader.told(streams_, model.model.norm(last_), None)], dim=1)
    error = np.linalg.norm(found.numpy() - expected) / np.linalg.norm(expected)
    assert error < 0.05


def test_a_stream_of_nothing_is_no_division_by_zero() -> None:
    layout = Layout(2, 8, (1, 2))
    reader = readings.Reader(layout, lambda: None, CPU)
    assert torch.isfinite(reader.states(torch.zeros(2, 2, 8))).all()
