"""Collecting: full evidence for every question, several at a time, under a cap on what it may all cost.

Whatever ends it, a kill included, it goes on where it was: replies that came are in the collection and not asked for
again. A question is finished or it is not; one that the cap cut into is not, nor one that a failed request did, unless
it fails when it is tried in another run too: then what can be had of it must do.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from gate.drivers import AsyncDriver, Recording
from gate.drivers.replay import cut_by_budget
from gate.effects import Generate, Request, effect_key
from gate.errors import ConfigError, EvidenceUnavailable, GateError, UpstreamError, first_of
from gate.full_evidence import Seen, draft_key, full_evidence
from gate.gateway import Gateway
from gate.pipeline import Plan
from gate.remembering import remembered
from gate.routes import RetrieveRoute
from gate.spending import Purse, Sum, metered
from gate.traces import TapeEntry
from gate.tuning.collection import Collection
from gate.types import Action, Budget, Cost

ROW_OF_FAILURES = 10
"""So many questions in a row that a request of failed end the run: the upstream is down, not the question odd."""


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that collecting may cost, what is in the collection already counted in. None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a run did."""

    questions: int
    finished: int
    """Of all questions, with full evidence now."""
    failed: int
    """Left to do in this run because a request failed: run again to try again."""
    stopped: str | None
    """Why it ended before the last question, or None."""
    spent: Cost
    """By the collection as a whole."""


class _Memory:
    """The replies of one question: those journaled by an earlier run, then those that come."""

    def __init__(self, collection: Collection, place: int) -> None:
        self.recording = Recording()
        self.recalled: list[TapeEntry] = []
        self.cut = False
        """Whether the cap left an answer less room than it needed."""
        self.allowance: _Allowance | None = None
        self._collection, self._place, self._noted = collection, place, 0
        self._before = collection.journaled(place)
        self._held: dict[str, deque[TapeEntry]] = {}
        for entry in self._before:
            if entry.failure is None:  # what failed is asked again
                self._held.setdefault(entry.key, deque()).append(entry)
        self._asked: dict[str, int | None] = {}

    def recall(self, effect: Request) -> TapeEntry | None:
        key = effect_key(effect)
        self._asked[key] = effect.max_tokens if isinstance(effect, Generate) else None
        held = self._held.get(key, deque())
        while held:
            entry = held.popleft()
            if not cut_by_budget(entry, self._asked[key]):  # what had too little room is asked again
                self.recalled.append(entry)
                return entry
        if isinstance(effect, Generate) and self.allowance is not None:
            self.allowance.take()
        return None

    def note(self) -> None:
        if came := self.recording.tape[self._noted :]:
            self._noted += len(came)
            self.cut = self.cut or any(cut_by_budget(entry, self._asked.get(entry.key)) for entry in came)
            self._collection.journal(self._place, came)

    @property
    def calls_held(self) -> int:
        """Requests for text that need not be made again."""
        return sum(entry.kind == "generate" for held in self._held.values() for entry in held)

    @property
    def calls_made(self) -> int:
        return sum(entry.cost.calls for entry in self.recording.tape)

    @property
    def tape(self) -> list[TapeEntry]:
        return self.recalled + self.recording.tape

    @property
    def cost(self) -> Cost:
        """Of all that was ever asked for this question."""
        return sum((entry.cost for entry in (*self._before, *self.recording.tape)), Cost())

    @property
    def failed(self) -> str | None:
        """What failed in this run, the first of it."""
        failures = (entry.failure for entry in self.recording.tape if entry.failure is not None)
        return next((f"{failure.upstream!r}: {failure.cause}" for failure in failures), None)


