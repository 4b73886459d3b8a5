"""A second opinion: what another upstream answers to the very same request."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import request
from gate.evidence.comparison import Comparison, OtherAnswer, draft_to_compare, likeness
from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, Profile, Round, Uses

_UNKNOWN = Profile(logprobs=False, top_logprobs=0, n=1, seed=False)
"""A round knows what its own upstream can do; of the other one nothing is taken for granted."""


@dataclass(frozen=True)
class SecondOpinion(OtherAnswer):
    upstream: str
    """Who gave it."""


class SecondOpinionSource(Comparison, frozen=True):
    """Asks ``upstream``, any of the policy's but the one that drafted. One call."""

    name: ClassVar[str] = "second_opinion"
    provides: ClassVar[type[Fact]] = SecondOpinion
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    upstream: str = Field(min_length=1)
    temperature: float = Field(default=0.0, ge=0, le=2)

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if self.upstream == round_.upstream:
            raise EvidenceUnavailable(f"{self.upstream!r} drafted the answer itself")
        draft = draft_to_compare(evidence)
        asked = dataclasses.replace(round_, upstream=self.upstream, profile=_UNKNOWN)
        reply = yield from generate(request(asked, n=1, temperature=self.temperature, seed=None, alternatives=0))
        said = reply.value.choices[0]
        return SecondOpinion(reply.cost, said, self.same(draft, said), likeness(draft, said), self.upstream)
