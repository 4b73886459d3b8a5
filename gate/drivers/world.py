"""What every driver shares: the world effects are performed on, the recording of a run, and stepping a flow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gate.effects import Ask, Embed, Entail, Generate, ReadStates, Reply, Retrieve, effect_key, family_key
from gate.errors import EvidenceUnavailable, GateError, UpstreamError, UpstreamTimeout
from gate.hidden_states.block import STOPPED
from gate.ports import Embedder, Endpoint, EntailmentJudge, LocalEndpoint, Retriever, Upstream
from gate.traces import Failure, TapeEntry
from gate.types import Cost, Entailments, Generation, Generations, Passage, Step, Vectors
from gate.upstreams.openai_wire import most_tokens, refused_field, without

T = TypeVar("T")
Value = Generations | Vectors | Entailments
Kind = tuple[str, frozenset[str]]
"""An upstream, and the names of the fields a caller has passed through to it."""
NO_DEADLINE = float("inf")
_MOST_KINDS = 1000
"""How many kinds of request something is learned of: callers choose the names, and must not fill the memory."""
NO_STATES = "the server sent no internal states: start it with the line that 'gate vllm-args' prints"


@dataclass(slots=True)
class Recording:
    """What a run did: every reply, in the order they came, and every step. Shared by the flows of one run."""

    tape: list[TapeEntry] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """What effects are performed on, with the longest a call to each endpoint may take, in seconds.

    Upstreams, embedders and judges are told apart by their names: no two share one.
    """

    upstreams: Mapping[str, Upstream]
    retrievers: Mapping[str, Retriever] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    judges: Mapping[str, EntailmentJudge] = field(default_factory=dict)
    refused: dict[Kind, frozenset[str]] = field(default_factory=dict)
    """Fields of gate's own that an upstream turned out not to take; learned once, then left out.

    Learned by kind of request: what is refused beside the ``tools`` of one caller is not refused to all others.
    """
    longest: dict[str, int] = field(default_factory=dict)
    """Tokens of an answer that an upstream turned out to allow at most: what a budget leaves may be more."""

    def endpoint(self, effect: Ask) -> Endpoint:
        """Who is asked."""
        match effect:
            case Generate(upstream=name):
                return self.upstreams[name]
            case Embed(embedder=name):
                return self.embedders[name]
            case Entail(judge=name):
                return self.judges[name]

    def deadline(self, endpoint: str, deadline: float) -> float:
        """The earlier of the run's deadline and this call's own, on the monotonic clock."""
        return min(deadline, time.monotonic() + self.timeouts.get(endpoint, NO_DEADLINE))

    def trimmed(self, effect: Ask) -> Ask:
        """The effect without what its upstream is known not to take."""
        if isinstance(effect, Generate):
            for name in self.refused.get(_kind(effect), ()):
                effect = without(effect, name)
            effect = _capped(effect, self.longest.get(effect.upstream))
        return effect

    def relieved(self, effect: Ask, error: UpstreamError) -> tuple[Ask, frozenset[str]]:
        """The effect without the field of gate's own that was refused, and its name, or with a ``cap`` that is not
        too large. Raises the error when the refusal is of nothing like that in this request."""
        if not isinstance(effect, Generate):
            raise error
        if (less := _capped(effect, most_tokens(error))) != effect:
            return less, frozenset({"cap"})
        name = refused_field(error)
        if name is not None and (less := without(effect, name)) != effect:
            return less, frozenset({name})
        raise error

    def learn(self, effect: Ask, answered: Ask, names: frozenset[str]) -> None:
        """Leave these fields out from now on: without them the upstream has answered what it had refused."""
        if not isinstance(effect, Generate) or not isinstance(answered, Generate):
            return
        if "cap" in names and answered.cap is not None:
            self.longest[effect.upstream] = answered.cap
        if (names := names - {"cap"}) and len(self.refused) < _MOST_KINDS:
            self.refused[_kind(effect)] = self.refused.get(_kind(effect), frozenset()) | names


def _kind(effect: Generate) -> Kind:
    return effect.upstream, frozenset(effect.extra)


def _capped(effect: Generate, most: int | None) -> Generate:
    """With no cap above the most. Where the caller's own limit is above it, that is for the upstream to refuse."""
    if most is None or effect.cap is None or effect.cap <= most or (effect.max_tokens or 0) > most:
        return effect
    return dataclasses.replace(effect, cap=most)


