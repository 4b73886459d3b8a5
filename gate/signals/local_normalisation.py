"""Locally normalised probability: the draft's text against the texts sampled beside it (Ethicist, Zhang 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.draft import Draft
from gate.evidence.log_probabilities import no_number
from gate.evidence.meanings import answer_text
from gate.evidence.samples import Samples, draft_and_samples, spread
from gate.ports import Evidence, Fact, Missing


def local_share(logprobs: Sequence[float], same: Sequence[bool]) -> float:
    """Share of the samples' summed probability that falls on the samples that are the ``same``. In [0, 1].

    ``logprobs`` are sequence log-probabilities, one a sample. A text that was drawn c times with mean token loss l over
    T tokens weighs ``c exp(-T l)``: this is Ethicist's formula where all texts are of one length T. With unequal
    lengths, too, the whole sequence counts, not its mean: a longer text is less likely, as it is to the model.
    """
    top = max(logprobs)
    weights = [math.exp(logprob - top) for logprob in logprobs]
    return min(1.0, math.fsum(w for w, own in zip(weights, same, strict=True) if own) / math.fsum(weights))


@dataclass(frozen=True, slots=True)
class TextProbabilityShare:
    """`local_share` of the samples whose text is the draft's after normalising; 0 when none is.

    A text's probability counts beside its frequency, so this is sharper than a share of votes. Missing unless every
    sample has log-probabilities.
    """

    name = "text_probability_share"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, Samples)

    def measure(self, evidence: Evidence) -> float | Missing:
        found = draft_and_samples(evidence)
        if isinstance(found, Missing):
            return found
        draft, drawn = found
        answer = answer_text(draft)
        if not answer:
            return Missing("the draft says nothing")
        if not all(generation.tokens for generation in drawn):
            return Missing("the upstream gave no log-probabilities for its samples")
        if (why := next(filter(None, (no_number(generation.tokens) for generation in drawn)), None)) is not None:
            return why
        logprobs = [sum(token.logprob for token in generation.tokens or ()) for generation in drawn]
        return spread(len(drawn)) or local_share(logprobs, [answer_text(generation) == answer for generation in drawn])
