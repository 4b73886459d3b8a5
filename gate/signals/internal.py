"""What a model's internal states say of its answer. All are read off one fact, and are missing together.

Probes were fitted on labelled answers (`gate.tuning.probes`). The others are statistics that need no fitting: how early
the residual stream settles on the answer, and how much it takes to push it to another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gate.evidence.hidden_states import HiddenStates
from gate.evidence.probes import PROBES
from gate.hidden_states.layout import LENS, STABILITY
from gate.ports import Evidence, Fact, Missing
from gate.signals.neighbours import sigmoid

_MEAN, _WEAKEST = 0, 1
_DIVERGENCE, _AGREEMENT = LENS.index("divergence"), LENS.index("agreement")
_NOT_WORKED_OUT = Missing("the server gave the states alone: what needs its head was not worked out")


@dataclass(frozen=True, slots=True)
class InternalSignal:
    """A statistic of the states. ``statistic`` gives the reason when it has no value."""

    name: str
    statistic: Callable[[HiddenStates], float | Missing]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (HiddenStates,)

    def measure(self, evidence: Evidence) -> float | Missing:
        states = evidence.find(HiddenStates)
        if states is None:
            return Missing(evidence.missing.get(HiddenStates, "no internal states were read"))
        value = self.statistic(states)
        if isinstance(value, Missing):
            return value
        return _NOT_WORKED_OUT if math.isnan(value) else min(self.bounds[1], max(self.bounds[0], value))


def probe(name: str) -> Callable[[HiddenStates], float | Missing]:
    """The probability of being right by one probe."""

    def read(fact: HiddenStates) -> float | Missing:
        if name not in fact.probes:
            return Missing(fact.unprobed)
        return sigmoid(fact.probes[name])

    return read


def convergence_area(fact: HiddenStates) -> float:
    """Minus the mean over layers of the cross-entropy to what the model ends in, in nats: how late it settles."""
    return -float(fact.block.lens[_MEAN, :, _DIVERGENCE].mean())


def convergence_slope(fact: HiddenStates) -> float | Missing:
    """The change of that cross-entropy over the last layers that are read, in nats for the whole depth: near 0 is calm.

    Of two neighbouring layers, the last one and the one before it.
    """
    layers, layout = fact.block.lens[_MEAN, :, _DIVERGENCE], fact.block.layout
    if len(layers) < 2:
        return Missing("one layer alone is read")
    return float(layers[-1] - layers[-2]) * layout.depth / (layout.layers[-1] - layout.layers[-2])


def convergence_depth(fact: HiddenStates) -> float:
    """How much of the depth is left from the layer on which the least likely token is the likeliest to the end."""
    agreement, layout = fact.block.lens[_WEAKEST, :, _AGREEMENT], fact.block.layout
    if np.isnan(agreement).any():
        return math.nan
    settled = len(agreement) - int(np.argmin(np.append(agreement[::-1] > 0.5, False)))
    return 0.0 if settled == len(agreement) else 1.0 - layout.layers[settled] / (layout.depth + 1)


def of_weakest_token(name: str, sign: float = 1.0) -> Callable[[HiddenStates], float]:
    """A quantity of `gate.hidden_states.rows.stability` at the least likely token, where an answer breaks first."""
    place = STABILITY.index(name)
    return lambda fact: sign * float(fact.block.stability[_WEAKEST, place])


def flip_radius(fact: HiddenStates) -> float:
    """ln(1 + r) of the weakest token: how far its state must be pushed until another token is likelier."""
    radius = of_weakest_token("flip_radius")(fact)
    return math.log1p(radius) if radius > 0 else radius


_BELOW, _ABOVE = (-math.inf, 0.0), (0.0, math.inf)

INTERNAL_SIGNALS = (
    *(InternalSignal(f"{name}_probe", probe(name)) for name in PROBES),
    InternalSignal("convergence_area", convergence_area, _BELOW),
    InternalSignal("convergence_depth", convergence_depth),
    InternalSignal("convergence_slope", convergence_slope, (-math.inf, math.inf)),
    InternalSignal("gradient_norm", of_weakest_token("gradient_norm", -1.0), _BELOW),
    InternalSignal("flip_radius", flip_radius, _ABOVE),
    InternalSignal("perturbation_energy", of_weakest_token("perturbation_energy", -1.0), _BELOW),
    InternalSignal("head_entropy", of_weakest_token("entropy", -1.0), _BELOW),
    InternalSignal("head_margin", of_weakest_token("logit_margin"), _ABOVE),
)