def completed(endpoint: LocalEndpoint[Any, Value], effect: Ask, cancelled: Callable[[], bool]) -> Value:
    """The reply of a model in this process. Whatever fault it has is an `UpstreamError`, as a server's would be."""
    return _contained(endpoint.name, lambda: endpoint.complete(effect, cancelled))


def looked_up(world: World, effect: Retrieve, recording: Recording) -> Reply[tuple[Passage, ...]]:
    """What a retriever finds, recorded. Raises `EvidenceUnavailable` when it fails, in whatever way."""
    began, retriever = time.monotonic(), world.retrievers[effect.retriever]
    try:
        found = _contained(effect.retriever, lambda: retriever.search(effect.query, effect.k))
    except GateError as error:
        cost = Cost(seconds=time.monotonic() - began)
        cause = error.cause if isinstance(error, UpstreamError) else f"failed: {error}"
        recording.tape.append(tape_entry(effect, cost, error=UpstreamError(effect.retriever, cause)))
        raise search_failed(effect.retriever, cause, cost) from error
    cost = Cost(seconds=time.monotonic() - began)
    recording.tape.append(tape_entry(effect, cost, found))
    return Reply(found, cost)


def search_failed(retriever: str, cause: str, cost: Cost) -> EvidenceUnavailable:
    """The error of a search, live or recorded."""
    return EvidenceUnavailable(f"the retriever {retriever!r} {cause}", cost)


def _contained(name: str, call: Callable[[], T]) -> T:
    """A call into code that may be anyone's. Of a fault only the kind is told: its words may quote the user's."""
    try:
        return call()
    except GateError:
        raise
    except Exception as error:
        raise UpstreamError(name, f"failed: {type(error).__name__}") from error


def in_full(effect: Ask, value: Value) -> Value:
    """The reply, when it holds as much as was asked for: whoever reads it pairs its parts with what was asked.

    A wire endpoint reads a reply without knowing what was asked, so this is where a part too few is seen. Internal
    states may be missing: then every answer says so.
    """
    match effect, value:
        case Generate(states=ReadStates(), stop=stop), Generations(choices=choices):
            return dataclasses.replace(value, choices=tuple(_accounting_for_states(each, stop) for each in choices))
        case Embed(embedder=name, texts=asked), Vectors(rows=given):
            parts = "vectors", "texts"
        case Entail(judge=name, pairs=asked), Entailments(verdicts=given):
            parts = "verdicts", "pairs"
        case _:
            return value
    if len(given) != len(asked):
        raise UpstreamError(name, f"gave {len(given)} {parts[0]} for {len(asked)} {parts[1]}")
    return value


def _accounting_for_states(choice: Generation, stop: tuple[str, ...]) -> Generation:
    if choice.states is not None or choice.no_states:
        return choice
    stopped = bool(stop) and choice.finish_reason == "stop"
    return dataclasses.replace(choice, no_states=STOPPED if stopped else NO_STATES)


def cost_of(world: World, effect: Ask, calls: int, began: float, value: Value | None = None) -> Cost:
    usage = value.usage if value else None
    price = world.endpoint(effect).price
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return Cost(
        calls=calls if isinstance(effect, Generate) else 0,
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=time.monotonic() - began,
        money=(prompt * price.prompt + completion * price.completion) / 1e6,
    )


def tape_entry(effect: Ask | Retrieve, cost: Cost, value: Any = None, error: UpstreamError | None = None) -> TapeEntry:
    failure = None
    if error is not None:
        failure = Failure(error.upstream, error.cause, error.status, isinstance(error, UpstreamTimeout), error.said)
    return TapeEntry(
        key=effect_key(effect),
        kind=type(effect).__name__.lower(),
        cost=cost,
        family=family_key(effect) if isinstance(effect, Generate) and effect.n > 1 else "",
        n=effect.n if isinstance(effect, Generate) else 1,
        generations=value if isinstance(value, Generations) else None,
        cap=effect.cap if isinstance(effect, Generate) else None,
        passages=value if isinstance(value, tuple) else None,
        vectors=value if isinstance(value, Vectors) else None,
        entailments=value if isinstance(value, Entailments) else None,
        failure=failure,
    )
