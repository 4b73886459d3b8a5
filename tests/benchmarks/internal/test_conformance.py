"""What the benchmark of internal states makes of its figures: an aim is called met when it is, and not otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.internal.__main__ import ALL, FREE, TOGETHER, of_aims, of_load, of_signals
from tests.benchmarks.internal.pocket import SAMPLES, Line, Measured, _line
from tests.benchmarks.internal.served import Load, Round


def line(name: str, separation: float, tokens: float = 10.0) -> Line:
    """An even half right; ``separation`` is by how much p of those is higher."""
    rng = np.random.default_rng(0)
    correct = np.arange(400) % 2 == 0
    p = 1 / (1 + np.exp(-(rng.normal(size=400) + separation * (correct - 0.5))))
    return _line(name, p, correct, ~correct & (np.arange(400) < 40), tokens)


def measured(gain: float) -> Measured:
    lines = (
        line(f"{SAMPLES} samples", 0.5, 45),
        line(TOGETHER, 1.0, 45),
        line(FREE, 1.0 + gain / 2, 15),
        line(ALL, 1.0 + gain, 45),
    )
    return Measured("small/closed_book", 300, 400, 0.5, 20, lines)


@pytest.mark.parametrize(("gain", "met"), [(1.0, "**Met**"), (0.0, "**Not met**")])
def test_what_all_adds_is_held_against_the_aim(gain: float, met: str) -> None:
    said = of_aims([measured(gain)]).splitlines()
    assert met in said[0]
    assert "3.0 times fewer tokens" in said[1]


def test_a_wrong_answer_is_caught_when_it_is_among_the_least_sure() -> None:
    assert line("good", 8.0).caught == 1.0
    chance = line("nothing", 0.0).caught
    assert chance is not None
    assert chance < 0.25
    table = of_signals([measured(1.0)])
    assert f"| **{ALL}** |" in table


@pytest.mark.parametrize(("throughput", "met"), [(96.0, "**Met**"), (94.0, "**Not met**")])
def test_what_reading_costs_is_held_against_the_same_load_without(throughput: float, met: str) -> None:
    plain = Load("m", "64 tokens", "plain", 100.0, 0.2, 400.0, rounds=tuple(Round(t, 0.2, 400) for t in (50, 100, 200)))
    turns = tuple(Round(t * throughput / 100, 0.2, 1500) for t in (50, 100, 200))
    read = Load("m", "64 tokens", "read", throughput, 0.2, 1500.0, base=plain, rounds=turns)
    assert read.against("throughput") == pytest.approx(throughput / 100 - 1)
    assert read.bytes_added == 1100
    said = of_load([plain, read])
    assert f"{met}: at worst {throughput / 100 - 1:+.1%}" in said
    assert "**Met**: 1100 bytes" in said
    with pytest.raises(ValueError, match="nothing to hold it against"):
        plain.against("latency")
