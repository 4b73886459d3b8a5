"""A vLLM in which the connector cannot be loaded: the server starts, and replies say why they bring no states."""

from __future__ import annotations

import abc
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gate.engine_plugin.asking import FIELD

BASE = "vllm.distributed.kv_transfer.kv_connector.v1.base"


class Base(abc.ABC):
    """A base class as it may be one day: with another thing to do, and without one that was there."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    @abc.abstractmethod
    def do_something_new(self) -> int: ...


class Metadata(abc.ABC):  # noqa: B024 - as vLLM's is
    pass


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What vLLM would find at the path it is given, in a version that lacks most of what the connector knows."""
    names = BASE.split(".")
    for place in range(1, len(names) + 1):
        monkeypatch.setitem(sys.modules, ".".join(names[:place]), ModuleType(".".join(names[:place])))
    base = sys.modules[BASE]
    base.KVConnectorBase_V1, base.KVConnectorMetadata = Base, Metadata  # type: ignore[attr-defined]
    for name in ("loading", "connector"):
        monkeypatch.delitem(sys.modules, f"gate.engine_plugin.{name}", raising=False)
    loaded = importlib.import_module("gate.engine_plugin.loading")
    yield loaded.GateStatesConnector("config", "role", "caches")
    sys.modules.pop("gate.engine_plugin.loading", None)


def request(name: str, asked: Any) -> Any:
    return SimpleNamespace(request_id=name, kv_transfer_params=None if asked is None else {FIELD: asked})


def test_a_server_of_an_unknown_version_serves_and_says_why(connector: Any) -> None:
    assert connector.given == ("config", "role", "caches")
    assert connector.get_num_new_matched_tokens(request("a", {}), 3) == (0, False)
    assert isinstance(connector.build_connector_meta(None), Metadata)
    assert connector.do_something_new() is None
    assert connector.requires_kv_delivery is False
    assert connector.request_finished(request("a", None), []) == (False, None)
    _, reply = connector.request_finished(request("a", {}), [])
    assert "not one that gate can read" in reply[FIELD]["0"]["missing"]
    assert "ImportError" in reply[FIELD]["0"]["missing"]


def test_every_one_of_several_answers_is_told(connector: Any) -> None:
    replies = [connector.request_finished_all_groups(request(f"{n}_parent", {}), ([],))[1] for n in range(3)]
    assert set(replies[-1][FIELD]) == {"0", "1", "2"}
