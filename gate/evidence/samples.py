"""Samples: more answers to the same request, drawn at a temperature."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Reply, generate, together
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import request
from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation, Generations


@dataclass(frozen=True)
class Samples(Fact):
    generations: tuple[Generation, ...]


class SamplesSource(BaseModel, extra="forbid", frozen=True):
    """Draws ``n`` samples in as few calls as the upstream's profile allows, side by side when it takes several.

    An upstream that ignores ``n`` and answers once is asked again for the rest, one by one, as the budget allows.
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
        return -(-self.n // max(1, profile.n))

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        size = max(1, round_.profile.n)
        sizes = [min(size, self.n - start) for start in range(0, self.n, size)]
        replies = yield from together(self._ask(round_, count, place) for place, count in enumerate(sizes))
        cost, drawn = _cost(replies), _drawn(replies)
        room = self.n if round_.calls_left is None else round_.calls_left - cost.calls
        short = min(self.n - len(drawn), room)
        if drawn and short > 0:
            with contextlib.suppress(EvidenceUnavailable):  # when the budget has no room for them, these must do
                rest = yield from together(self._ask(round_, 1, len(sizes) + place) for place in range(short))
                cost, drawn = cost + _cost(rest), drawn + _drawn(rest)
        if not drawn:
            raise EvidenceUnavailable(_reason(replies), cost)
        return Samples(cost, drawn[: self.n])

    def _ask(self, round_: Round, count: int, place: int) -> Flow[Reply[Generations] | UpstreamError]:
        seed = None if self.seed is None else self.seed + 1000 * place
        try:
            asked = request(
                round_, n=count, temperature=self.temperature, seed=seed, alternatives=0, of=max(self.n, count)
            )
            return (yield from generate(asked))
        except UpstreamError as error:  # some samples are better than none
            return error


def _drawn(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> tuple[Generation, ...]:
    return tuple(choice for reply in replies if isinstance(reply, Reply) for choice in reply.value.choices)


def _cost(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> Cost:
    return Cost.together(reply.cost or Cost() for reply in replies)


def _reason(replies: tuple[Reply[Generations] | UpstreamError, ...]) -> str:
    errors = [reply for reply in replies if isinstance(reply, UpstreamError)]
    return f"no sample could be drawn: {errors[0]}" if errors else "the upstream drew no samples"
