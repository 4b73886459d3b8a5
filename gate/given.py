"""Answers that are brought along: judged like any draft, though somebody else has got them from their model.

`telling` and `standing_for` stand between a flow and whoever performs it. The first request for a draft is answered
with the answer that was given, and those for samples with the samples that were; what is asked beyond that goes to code
of the caller's, where there is any, or is refused: then that evidence is missing, with the reason. All of it is on the
tape, as if it had been asked for, so that a trace of it is replayed and tuned on like any other.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any, Literal, TypeVar

from gate.drivers.world import Recording, tape_entry
from gate.effects import Call, Effect, Flow, Generate, HandOver, Reply, Together, advance, call, driven, together
from gate.errors import UpstreamError
from gate.ports import Price, Profile, Round
from gate.traces import Brought, TapeEntry
from gate.types import Cost, Generation, Generations, JsonObject, Message, Passage, Question, Usage

T = TypeVar("T")
_NOTHING = Cost()
BROUGHT = Profile(n=64, seed=False)
"""Of whoever gave an answer and cannot be asked for more: one request is told all samples that were given."""
FOREIGN = "the answer was brought along: gate did not see who wrote it"
JUDGED_ALONE = "only what was given is judged, where the policy would do more"
OTHER_EVIDENCE = "its samples or passages were brought along: gate did not see how they were got"
NO_SAMPLES = "nobody can be asked for the samples that the policy draws"
"""Reasons why no certificate holds for an answer."""


@dataclass(frozen=True, slots=True)
class More:
    """How more answers are got from whoever gave one, by code of the caller's."""

    ask: Callable[[Generate], Any]
    """Gives the `Generations`, on an event loop a coroutine of them. If it raises, there are none."""
    profile: Profile
    anything: bool = False
    """Whether it can be asked anything, or only for another answer to the same question."""
    side_by_side: bool = True
    """Whether it may be asked several things at once; else it is asked one by one, and on the caller's own thread."""
    own_words: bool = False
    """Whether ``ask`` is code of gate's: see `gate.effects.Call`."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer, what it cost, and what there is beside it."""

    draft: Generation
    cost: Cost = _NOTHING
    """Of getting the answer; nothing where that is none of gate's business."""
    samples: tuple[Generation, ...] = ()
    """More answers to the same question, drawn at a temperature."""
    passages: tuple[Passage, ...] = ()
    """What the answer was written from."""
    more: More | None = None
    """None: nobody is asked for more answers of this kind."""
    gather: bool | Literal["evidence"] | None = False
    """Whether the policy's own upstreams and routes are there for the rest; else only what was given is judged.
    ``evidence``: its upstreams are, to bear this answer out or not, but no route to another answer. None: they are
    where the policy is about such answers, because ``vouched`` says so or they stand for an upstream of the kind
    ``caller``. Models that know nothing of who answered are not asked in its stead."""
    upstream: str = ""
    """Of the policy's ladder, that the caller says did write it. "": nobody says who did, and it stands in the place of
    the first; then no certificate holds, see `FOREIGN`."""
    model: str = ""
    """The model's name, as its server reports it."""

    @property
    def vouched(self) -> bool:
        """Whether somebody says who wrote it."""
        return bool(self.upstream)


def telling(given: Given, opening: Round, recording: Recording) -> Callable[[Flow[T]], Flow[T]]:
    """Answers of a flow its first request with the draft and its draws with the samples, as long as there are any.

    What it tells costs what getting it did, and needs no room in a budget: it stands before `gate.spending`.
    """
    return _Telling(given, opening.upstream, opening.messages, recording, deque(given.samples)).carried


@dataclass(slots=True)
class _Telling:
    given: Given
    upstream: str
    messages: tuple[Message, ...]
    recording: Recording
    samples: deque[Generation]
    drafted: bool = False

    def carried(self, flow: Flow[T]) -> Flow[T]:
        return (yield from driven(flow, advance(flow, None, None), self.perform))

    def perform(self, effect: Effect) -> Flow[Any]:
        match effect:
            case Generate(upstream=name) if name == self.upstream:
                told = self._told(effect)
                return told if told is not None else (yield effect)
            case Together(flows):
                return (yield from together(map(self.carried, flows)))
            case _:
                return (yield effect)

    def _told(self, effect: Generate) -> Reply[Generations] | None:
        choices: tuple[Generation, ...] = ()
        if not self.drafted:
            self.drafted = True
            choices, cost = (self.given.draft,), self.given.cost
        elif again(effect, self.messages):
            choices, cost = self._next(effect.n), _NOTHING
        if not choices:
            return None
        told = Generations(choices, Usage(cost.prompt_tokens, cost.completion_tokens), self.given.model)
        self.recording.tape.append(tape_entry(effect, cost, told, keyed=self.recording.keyed, brought=True))
        return Reply(told, cost)

    def _next(self, n: int) -> tuple[Generation, ...]:
        """Up to so many samples; each goes to one request, however many ask at once."""
        taken: list[Generation] = []
        with contextlib.suppress(IndexError):
            while len(taken) < n:
                taken.append(self.samples.popleft())
        return tuple(taken)


def opening_of(question: Question, brought: Brought, profile: Profile, *, reads: bool) -> Round:
    """The round it is judged in. ``reads``: whether the policy knows of answers that are written from passages."""
    passages = brought.passages if reads else ()
    found = question.passages or brought.passages
    return Round(0, question, brought.upstream, profile, question.messages, passages, found, void=brought.void)


def again(effect: Generate, messages: tuple[Message, ...]) -> bool:
    """Whether it asks for one more answer to the same question."""
    return effect.part_of is not None and effect.messages == messages


