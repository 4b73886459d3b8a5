"""Signals of internal states: worked values, and what is missing when."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gate.evidence import HiddenStates
from gate.evidence.probes import PROBES
from gate.hidden_states.layout import STABILITY, Layout
from gate.ports import Evidence, Missing
from gate.signals.internal import INTERNAL_SIGNALS
from gate.types import Cost
from tests.hidden_states.blocks import block

BY_NAME = {signal.name: signal for signal in INTERNAL_SIGNALS}
SIX = Layout(6, 8, (2, 4, 6))


def measured(name: str, probes: dict[str, float] | None = None, **parts: Any) -> float | Missing:
    fact = HiddenStates(Cost(), block(layout=SIX, **parts), probes or {}, "it was not fitted")
    return BY_NAME[name].measure(Evidence().having(fact))


def lens(divergence: list[float], agreement: list[float]) -> Any:
    """[2, 3, 3]: divergence counts in the mean over tokens, agreement at the least likely one."""
    mean = np.stack([divergence, [9.0] * 3, [0.75] * 3], axis=-1)
    return np.stack([mean, np.stack([[99.0] * 3, [9.0] * 3, agreement], axis=-1)])


def weakest(**values: float) -> Any:
    made = np.full((2, len(STABILITY)), 77.0)
    for name, value in values.items():
        made[1, STABILITY.index(name)] = value
    return made


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_is_a_probability(name: str) -> None:
    assert measured(f"{name}_probe", {name: 0.0}) == 0.5
    assert measured(f"{name}_probe", {name: math.log(3)}) == pytest.approx(0.75)
    assert measured(f"{name}_probe", {name: -1e9}) == pytest.approx(0.0)
    assert measured(f"{name}_probe", {}) == Missing("it was not fitted")


def test_convergence_is_read_off_the_layers() -> None:
    early, late = lens([1.0, 0.5, 0.3], [0, 1, 1]), lens([6.0, 5.0, 0.3], [0, 0, 1])
    assert measured("convergence_area", lens=early) == pytest.approx(-0.6)
    assert measured("convergence_slope", lens=early) == pytest.approx(-0.2 * 6 / 2)
    assert measured("convergence_slope", lens=late) == pytest.approx(-4.7 * 3)
    assert measured("convergence_depth", lens=early) == pytest.approx(1 - 4 / 7)
    assert measured("convergence_depth", lens=late) == pytest.approx(1 - 6 / 7)
    assert measured("convergence_depth", lens=lens([1, 1, 1], [1, 1, 1])) == pytest.approx(1 - 2 / 7)
    assert measured("convergence_depth", lens=lens([1, 1, 1], [1, 0, 1])) == pytest.approx(1 - 6 / 7)
    assert measured("convergence_depth", lens=lens([1, 1, 1], [1, 1, 0])) == 0.0  # it settled on something else


def test_stability_is_that_of_the_weakest_token() -> None:
    assert measured("gradient_norm", stability=weakest(gradient_norm=2.0)) == -2
    assert measured("flip_radius", stability=weakest(flip_radius=math.e - 1)) == pytest.approx(1)
    assert measured("perturbation_energy", stability=weakest(perturbation_energy=3.0)) == -3
    assert measured("head_entropy", stability=weakest(entropy=0.5)) == -0.5
    assert measured("head_margin", stability=weakest(logit_margin=4.0)) == 4


@pytest.mark.parametrize("signal", INTERNAL_SIGNALS, ids=lambda signal: signal.name)
def test_what_the_server_could_not_work_out_is_missing(signal: Any) -> None:
    found = measured(signal.name, lens=math.nan, stability=math.nan, attention=math.nan)
    assert isinstance(found, Missing)
    assert found.reason


@pytest.mark.parametrize("signal", INTERNAL_SIGNALS, ids=lambda signal: signal.name)
def test_no_states_no_signal_and_the_reason_is_the_evidences(signal: Any) -> None:
    assert signal.measure(Evidence()) == Missing("no internal states were read")
    assert signal.measure(Evidence().lacking(HiddenStates, "the plugin is off")) == Missing("the plugin is off")


def test_one_layer_has_no_slope() -> None:
    fact = HiddenStates(Cost(), block(layout=Layout(3, 8, (3,))), {})
    assert isinstance(BY_NAME["convergence_slope"].measure(Evidence().having(fact)), Missing)
