"""Stated confidence: what the model says when asked how sure it is. Coarse and over-confident: of use once calibrated.

A reply that states nothing readable makes a signal missing, with a reason, which is something to learn from as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gate.evidence.stated_linguistic import StatedLinguistic
from gate.evidence.stated_one_stage import StatedAnswer, StatedOneStage
from gate.evidence.stated_top_k import StatedTopK
from gate.evidence.stated_two_stage import StatedTwoStage
from gate.ports import Evidence, Fact, Missing

Replies = Sequence[StatedAnswer]
Guesses = Sequence[tuple[str, float]]
_NOT_ASKED = "no confidence was asked for"


@dataclass(frozen=True, slots=True)
class StatedInTwoStages:
    """The percentage stated for the draft, as a share (Tian et al., 2023)."""

    name = "stated_two_stage"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (StatedTwoStage,)

    def measure(self, evidence: Evidence) -> float | Missing:
        stated = evidence.find(StatedTwoStage)
        return Missing(evidence.missing.get(StatedTwoStage, _NOT_ASKED)) if stated is None else stated.confidence


@dataclass(frozen=True, slots=True)
class StatedInWords:
    """The value of the word stated for the draft: one of seven levels."""

    name = "stated_linguistic"
    bounds = (0.0, 1.0)
    needs: ClassVar[tuple[type[Fact], ...]] = (StatedLinguistic,)

    def measure(self, evidence: Evidence) -> float | Missing:
        stated = evidence.find(StatedLinguistic)
        return Missing(evidence.missing.get(StatedLinguistic, _NOT_ASKED)) if stated is None else stated.confidence


@dataclass(frozen=True, slots=True)
class StatedWithAnswers:
    """A statistic of replies with answer and confidence, held against the draft (Xiong et al., 2024)."""

    name: str
    statistic: Callable[[str, Replies], float | Missing]
    bounds: tuple[float, float] = (0.0, 1.0)
    needs: tuple[type[Fact], ...] = (StatedOneStage,)

    def measure(self, evidence: Evidence) -> float | Missing:
        stated = evidence.find(StatedOneStage)
        if stated is None:
            return Missing(evidence.missing.get(StatedOneStage, _NOT_ASKED))
        if not stated.draft:
            return Missing("the draft says nothing")
        return self.statistic(stated.draft, stated.replies) if stated.replies else Missing("no reply came")


def mean_of_agreeing(draft: str, replies: Replies) -> float | Missing:
    """Mean confidence of the replies that give the draft's answer.

    Missing when none does: that they disagree is what `consistency` says, and nobody stated 0.
    """
    agreeing = [reply.confidence for reply in replies if reply.answer == draft]
    if not agreeing:
        return Missing("no reply gives the draft's answer")
    stated = [confidence for confidence in agreeing if confidence is not None]
    if not stated:
        return Missing("the replies that give the draft's answer state no confidence")
    return min(1.0, math.fsum(stated) / len(stated))


def average_confidence(draft: str, replies: Replies) -> float | Missing:
    """Share of all stated confidence that falls on the draft's answer: sum of c_i where a_i = draft, over all c_i."""
    stated = [(reply.answer, reply.confidence) for reply in replies if reply.confidence is not None]
    if not stated:
        return Missing("no reply states a confidence")
    total = math.fsum(confidence for _, confidence in stated)
    if total <= 0.0:
        return Missing("every reply states a confidence of 0")
    return min(1.0, math.fsum(confidence for answer, confidence in stated if answer == draft) / total)


def consistency(draft: str, replies: Replies) -> float | Missing:
    """Share of the replies that give the draft's answer; one with no answer to read gives another."""
    return sum(reply.answer == draft for reply in replies) / len(replies)


@dataclass(frozen=True, slots=True)
class StatedAmongGuesses:
    """A statistic of guesses with stated probabilities, held against the draft (Tian et al., 2023)."""

    name: str
    statistic: Callable[[str, Guesses], float]
    bounds: tuple[float, float]
    needs: tuple[type[Fact], ...] = (StatedTopK,)

    def measure(self, evidence: Evidence) -> float | Missing:
        stated = evidence.find(StatedTopK)
        if stated is None:
            return Missing(evidence.missing.get(StatedTopK, _NOT_ASKED))
        if not stated.draft:
            return Missing("the draft says nothing")
        return self.statistic(stated.draft, stated.guesses) if stated.guesses else Missing("the reply lists no guesses")


def chance_of_draft(draft: str, guesses: Guesses) -> float:
    """The probability stated for the draft's answer. 0 when it is not among the guesses: less than any that is."""
    return next((chance for guess, chance in guesses if guess == draft), 0.0)


def lead_of_draft(draft: str, guesses: Guesses) -> float:
    """The same, less that of the likeliest other guess."""
    return chance_of_draft(draft, guesses) - max((chance for guess, chance in guesses if guess != draft), default=0.0)


VERBALIZED_SIGNALS = (
    StatedInTwoStages(),
    StatedInWords(),
    StatedWithAnswers("stated_one_stage", mean_of_agreeing),
    StatedWithAnswers("stated_average", average_confidence),
    StatedWithAnswers("stated_consistency", consistency),
    StatedAmongGuesses("stated_top_k", chance_of_draft, (0.0, 1.0)),
    StatedAmongGuesses("stated_top_k_lead", lead_of_draft, (-1.0, 1.0)),
)
