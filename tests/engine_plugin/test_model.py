"""vLLM's model classes with a stage, and the stage. Runs where torch and vLLM are installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gate.engine_plugin.registration import ARCHITECTURES
from gate.engine_plugin.setting import Setting
from gate.hidden_states.layout import Layout
from tests.engine_plugin.test_setting import config

torch = pytest.importorskip("torch")
module = pytest.importorskip("gate.engine_plugin.model")

WIDTH = 8
LAYOUT = Layout(10, WIDTH, (4, 10))


def staged(capacity: int) -> Any:
    made = module.Stage(None, Setting(LAYOUT), capacity, torch.device("cpu"), torch.float32)
    made.cache_layer = "layer"
    return made


@contextmanager
def slots(monkeypatch: pytest.MonkeyPatch, mapping: Any) -> Iterator[None]:
    """A forward pass with this slot mapping."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "is_forward_context_available", lambda: mapping is not None)
        patch.setattr(module, "get_forward_context", lambda: SimpleNamespace(slot_mapping=mapping))
        yield


def states(tokens: int, seed: int = 0) -> tuple[Any, list[Any]]:
    """As a model gives them: final ones [tokens, width], and the streams of two layers."""
    made = torch.randn(3, tokens, WIDTH, generator=torch.Generator().manual_seed(seed))
    return made[0], [made[1], made[2]]


@pytest.mark.parametrize("capacity", [0, 4, 5, 16])
def test_rows_are_found_by_their_slots(monkeypatch: pytest.MonkeyPatch, capacity: int) -> None:
    """In buffers as large as the pass or larger, and in the tensors of the pass itself."""
    stage = staged(capacity)
    final, aux = states(5)
    with slots(monkeypatch, {"layer": torch.tensor([30, 31, 7, 8, 40]), "other": torch.arange(5)}):
        stage.keep(final, aux)
    streams, read, found = stage.rows([8, 30])
    assert torch.equal(read, final[[3, 0]])
    assert torch.equal(streams, torch.stack(aux, dim=1)[[3, 0]])
    assert found is None or found.tolist() == [True, True]
    everything, _, _ = stage.rows([30, 31, 7, 8, 40])
    assert torch.equal(everything, torch.stack(aux, dim=1))


def test_what_a_pass_did_not_hold_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = staged(0), staged(4)
    for stage in (large, small):
        with slots(monkeypatch, {"layer": torch.tensor([3, -1])}):
            stage.keep(*states(2))
    assert small.rows([3, 4])[2].tolist() == [True, False]
    with pytest.raises(KeyError):
        large.rows([3, 4])


def test_a_smaller_pass_leaves_nothing_of_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged(4)
    with slots(monkeypatch, {"layer": torch.tensor([1, 2, 3, 4])}):
        stage.keep(*states(4))
    with slots(monkeypatch, {"layer": torch.tensor([9])}):
        stage.keep(*states(1))
    assert stage.rows([9, 4])[2].tolist() == [True, False]


def test_buffers_are_read_again_once_a_large_pass_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph fills them without a line of Python being run."""
    stage = staged(2)
    final, aux = states(2)
    with slots(monkeypatch, {"layer": torch.tensor([1, 2])}):
        stage.keep(final, aux)
    with slots(monkeypatch, {"layer": torch.arange(3)}):
        stage.keep(*states(3, seed=1))
    stage.clear()
    assert torch.equal(stage.rows([2])[1], final[1:])


def test_padding_behind_the_tokens_of_a_pass_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = staged(0)
    final, aux = states(4)
    with slots(monkeypatch, {"layer": torch.tensor([5, 6])}):
        stage.keep(final, aux)
    streams, read, _ = stage.rows([5, 6])
    assert (len(streams), len(read)) == (2, 2)


@pytest.mark.parametrize("mapping", [None, {}, [{"layer": torch.arange(2)}], {"other": torch.arange(2)}])
def test_a_pass_without_slots_is_not_kept(monkeypatch: pytest.MonkeyPatch, mapping: Any) -> None:
    stage = staged(4)
    with slots(monkeypatch, mapping):
        stage.keep(*states(2))
    assert not stage.kept
    assert stage.fault == ""


class Base(torch.nn.Module):
    """As vLLM's models are: it gives streams once it was told of which layers."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        self.layer = torch.nn.Linear(WIDTH, WIDTH)
        self.layers: tuple[int, ...] = ()

    def set_aux_hidden_state_layers(self, layers: tuple[int, ...]) -> None:
        self.layers = layers

    def forward(self, tokens: Any) -> Any:
        return (tokens, [tokens + layer for layer in self.layers]) if self.layers else tokens


