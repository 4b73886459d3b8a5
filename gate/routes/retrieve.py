"""Retrieve: find passages for the question and ask the same upstream again with them in the prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gate.effects import Flow, Retrieve, retrieve
from gate.errors import EvidenceUnavailable
from gate.ports import Ending, Evidence, Round
from gate.prompts import Prompt
from gate.types import Action, Decision, Message, Passage


@dataclass(frozen=True, slots=True)
class RetrieveRoute:
    retriever: str
    prompt: Prompt
    """Takes ``passages`` and ``question``."""
    k: int = 3
    action = Action.RETRIEVE

    def open(self, round_: Round) -> bool:
        """Once a question: passages stay in the prompt when the question is escalated."""
        return not round_.passages

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        reply = yield from retrieve(Retrieve(self.retriever, round_.question.text, self.k))
        if not reply.value:
            raise EvidenceUnavailable("no passage was found")
        return dataclasses.replace(
            round_,
            number=round_.number + 1,
            messages=self.messages(round_.question.messages, reply.value),
            passages=reply.value,
            cost=reply.cost,
        )

    def messages(self, messages: tuple[Message, ...], passages: tuple[Passage, ...]) -> tuple[Message, ...]:
        """The conversation with its last user message put into the prompt; everything else stays, images too."""
        last = max(place for place, message in enumerate(messages) if message.role == "user")
        text = self.prompt.render(passages="\n".join(p.text for p in passages), question=messages[last].content)
        return (*messages[:last], _with_text(messages[last], text), *messages[last + 1 :])


def _with_text(message: Message, text: str) -> Message:
    parts = message.wire.get("content") if message.wire else None
    if message.wire is None or not isinstance(parts, list):
        return Message(message.role, text)
    others = [part for part in parts if part.get("type") != "text"]
    return Message(message.role, text, {**message.wire, "content": [{"type": "text", "text": text}, *others]})
