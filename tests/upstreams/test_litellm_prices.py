"""Prices off the table in litellm's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.ports import Price
from gate.upstreams import litellm_prices
from gate.upstreams.litellm_prices import listed_price


def entry(provider: str, prompt: object = 1.5e-07, completion: object = 6e-07) -> dict[str, object]:
    return {"litellm_provider": provider, "input_cost_per_token": prompt, "output_cost_per_token": completion}


TABLE = {
    "gpt-x": entry("openai"),
    "mine/own": entry("mine", 0.0, 0.0),
    "claude-x": entry("bedrock_converse"),
    "half": entry("openai") | {"output_cost_per_token": None},
    "odd": entry("openai", "1e-7", True),
    "minus": entry("openai", -1e-7),
    "none": "not an entry",
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "litellm"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('imported')")
    file = folder / litellm_prices._FILE
    file.write_text(json.dumps(TABLE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    litellm_prices._table.cache_clear()
    yield file
    litellm_prices._table.cache_clear()


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-x", Price(0.15, 0.6)),
        ("openai/gpt-x", Price(0.15, 0.6)),
        ("mine/own", Price()),
        ("bedrock/claude-x", Price(0.15, 0.6)),
        ("azure/gpt-x", None),
        ("open/gpt-x", None),
        ("bed/claude-x", None),
        ("/gpt-x", None),
        ("openai/nosuch", None),
        ("half", None),
        ("odd", None),
        ("minus", None),
        ("none", None),
        ("/", None),
    ],
)
def test_a_model_is_found_by_its_name_of_its_provider(model: str, price: Price | None) -> None:
    assert listed_price(model) == price


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_without_a_table_no_price_is_known(content: str | None, table: Path) -> None:
    table.unlink() if content is None else table.write_text(content)
    assert listed_price("gpt-x") is None


def test_without_litellm_no_price_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm_prices, "find_spec", lambda name: None)
    litellm_prices._table.cache_clear()
    assert listed_price("gpt-x") is None
    litellm_prices._table.cache_clear()
