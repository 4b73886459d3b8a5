"""What the core may ask of the world. Logic yields these; only `gate.drivers` performs them.

A *flow* is a generator that yields effects and receives replies, so the same code runs under asyncio, on threads and
from a recording. Use the functions below with ``yield from``; they carry the types::

    def gather(...) -> Flow[Draft]:
        reply = yield from generate(Generate(upstream="small", messages=...))
        return Draft(reply.value.choices[0], cost=reply.cost)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeAlias, TypeVar, cast

from gate.errors import GateError
from gate.types import Cost, Entailments, Generations, JsonObject, Message, Passage, Step, Vector, Vectors

T = TypeVar("T")
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str).encode
_NOT_ASKED = frozenset({"cap", "counted", "live", "part_of", "seed_is_callers", "states", "tight", "vector"})

STOPPED_EARLY = "stopped_early"
"""The ``finish_reason`` of a draft that gate itself stopped while it was written."""


@dataclass(frozen=True, slots=True)
class ReadStates:
    """Read inside the model while it answers, or while it reads an answer that is given to it."""

    passages: tuple[str, ...] = ()
    """Texts that stand in the prompt, to measure how far they were looked at."""
    given: bool = False
    """The last message is the answer: it is read, one more token is generated after it, and that is left unused."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Several calls that together draw answers to one request: any of them would do for any other."""

    seed: int | None
    """Of the first call. Those of the others differ, so that no two draw the same."""


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask an upstream for ``n`` answers. Raises `UpstreamError` into the flow when it fails for good."""

    upstream: str
    messages: tuple[Message, ...]
    n: int = 1
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    cap: int | None = None
    """The most tokens the budget leaves for each answer: a hard stop, and no part of what is asked."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    seed_is_callers: bool = False
    """Whether the caller gave the seed: then it is never left out, also where the upstream refuses it."""
    logprobs: int | None = None
    """How many alternatives a token to ask for (0 = the token's own log-probability only); None = none at all."""
    extra: JsonObject = field(default_factory=dict)
    """Fields passed through to the upstream untouched (``tools``, ``response_format`` …)."""
    part_of: Draws | None = None
    """The calls this is one of: no part of what is asked."""
    states: ReadStates | None = None
    """What to read inside the model, where the upstream can; an answer is the same with or without it."""
    live: str = ""
    """Of a draft its round (`gate.types.Stage.round_key`). A draft somebody may want to watch while it is written
    (`gate.drivers.world.Recording.live`): then the upstream is asked to stream, where it can."""
    counted: bool = True
    """Whether a streamed reply is asked to say how many tokens it took: no part of what is asked."""
    tight: bool = field(default=False, compare=False)
    """Whether the budget has no room to ask it twice (`gate.drivers.hedging`): no part of what is asked."""

    @property
    def limit(self) -> int | None:
        """The most tokens an answer may have, for whichever reason."""
        return min((most for most in (self.max_tokens, self.cap) if most is not None), default=None)


@dataclass(frozen=True, slots=True)
class Embed:
    """Ask an embedder for a unit vector a text. Raises `UpstreamError` into the flow when it fails for good."""

    embedder: str
    texts: tuple[str, ...]
    tight: bool = field(default=False, compare=False)
    """See `Generate.tight`."""


