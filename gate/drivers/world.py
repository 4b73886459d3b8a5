"""What every driver shares: the world effects are performed on, the recording of a run, and stepping a flow."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from gate.drivers.health import WELL, Health
from gate.effects import (
    Embed,
    Entail,
    Generate,
    HandOver,
    ReadStates,
    Request,
    Retrieve,
    effect_key,
    keys_of,
)
from gate.errors import EvidenceUnavailable, GateError, UpstreamError, UpstreamTimeout
from gate.fresh_bytes import fresh_bytes
from gate.hidden_states.block import STOPPED
from gate.ports import Embedder, Endpoint, EntailmentJudge, LocalEndpoint, Person, Price, Retriever, Upstream
from gate.spending import prompt_tokens
from gate.traces import Failure, TapeEntry
from gate.types import (
    Cost,
    Entailments,
    Generation,
    Generations,
    Passage,
    Step,
    TokenLogprob,
    Usage,
    Vectors,
)
from gate.upstreams.openai_wire import most_tokens, refused_field, without

T = TypeVar("T")
Value = Generations | Vectors | Entailments | tuple[Passage, ...] | str
Kind = tuple[str, frozenset[str]]
"""An upstream, and the names of the fields a caller has passed through to it."""
NO_DEADLINE = float("inf")
_MOST_KINDS = 1000
"""How many kinds of request something is learned of: callers choose the names, and must not fill the memory."""
_FREE = Price()
NO_STATES = "the server sent no internal states: start it with the line that 'gate vllm-args' prints"


def decision_id() -> str:
    """A UUID of version 7, as 32 hexadecimal digits: a millisecond, and 74 random bits that nobody guesses.

    In the order of time, because a database puts such rows at the end of its indexes. Random ones go everywhere: in a
    log of 300,000 decisions each of them took two and a half times as long to write.
    """
    random = int.from_bytes(fresh_bytes(), "big") >> 54
    value = time.time_ns() // 1_000_000 << 80 | 7 << 76 | random >> 62 << 64 | 2 << 62 | random & (1 << 62) - 1
    return f"{value:032x}"


class Live(Protocol):
    """Who watches drafts while they are written. Called on the loop, or the thread, that drives the flow.

    A question may have several drafts, one a round. Where an upstream cannot stream, a draft grows once, by all of it.
    """

    def begun(self, round_key: str) -> None:
        """A draft is asked for, in this round: see `gate.types.Stage.round_key`."""
        ...

    def grew(self, text: str, tokens: tuple[TokenLogprob, ...]) -> bool:
        """So much more of its text, and the tokens of it where the upstream gives any. False stops the writing: the
        draft is then what there is, with the ``finish_reason`` `gate.effects.STOPPED_EARLY`."""
        ...

    def done(self, draft: Generation) -> None:
        """It is whole, or was stopped. Not called where asking for it failed."""
        ...


@dataclass(slots=True)
class Recording:
    """What a run did: every reply, in the order they came, and every step. Shared by the flows of one run."""

    id: str = field(default_factory=decision_id)
    """Of the decision that comes of it."""
    tape: list[TapeEntry] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    live: Live | None = None
    called_off: Cost = Cost()
    """What was spent on requests that were called off while they were answered, as far as that can be told."""
    keyed: bool = True
    """Whether entries of the tape have keys, by which a replay finds them. To make one takes longer than a signal."""

    @property
    def cost(self) -> Cost:
        """Of all that was asked."""
        return sum((entry.cost for entry in self.tape), self.called_off)


@dataclass(slots=True)
class World:
    """What effects are performed on, with the longest a call to each endpoint may take, in seconds.

    Upstreams, embedders and judges are told apart by their names: no two share one. The time-outs of retrievers and
    people stand under ``retriever:`` and ``person:`` with the name.
    """

    upstreams: Mapping[str, Upstream]
    retrievers: Mapping[str, Retriever] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=dict)
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    judges: Mapping[str, EntailmentJudge] = field(default_factory=dict)
    people: Mapping[str, Person] = field(default_factory=dict)
    refused: dict[Kind, frozenset[str]] = field(default_factory=dict)
    """Fields of gate's own that an upstream turned out not to take; learned once, then left out.

    Learned by kind of request: what is refused beside the ``tools`` of one caller is not refused to all others.
    """
    longest: dict[str, int] = field(default_factory=dict)
    """Tokens of an answer that an upstream turned out to allow at most: what a budget leaves may be more."""
    health: Mapping[str, Health] = field(default_factory=dict)
    """Of those that are looked after, under the names of ``timeouts``."""

    def endpoint(self, effect: Request) -> Endpoint:
        """Who is asked."""
        match effect:
            case Generate(upstream=name):
                return self.upstreams[name]
            case Embed(embedder=name):
                return self.embedders[name]
            case Entail(judge=name):
                return self.judges[name]
            case Retrieve(retriever=name):
                return self.retrievers[name]
            case HandOver(person=name):
                return self.people[name]

    def deadline(self, effect: Request, deadline: float) -> float:
        """The earlier of the run's deadline and this call's own, on the monotonic clock."""
        return min(deadline, time.monotonic() + self.timeouts.get(_timed_as(effect), NO_DEADLINE))

    def health_of(self, effect: Request) -> Health:
        return self.health.get(_timed_as(effect), WELL) if self.health else WELL

    def trimmed(self, effect: Request) -> Request:
        """The effect without what its upstream is known not to take."""
        if isinstance(effect, Generate):
            for name in self.refused.get(_kind(effect), ()):
                effect = without(effect, name)
            effect = _capped(effect, self.longest.get(effect.upstream))
        return effect

    def relieved(self, effect: Request, error: UpstreamError) -> tuple[Request, frozenset[str]]:
        """The effect without the field of gate's own that was refused, and its name, or with a ``cap`` that is not
        too large. Raises the error when the refusal is of nothing like that in this request."""
        if not isinstance(effect, Generate) or error.final:
            raise error
        if (less := _capped(effect, most_tokens(error))) != effect:
            return less, frozenset({"cap"})
        name = refused_field(error)
        if name is not None and (less := without(effect, name)) != effect:
            return less, frozenset({name})
        raise error

    def learn(self, effect: Request, answered: Request, names: frozenset[str]) -> None:
        """Leave these fields out from now on: without them the upstream has answered what it had refused."""
        if not isinstance(effect, Generate) or not isinstance(answered, Generate):
            return
        if "cap" in names and answered.cap is not None:
            self.longest[effect.upstream] = answered.cap
        if (names := names - {"cap"}) and len(self.refused) < _MOST_KINDS:
            self.refused[_kind(effect)] = self.refused.get(_kind(effect), frozenset()) | names


def _name_of(effect: Request) -> str:
    match effect:
        case Generate(upstream=name) | Embed(embedder=name) | Entail(judge=name):
            return name
        case Retrieve(retriever=name) | HandOver(person=name):
            return name


def _timed_as(effect: Request) -> str:
    match effect:
        case Retrieve():
            return f"retriever:{effect.retriever}"
        case HandOver():
            return f"person:{effect.person}"
        case _:
            return _name_of(effect)


def _kind(effect: Generate) -> Kind:
    return effect.upstream, frozenset(effect.extra)


def _capped(effect: Generate, most: int | None) -> Generate:
    """With no cap above the most. Where the caller's own limit is above it, that is for the upstream to refuse."""
    if most is None or effect.cap is None or effect.cap <= most or (effect.max_tokens or 0) > most:
        return effect
    return dataclasses.replace(effect, cap=most)