@dataclass(slots=True)
class _Till:
    """What may be spent. Each question under way is lent a part that no other can spend."""

    limit: Sum
    calls: float
    """Neither made nor lent."""
    limited: bool
    spent: Sum = Sum()
    lent: Sum = Sum()
    open: int = 0
    dearest: Sum | None = None
    """Of each kind the most that a question has cost."""

    def side_by_side(self, slots: int) -> int:
        """How many questions may be under way: as many as what is left has room for, and one until a price is seen.

        Given less than they need, they would spend it all and none would come to an end.
        """
        if not self.limited:
            return slots
        if self.dearest is None:
            return 1
        left, one = self.limit - self.spent, self.dearest
        room = [have / each for have, each in ((left.tokens, one.tokens), (left.money, one.money)) if each]
        return max(1, math.floor(min([slots, *room])))

    def lend(self, slots: int) -> Sum:
        """An even part of what is left, for one of the free slots."""
        left, free = self.limit - self.spent - self.lent, max(1, slots - self.open)
        part = Sum(_floor(left.tokens / free), left.money / free)
        self.open += 1
        self.lent += _finite(part)
        return part

    def settle(self, part: Sum, spent: Sum) -> None:
        self.open -= 1
        self.lent -= _finite(part)
        self.spent += spent

    def saw(self, cost: Cost) -> None:
        before = self.dearest or Sum()
        self.dearest = Sum(max(before.tokens, cost.tokens), max(before.money, cost.money))


class _Allowance:
    """The calls of one question: those set aside for it, then whatever others leave."""

    def __init__(self, till: _Till, calls: int) -> None:
        till.calls -= calls
        self.short = False
        self._till, self._left, self._taken = till, calls, calls

    def take(self) -> None:
        """One call. Raises `EvidenceUnavailable` where there is none."""
        if self._left:
            self._left -= 1
        elif self._till.calls >= 1:
            self._till.calls -= 1
            self._taken += 1
        else:
            self.short = True
            raise EvidenceUnavailable("what is left of the cap on calls has no room for it")

    def settle(self, made: int) -> None:
        """Give back what was not needed. Repetitions of requests that failed are made beyond it, and count."""
        self._till.calls += self._taken - made


@dataclass(slots=True)
class _Run:
    plan: Plan
    collection: Collection
    driver: AsyncDriver
    till: _Till
    slots: int
    dearest: int
    """The most calls one question needs, as far as is known: an upstream may give fewer answers than it says."""
    progress: Callable[[], None]
    todo: deque[int]
    failed: int = 0
    in_a_row: int = 0
    stopped: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group:
            while (self.todo or self.till.open) and not self.stopped:  # one under way may come back
                while self.todo and (begun := self._begun()):
                    group.create_task(begun)
                if self.till.open:
                    self.ended.clear()
                    await self.ended.wait()

    def _begun(self) -> Coroutine[Any, Any, None] | None:
        """The next question, where there is room for it beside those under way."""
        most = min(self.slots, self.till.side_by_side(self.slots))
        if self.stopped or self.till.open >= most:
            return None
        memory = _Memory(self.collection, self.todo[0])
        need = max(0, self.dearest - memory.calls_held)
        if self.till.calls < need:
            if not self.till.open:
                self.stopped = "the cap on calls leaves no room for another question"
            return None
        memory.allowance = allowance = _Allowance(self.till, need)
        return self._one(self.todo.popleft(), memory, allowance, self.till.lend(most), alone=most == 1)

    async def _one(self, place: int, memory: _Memory, allowance: _Allowance, part: Sum, *, alone: bool) -> None:
        purse = Purse(part, self.plan.prices)
        question = self.collection.example(place).asked
        flow = metered(remembered(full_evidence(self.plan, question), memory), purse)
        seen: tuple[Seen, ...] = ()
        failed: str | None = None
        try:
            seen = await self.driver.run(flow, memory.recording)
        except (UpstreamError, EvidenceUnavailable) as error:
            failed = str(error)
        finally:
            self.till.settle(part, purse.spent)
            allowance.settle(memory.calls_made)
            self.ended.set()
        if purse.short or allowance.short or memory.cut:
            self._squeezed(place, alone=alone)
        elif failed or (memory.failed and self.collection.failure(place) is None):
            self._missed(place, failed or str(memory.failed))
        else:
            self._finish(place, memory, seen)

    def _finish(self, place: int, memory: _Memory, seen: tuple[Seen, ...]) -> None:
        drafts = {draft_key(each.stage): each.draft for each in seen}
        self.collection.finish(place, memory.tape, drafts, memory.cost)
        self.till.saw(memory.cost)
        self.dearest = max(self.dearest, sum(entry.kind == "generate" for entry in memory.tape))
        self.in_a_row = 0
        self.progress()

    def _squeezed(self, place: int, *, alone: bool) -> None:
        """A question had less room than it needs: fewer at a time have more each."""
        if alone:
            self.stopped = "what is left of the cap has no room for another question"
        else:
            self.slots = max(1, self.slots - 1)
            self.todo.appendleft(place)

    def _missed(self, place: int, reason: str) -> None:
        self.collection.fail(place, reason)
        self.failed += 1
        self.in_a_row += 1
        if self.in_a_row >= ROW_OF_FAILURES:
            self.stopped = f"requests of {self.in_a_row} questions in a row failed, the last because {reason}"


