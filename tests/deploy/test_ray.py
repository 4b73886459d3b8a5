"""Without Ray. With it, in a cluster: `tests.integrations.test_ray_serve`."""

from __future__ import annotations

import importlib
import sys

import pytest

from gate.errors import MissingExtra


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "gate.deploy.ray", raising=False)
    with pytest.raises(MissingExtra, match=r"gate-llm\[ray\]"):
        importlib.import_module("gate.deploy.ray")
