"""The first draft of a question, as soon as it is there: what goes out where a policy only observes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gate.drivers.world import Recording
from gate.gateway import Gateway
from gate.proxy.verdicts import Decided
from gate.traces import TraceRecord
from gate.types import Action, Cost, Decision, Generation, Outcome, SignalVector, Stage, Step, TokenLogprob

OBSERVED = "observed"
"""The reason of a decision that nobody made: the draft goes out as it is."""


class FirstDraft:
    """Reads the first draft of a question along. Fits `gate.drivers.world.Live` and `gate.proxy.streaming.Feed`.

    One of which nothing came, because asking for it failed, is none: then it is the next.
    """

    def __init__(self, news: asyncio.Event) -> None:
        self.draft: Generation | None = None
        """Once it is whole."""
        self._written: list[str] = []
        self._any = False
        self._reading = False
        self._news = news

    def begun(self, round_key: str) -> None:
        self._reading = self.draft is None and not self._any

    def grew(self, text: str, tokens: Sequence[TokenLogprob]) -> bool:
        if self._reading and text:
            self._any = True
            self._written.append(text)
            self._news.set()
        return True

    def done(self, draft: Generation) -> None:
        if self._reading and self.draft is None:
            self.draft = draft
            self._news.set()

    def take(self) -> str:
        """What was written since this was last asked."""
        written, self._written = "".join(self._written), []
        return written


def observed(draft: Generation, recording: Recording, gateway: Gateway) -> Decided:
    """A draft as what was decided: answered, with no confidence."""
    bringing = (entry for entry in recording.tape if entry.generations and draft in entry.generations.choices)
    entry = next(bringing, None)
    cost, upstream = (Cost(), gateway.policy.ladder[0]) if entry is None else (entry.cost, entry.to)
    step = Step(Decision(Action.ANSWER, OBSERVED, Stage(upstream)), SignalVector(()), cost)
    outcome = Outcome(Action.ANSWER, draft.text or draft.refusal or "", (step,), cost, draft, upstream)
    record = TraceRecord(
        recording.id,
        "",
        gateway.name,
        gateway.policy_fingerprint,
        certified=False,
        steps=(step,),
        outcome=outcome,
        action=outcome.action,
        cost=cost,
    )
    return outcome, record


def on_trial(decided: Decided) -> Generation | None:
    """The draft that a decision was about; None where there was none."""
    outcome, _ = decided
    return outcome.generation or outcome.withheld
