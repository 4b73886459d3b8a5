"""The command that serves agents, where the package it needs is not installed; `tests.integrations` has it."""

from __future__ import annotations

import sys

import pytest

from tests.commands import gate


@pytest.fixture(autouse=True)
def _without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "gate.integrations.mcp_server", raising=False)


@pytest.mark.parametrize("arguments", [[], ["balanced", "strict"], ["--http", "--port", "0"]], ids=str)
def test_without_the_package_it_says_how_to_install_it(arguments: list[str]) -> None:
    ran = gate("mcp", *arguments)
    assert ran.code == 2
    assert ran.complaint == "this needs the package 'mcp'; install it with: pip install 'gate-llm[mcp]'"


@pytest.mark.parametrize("arguments", [["--port", "8801"], ["--host", "127.0.0.1"]], ids=str)
def test_an_address_goes_with_http(arguments: list[str]) -> None:
    ran = gate("mcp", *arguments)
    assert ran.code == 2
    assert ran.complaint.startswith("--host and --port go with --http")


def test_its_help_says_what_it_serves() -> None:
    ran = gate("mcp", "--help")
    assert ran.code == 0
    assert "Model Context Protocol" in ran.out
    assert "--http" in ran.out
