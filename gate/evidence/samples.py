"""Samples: more answers to the same request, drawn at a temperature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused, request
from gate.evidence.draft import Draft
from gate.evidence.drawing import fewest_calls, seed_of, several
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.types import Generation

DECLINED = "every sample declines"


@dataclass(frozen=True)
class Samples(Fact):
    generations: tuple[Generation, ...]
    asked: int = 0
    """How many were asked for, where that is more than there are."""


class SamplesSource(BaseModel, extra="forbid", frozen=True):
    """Draws ``n`` samples in as few calls as the upstream's profile allows, side by side when it takes several.

    An upstream that ignores ``n`` and answers once is asked again for the rest, one by one, as the budget allows.
    Samples that say nothing (a reply cut off before its first word, say) are left out: they agree with nobody.
    """

    name: ClassVar[str] = "samples"
    provides: ClassVar[type[Fact]] = Samples
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses()
    n: int = Field(default=5, ge=2, le=32)
    temperature: float = Field(default=1.0, gt=0, le=2)
    seed: int | None = None
    """Makes samples repeat where the upstream allows it."""

    def calls(self, profile: Profile) -> int:
        return fewest_calls(self.n, profile.n)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        drawn = yield from several(
            lambda count, place: self._request(round_, count, place),
            self.n,
            at_once=round_.profile.n,
            room=round_.calls_left,
        )
        if not drawn.generations:
            why = f"no sample could be drawn: {drawn.error}" if drawn.error else "the upstream drew no samples"
            raise EvidenceUnavailable(why, drawn.cost)
        said = tuple(generation for generation in drawn.generations if _says_something(generation))
        if not said:
            raise EvidenceUnavailable("the samples say nothing", drawn.cost)
        return Samples(drawn.cost, said, self.n)

    def _request(self, round_: Round, count: int, place: int) -> Generate:
        seed, of = seed_of(self.seed, place), max(self.n, count)
        return request(round_, n=count, temperature=self.temperature, seed=seed, alternatives=0, of=of)


def _says_something(generation: Generation) -> bool:
    return generation.refusal is not None or not refused(generation)


def samples_of(evidence: Evidence) -> tuple[Generation, ...]:
    """The samples of this round. Raises `EvidenceUnavailable`, with the reason, when there are none."""
    samples = evidence.find(Samples)
    if samples is None:
        raise EvidenceUnavailable(evidence.missing.get(Samples, "no samples were drawn"))
    return samples.generations


def asked_for(evidence: Evidence) -> int:
    """How many samples were asked for this round; 0 where that is not known."""
    samples = evidence.find(Samples)
    return 0 if samples is None else samples.asked


def all_decline(samples: Iterable[Generation]) -> bool:
    """Whether no sample answers: what they agree on then is to say nothing, which speaks for no answer."""
    return all(map(refused, samples))


def spread(count: int, declined: bool = False) -> Missing | None:
    """Why so many samples have no spread and no majority, or None where they have: one sample agrees with itself.

    ``declined``: whether `all_decline`.
    """
    if count < 1:
        return Missing("no samples were drawn")
    if declined:
        return Missing(DECLINED)
    return Missing("one sample has no spread") if count < 2 else None


def draft_and_samples(evidence: Evidence) -> tuple[Generation, tuple[Generation, ...]] | Missing:
    """The draft and at least one sample beside it, or the reason why one of them is missing."""
    draft, samples = evidence.find(Draft), evidence.find(Samples)
    if draft is None:
        return Missing(evidence.missing.get(Draft, "there is no draft"))
    if samples is None or not samples.generations:
        return Missing(evidence.missing.get(Samples, "no samples were drawn"))
    return draft.generation, samples.generations