@dataclass(frozen=True, slots=True)
class Entail:
    """Ask a judge about (premise, hypothesis) pairs. Raises `UpstreamError` into the flow when it fails for good."""

    judge: str
    pairs: tuple[tuple[str, str], ...]
    tight: bool = field(default=False, compare=False)
    """See `Generate.tight`."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Ask a retriever for the ``k`` best passages. An empty reply is an answer, not an error.

    Raises `EvidenceUnavailable` into the flow when it fails for good.
    """

    retriever: str
    query: str
    k: int
    vector: Vector | None = None
    """Of the query, by the retriever's embedder, where it searches by one: no part of what is asked."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Put a question before a person. The reply is the reference under which it is found again.

    Raises `UpstreamError` into the flow when it fails. It is not tried again once it may have arrived.
    """

    person: str
    messages: tuple[Message, ...]
    reason: str
    """Why gate did not answer it: the decision's code."""
    draft: str = ""
    p: float | None = None
    """The confidence in the draft."""
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Together:
    """Run flows side by side; the reply lists their results in order. The first error cancels the rest."""

    flows: tuple[Flow[Any], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Run code of the caller's that stands in for an upstream, where the flow is driven: see `gate.given`.

    On threads it is called on the caller's own, unless several run side by side; on an event loop what it gives is
    awaited. What it raises reaches the flow as `UpstreamError`. It is never tried again.
    """

    name: str
    """Of the upstream it stands in for."""
    function: Callable[[], Any]
    own_words: bool = False
    """Whether it is code of gate's, whose `UpstreamError` quotes nobody. Of any other fault only the kind is told."""


@dataclass(frozen=True, slots=True)
class Observe:
    """Tell the driver a step was finished, so that a trace holds it even when a later step fails."""

    step: Step


Ask: TypeAlias = Generate | Embed | Entail
"""What a model endpoint is asked."""
Request: TypeAlias = Ask | Retrieve | HandOver
"""What any endpoint is asked."""
Effect: TypeAlias = Request | Together | Call | Observe
Flow: TypeAlias = Generator[Effect, Any, T]


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What a driver sends back: the value and what getting it cost."""

    value: T
    cost: Cost


def generate(effect: Generate) -> Flow[Reply[Generations]]:
    return cast("Reply[Generations]", (yield effect))


def embed(effect: Embed) -> Flow[Reply[Vectors]]:
    return cast("Reply[Vectors]", (yield effect))


def entail(effect: Entail) -> Flow[Reply[Entailments]]:
    return cast("Reply[Entailments]", (yield effect))


def retrieve(effect: Retrieve) -> Flow[Reply[tuple[Passage, ...]]]:
    return cast("Reply[tuple[Passage, ...]]", (yield effect))


def hand_over(effect: HandOver) -> Flow[Reply[str]]:
    return cast("Reply[str]", (yield effect))


def together(flows: Iterable[Flow[T]]) -> Flow[tuple[T, ...]]:
    return cast("tuple[T, ...]", (yield Together(tuple(flows))))


def call(effect: Call) -> Flow[Any]:
    return (yield effect)


def observe(step: Step) -> Flow[None]:
    yield Observe(step)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    result: T


def advance(flow: Flow[T], reply: Any, error: GateError | None) -> Effect | Done[T]:
    """Give a flow its reply, or the error, and get its next effect or its result."""
    try:
        return flow.throw(error) if error else flow.send(reply)
    except StopIteration as stop:
        return Done(stop.value)


def driven(flow: Flow[T], effect: Effect | Done[T], perform: Callable[[Effect], Flow[Any]]) -> Flow[T]:
    """The flow from this effect of its on, with ``perform`` between it and whoever performs what it asks."""
    with contextlib.closing(flow):
        while not isinstance(effect, Done):
            reply, error = None, None
            try:
                reply = yield from perform(effect)
            except GateError as raised:
                error = raised
            effect = advance(flow, reply, error)
        return effect.result


def effect_key(effect: Request) -> str:
    """A hash of all that was asked: equal requests have equal keys, in this process and in any other.

    What the budget had left (``cap``), who gave the seed, which other calls there are and whether states are read are
    not asked: the answer to the same request is the same.
    """
    return _hash(effect, _asked(effect))


def family_key(effect: Generate) -> str:
    """The same for all requests that differ in nothing but how many answers they ask for, and all of one `Draws`."""
    return _hash(effect, _of_family(effect, _asked(effect)))


def keys_of(effect: Request) -> tuple[str, str]:
    """Its key, and that of its family where it has one, else ""; in half the time of one after the other."""
    asked = _asked(effect)
    key = _hash(effect, asked)
    if not isinstance(effect, Generate) or (effect.n == 1 and effect.part_of is None):
        return key, ""
    return key, _hash(effect, _of_family(effect, asked))


def _asked(effect: Request) -> dict[str, str]:
    """What is asked, field by field as JSON."""
    return {name: _json(getattr(effect, name)) for name in _names(type(effect)) if name not in _NOT_ASKED}


def _of_family(effect: Generate, asked: dict[str, str]) -> dict[str, str]:
    """What was asked, less what the members of a family differ in; of the same dictionary."""
    del asked["n"]
    if effect.part_of is not None:
        asked["seed"] = _json(effect.part_of.seed)
    return asked


def _hash(effect: Request, asked: Mapping[str, str]) -> str:
    fields_of_it = ", ".join([f'"{name}": {asked[name]}' for name in sorted(asked)])
    text = f'["{type(effect).__name__}", {{{fields_of_it}}}]'
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _json(value: Any) -> str:
    """What most fields hold is known without asking the encoder, which would take longer than all the rest."""
    if value is None:
        return "null"
    if type(value) is int:
        return str(value)
    return "[]" if value == () else "{}" if value == {} else _JSON(_plain(value))


_AS_IT_IS = frozenset({str, bool, int, type(None)})
"""Nearly all values are of these: to look a type up takes a tenth of asking what it is a kind of."""
_FIELDS: dict[type, tuple[str, ...]] = {}


def _names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a class that holds data; looked up once."""
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(each.name for each in fields(kind))
    return _FIELDS[kind]


def _plain(value: Any) -> Any:
    """As JSON has it; with 1.0 as 1: they are equal, and must not differ for having gone through a file."""
    if type(value) in _AS_IT_IS or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _names(type(value))}
    return value
