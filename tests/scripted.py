"""A scripted upstream in this process, and a plan over it: for tests that need an upstream to do something on cue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from gate.calibration import VoteShareCalibrator
from gate.drivers import World
from gate.effects import Generate
from gate.embedders import HashedNgrams
from gate.errors import UpstreamError
from gate.evidence import DraftSource, MeaningsSource, SamplesSource
from gate.pipeline import Plan
from gate.ports import Price, Profile, Route
from gate.prompts import load
from gate.retrieval import Bm25Retriever
from gate.routes import AbstainRoute, AnswerRoute, EscalateRoute, RetrieveRoute
from gate.rules import ThresholdRule
from gate.signals import SIGNALS
from gate.types import Budget, Generation, Generations, TokenLogprob, Usage
from tests.hidden_states.blocks import states

Answer = str | UpstreamError


@dataclass
class Scripted:
    """Answers by a function of the request (and which choice it is); counts calls; can be slow until cancelled."""

    name: str
    answers: Callable[[Generate, int], Answer]
    seconds: float = 0.0
    profile: Profile = field(default_factory=Profile)
    price: Price = field(default_factory=lambda: Price(prompt=1.0, completion=2.0))
    fingerprint: str = "scripted"
    kind: ClassVar[str] = "scripted"
    asked: list[Generate] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def complete(self, effect: Generate, cancelled: Callable[[], bool]) -> Generations:
        self.asked.append(effect)
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            if cancelled():
                self.cancelled.set()
                raise UpstreamError(self.name, "was cancelled")
            time.sleep(0.005)
        said = [self.answers(effect, place) for place in range(effect.n)]
        for answer in said:
            if isinstance(answer, UpstreamError):
                raise answer
        read = states() if effect.states else None
        choices = tuple(
            Generation(text, tokens=(TokenLogprob(text, -0.1, ((text, -0.1), ("other", -3.0))),), states=read)
            for text in said
            if isinstance(text, str)
        )
        return Generations(choices, Usage(10, 3 * len(choices)), self.name)


class Awaited(Scripted):
    """Likewise, for drivers that wait on an event loop: it is slow until it is called off there."""

    async def acomplete(self, effect: Generate) -> Generations:
        self.asked.append(effect)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.asked.pop()
        self.seconds = 0.0
        return self.complete(effect, lambda: False)


def always(text: str) -> Callable[[Generate, int], Answer]:
    return lambda effect, place: text


def plan_over(
    upstreams: Mapping[str, Scripted], *, answer_at: float = 0.8, passages: bool = False, budget: Budget | None = None
) -> Plan:
    """The whole pipeline with five samples and the vote-share calibrator, over scripted upstreams."""
    ladder = tuple(upstreams)
    profiles = {name: upstream.profile for name, upstream in upstreams.items()}
    routes: list[Route] = [AnswerRoute(), AbstainRoute("I do not know.")]
    if passages:
        routes.append(RetrieveRoute("world", load("with_passages"), 2))
    if len(ladder) > 1:
        routes.append(EscalateRoute(ladder, profiles))
    return Plan(
        ladder=ladder,
        profiles=profiles,
        tiers=((DraftSource(), SamplesSource(n=5, seed=1), MeaningsSource()),),
        signals=SIGNALS,
        calibrator=VoteShareCalibrator(5),
        rule=ThresholdRule(answer_at=answer_at),
        routes={route.action: route for route in routes},
        budget=budget or Budget(),
        prices={name: upstream.price for name, upstream in upstreams.items()},
    )


def world_of(upstreams: Mapping[str, Scripted], timeouts: Mapping[str, float] | None = None) -> World:
    found = (("lagos", "Lagos is a city in Nigeria."), ("paris", "Paris is a city in France."))
    retrievers = {"world": Bm25Retriever("world", found)}
    return World(dict(upstreams), retrievers, timeouts or {}, embedders={"hashed": HashedNgrams("hashed")})
