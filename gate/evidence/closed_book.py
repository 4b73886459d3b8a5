"""Closed book: what the upstream answers when the passages of this round are taken out of its prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import cut_short, refused, request
from gate.evidence.comparison import Comparison, OtherAnswer, draft_to_compare, likeness
from gate.evidence.draft import Draft
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.types import Cost, Generation


@dataclass(frozen=True)
class ClosedBook(OtherAnswer):
    """The answer from memory alone, beside a draft that had passages to read."""


def memory_of(evidence: Evidence) -> Generation | None:
    """The answer from memory that may stand against the draft: another one, whole, and no refusal. Else None."""
    fact = evidence.find(ClosedBook)
    if fact is None or fact.same or refused(fact.generation) or cut_short(fact.generation):
        return None
    return fact.generation


def on_trial(evidence: Evidence, *, memory: bool) -> Generation | None:
    """The answer a decision is about: what memory said beside passages, or the draft. None where there is none."""
    if memory:
        return memory_of(evidence)
    draft = evidence.find(Draft)
    return draft.generation if draft else None


class ClosedBookSource(Comparison, frozen=True):
    """Asks the question as the caller put it, greedily. One call, or none where an earlier round has the answer."""

    name: ClassVar[str] = "closed_book"
    provides: ClassVar[type[Fact]] = ClosedBook
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses()

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if not round_.passages:
            raise EvidenceUnavailable("no passage is in the prompt")
        draft = draft_to_compare(evidence)
        said, cost = round_.closed_book, Cost()
        if said is None:
            asked = dataclasses.replace(round_, messages=round_.question.messages)
            reply = yield from generate(request(asked, n=1, temperature=0.0, seed=None, alternatives=0))
            said, cost = reply.value.choices[0], reply.cost
        return ClosedBook(cost, said, self.same(draft, said), likeness(draft, said))