def standing_for(
    flow: Flow[T], given: Given, opening: Round, prices: Mapping[str, Price], recording: Recording
) -> Flow[T]:
    """The flow, with the caller in the place of the upstream of ``opening``: what more it asks goes to the caller's
    code, or is refused, as is everybody else where only what was given is judged."""
    price = prices.get(opening.upstream, Price())
    return _Standing(given, opening.upstream, opening.messages, price, recording).carried(flow)


@dataclass(frozen=True, slots=True)
class _Standing:
    given: Given
    upstream: str
    messages: tuple[Message, ...]
    price: Price
    recording: Recording

    def carried(self, flow: Flow[T]) -> Flow[T]:
        return (yield from driven(flow, advance(flow, None, None), self.perform))

    def perform(self, effect: Effect) -> Flow[Any]:
        match effect:
            case Generate():
                return (yield from self._asked(effect))
            case Together(flows):
                return (yield from self._together(flows))
            case HandOver(person=name) if not self.given.gather:
                raise UpstreamError(name, "is not told: only what was given is judged")
            case _:
                return (yield effect)

    def _together(self, flows: tuple[Flow[Any], ...]) -> Flow[tuple[Any, ...]]:
        standing = tuple(self.carried(flow) for flow in flows)
        if self.given.more is None or self.given.more.side_by_side:
            return (yield from together(standing))
        results = []
        with contextlib.ExitStack() as closing:
            for flow in (*flows, *standing):
                closing.callback(flow.close)
            for flow in standing:
                result = yield from flow
                results.append(result)
        return tuple(results)

    def _asked(self, effect: Generate) -> Flow[Any]:
        more, own = self.given.more, effect.upstream == self.upstream
        if own and more is not None and (more.anything or again(effect, self.messages)):
            return (yield from self._called(effect, more))
        if self.given.gather:  # a draft from passages, say, where the caller's code gives only samples
            return (yield effect)
        if not own:
            said = "is not asked: only what was given is judged"
        elif again(effect, self.messages):
            said = "no more samples were given"
        else:
            said = "cannot be asked this: its answer was brought along"
        raise self._refused(effect, UpstreamError(effect.upstream, said))

    def _called(self, effect: Generate, more: More) -> Flow[Any]:
        began = time.monotonic()
        try:
            reply: Generations = yield from call(Call(self.upstream, partial(more.ask, effect), more.own_words))
        except UpstreamError as error:
            if error.cost is None:  # it may say that nothing was asked
                error.cost = Cost(calls=1, seconds=time.monotonic() - began)
            raise self._refused(effect, error) from error
        cost = paid(reply.usage, self.price, time.monotonic() - began)
        self.recording.tape.append(tape_entry(effect, cost, reply, keyed=self.recording.keyed))
        return Reply(reply, cost)

    def _refused(self, effect: Generate, error: UpstreamError) -> UpstreamError:
        cost = error.cost or _NOTHING
        self.recording.tape.append(tape_entry(effect, cost, error=error, keyed=self.recording.keyed))
        return error


def paid(usage: Usage, price: Price, seconds: float) -> Cost:
    """What one call of the caller's own cost."""
    money = price.of(usage.prompt_tokens, usage.completion_tokens)
    return Cost(1, usage.prompt_tokens, usage.completion_tokens, seconds, money)


def standing_in(given: Given, profile: Profile) -> Profile:
    """What whoever gave the answer can do, where the upstream it stands for can do ``profile``."""
    if given.more is not None:
        return given.more.profile
    return profile if given.gather else _brought(profile.top_logprobs)


@cache
def _brought(top_logprobs: int) -> Profile:
    return replace(BROUGHT, top_logprobs=top_logprobs)


def as_brought(given: Given, upstream: str, profile: Profile, void: tuple[str, ...]) -> Brought:
    """What a trace keeps of it beside the tape."""
    return Brought(upstream, _fields(profile), given.gather or False, void, given.passages, given.more is not None)


def of_own(heard: Callable[[str, str], str], brought: Brought) -> Callable[[str, str], str]:
    """``heard`` or ``judged`` of `gate.model_names.ModelNames`, of the policy's own upstreams: not of code of the
    caller's that stands for one of them."""
    return lambda upstream, said: "" if brought.more and upstream == brought.upstream else heard(upstream, said)


def void_for(given: Given, *, callers: bool, draws: int, ways_on: bool) -> tuple[str, ...]:
    """Why no certificate holds for an answer, whatever runs: it is of a policy that is carried out in full.

    ``callers``: whether the upstream it stands for is of the kind ``caller``, whose samples and passages are brought
    along too; ``draws``: the fewest samples that the policy draws; ``ways_on``: whether it has ways to other answers.
    """
    if not given.vouched and not callers:
        return (FOREIGN,)
    mute = given.more is None or given.more.profile is BROUGHT
    reasons = {
        JUDGED_ALONE: given.gather is not True and (ways_on or not callers),
        OTHER_EVIDENCE: not callers and bool(given.samples or given.passages),
        NO_SAMPLES: callers and mute and len(given.samples) < draws,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


@cache
def _fields(profile: Profile) -> JsonObject:
    return asdict(profile)


def given_again(brought: Brought, tape: Iterable[TapeEntry]) -> Given | None:
    """What was given, as the tape tells it; all that was asked beyond it is on the tape as well. None where nobody
    wanted to know: everything was abstained from."""
    told = [(entry.generations, entry.cost) for entry in tape if entry.brought and entry.generations]
    if not told:
        return None
    draft, *samples = (choice for said, _ in told for choice in said.choices)
    said, cost = told[0]
    return Given(draft, cost, tuple(samples), brought.passages, gather=brought.gather, model=said.model)