def completed(endpoint: LocalEndpoint[Any, Value], effect: Request, cancelled: Callable[[], bool]) -> Value:
    """The reply of an endpoint in this process, which may be anyone's code.

    Whatever fault it has is an `UpstreamError`, as a server's would be. Of a fault only the kind is told: its words may
    quote the user's.
    """
    # of a search or a hand-over: at worst a way that is closed
    passing = UpstreamError if isinstance(effect, Retrieve | HandOver) else GateError
    with faults_of(endpoint.name, passing):
        return endpoint.complete(effect, cancelled)


@contextlib.contextmanager
def faults_of(name: str, passing: type[GateError] | None = UpstreamError) -> Iterator[None]:
    """Code that stands behind this name, and may be anyone's: its faults leave as `UpstreamError`; those that are
    ``passing`` as they are. Where none is, also the words of gate's own errors may be the user's: they are not told."""
    try:
        yield
    except Exception as error:
        if passing is not None and isinstance(error, passing):
            raise
        said = str(error) if passing is not None and isinstance(error, GateError) else type(error).__name__
        raise UpstreamError(name, f"failed: {said}") from error


def search_failed(effect: Retrieve, error: UpstreamError) -> EvidenceUnavailable:
    """What reaches the flow of a search that failed, live or recorded: it brought no evidence."""
    reason = f"the retriever {effect.retriever!r} {error.cause}"
    return EvidenceUnavailable(reason, error.cost, code="retriever_failed")