def served(connector: str | None = "GateStatesConnector", **changed: Any) -> Any:
    made = config(changed.pop("extra", None), **changed)
    made.model_config.get_hidden_size = lambda: WIDTH
    made.model_config.dtype = torch.float32
    made.compilation_config = SimpleNamespace(max_cudagraph_capture_size=8)
    if connector is None:
        made.kv_transfer_config = None
    else:
        made.kv_transfer_config.kv_connector = connector
    return made


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "STAGE", None)
    return module._kept(Base)


def test_a_model_gives_its_server_what_it_gave_before(monkeypatch: pytest.MonkeyPatch, kept: Any) -> None:
    model = kept(vllm_config=served(extra={"layers": [1, 7]}))
    assert kept.__name__ == "Base"
    assert model.layers == (1, 7)
    assert module.STAGE is model.gate_stage
    tokens = torch.ones(3, WIDTH)
    model.gate_stage.cache_layer = "layer"
    with slots(monkeypatch, {"layer": torch.arange(3)}):
        assert model(tokens) is tokens
    streams, final, _ = module.STAGE.rows([1])
    assert final.tolist() == [[1.0] * WIDTH]
    assert streams[0, :, 0].tolist() == [2.0, 8.0]


@pytest.mark.parametrize(
    ("changed", "prefix"),
    [
        ({"connector": None}, ""),
        ({"connector": "NixlConnector"}, ""),
        ({"extra": {"layers": [99]}}, ""),
        ({"speculative_config": object()}, ""),
        ({}, "draft"),
    ],
)
def test_any_other_model_is_as_vllm_made_it(kept: Any, changed: dict[str, Any], prefix: str) -> None:
    model = kept(vllm_config=served(**changed), prefix=prefix)
    assert model.layers == ()
    assert model(torch.ones(1, WIDTH)).shape == (1, WIDTH)
    assert module.STAGE is None


def test_a_fault_in_its_making_leaves_a_model_as_it_was(kept: Any) -> None:
    changed = served()
    del changed.compilation_config, changed.model_config.dtype
    model = kept(vllm_config=changed)
    assert model.gate_stage is None
    assert model.layers == ()
    assert model(torch.ones(1, WIDTH)).shape == (1, WIDTH)


def test_a_fault_in_a_pass_ends_the_reading_not_the_pass(monkeypatch: pytest.MonkeyPatch, kept: Any) -> None:
    model = kept(vllm_config=served())
    model.gate_stage.cache_layer = "layer"
    with slots(monkeypatch, {"layer": 7}):
        assert model(torch.ones(9, WIDTH)).shape == (9, WIDTH)
    assert "keep failed" in model.gate_stage.fault


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen3ForCausalLM", "MistralForCausalLM"])
def test_classes_of_vllm_are_subclassed_by_name(name: str) -> None:
    made = getattr(module, name)
    assert made is getattr(module, name)
    assert issubclass(made, made.__mro__[1])
    assert made.__mro__[1].__module__.startswith("vllm.")


def test_every_name_is_a_text_model_of_vllm() -> None:
    from vllm.model_executor.models import registry

    assert not set(ARCHITECTURES) - set(registry._TEXT_GENERATION_MODELS)


def test_any_other_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="GPT2LMHeadModel"):
        module.GPT2LMHeadModel  # noqa: B018
