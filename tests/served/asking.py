"""Asking a served model and the embedded one the same, with gate's own drivers."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from gate.drivers import World
from gate.effects import Flow, Generate, generate
from gate.pocket.weights import Size
from gate.pocket.world import Fact, facts
from gate.ports import Price, Upstream
from gate.types import Generations, Message
from gate.upstreams import PocketUpstream, VllmChat
from gate.upstreams.vllm import VllmOptions
from tests.drivers.running import run
from tests.served.server import Server

T = TypeVar("T")
LONG = Generate(
    "it", (Message("user", "Where is Lagos?"),), n=200, temperature=1.0, max_tokens=480, extra={"ignore_eos": True}
)
"""Many seconds of work."""


def served(server: Server) -> VllmChat:
    options = VllmOptions(base_url=server.base_url, model=server.name)
    return VllmChat.from_options("it", options, Price())


def embedded(size: Size) -> PocketUpstream:
    return PocketUpstream("it", size)


def performed(upstream: Upstream, flow: Flow[T], *, threaded: bool = True, seconds: float = 60) -> T:
    """The result of a flow that asks one upstream, by the name ``it``."""
    return cast("T", run(World({"it": upstream}), flow, threaded=threaded, seconds=seconds)[0])


def reply_to(upstream: Upstream, effect: Generate, *, threaded: bool = True, seconds: float = 60) -> Generations:
    return performed(upstream, generate(effect), threaded=threaded, seconds=seconds).value


def ask(upstream: Upstream, question: str, *, threaded: bool = True, **how: Any) -> Generations:
    """The reply to a question of the user. ``how`` has other fields of `Generate`; greedy unless told otherwise."""
    effect = Generate("it", (Message("user", question),), **{"temperature": 0.0, **how})
    return reply_to(upstream, effect, threaded=threaded)


def some_facts(count: int) -> tuple[Fact, ...]:
    """From all over the world, and of every relation."""
    return facts()[:: len(facts()) // count][:count]