async def collect(
    gateway: Gateway,
    collection: Collection,
    *,
    concurrency: int = 8,
    cap: Cap | None = None,
    progress: Callable[[], None] = lambda: None,
) -> CollectReport:
    """Full evidence for every question of the collection that lacks it.

    ``concurrency`` questions are under way at a time; ``progress`` is called after each. Raises `ConfigError` when the
    collection was begun with other models, prompts or evidence than this policy's.
    """
    check_same(gateway, collection)
    plan = replace(gateway.plan, budget=Budget(), frozen=None)
    todo = deque(collection.todo())
    slots, driver = max(1, min(concurrency, len(todo))), AsyncDriver(gateway.world)
    till = _till(cap or Cap(), collection.spent())
    run = _Run(plan, collection, driver, till, slots, _most_calls(plan), progress, todo)
    try:
        await run.work()
    except* GateError as errors:
        raise first_of(errors) from None
    finally:
        await driver.aclose()
    questions, finished = collection.count()
    return CollectReport(questions, finished, run.failed, run.stopped, collection.spent())


def _till(cap: Cap, before: Cost) -> _Till:
    def left(most: float | None, spent: float) -> float:
        return math.inf if most is None else most - spent

    limit = Sum(left(cap.tokens, before.tokens), left(cap.money, before.money))
    return _Till(limit, left(cap.calls, before.calls), limited=cap != Cap())


def _most_calls(plan: Plan) -> int:
    """Of one question's full evidence, retries not counted."""
    books = 2 if Action.RETRIEVE in plan.routes else 1
    rungs = len(plan.ladder) if Action.ESCALATE in plan.routes else 1
    retrieve = plan.routes.get(Action.RETRIEVE)
    rivals = len(retrieve.others) if isinstance(retrieve, RetrieveRoute) else 0
    asked_back = len(plan.tiers) if Action.CLARIFY in plan.routes else 0
    return rungs * (books * (asked_back + sum(plan.calls(tier) for tier in range(len(plan.tiers)))) + rivals)


def check_same(gateway: Gateway, collection: Collection) -> None:
    """What was collected must be what would be collected now, or a question would be judged by two models."""
    running = running_of(gateway)
    held = collection.meta.get("running")
    if held is None or not collection.has_replies:
        collection.remember(policy=gateway.name, running=json.dumps(running, sort_keys=True))
        return
    was = json.loads(held)
    changed = sorted(name for name in was.keys() | running.keys() if was.get(name) != running.get(name))
    if changed:
        raise ConfigError(
            f"this collection was made with another {', '.join(changed)} than the policy {gateway.name!r} has: "
            "give --out another file",
            where=str(collection.path),
        )


def running_of(gateway: Gateway) -> dict[str, str]:
    """What replies and answers depend on, by name."""
    apart = {"routes": {"retrieve": {"arbitrate"}}}  # asks nothing of its own
    policy = gateway.policy.model_dump(include={"ladder", "tiers", "evidence", "routes"}, exclude=apart)
    shape = hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]
    running = {name: print_ for name, print_ in gateway.running.items() if name not in {"policy", "calibrator", "gate"}}
    running["evidence"] = shape
    return running


def _finite(part: Sum) -> Sum:
    """Nothing is lent of what has no limit."""
    return Sum(*(each if math.isfinite(each) else 0.0 for each in (part.tokens, part.money)))


def _floor(tokens: float) -> float:
    return math.floor(tokens) if math.isfinite(tokens) else math.inf
