"""Abstain: decline to answer, saying what is not known and why, in the language of whoever asked.

As far as the policy allows it, the refusal gives the draft, marked as unsure; lists what was found so far; and a person
is handed the question as the last step. None of it is an answer: it is outside the promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.effects import Flow, HandOver, hand_over
from gate.errors import EvidenceUnavailable, UpstreamError, UpstreamTimeout
from gate.evidence.asking import cut_short, refused
from gate.evidence.closed_book import on_trial
from gate.ports import Ending, Evidence, Round
from gate.route_settings import FALL_BACK
from gate.routes.wording import refusal, spoken, worded
from gate.types import Action, Cost, Decision, Passage

_SHOWN = 3
_LONGEST = 300
"""Characters of a quotation."""
_UNCHECKED = frozenset({"certificate_void", "calibrator_failed"})
"""Reasons for which nothing of the draft is shown: how sure it is, nobody knows."""


@dataclass(frozen=True, slots=True)
class AbstainRoute:
    text: str | None = None
    """See `AbstainSettings` for this and the rest."""
    texts: Mapping[str, str] = field(default_factory=dict)
    language: str = FALL_BACK
    evidence: bool = False
    hedge_above: float | None = None
    person: str | None = None
    action = Action.ABSTAIN

    def open(self, round_: Round) -> bool:
        return True

    def follow(self, round_: Round, evidence: Evidence, decision: Decision) -> Flow[Round | Ending]:
        language = spoken(round_.question.text, self.language)
        draft = self._unsure_answer(evidence, decision)
        parts = [worded("hedged", language, answer=draft) if draft else self.refusal(decision.reason, language)]
        shown = self._found(round_) if self.evidence else ()
        if shown:
            parts.append("\n".join((worded("found", language), *map(_quoted, shown))))
        reference, cost, detail = "", Cost(), ""
        if self.person and decision.reason != "certificate_void":
            reference, cost, detail = yield from self._hand_over(self.person, round_, evidence, decision)
        if reference:
            parts.append(worded("handed", language, reference=reference))
        text = "\n\n".join(parts)
        return Ending(text, cost=cost, detail=detail, passages=shown, hedged=bool(draft), reference=reference)

    def refusal(self, reason: str, language: str) -> str:
        """What is said for a decision's reason, in a language or the nearest there is."""
        if self.text is not None:
            return self.text
        if not self.texts:
            return refusal(reason, language)
        known = (each for each in (language, self.language, FALL_BACK) if each in self.texts)
        return self.texts[next(known, next(iter(self.texts)))]

    def _unsure_answer(self, evidence: Evidence, decision: Decision) -> str:
        """The answer on trial, where the policy gives it although it is not sure enough; else ""."""
        confidence, said = decision.confidence, on_trial(evidence, memory=decision.stage.memory)
        if self.hedge_above is None or confidence is None or said is None or decision.reason in _UNCHECKED:
            return ""
        if confidence.out_of_distribution or confidence.p < self.hedge_above:
            return ""
        return "" if refused(said) or cut_short(said) else said.text.strip()

    def _found(self, round_: Round) -> tuple[Passage, ...]:
        """The best passages known in this round, one a text."""
        known: dict[str, Passage] = {}
        for passage in (*round_.passages, *round_.found, *round_.fetched):
            known.setdefault(passage.text, passage)
        return tuple(known.values())[:_SHOWN]

    def _hand_over(
        self, person: str, round_: Round, evidence: Evidence, decision: Decision
    ) -> Flow[tuple[str, Cost, str]]:
        """The reference, what it cost, and why there is none."""
        said, confidence = on_trial(evidence, memory=decision.stage.memory), decision.confidence
        asked = HandOver(
            person,
            round_.question.messages,
            decision.reason,
            draft=said.text if said else "",
            p=confidence.p if confidence else None,
            passages=round_.passages or round_.found,
        )
        try:
            reply = yield from hand_over(asked)
        except (EvidenceUnavailable, UpstreamError) as error:
            told = "not known to be handed" if isinstance(error, UpstreamTimeout) else "not handed"
            return "", error.cost or Cost(), f"{told} to {person!r}: {error}"
        return reply.value, reply.cost, ""


def _quoted(passage: Passage) -> str:
    """Where it is from, and what it says in short."""
    text = " ".join(passage.text.split())
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
    where = ", ".join(dict.fromkeys(filter(None, (passage.title, passage.source)))) or passage.id
    return f"- {where}: “{short}”"
