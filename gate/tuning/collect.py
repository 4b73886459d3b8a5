"""Collecting: full evidence for every question, several at a time, under a cap on what it may all cost.

Whatever ends it, a kill included, it goes on where it was: replies that came are in the collection and not asked for
again. A question is finished or it is not; one that the cap cut into is not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from gate.drivers import AsyncDriver, Recording
from gate.effects import Ask, Retrieve, effect_key
from gate.errors import ConfigError, EvidenceUnavailable, GateError, UpstreamError, first_of
from gate.gateway import Gateway
from gate.pipeline import Plan
from gate.spending import Purse, Sum, metered
from gate.tuning.collection import Collection
from gate.tuning.full_evidence import full_evidence
from gate.tuning.remembering import remembered
from gate.types import Action, Budget, Cost, TapeEntry

ROW_OF_FAILURES = 10
"""So many questions without a first draft in a row end the run: the upstream is down, not the question odd."""


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
    """Without a first draft in this run: run again to try again."""
    stopped: str | None
    """Why it ended before the last question, or None."""
    spent: Cost
    """By the collection as a whole."""


class _Memory:
    """The replies of one question: those journaled by an earlier run, then those that come."""

    def __init__(self, collection: Collection, place: int) -> None:
        self.recording = Recording()
        self.recalled: list[TapeEntry] = []
        self._collection, self._place, self._noted = collection, place, 0
        self._held: dict[str, deque[TapeEntry]] = {}
        for entry in collection.journaled(place):
            self._held.setdefault(entry.key, deque()).append(entry)

    def recall(self, effect: Ask | Retrieve) -> TapeEntry | None:
        held = self._held.get(effect_key(effect))
        if not held:
            return None
        self.recalled.append(held.popleft())
        return self.recalled[-1]

    def note(self) -> None:
        came = self.recording.tape[self._noted :]
        self._noted += len(came)
        if kept := [entry for entry in came if entry.failure is None]:  # what failed is asked again
            self._collection.journal(self._place, kept)

    @property
    def tape(self) -> list[TapeEntry]:
        return self.recalled + self.recording.tape


@dataclass(slots=True)
class _Till:
    """What may be spent. Each question under way is lent a part that no other can spend."""

    limit: Sum
    calls: float
    spent: Sum = Sum()
    lent: Sum = Sum()
    open: int = 0

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


@dataclass(slots=True)
class _Run:
    plan: Plan
    collection: Collection
    driver: AsyncDriver
    till: _Till
    slots: int
    dearest: int
    """The most calls one question may need."""
    progress: Callable[[], None]
    todo: deque[int]
    failed: int = 0
    in_a_row: int = 0
    stopped: str | None = None

    async def work(self) -> None:
        while self.todo and not self.stopped:
            if self.till.calls < self.dearest:
                self.stopped = "the cap on calls leaves no room for another question"
            elif not await self._one(self.todo.popleft()):
                return

    async def _one(self, place: int) -> bool:
        """Whether this worker should go on."""
        all_of_it, part = self.slots == 1, self.till.lend(self.slots)
        self.till.calls -= self.dearest
        purse, memory = Purse(part, self.plan.prices), _Memory(self.collection, place)
        question = self.collection.example(place).asked
        flow = metered(remembered(full_evidence(self.plan, question), memory), purse)
        try:
            seen = await self.driver.run(flow, memory.recording)
            if not purse.short:
                cost = sum((entry.cost for entry in memory.tape), Cost())
                drafts = {each.stage.round_key: each.draft for each in seen}
                self.collection.finish(place, memory.tape, drafts, cost)
                self.in_a_row = 0
                self.progress()
        except (UpstreamError, EvidenceUnavailable) as error:
            if not purse.short:
                self._missed(place, error)
        finally:
            self.till.settle(part, purse.spent)
            self.till.calls += self.dearest - sum(entry.cost.calls for entry in memory.recording.tape)
        return not purse.short or self._squeezed(place, all_of_it)

    def _squeezed(self, place: int, all_of_it: bool) -> bool:
        """A question had less room than it needs: fewer at a time have more each."""
        if all_of_it:
            self.stopped = "what is left of the cap has no room for another question"
            return False
        self.slots = max(1, self.slots - 1)
        self.todo.appendleft(place)
        return self.till.open == 0  # else one of those under way goes on with it

    def _missed(self, place: int, error: UpstreamError | EvidenceUnavailable) -> None:
        self.collection.fail(place, str(error))
        self.failed += 1
        self.in_a_row += 1
        if self.in_a_row >= ROW_OF_FAILURES:
            self.stopped = f"{self.in_a_row} questions in a row had no first draft, the last because {error}"


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
    _check_same(gateway, collection)
    plan = replace(gateway.plan, budget=Budget(), frozen=None)
    todo = deque(collection.todo())
    slots, driver = max(1, min(concurrency, len(todo))), AsyncDriver(gateway.world)
    till = _till(cap or Cap(), collection.spent())
    run = _Run(plan, collection, driver, till, slots, _most_calls(plan), progress, todo)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(slots):
                group.create_task(run.work())
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
    return _Till(limit, left(cap.calls, before.calls))


def _most_calls(plan: Plan) -> int:
    """Of one question's full evidence, retries not counted."""
    books = 2 if Action.RETRIEVE in plan.routes else 1
    rungs = len(plan.ladder) if Action.ESCALATE in plan.routes else 1
    return rungs * books * sum(plan.calls(tier) for tier in range(len(plan.tiers)))


def _check_same(gateway: Gateway, collection: Collection) -> None:
    """What was collected must be what would be collected now, or a question would be judged by two models."""
    policy = gateway.policy.model_dump(include={"ladder", "tiers", "evidence", "routes"})
    shape = hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:16]
    running = {name: print_ for name, print_ in gateway.running.items() if name not in {"policy", "calibrator", "gate"}}
    running["evidence"] = shape
    held = collection.meta.get("running")
    if held is None:
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


def _finite(part: Sum) -> Sum:
    """Nothing is lent of what has no limit."""
    return Sum(*(each if math.isfinite(each) else 0.0 for each in (part.tokens, part.money)))


def _floor(tokens: float) -> float:
    return math.floor(tokens) if math.isfinite(tokens) else math.inf
