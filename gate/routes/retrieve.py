"""Retrieve: find passages for the question and ask the same upstream again with them in the prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gate.effects import Flow, Retrieve, retrieve
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import quoting
from gate.evidence.draft import Draft
from gate.ports import Ending, Evidence, Round
from gate.prompts import Prompt
from gate.types import Action, Cost, Decision


@dataclass(frozen=True, slots=True)
class RetrieveRoute:
    retriever: str
    prompt: Prompt
    """Takes ``passages`` and ``question``."""
    k: int = 3
    action = Action.RETRIEVE

    def open(self, round_: Round) -> bool:
        """Once an upstream, and only with words to search for."""
        return not round_.passages and bool(round_.question.text.strip())

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        passages, cost = round_.found, Cost()
        if not passages:
            reply = yield from retrieve(Retrieve(self.retriever, round_.question.text, self.k))
            passages, cost = reply.value, reply.cost
        if not passages:
            raise EvidenceUnavailable("no passage was found", cost)
        draft = evidence.find(Draft)
        return dataclasses.replace(
            round_,
            number=round_.number + 1,
            messages=quoting(self.prompt, round_.question.messages, passages),
            passages=passages,
            prompt=self.prompt,
            cost=cost,
            closed_book=draft.generation if draft else None,
        )
