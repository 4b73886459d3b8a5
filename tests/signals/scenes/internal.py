"""What was read inside the model that answers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gate.evidence import HiddenStates
from gate.evidence.probes import PROBES
from gate.hidden_states.layout import STABILITY
from gate.ports import Fact
from gate.types import Cost
from tests.hidden_states.blocks import block

ODDS = st.floats(-20, 20) | st.sampled_from([0.0, -1e6, 1e6])
NUMBERS = st.floats(-65504, 65504, width=32) | st.just(float("nan"))


@st.composite
def facts(draw: st.DrawFn) -> tuple[Fact, ...]:
    parts = {name: draw(NUMBERS) for name in ("lens", "stability", "attention")}
    probes = draw(st.dictionaries(st.sampled_from(PROBES), ODDS))
    return (HiddenStates(Cost(), block(draw(st.integers(0, 9)), **parts), probes, "it was not fitted"),)


def _made(divergence: float, agreement: float, odds: float, **tokens: float) -> tuple[Fact, ...]:
    stability = np.zeros((2, len(STABILITY)))
    for name, value in tokens.items():
        stability[:, STABILITY.index(name)] = value
    lens = [[[2 * divergence, 1.0, agreement], [divergence, 0.5, 1.0]]] * 2
    attention = [0.3 + odds / 10, -0.5 + odds / 10, 0.0, 0.0]
    made = block(lens=lens, stability=stability, attention=attention)
    return (HiddenStates(Cost(), made, dict.fromkeys(PROBES, odds)),)


def sure() -> tuple[Fact, ...]:
    return _made(
        0.2, 1, 2.0, gradient_norm=0.1, flip_radius=9.0, perturbation_energy=1.0, entropy=0.1, logit_margin=5.0
    )


def unsure() -> tuple[Fact, ...]:
    return _made(
        2.0, 0, -1.0, gradient_norm=0.8, flip_radius=1.0, perturbation_energy=9.0, entropy=1.5, logit_margin=0.3
    )
