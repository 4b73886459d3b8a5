"""Samples: more answers to the same request, drawn at a temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gate.effects import Flow, Reply, generate, together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import request
from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, Profile, Round
from gate.types import Cost, Generation, Generations


@dataclass(frozen=True)
class Samples(Fact):
    generations: tuple[Generation, ...]


@dataclass(frozen=True, slots=True)
class SamplesSource:
    """Draws ``n`` samples in as few calls as the upstream's profile allows, side by side when it takes several.

    An upstream that ignores ``n`` and answers once is asked again for the rest, one by one.
    """

    name = "samples"
    provides = Samples
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    n: int = 5
    temperature: float = 1.0
    seed: int | None = None

    def calls(self, profile: Profile) -> int:
        batches = -(-self.n // max(1, profile.n))
        return batches if profile.n == 1 else batches + self.n - 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        size = max(1, round_.profile.n)
        sizes = [min(size, self.n - start) for start in range(0, self.n, size)]
        replies = yield from together(self._ask(round_, count, place) for place, count in enumerate(sizes))
        drawn = _drawn(replies)
        short = self.n - len(drawn)
        if 0 < short < self.n:
            rest = yield from together(self._ask(round_, 1, len(sizes) + place) for place in range(short))
            drawn, replies = drawn + _drawn(rest), (*replies, *rest)
        if not drawn:
            raise EvidenceUnavailable(_reason(replies))
        return Samples(Cost.together(reply.cost or Cost() for reply in replies), drawn[: self.n])

    def _ask(self, round_: Round, count: int, place: int) -> Flow[Reply[Generations] | UpstreamError]:
        seed = None if self.seed is None else self.seed + 1000 * place
        try:
            return (
                yield from generate(
                    request(round_, n=count, temperature=self.temperature, seed=seed, alternatives=0),
                )
            )
        except UpstreamError as error:  # some samples are better than none
            return error


def _drawn(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> tuple[Generation, ...]:
    return tuple(choice for reply in replies if isinstance(reply, Reply) for choice in reply.value.choices)


def _reason(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> str:
    errors = [reply for reply in replies if isinstance(reply, UpstreamError)]
    return f"no sample could be drawn: {errors[0]}" if errors else "the upstream drew no samples"
