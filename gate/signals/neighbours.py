"""What is known of questions like this one: how the upstream fared on them, and how far they are from here.

All are read off one fact, and are missing together. Those in [0, 1] that speak of accuracy are held back towards the
upstream's base rate, so that few or distant neighbours do not pass for certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.nearest import LONGEST_RUN
from gate.evidence.neighbours import Neighbours
from gate.ports import Evidence, Fact, Missing

_PRIOR = 1.0
"""How many neighbours the base rate counts for."""
_WEIGHED_PRIOR = 0.1
"""The same where a neighbour counts for its squared cosine."""


@dataclass(frozen=True, slots=True)
class NeighbourSignal:
    """A statistic of the neighbours. ``statistic`` gives the reason when it has no value."""

    name: str
    statistic: Callable[[Neighbours], float | Missing]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Neighbours,)

    def measure(self, evidence: Evidence) -> float | Missing:
        neighbours = evidence.find(Neighbours)
        if neighbours is None:
            return Missing(evidence.missing.get(Neighbours, "no reference pool was looked at"))
        value = self.statistic(neighbours)
        return value if isinstance(value, Missing) else min(self.bounds[1], max(self.bounds[0], value))


def accuracy(fact: Neighbours) -> float:
    """Share right among the k nearest, the base rate counting as one more of them."""
    return (math.fsum(fact.correct) + _PRIOR * fact.base_rate) / (len(fact.correct) + _PRIOR)


def weighted_accuracy(fact: Neighbours) -> float:
    """Likewise, each neighbour counting for the square of its cosine: none for one that has nothing in common."""
    weights = [max(0.0, 1.0 - d * d / 2.0) ** 2 for d in fact.distances]
    held = math.fsum(w * right for w, right in zip(weights, fact.correct, strict=True))
    return (held + _WEIGHED_PRIOR * fact.base_rate) / (math.fsum(weights) + _WEIGHED_PRIOR)


def similarity(fact: Neighbours) -> float:
    """ln(1 + q) as a share of its largest value, negative when what the neighbours bear out is that it is wrong."""
    size = math.log1p(fact.similarity) / math.log1p(LONGEST_RUN)
    return size if fact.skill >= 0 else -size


def magnitude(fact: Neighbours) -> float:
    """The probability of being right by `sdm`, from the skill model's log-odds."""
    return sdm(fact.similarity, fact.class_closeness, (0.0, fact.skill))[1]


def sdm(q: float, d: float, logits: Sequence[float]) -> tuple[float, ...]:
    """Similarity-distance-magnitude (Schmaltz 2025): softmax in base 2 + q with an exponent scaled by d.

    ``(2 + q)^(d z_i) / sum_c (2 + q)^(d z_c)``; q = e - 2 and d = 1 is softmax, d = 0 is uniform.
    """
    scaled = [math.log(2.0 + q) * d * z for z in logits]
    top = max(scaled)
    powers = [math.exp(s - top) for s in scaled]
    total = math.fsum(powers)
    return tuple(power / total for power in powers)


def distance(fact: Neighbours) -> float:
    """d of `sdm`. At 0 the question lies further out than all of the pool.

    A calibrator fitted on nearer questions alone has seen no such value: `LogisticCalibrator` then calls the question
    out of distribution, as it does for every value outside the range it was fitted on.
    """
    return fact.class_closeness


def agreement(fact: Neighbours) -> float | Missing:
    """NDCG@k of the second embedder's neighbours, those of the first being relevant (An et al. 2025)."""
    if fact.shared is None:
        return Missing("there are no neighbours by a second embedder")
    return ndcg(fact.shared)


def ndcg(relevant: Sequence[bool]) -> float:
    """Discounted gain of a ranking's first k, as a share of the gain when all k are relevant. Not for k = 0."""
    gains = [1.0 / math.log2(place + 2) for place in range(len(relevant))]
    return math.fsum(gain for gain, hit in zip(gains, relevant, strict=True) if hit) / math.fsum(gains)


def skill(fact: Neighbours) -> float:
    """The probability of being right by the skill model: from the question alone (EmbedLLM, Zhuang et al. 2025)."""
    return sigmoid(fact.skill)


def text(fact: Neighbours) -> float | Missing:
    """The probability of being right by the text model: from question and answer (APRICOT, Ulmer et al. 2024)."""
    if fact.text is None:
        return Missing("the draft says nothing, or the reference pool has no text model for this upstream")
    return sigmoid(fact.text)


def sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))


NEIGHBOUR_SIGNALS = (
    NeighbourSignal("neighbour_accuracy", accuracy),
    NeighbourSignal("neighbour_accuracy_weighted", weighted_accuracy),
    NeighbourSignal("cluster_accuracy", lambda fact: fact.cluster_accuracy),
    NeighbourSignal("neighbour_distance", lambda fact: fact.closeness),
    NeighbourSignal("neighbour_agreement", agreement),
    NeighbourSignal("sdm_similarity", similarity, (-1.0, 1.0)),
    NeighbourSignal("sdm_distance", distance),
    NeighbourSignal("sdm_magnitude", magnitude),
    NeighbourSignal("upstream_skill", skill),
    NeighbourSignal("text_regressor", text),
)
