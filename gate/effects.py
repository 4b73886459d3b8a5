"""What the core may ask of the world. Logic yields these; only `gate.drivers` performs them.

A *flow* is a generator that yields effects and receives replies, so the same code runs under asyncio, on threads and
from a recording. Use the four functions below with ``yield from``; they carry the types::

    def gather(...) -> Flow[Draft]:
        reply = yield from generate(Generate(upstream="small", messages=...))
        return Draft(reply.value.choices[0], cost=reply.cost)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

from gate.types import Cost, Generations, JsonObject, Message, Passage, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask an upstream for ``n`` answers. Raises `UpstreamError` into the flow when it fails for good."""

    upstream: str
    messages: tuple[Message, ...]
    n: int = 1
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    """How many alternatives a token to ask for (0 = the token's own log-probability only); None = none at all."""
    extra: JsonObject = field(default_factory=dict)
    """Fields passed through to the upstream untouched (``tools``, ``response_format`` …)."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Ask a retriever for the ``k`` best passages. An empty reply is an answer, not an error."""

    retriever: str
    query: str
    k: int


@dataclass(frozen=True, slots=True)
class Together:
    """Run flows side by side; the reply lists their results in order. The first error cancels the rest."""

    flows: tuple[Flow[Any], ...]


@dataclass(frozen=True, slots=True)
class Observe:
    """Tell the driver a step was finished, so that a trace holds it even when a later step fails."""

    step: Step


Effect: TypeAlias = Generate | Retrieve | Together | Observe
Flow: TypeAlias = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What a driver sends back: the value and what getting it cost."""

    value: T
    cost: Cost


def generate(effect: Generate) -> Flow[Reply[Generations]]:
    return cast("Reply[Generations]", (yield effect))


def retrieve(effect: Retrieve) -> Flow[Reply[tuple[Passage, ...]]]:
    return cast("Reply[tuple[Passage, ...]]", (yield effect))


def together(flows: Iterable[Flow[T]]) -> Flow[tuple[T, ...]]:
    return cast("tuple[T, ...]", (yield Together(tuple(flows))))


def observe(step: Step) -> Flow[None]:
    yield Observe(step)


def effect_key(effect: Generate | Retrieve) -> str:
    """A hash of all that was asked: equal requests have equal keys, in this process and in any other."""
    text = json.dumps([type(effect).__name__, asdict(effect)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
