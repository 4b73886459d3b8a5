"""What every driver shares: the world effects are performed on, the recording of a run, and stepping a flow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gate.effects import Effect, Flow, Generate, Retrieve, effect_key
from gate.errors import GateError, UpstreamError, UpstreamTimeout
from gate.ports import Price, Retriever, Upstream
from gate.types import Cost, Failure, Generations, Step, TapeEntry
from gate.upstreams.openai_wire import refused_field, without

T = TypeVar("T")
NO_DEADLINE = float("inf")


@dataclass(slots=True)
class Recording:
    """What a run did: every reply, in the order they came, and every step. Shared by the flows of one run."""

    tape: list[TapeEntry] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """The upstreams and retrievers effects are performed on, with the longest a call to each may take, in seconds."""

    upstreams: Mapping[str, Upstream]
    retrievers: Mapping[str, Retriever] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    """Optional request fields each upstream turned out not to take; learned once, then left out."""

    def deadline(self, upstream: str, deadline: float) -> float:
        """The earlier of the run's deadline and this call's own, on the monotonic clock."""
        return min(deadline, time.monotonic() + self.timeouts.get(upstream, NO_DEADLINE))

    def trimmed(self, effect: Generate) -> Generate:
        for name in self.refused.get(effect.upstream, ()):
            effect = without(effect, name)
        return effect

    def learn(self, effect: Generate, error: UpstreamError) -> bool:
        """Note the field an upstream refused; true when asking again without it may work."""
        name = refused_field(error)
        known = self.refused.setdefault(effect.upstream, set())
        if name is None or name in known:
            return False
        known.add(name)
        return True


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    result: T


def advance(flow: Flow[T], reply: Any, error: GateError | None) -> Effect | Done[T]:
    """Give a flow its reply, or the error, and get its next effect or its result."""
    try:
        return flow.throw(error) if error else flow.send(reply)
    except StopIteration as stop:
        return Done(stop.value)


def cost_of(world: World, upstream: str, calls: int, began: float, value: Generations | None = None) -> Cost:
    usage = value.usage if value else None
    price: Price = world.upstreams[upstream].price
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Cost(
        calls=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=time.monotonic() - began,
        money=(prompt * price.prompt + completion * price.completion) / 1e6,
    )


def tape_entry(
    effect: Generate | Retrieve, cost: Cost, value: Any = None, error: UpstreamError | None = None
) -> TapeEntry:
    failure = None
    if error is not None:
        failure = Failure(error.upstream, error.cause, error.status, isinstance(error, UpstreamTimeout))
    return TapeEntry(
        key=effect_key(effect),
        kind=type(effect).__name__.lower(),
        cost=cost,
        generations=value if isinstance(value, Generations) else None,
        passages=value if isinstance(value, tuple) else None,
        failure=failure,
    )
