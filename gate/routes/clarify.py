"""Clarify: ask back, once, where a question can be understood in several ways (semantic volume, Li et al. 2025).

The pipeline opens this route where a signal that tells of ambiguity reads below its bound. One short question comes of
it, written by an upstream or, where that fails, gate's own wording.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from gate.effects import Flow, generate
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence.asking import put_otherwise, refused
from gate.evidence.judging import put
from gate.evidence.rephrasings import Rephrasings
from gate.ports import Ending, Evidence, Round
from gate.prompts import Prompt
from gate.route_settings import FALL_BACK
from gate.routes.wording import spoken, worded
from gate.types import Action, Cost, Decision, Generation, Question

_MARKS = frozenset("?？؟\u037e՞፧⁇⁈❓﹖︖‽")
"""What a question ends with, in any script."""
_LONGEST = 300
_MOST_TOKENS = 160
_TOOLS = ("tool", "function")


@dataclass(frozen=True, slots=True)
class ClarifyRoute:
    prompt: Prompt | None = None
    """Takes ``question`` and ``readings``."""
    upstream: str | None = None
    text: str | None = None
    language: str = FALL_BACK
    action = Action.CLARIFY

    def open(self, round_: Round) -> bool:
        """Not twice in a row: who was just asked back has answered that."""
        return not asked_back(round_.question)

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        said, cost, detail = yield from self._asked(round_, evidence)
        fixed = self.text or worded("clarify", spoken(round_.question.text, self.language))
        return Ending(said or fixed, cost=cost, detail=detail)

    def _asked(self, round_: Round, evidence: Evidence) -> Flow[tuple[str, Cost, str]]:
        """The upstream's question or "", what it cost, and why there is none."""
        if self.prompt is None:
            return "", Cost(), ""
        if round_.calls_left is not None and round_.calls_left < 1:
            return "", Cost(), "the budget of calls has no room to have a question written"
        prompt, readings = self.prompt, evidence.find(Rephrasings)
        listed = "\n".join(readings.texts) if readings else "(none were written down)"
        try:
            messages = put_otherwise(
                round_.question.messages, lambda question: prompt.render(question=question, readings=listed)
            )
            reply = yield from generate(put(round_, messages, upstream=self.upstream, max_tokens=_MOST_TOKENS))
        except (EvidenceUnavailable, UpstreamError) as error:
            return "", error.cost or Cost(), f"no question was written: {error}"
        said = question_in(reply.value.choices[0])
        return said, reply.cost, "" if said else "what the upstream wrote is no short question"


def question_in(generation: Generation) -> str:
    """The first line of a reply when it is one short question, else ""."""
    if refused(generation):
        return ""
    line = generation.text.strip().splitlines()[0].strip() if generation.text.strip() else ""
    return line if len(line) <= _LONGEST and is_question(line) else ""


def asked_back(question: Question) -> bool:
    """Whether the assistant's turn before the last user message ends in a question mark. Turns of tools between the
    two are passed over: they are no reply of the user's."""
    messages = question.messages
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=0)
    before = next((message for message in reversed(messages[:last]) if message.role not in _TOOLS), None)
    return before is not None and before.role == "assistant" and is_question(before.content)


def is_question(text: str) -> bool:
    """Whether a text ends in a question mark of any script, whatever quotes and brackets close after it."""
    bare = text.rstrip()
    while bare and (bare[-1] in "\"'*_ " or unicodedata.category(bare[-1]) in ("Pe", "Pf", "Pi", "Cf", "Mn")):
        bare = bare[:-1]
    return bool(bare) and bare[-1] in _MARKS
