"""Servers, one of each model, for all tests of this folder; without vLLM the tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.pocket.weights import folder
from tests.served.server import Server, serving
from tests.served.wider_heads import widened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("GATE_TEST_VLLM") != "1":
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs vLLM: run make test-vllm"))


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small pocket model as vLLM can run it on a CPU."""
    return widened(folder("small"), tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def small(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(small_folder, "pocket-small", tmp_path_factory.mktemp("vllm")) as server:
        yield server


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(folder("large"), "pocket-large", tmp_path_factory.mktemp("vllm")) as server:
        yield server
