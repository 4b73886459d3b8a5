"""Cautious: what an upstream answers that is told to answer only if it is sure (ConfQA, Huang et al. 2025)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from gate.effects import Flow, generate
from gate.evidence.asking import request
from gate.evidence.comparison import Comparison, OtherAnswer, draft_to_compare, likeness
from gate.evidence.draft import Draft
from gate.evidence.judging import asked_as
from gate.ports import Evidence, Fact, Profile, Round, Uses

_PROMPT = "cautious"


@dataclass(frozen=True)
class Cautious(OtherAnswer):
    """The answer, or the word that it is not sure, beside a draft that was asked for without this way out."""


class CautiousSource(Comparison, frozen=True):
    """Asks the round's own upstream once more, greedily, with the instruction before the last question. One call."""

    name: ClassVar[str] = "cautious"
    provides: ClassVar[type[Fact]] = Cautious
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses(prompts=(_PROMPT,))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft = draft_to_compare(evidence)
        asked = request(round_, n=1, temperature=0.0, seed=None, alternatives=0)
        reply = yield from generate(dataclasses.replace(asked, messages=asked_as(round_.messages, _PROMPT)))
        said = reply.value.choices[0]
        return Cautious(reply.cost, said, self.same(draft, said), likeness(draft, said))
