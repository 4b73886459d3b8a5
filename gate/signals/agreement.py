"""Agreement: how many samples say what the draft says, and how far they agree among themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.meanings import Meanings
from gate.evidence.samples import spread
from gate.ports import Evidence, Fact, Missing


@dataclass(frozen=True, slots=True)
class VoteShare:
    """Share of the samples whose meaning is the draft's: of the *returned* answer, not of the most frequent one.

    It is the share of the samples that were *asked for*: one that did not come, or said nothing, is no vote for the
    draft. So whoever counts votes from the share and that number never counts more than there were. Missing for fewer
    than two samples.
    """

    name = "vote_share"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings,)

    def measure(self, evidence: Evidence) -> float | Missing:
        votes = _votes(evidence)
        return votes if isinstance(votes, Missing) else votes[0] / votes[1]


@dataclass(frozen=True, slots=True)
class VotePosterior:
    """Posterior mean of the draft's share, (k + 1) / (m + 2) for k of m samples that were asked for.

    Where sampling stops early, few votes that all agree are not taken for many (Laplace's rule; of a Beta(1, 1) prior).
    Missing for fewer than two samples.
    """

    name = "vote_posterior"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (Meanings,)

    def measure(self, evidence: Evidence) -> float | Missing:
        votes = _votes(evidence)
        return votes if isinstance(votes, Missing) else (votes[0] + 1) / (votes[1] + 2)


def _votes(evidence: Evidence) -> tuple[int, int] | Missing:
    """The samples that say what the draft says, and all that were asked for."""
    meanings = evidence.find(Meanings)
    if meanings is None:
        return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
    agreeing = sum(label == meanings.draft for label in meanings.samples)
    return spread(len(meanings.samples)) or (agreeing, max(meanings.asked, len(meanings.samples)))


@dataclass(frozen=True, slots=True)
class AgreementSignal:
    """A statistic of the samples' meanings, given how often each occurs and which is the draft's.

    Missing for fewer than two samples.
    """

    name: str
    statistic: Callable[[Counter[int], int], float]
    bounds: tuple[float, float] = (0.0, 1.0)
    of_samples: bool = True
    """Whether it speaks of the samples alone, so that samples that all decline say nothing about an answer."""
    needs: tuple[type[Fact], ...] = (Meanings,)

    def measure(self, evidence: Evidence) -> float | Missing:
        meanings = evidence.find(Meanings)
        if meanings is None:
            return Missing(evidence.missing.get(Meanings, "no samples were drawn"))
        declined = self.of_samples and meanings.declined
        return spread(len(meanings.samples), declined) or self.statistic(Counter(meanings.samples), meanings.draft)


def fewness(counts: Counter[int], draft: int) -> float:
    """``1 - (k - 1) / (m - 1)`` for k meanings among m samples: 1 when there is one meaning, 0 when all differ."""
    return 1.0 - (len(counts) - 1) / (counts.total() - 1)


def largest_share(counts: Counter[int], draft: int) -> float:
    """Share of the samples that fall on the most frequent meaning, whether it is the draft's or not."""
    return max(counts.values()) / counts.total()


def draft_lead(counts: Counter[int], draft: int) -> float:
    """Share of the draft's meaning less that of its best rival, in [-1, 1]; 0 for a tie."""
    rival = max((count for label, count in counts.items() if label != draft), default=0)
    return (counts[draft] - rival) / counts.total()


AGREEMENT_SIGNALS = (
    AgreementSignal("single_meaning", fewness),
    AgreementSignal("largest_meaning_share", largest_share),
    AgreementSignal("draft_mode_margin", draft_lead, (-1.0, 1.0), of_samples=False),
)
