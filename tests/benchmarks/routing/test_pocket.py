"""The pocket part of the routing benchmark, on a few questions, and what it makes of its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.routing.pocket import Way, asked, page, ungated, verdicts

WAY = Way("balanced", 0.05, 1000, 900, 18, 2.0, 40.0, 1e-5, 8.0)
OTHERS = tuple(f"{kind}, {name}" for kind in ("gate without routes", "ten samples") for name in ("small", "large"))


def ways(coverage: float, tokens: float) -> list[Way]:
    """The balanced policy beside gates without routes of this coverage."""
    ten = replace(WAY, name="balanced with ten samples", tokens=tokens)
    return [WAY, ten, *(replace(WAY, name=name, answered=int(1000 * coverage), tokens=tokens) for name in OTHERS)]


@pytest.mark.parametrize(
    ("coverage", "tokens", "met"), [(0.5, 100.0, "**Met**"), (0.8, 60.0, "**Not met**")], ids=["far", "near"]
)
def test_aims_are_held_against_the_best_gate_without_routes(coverage: float, tokens: float, met: str) -> None:
    told = verdicts(ways(coverage, tokens))
    assert len(told) == 3
    assert all(met in line for line in told)


def test_a_gate_that_can_promise_nothing_answers_nothing() -> None:
    none = asked("ten samples, small", None, 5, 0.05)
    assert (none.answered, none.coverage, none.risk) == (0, 0.0, 0.0)
    assert "no threshold keeps it" in page([*ways(0.5, 100.0)[:-2], none, ways(0.5, 100.0)[-1]])


def test_an_ungated_model_answers_everything(tmp_path: Path) -> None:
    way = asked("small alone", ungated(tmp_path, "small-alone", "small", reading=False), 40, None)
    assert (way.answered, way.n) == (40, 40)
    assert 0 < way.wrong < 40
    reading = asked("reading", ungated(tmp_path, "small-reading", "small", reading=True), 8, None)
    assert reading.tokens > way.tokens
