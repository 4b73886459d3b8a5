"""The entry point: nothing unless asked for, and never an error."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points
from types import ModuleType

import pytest

from gate import engine_plugin
from gate.engine_plugin.registration import ARCHITECTURES, SWITCH, register


class Registry:
    """As much of ``vllm.ModelRegistry`` as is used."""

    def __init__(self, *known: str) -> None:
        self.known = known
        self.registered: dict[str, str] = {}

    def get_supported_archs(self) -> tuple[str, ...]:
        return self.known

    def register_model(self, name: str, path: str) -> None:
        self.registered[name] = path


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry("LlamaForCausalLM", "GPT2LMHeadModel")
    module = ModuleType("vllm")
    module.ModelRegistry = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    model = ModuleType("gate.engine_plugin.model")
    monkeypatch.setitem(sys.modules, model.__name__, model)
    monkeypatch.setattr(engine_plugin, "model", model, raising=False)
    return made


@pytest.mark.parametrize("value", [None, "", "0", "true"])
def test_a_server_that_was_not_told_to_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, value: str | None
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(SWITCH, value)
    register()
    assert not registry.registered


def test_models_that_can_be_read_and_are_known_are_registered_by_name(
    monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    register()
    register()  # every process calls it, some twice
    assert registry.registered == {"LlamaForCausalLM": "gate.engine_plugin.model:LlamaForCausalLM"}


def test_a_vllm_that_changed_is_told_of_and_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    with caplog.at_level(logging.WARNING):
        register()
    assert len(caplog.records) == 1
    assert "gate reads no internal states" in caplog.text


def test_models_are_left_alone_where_what_would_take_their_place_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.delattr(engine_plugin, "model")
    monkeypatch.setitem(sys.modules, "gate.engine_plugin.model", None)
    with caplog.at_level(logging.WARNING):
        register()
    assert not registry.registered
    assert "gate reads no internal states" in caplog.text


def test_the_names_are_in_order_and_none_stands_twice() -> None:
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES)


def test_vllm_finds_the_entry_point() -> None:
    found = [point for point in entry_points(group="vllm.general_plugins") if point.name == "gate"]
    if not found:
        pytest.skip("gate was installed before it had the entry point")
    assert found[0].load() is register
