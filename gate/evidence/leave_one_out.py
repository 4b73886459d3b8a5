"""Leave one out: what the upstream answers when one of the passages is missing, for each of them in turn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from gate.effects import Flow, Generate, Reply, generate
from gate.errors import EvidenceUnavailable
from gate.evidence.asking import quoting, request
from gate.evidence.comparison import Comparison, draft_to_compare
from gate.evidence.draft import Draft
from gate.evidence.drawing import cost_of, first_error, tried
from gate.evidence.meanings import group
from gate.ports import Evidence, Fact, Profile, Round, Uses
from gate.prompts import Prompt
from gate.types import Generation, Passage

_FEWEST = 2
"""Leaving out the only passage is asking closed book."""


@dataclass(frozen=True)
class LeaveOneOut(Fact):
    """Answers to the prompt without one passage, in the order of the passages. There is at least one."""

    answers: tuple[Generation, ...]
    meanings: tuple[int, ...]
    """Labels of equal answers, one an answer; those that have the draft's meaning are labelled 0."""


class LeaveOneOutSource(Comparison, frozen=True):
    """Asks again, side by side, with each of the best ``most`` passages left out; the others stay in the prompt.

    Two calls are what it needs. It makes one a passage, as far as the budget goes, and leaves out the best passages
    first. Passages with the same text leave the same prompt behind, which is asked once.
    """

    name: ClassVar[str] = "leave_one_out"
    provides: ClassVar[type[Fact]] = LeaveOneOut
    needs: ClassVar[tuple[type[Fact], ...]] = (Draft,)
    uses: ClassVar[Uses] = Uses()
    most: int = Field(default=5, ge=_FEWEST, le=32)
    """How many passages are left out in turn, at most."""
    alternatives: int = Field(default=5, ge=0, le=20)
    """How many of the likeliest tokens to ask for at each place."""

    def calls(self, profile: Profile) -> int:
        return _FEWEST

    def gather(self, round_: Round, evidence: Evidence) -> Flow[Fact]:
        if len(round_.passages) < _FEWEST or round_.prompt is None:
            raise EvidenceUnavailable("fewer than two passages are in the prompt")
        draft = draft_to_compare(evidence)
        room = self.most if round_.calls_left is None else min(self.most, round_.calls_left)
        left = [_texts(_without(round_.passages, place)) for place in range(len(round_.passages))][: self.most]
        places = [left.index(texts) for texts in dict.fromkeys(left)][:room]
        asked = [self._request(round_, round_.prompt, place, len(places)) for place in places]
        replies = yield from tried(map(generate, asked))
        cost = cost_of(replies)
        said = {
            left[place]: reply.value.choices[0]
            for place, reply in zip(places, replies, strict=True)
            if isinstance(reply, Reply)
        }
        answers = tuple(said[texts] for texts in left if texts in said)
        if not answers:
            why = first_error(replies) or "nothing was asked"
            raise EvidenceUnavailable(f"no answer without a passage could be had: {why}", cost)
        return LeaveOneOut(cost, answers, tuple(group([draft, *answers], self.same)[1:]))

    def _request(self, round_: Round, prompt: Prompt, place: int, of: int) -> Generate:
        messages = quoting(prompt, round_.question.messages, _without(round_.passages, place))
        return request(
            dataclasses.replace(round_, messages=messages),
            n=1,
            temperature=0.0,
            seed=None,
            alternatives=self.alternatives,
            of=of,
        )


def _without(passages: tuple[Passage, ...], place: int) -> tuple[Passage, ...]:
    return passages[:place] + passages[place + 1 :]


def _texts(passages: tuple[Passage, ...]) -> tuple[str, ...]:
    return tuple(passage.text for passage in passages)
