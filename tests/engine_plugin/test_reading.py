"""A step's rows, read by a worker. Runs where torch and vLLM are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gate.engine_plugin.collecting import Span
from gate.engine_plugin.guard import CannotRead
from gate.engine_plugin.setting import Setting
from gate.hidden_states.block import identity
from gate.hidden_states.layout import KEY_TOKENS, Layout

torch = pytest.importorskip("torch")
model = pytest.importorskip("gate.engine_plugin.model")
reading = pytest.importorskip("gate.engine_plugin.reading")
readings = pytest.importorskip("gate.engine_plugin.readings")
tiny = pytest.importorskip("tests.engine_plugin.tiny")

LAYOUT = Layout(6, 16, (2, 6))
TOKENS = 9


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "get_tensor_model_parallel_world_size", lambda: 1)
    monkeypatch.setattr(reading, "get_tensor_model_parallel_rank", lambda: 0)


def reader_of(served: Any, capacity: int = 0, **setting: Any) -> Any:
    """A reader of a model whose last pass had the slots 0 to 8, and of it what numpy needs."""
    stage = model.Stage(served, Setting(LAYOUT, **setting), capacity, torch.device("cpu"), torch.float32)
    streams, last = tiny.random_states(LAYOUT, TOKENS)
    with torch.inference_mode():
        final = served.model.norm(torch.tensor(last))
        if capacity:
            stage._states[:TOKENS], stage._final[:TOKENS] = torch.tensor(streams), final
            stage._slots[:TOKENS] = torch.arange(TOKENS)
        else:
            stage._large = (list(torch.tensor(streams).unbind(1)), final, torch.arange(TOKENS))
    stage.kept = True
    return reading.StateReader(stage), streams, last


@pytest.mark.parametrize("capacity", [0, 12])
def test_a_step_has_the_rows_of_all_its_requests(capacity: int) -> None:
    served = tiny.random_model(16, 40)
    reader, streams, last = reader_of(served, capacity)
    spans = [
        Span("late", KEY_TOKENS - 1, (4, 5, 6), (-1,)),
        Span("early", 0, (8,), (-1,)),
        Span("given", 0, (0, 1), (7, -1)),
        Span("long", KEY_TOKENS + 5, (2,), ()),
    ]
    read = reader.read(spans)
    wanted = np.full(TOKENS, -1)
    wanted[0] = 7
    expected = tiny.every_row(LAYOUT, streams, last, served.head, wanted)
    states = sum(list(LAYOUT.row_parts.values())[:2])
    found = {(request, start + at): row for request, start, some in read.rows() for at, row in enumerate(some)}
    assert len(found) == 7
    for span in spans:
        for at, slot in enumerate(span.slots):
            row = found[span.request, span.start + at]
            np.testing.assert_allclose(row[:states], expected[slot, :states], rtol=1e-3, atol=1e-4)
            if at < len(span.targets):
                np.testing.assert_allclose(row[states:], expected[slot, states:], rtol=1e-3, atol=1e-3)
            else:
                assert np.isnan(row[states:]).all()


def test_a_following_token_that_is_no_word_of_the_head_is_no_target() -> None:
    reader, _, _ = reader_of(tiny.random_model(16, 40))
    ((_, _, beyond),) = reader.read([Span("r", 0, (1,), (40,))]).rows()
    ((_, _, likeliest),) = reader.read([Span("r", 0, (1,), (-1,))]).rows()
    np.testing.assert_array_equal(beyond, likeliest)


def test_a_token_the_pass_did_not_hold_has_no_numbers() -> None:
    reader, _, _ = reader_of(tiny.random_model(16, 40), 12)
    ((_, _, read),) = reader.read([Span("r", 0, (77,), (-1,))]).rows()
    assert np.isnan(read[0, : LAYOUT.row_parts["states"]]).all()


def test_the_model_is_told_by_its_norms() -> None:
    served = tiny.random_model(16, 40)
    served.model.self_attn = torch.nn.Module()
    served.model.self_attn.q_norm = torch.nn.RMSNorm(8)
    served.model.normal = torch.nn.Linear(4, 4)  # no norm, and not of one dimension
    reader, _, _ = reader_of(served)
    norms = {"model.norm.weight": served.head.scale, "model.self_attn.q_norm.weight": np.ones(8, np.float32)}
    assert reader.read([Span("r", 0, (1,), (-1,))]).model == identity(6, 16, norms)


def test_where_the_head_is_not_to_be_used_states_are_read_alone() -> None:
    reader, _, _ = reader_of(tiny.random_model(16, 40), head=False)
    ((_, _, read),) = reader.read([Span("r", 0, (1,), (-1,))]).rows()
    states = sum(list(LAYOUT.row_parts.values())[:2])
    assert np.isfinite(read[0, :states]).all()
    assert np.isnan(read[0, states:]).all()


def test_only_the_first_worker_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "get_tensor_model_parallel_rank", lambda: 1)
    reader, _, _ = reader_of(tiny.random_model(16, 40))
    assert not reader.read([Span("r", 0, (1,), (-1,))])


def test_a_model_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "STAGE", None)
    with pytest.raises(CannotRead, match="not started to read states"):
        reading.StateReader.of_this_process("layer")
    reader, _, _ = reader_of(tiny.random_model(16, 40))
    reader.stage.kept = False
    with pytest.raises(CannotRead, match="shows no streams"):
        reader.read([Span("r", 0, (1,), (-1,))])
    reader.stage.fault = "broken"
    with pytest.raises(CannotRead, match="broken"):
        reader.read([Span("r", 0, (1,), (-1,))])


def test_the_reader_of_a_process_knows_its_cache_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _, _ = reader_of(tiny.random_model(16, 40))
    monkeypatch.setattr(model, "STAGE", reader.stage)
    assert reading.StateReader.of_this_process("layer 3").stage.cache_layer == "layer 3"
