"""Semantic entropy: how spread the samples are over meanings (Kuhn et al. 2023; Farquhar et al. 2024).

Public code calls several different estimators "semantic entropy". Named here: the *discrete* one, over counts of
meanings, and the *weighted* one, where each meaning has the summed probability of its samples, normalised over the
samples. Both are turned round and scaled, ``1 - H / ln m``, so that 1 means one meaning and 0 means all differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.meanings import Meanings
from gate.evidence.samples import Samples
from gate.ports import Evidence, Fact, Missing


def discrete_entropy(labels: Sequence[int]) -> float:
    """H = -sum n_c/m ln(n_c/m), in nats, in [0, ln m]."""
    return _entropy(labels.count(label) / len(labels) for label in set(labels))


def weighted_entropy(labels: Sequence[int], logprobs: Sequence[float]) -> float:
    """H over meanings, each with the share of sample probability that falls on it. In nats, in [0, ln m].

    ``logprobs`` are sequence log-probabilities, one a sample.
    """
    top = max(logprobs)
    weights = [math.exp(logprob - top) for logprob in logprobs]
    total = math.fsum(weights)
    return _entropy(
        math.fsum(w for w, own in zip(weights, labels, strict=True) if own == label) / total for label in set(labels)
    )


def _entropy(shares: Iterable[float]) -> float:
    return max(0.0, -math.fsum(p * math.log(p) for p in shares if p > 0.0))


@dataclass(frozen=True, slots=True)
class SemanticConcentration:
    """``1 - discrete entropy / ln m``."""

    name = "semantic_concentration"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings,)

    def measure(self, evidence: Evidence) -> float | Missing:
        meanings = evidence.find(Meanings)
        if meanings is None:
            return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
        return _concentration(discrete_entropy(meanings.samples), len(meanings.samples))


@dataclass(frozen=True, slots=True)
class WeightedSemanticConcentration:
    """``1 - weighted entropy / ln m``; missing unless every sample has log-probabilities."""

    name = "semantic_concentration_weighted"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        meanings, samples = evidence.find(Meanings), evidence.find(Samples)
        if meanings is None or samples is None:
            return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
        logprobs = [math.fsum(t.logprob for t in g.tokens) for g in samples.generations if g.tokens is not None]
        if len(logprobs) < len(samples.generations):
            return Missing("the upstream gave no log-probabilities for its samples")
        return _concentration(weighted_entropy(meanings.samples, logprobs), len(logprobs))


def _concentration(entropy: float, m: int) -> float | Missing:
    if m < 2:
        return Missing("one sample has no spread")
    return min(1.0, max(0.0, 1.0 - entropy / math.log(m)))