def in_full(effect: Request, value: Value) -> Value:
    """The reply, when it holds as much as was asked for: whoever reads it pairs its parts with what was asked.

    A wire endpoint reads a reply without knowing what was asked, so this is where a part too few is seen, and a passage
    too many. Internal states may be missing: then every answer says so.
    """
    match effect, value:
        case Generate(states=ReadStates(), stop=stop), Generations(choices=choices):
            return dataclasses.replace(value, choices=tuple(_accounting_for_states(each, stop) for each in choices))
        case Embed(embedder=name, texts=asked), Vectors(rows=given):
            parts = "vectors", "texts"
        case Entail(judge=name, pairs=asked), Entailments(verdicts=given):
            parts = "verdicts", "pairs"
        case Retrieve(k=k), tuple():
            return value[:k]
        case HandOver(), "":
            return effect_key(effect)
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


def cost_of(
    world: World, effect: Request, calls: int, began: float, value: Value | None = None, *, twice: bool = False
) -> Cost:
    """``twice``: it was asked twice at once, and the one that was called off may be charged as dearly as the other."""
    usage = value.usage if isinstance(value, Generations | Vectors | Entailments) else None
    price = getattr(world.endpoint(effect), "price", _FREE) if usage else _FREE
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    if twice:
        prompt, completion = 2 * prompt, 2 * completion
    return Cost(
        calls=calls if isinstance(effect, Generate) else 0,
        prompt_tokens=prompt,
        completion_tokens=completion,
        seconds=time.monotonic() - began,
        money=price.of(prompt, completion),
    )


def called_off(world: World, effect: Request, calls: int, began: float, written: int) -> Cost:
    """What a request has cost that was called off when so many tokens of its answer had come. Nobody counts its prompt,
    so that is reckoned."""
    usage = Usage(prompt_tokens(effect.messages, effect.extra), written) if isinstance(effect, Generate) else Usage()
    return cost_of(world, effect, calls, began, Generations((), usage))


def tape_entry(
    effect: Request,
    cost: Cost,
    value: Any = None,
    error: UpstreamError | None = None,
    *,
    keyed: bool = True,
    brought: bool = False,
) -> TapeEntry:
    failure, (key, family) = None, keys_of(effect) if keyed else ("", "")
    if error is not None:
        failure = Failure(error.upstream, error.cause, error.status, isinstance(error, UpstreamTimeout), error.said)
    return TapeEntry(
        key=key,
        kind=type(effect).__name__.lower(),
        cost=cost,
        family=family,
        n=effect.n if isinstance(effect, Generate) else 1,
        generations=value if isinstance(value, Generations) else None,
        cap=effect.cap if isinstance(effect, Generate) else None,
        passages=value if isinstance(value, tuple) else None,
        vectors=value if isinstance(value, Vectors) else None,
        entailments=value if isinstance(value, Entailments) else None,
        reference=value if isinstance(value, str) else None,
        failure=failure,
        to=_name_of(effect),
        began=time.time() - cost.seconds,
        brought=brought,
    )
