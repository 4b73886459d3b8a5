"""Arbitration: which of two answers the upstream itself holds right, the draft or what memory said (self-guided
confidence reasoning, Huang et al. 2024)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused
from gate.evidence.closed_book import ClosedBook
from gate.evidence.comparison import draft_to_compare
from gate.evidence.draft import Draft
from gate.evidence.fencing import quoted
from gate.evidence.judging import conversation, or_none, put, shown
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.prompts import load
from gate.types import Cost, Message

_PROMPT = "arbitration"
_MAX_TOKENS = 8
_LETTER = re.compile(r"^[\s(\[\"'*]*([ABC])(?![A-Za-z])")
Choice = Literal["draft", "memory", "neither"]


@dataclass(frozen=True)
class Arbitration(Fact):
    choice: Choice


class ArbitrationSource(BaseModel, extra="forbid", frozen=True):
    """Shows the question, the passages and both answers, and asks which is right. One call, or none where both say the
    same: then it is the draft.

    Which answer is called A is settled by a hash of question and answers: a liking for one letter favours neither side.
    ``upstream`` names another judge.
    """

    name: ClassVar[str] = "arbitration"
    provides: ClassVar[type[Fact]] = Arbitration
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft, ClosedBook)
    upstream: str | None = None

    @property
    def uses(self) -> Uses:
        return Uses(upstreams=(self.upstream,) if self.upstream else (), prompts=(_PROMPT,))

    def calls(self, profile: Profile) -> int:
        return 1

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        memory = evidence.find(ClosedBook)
        if memory is None:
            raise EvidenceUnavailable(evidence.missing.get(ClosedBook, "memory was not asked"))
        draft = draft_to_compare(evidence)
        if memory.same:
            return Arbitration(Cost(), "draft")
        if refused(memory.generation):
            raise EvidenceUnavailable("memory gives no answer to weigh against the draft")
        prompt, question = load(_PROMPT), or_none(conversation(round_.question.messages))
        answers = [shown(draft), shown(memory.generation)]
        turned = draft_is_second(question, *answers)
        first, second = reversed(answers) if turned else answers
        asked = prompt.render(
            question=question,
            passages=or_none(quoted(round_.passages, prompt)),
            first=or_none(first),
            second=or_none(second),
        )
        messages = (Message("user", asked),)
        reply = yield from generate(put(round_, messages, upstream=self.upstream, max_tokens=_MAX_TOKENS))
        letter = _LETTER.match(reply.value.choices[0].text)
        if letter is None:
            raise EvidenceUnavailable("the judge named none of the letters", reply.cost)
        sides: tuple[Choice, Choice] = ("memory", "draft") if turned else ("draft", "memory")
        return Arbitration(reply.cost, {"A": sides[0], "B": sides[1]}.get(letter[1], "neither"))


def draft_is_second(question: str, draft: str, memory: str) -> bool:
    """Settled by what is asked and answered, evenly: the same in every run, and nothing a model can learn."""
    text = json.dumps([question, draft, memory])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1
