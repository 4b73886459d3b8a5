"""Stated confidence, in one stage: replies that hold an answer and, in a line after it, how sure it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import BaseModel, Field

from gate.effects import Flow, Generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import refused, request
from gate.evidence.draft import Draft
from gate.evidence.drawing import fewest_calls, seed_of, several
from gate.evidence.judging import answered, asked_as
from gate.evidence.meanings import answer_text, normalize
from gate.evidence.stated import confidence_in
from gate.ports import Evidence, Fact, Missing, Profile, Round, Uses
from gate.types import Generation

_LINE = 32
"""Tokens for the line that states the confidence, above what the caller allows the answer."""
_FORM = frozenset({"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
"""Fields of the caller that would have the reply in another form."""
_CONFIDENCE = re.compile(r"(?i)(?:\b(?:my|overall|final|stated)\s+)?\b(?:confidence|probability)\b")
_ANSWER = re.compile(r"(?i)\b(?:final\s+)?answer\W{0,4}[:\uff1a]\W{0,4}?(?=\S|\Z)")
_EDGE = " \t\r\n*_`#|>([{,;:\u2014\u2013"


@dataclass(frozen=True, slots=True)
class StatedAnswer:
    """One reply: its answer as `normalize` leaves it, and the confidence it states; None when it states none."""

    answer: str
    confidence: float | None


@dataclass(frozen=True)
class StatedOneStage(Fact):
    draft: str
    """The draft, normalised likewise: what the answers are held against."""
    replies: tuple[StatedAnswer, ...]
    """At least one."""


class StatedOneStageSource(BaseModel, extra="forbid", frozen=True):
    """Asks the question again for ``n`` answers, each with a number from 0 to 100 (Xiong et al., 2024).

    It asks the round's own upstream, for these are answers of its own. A caller who fixes the form of the answer
    (``response_format``) leaves no place for a number, and a tool call has none: then it is unavailable.
    """

    name: ClassVar[str] = "stated_one_stage"
    provides: ClassVar[type[Fact]] = StatedOneStage
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses(prompts=("stated_one_stage",))
    n: int = Field(default=3, ge=1, le=32)
    temperature: float = Field(default=0.7, ge=0, le=2)
    seed: int | None = None
    """Makes replies repeat where the upstream allows it."""

    def calls(self, profile: Profile) -> int:
        return fewest_calls(self.n, profile.n)

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        draft = answered(evidence)
        if draft.tool_calls:
            raise EvidenceUnavailable("the draft is a tool call, not an answer in words")
        if round_.question.options.get("response_format"):
            raise EvidenceUnavailable("the caller fixes the form of the answer")
        asking = replace(round_, messages=asked_as(round_.messages, "stated_one_stage"))
        drawn = yield from several(
            lambda count, place: self._ask(asking, count, place),
            self.n,
            at_once=round_.profile.n,
            room=round_.calls_left,
        )
        if not drawn.generations:
            raise EvidenceUnavailable(f"no reply could be had: {drawn.reason}", drawn.cost)
        return StatedOneStage(drawn.cost, answer_text(draft), tuple(_stated(g) for g in drawn.generations))

    def _ask(self, round_: Round, count: int, place: int) -> Generate:
        seed, of = seed_of(self.seed, place), max(self.n, count)
        made = request(round_, n=count, temperature=self.temperature, seed=seed, alternatives=0, of=of)
        most = None if made.max_tokens is None else made.max_tokens + _LINE
        extra = {key: value for key, value in made.extra.items() if key not in _FORM}
        return replace(made, max_tokens=most, stop=(), logprobs=None, extra=extra)


def answer_and_confidence(reply: str) -> tuple[str, float | None]:
    """The answer in a reply, as it stands there, and the confidence stated beside it; None when none can be read.

    The last mention of confidence parts the reply, so that neither a number nor such a word in the answer counts.
    """
    held = _in_json(reply)
    if held is not None:
        return held
    places = list(_CONFIDENCE.finditer(reply))
    if not places:
        return _unlabelled(reply), None
    place = places[-1].start()
    head, tail = reply[:place], reply[place:]
    later = None if head.strip(_EDGE) else _ANSWER.search(tail)  # the other way round: confidence, then answer
    if later:
        head, tail = tail[later.start() :], tail[: later.start()]
    said = confidence_in(tail, cued=True)
    return _unlabelled(head), None if isinstance(said, Missing) else said


def _unlabelled(text: str) -> str:
    label = _ANSWER.search(text)
    return text[label.end() if label else 0 :].strip().strip(_EDGE).strip()


def _in_json(reply: str) -> tuple[str, float | None] | None:
    start, end = reply.find("{"), reply.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        held = json.loads(reply[start : end + 1])
    except (ValueError, RecursionError):  # no JSON after all
        return None
    if not isinstance(held, dict) or "answer" not in held:
        return None
    answer = held["answer"] if isinstance(held["answer"], str) else json.dumps(held["answer"])
    said = confidence_in(f"confidence: {held.get('confidence')}", cued=True)
    return answer, None if isinstance(said, Missing) else said


def _stated(generation: Generation) -> StatedAnswer:
    if refused(generation):
        return StatedAnswer("", None)
    answer, confidence = answer_and_confidence(generation.text)
    return StatedAnswer(normalize(answer), confidence)
