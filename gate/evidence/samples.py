"""Samples: more answers to the same request, drawn at a temperature."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from gate.effects import Draws, Flow, Generate
from gate.errors import EvidenceUnavailable
from gate.evidence.answer_forms import answer_text
from gate.evidence.asking import refused, request
from gate.evidence.draft import Draft, draft_of
from gate.evidence.drawing import Drawn, fewest_calls, seed_of, several
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.rules.sampling_stop import SamplingStop, Stop
from gate.types import Cost, Generation

DECLINED = "every sample declines"
_MOST = 32
_LATER = 2
"""Calls that n samples may take at most, each: as many as the first ones, and one for each that did not come."""


@dataclass(frozen=True)
class Samples(Fact):
    generations: tuple[Generation, ...]
    asked: int = 0
    """How many were asked for, where that is more than there are."""


class SamplesSource(BaseModel, extra="forbid", frozen=True):
    """Draws ``n`` samples in as few calls as the upstream's profile allows, side by side when it takes several.

    An upstream that ignores ``n`` and answers once is asked again for the rest, one by one, as the budget allows.
    Samples that say nothing (a reply cut off before its first word, say) are left out: they agree with nobody.

    With ``stop``, ``n`` is the most: they are drawn ``batch`` by batch until the draft's share of the votes lies
    clearly on one side of ``share``. ``can_no_longer_change``: the votes that are left cannot bring the share of all
    ``n`` to the other side. ``unlikely_to_change``: or it lies there with the posterior probability ``confidence``
    (see `gate.rules.sampling_stop`). Votes are counted by equality of normalised answers, whatever judge groups them
    later, so it is for short answers. No batch ends where nothing could be settled; each pays for the prompt again.

    In a policy that names it in several tiers, ``n`` lists how many more each of them draws: the rule then stops when p
    itself says so. Those drawn ``before`` are kept.
    """

    name: ClassVar[str] = "samples"
    provides: ClassVar[type[Fact]] = Samples
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses()
    n: int = Field(default=5, ge=2, le=32)
    temperature: float = Field(default=1.0, gt=0, le=2)
    seed: int | None = None
    """Makes samples repeat where the upstream allows it."""
    stop: Stop = "none"
    share: float = Field(default=0.5, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    batch: int = Field(default=2, ge=1, le=32)
    least: int = Field(default=2, ge=2, le=32)
    """The fewest to draw before looking."""
    before: int = Field(default=0, ge=0, exclude=True)
    """How many those in earlier tiers draw."""

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.n + self.before > _MOST:
            raise ValueError(f"there may be {_MOST} samples in all")
        return self

    @property
    def unanimous(self) -> int:
        """How many are drawn, with those before, when all agree."""
        return self.before + self._rule.unanimous(
            self.n, accumulate(_sizes_agreeing(self._rule, self.n, self.batch, self.least))
        )

    @property
    def fewest(self) -> int:
        """How many are drawn at the least."""
        return self.n if self.stop == "none" else min(self.n, self._size(0, 0))

    @property
    def varies(self) -> bool:
        """Whether how many there are in the end depends on what they say."""
        return self.stop != "none" or self.before > 0

    def calls(self, profile: Profile) -> int:
        if self.stop == "none":
            return fewest_calls(self.n, profile.n)
        return _most_calls(self._rule, self.n, self.batch, self.least, profile.n)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        earlier = evidence.find(Samples) if self.before else None
        if self.stop == "none":
            drawn = yield from self._several(round_, self.n, _LATER * self.before)
            asked = self.n
        else:
            drawn, asked = yield from self._until_clear(round_, evidence)
        said = tuple(generation for generation in drawn.generations if _says_something(generation))
        if not said:
            raise EvidenceUnavailable(_none_came(drawn), drawn.cost)
        if earlier is not None:
            said, asked = (*earlier.generations, *said), asked + earlier.asked
        return Samples(drawn.cost, said, asked)

    def _until_clear(self, round_: Round, evidence: Evidence) -> Flow[tuple[Drawn, int]]:
        """The samples, drawn batch by batch, and how many were asked for. A batch that brings none is the last."""
        answer, rule = answer_text(draft_of(evidence).generation), self._rule
        drawn, asked, agreeing, calls = Drawn((), Cost(), None), 0, 0, 0
        while not rule.stops(agreeing, asked - agreeing, self.n - asked):
            size = self._size(agreeing, asked)
            left = None if round_.calls_left is None else round_.calls_left - drawn.cost.calls
            if left is not None and left < fewest_calls(size, round_.profile.n):
                break
            try:
                more = yield from self._several(replace(round_, calls_left=left), size, calls)
            except EvidenceUnavailable:  # no tokens or money are left for it: what came must do
                if not drawn.generations:
                    raise
                break
            drawn = Drawn((*drawn.generations, *more.generations), drawn.cost + more.cost, drawn.error or more.error)
            asked, calls = asked + size, calls + fewest_calls(size, round_.profile.n) + size
            agreeing += sum(answer_text(generation) == answer for generation in more.generations)
            if not more.generations:
                break
        return drawn, asked

    @property
    def _rule(self) -> SamplingStop:
        return SamplingStop(self.stop, self.share, self.confidence)

    def _size(self, agreeing: int, asked: int) -> int:
        """Of the next batch."""
        return _size(self._rule, self.n, self.batch, self.least, agreeing, asked)

    def _several(self, round_: Round, n: int, first: int) -> Flow[Drawn]:
        """``n`` samples. ``first`` is the place of the first call among all."""
        return (
            yield from several(
                lambda count, place: self._request(round_, count, first + place),
                n,
                at_once=round_.profile.n,
                room=round_.calls_left,
            )
        )

    def _request(self, round_: Round, count: int, place: int) -> Generate:
        seed, of = seed_of(self.seed, place), max(self.n, count)
        made = request(round_, n=count, temperature=self.temperature, seed=seed, alternatives=0, of=of)
        return replace(made, part_of=Draws(self.seed if round_.profile.seed else None))


# What a policy draws is reckoned anew for every decision (is there room for it?), and is always the same.


@lru_cache(maxsize=256)
def _sizes_agreeing(rule: SamplingStop, n: int, batch: int, least: int) -> tuple[int, ...]:
    """Of all batches when every sample agrees."""
    sizes: list[int] = []
    while (drawn := sum(sizes)) < n:
        sizes.append(_size(rule, n, batch, least, drawn, drawn))
    return tuple(sizes)


@lru_cache(maxsize=256)
def _most_calls(rule: SamplingStop, n: int, batch: int, least: int, at_once: int) -> int:
    """Over all ways the votes may fall: more batches take more calls, and so may one that does not divide evenly."""
    most = [0] * (n + 1)
    for asked in reversed(range(n)):
        sizes = {_size(rule, n, batch, least, agreeing, asked) for agreeing in range(asked + 1)}
        most[asked] = max(fewest_calls(size, at_once) + most[asked + size] for size in sizes)
    return most[0]


def _size(rule: SamplingStop, n: int, batch: int, least: int, agreeing: int, asked: int) -> int:
    others, left = asked - agreeing, n - asked
    return min(left, max(batch, least - asked, rule.soonest(agreeing, others, left)))


def _none_came(drawn: Drawn) -> str:
    if drawn.generations:
        return "the samples say nothing"
    return f"no sample could be drawn: {drawn.error}" if drawn.error else "the upstream drew no samples"


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
