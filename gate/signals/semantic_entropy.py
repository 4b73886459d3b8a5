"""Semantic entropy: how spread the samples are over meanings (Kuhn et al. 2023; Farquhar et al. 2024).

Public code calls several different estimators "semantic entropy". Signals are made of two: the *discrete* one, over
counts of meanings, and the *weighted* one, where each meaning has the summed probability of its samples, normalised
over the samples; also with each sample's probability taken per token, so that long answers are not held to be rare.
They are turned round and scaled, ``1 - H / ln m``, so that 1 means one meaning and 0 means all differ.

The other four are here to compare with published numbers, like with like, and are no signals: they leave the summed
probabilities as they are, so they count a sample that was drawn twice twice, mix how spread the answers are with how
likely their words are (which the token signals say), and change with m.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.log_probabilities import no_number
from gate.evidence.meanings import Meanings
from gate.evidence.samples import Samples, spread
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


def entropy_over_meanings(labels: Sequence[int], logprobs: Sequence[float]) -> float:
    """The mean over meanings of -ln P(meaning), P the summed probability of its samples (Kuhn et al. 2023)."""
    masses = _masses(labels, logprobs)
    return -math.fsum(masses.values()) / len(masses)


def entropy_over_samples(labels: Sequence[int], logprobs: Sequence[float]) -> float:
    """The mean over samples of -ln P(its meaning): the "mean" estimator of lm-polygraph."""
    masses = _masses(labels, logprobs)
    return -math.fsum(masses[label] for label in labels) / len(labels)


def entropy_direct(labels: Sequence[int], logprobs: Sequence[float]) -> float:
    """The sum over samples of -P ln P of its meaning: the "direct" estimator of lm-polygraph."""
    masses = _masses(labels, logprobs)
    return -math.fsum(math.exp(masses[label]) * masses[label] for label in labels)


def entropy_of_mean_mass(labels: Sequence[int], logprobs: Sequence[float]) -> float:
    """-ln of the mean P(meaning): the form in the code of Lin et al. 2024."""
    masses = _masses(labels, logprobs)
    return math.log(len(masses)) - _log_sum(masses.values())


def _masses(labels: Sequence[int], logprobs: Sequence[float]) -> dict[int, float]:
    """ln of the summed probability of each meaning."""
    drawn: dict[int, list[float]] = {}
    for label, logprob in zip(labels, logprobs, strict=True):
        drawn.setdefault(label, []).append(logprob)
    return {label: _log_sum(own) for label, own in drawn.items()}


def _log_sum(logprobs: Collection[float]) -> float:
    top = max(logprobs)
    return top + math.log(math.fsum(math.exp(logprob - top) for logprob in logprobs))


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
        m = len(meanings.samples)
        return spread(m, meanings.declined) or _concentration(discrete_entropy(meanings.samples), m)


@dataclass(frozen=True, slots=True)
class WeightedSemanticConcentration:
    """``1 - weighted entropy / ln m``; missing unless every sample has log-probabilities.

    ``per_token``: each sample counts with its probability per token, exp(mean of its log-probabilities).
    """

    name: str = "semantic_concentration_weighted"
    per_token: bool = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        meanings, samples = evidence.find(Meanings), evidence.find(Samples)
        if meanings is None or samples is None:
            return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
        if (why := spread(len(samples.generations), meanings.declined)) is not None:
            return why
        if len(samples.generations) != len(meanings.samples):
            return Missing("the samples are not those whose meanings are known")
        tokens = [g.tokens for g in samples.generations if g.tokens is not None]
        if len(tokens) < len(samples.generations):
            return Missing("the upstream gave no log-probabilities for its samples")
        if (why := next(filter(None, map(no_number, tokens)), None)) is not None:
            return why
        logprobs = [math.fsum(t.logprob for t in own) / (max(1, len(own)) if self.per_token else 1) for own in tokens]
        return _concentration(weighted_entropy(meanings.samples, logprobs), len(logprobs))


def _concentration(entropy: float, m: int) -> float:
    return min(1.0, max(0.0, 1.0 - entropy / math.log(m)))
