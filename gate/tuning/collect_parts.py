"""Collecting in parts: here one after the other, or in a Ray cluster several at a time, by the one collector there is.

A part is a collection of its own, of a few of the questions and of what is held of them, in a folder that all nodes
see. Whoever does it opens it alone and collects. What came of the parts is then put into the collection they are of, in
the order of its questions, and they are deleted. A run that was killed leaves parts behind: any next run over the
collection takes what they hold first. So nothing that came is asked again, however the questions are parted then.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gate.assemble import assemble
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError, GateError
from gate.gateway import Gateway
from gate.policy import read
from gate.tuning.collect import ROW_OF_FAILURES, Cap, CollectReport, check_same, collect, running_of
from gate.tuning.collection import Collection
from gate.tuning.parts import LOCAL, checked
from gate.types import Cost

SIZE = 50
"""The most questions of a part: what a node that is lost may leave to another."""
LEAST = 16
"""The fewest, where there are more: a part can tell that an upstream is down."""
SPREAD = 32
"""Parts that are made at least, where that leaves the fewest."""
ROOM = 4
"""A part under a cap is given what so many questions cost, or it is not made: what too little buys is lost."""
_PARTS = "parts"
"""Name under which ``meta`` holds where parts may lie."""
_HALT = "halt"
"""A file among the parts that says why no other is to be begun."""


@dataclass(frozen=True, slots=True)
class Part:
    """A collection to fill, and how."""

    collection: str
    policy: str
    concurrency: int
    cap: Cap


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a part. ``fault``: what was wrong with all of it, or ""."""

    collection: str
    finished: int = 0
    failed: int = 0
    stopped: str | None = None
    fault: str = ""


def collect_in_parts(
    policy: Path,
    collection: Collection,
    folder: Path | None,
    *,
    on: str = LOCAL,
    concurrency: int = 8,
    cap: Cap | None = None,
    size: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> CollectReport:
    """As `gate.tuning.collect.collect`, in parts of at most ``size`` questions: the same collection.

    ``on``: ``local``, ``ray`` (the cluster of this machine) or ``host:6379``. ``concurrency`` questions are under
    way in each process; ``progress`` is called for each that is finished, once its part is. Raises `ConfigError`,
    once the other parts are done and kept.
    """
    folder, policy = checked(on, folder), policy.resolve()
    take_parts(collection)
    check_same(_gateway(policy), collection)
    run = _Run(policy, collection, folder / secrets.token_hex(8), on, concurrency, cap or Cap(), size, progress)
    run.work()
    if run.faults:
        raise ConfigError(min(run.faults))
    questions, finished = collection.count()
    return CollectReport(questions, finished, run.failed, run.stopped, collection.spent())


@dataclass(slots=True)
class _Run:
    policy: Path
    collection: Collection
    folder: Path
    on: str
    concurrency: int
    cap: Cap
    size: int | None
    progress: Callable[[], None]
    failed: int = 0
    stopped: str | None = None
    faults: list[str] = dataclasses.field(default_factory=list)

    def work(self) -> None:
        """Under a cap, parts end where their share does: what they leave is shared by fewer, at last by one."""
        tried, most = set[int](), 2**31
        while todo := [place for place in self.collection.todo() if place not in tried]:
            shares = self._shares(todo, most)
            outcomes = self._done(shares)
            tried.update(self._tried(shares, outcomes))
            self.failed += sum(outcome.failed for outcome in outcomes)
            stops = [outcome for outcome in outcomes if outcome.stopped]
            down = [outcome.stopped for outcome in stops if outcome.failed >= ROW_OF_FAILURES]
            if self.faults or down or (stops and len(shares) == 1):
                self.stopped = next(iter(down or [outcome.stopped for outcome in stops]), None)
                return
            if stops:
                most = max(1, len(shares) // 2)

    def _shares(self, todo: Sequence[int], most: int) -> list[Sequence[int]]:
        """The questions of each part."""
        finished = self.collection.count()[1]
        size = self.size or max(LEAST, min(SIZE, -(-len(todo) // SPREAD)))
        if self.cap != Cap() and not finished:  # what a question costs is not known
            return [todo[:size]]
        parts = min(-(-len(todo) // size), most, self._room(finished))
        size = -(-len(todo) // parts)
        return [todo[at : at + size] for at in range(0, len(todo), size)]

    def _room(self, finished: int) -> int:
        """How many parts what is left of the cap is enough for."""
        spent, rooms = self.collection.spent(), [2**31]
        for name, limit in dataclasses.asdict(self.cap).items():
            if limit is not None and (used := _used(spent, name)):
                rooms.append(int((limit - used) * finished / (ROOM * used)))
        return max(1, min(rooms))

    def _done(self, shares: Sequence[Sequence[int]]) -> list[Outcome]:
        self.folder.mkdir(parents=True, exist_ok=True)  # before it is named: one that is not there is missed
        self.collection.remember(**{_PARTS: str(self.folder)})
        spent = self.collection.spent()
        left = {name: _left(limit, spent, name) for name, limit in dataclasses.asdict(self.cap).items()}
        questions = sum(map(len, shares))
        parts = [self._made(number, share, left, questions) for number, share in enumerate(shares)]
        outcomes: dict[str, Outcome] = {}
        for outcome in _outcomes(parts, self.on):
            outcomes[outcome.collection] = outcome
            self.faults += [outcome.fault] if outcome.fault else []
            for _ in range(outcome.finished):
                self.progress()
        return [outcomes[part.collection] for part in parts]

    def _made(self, number: int, share: Sequence[int], left: Mapping[str, float | None], questions: int) -> Part:
        """A part with what is held of its questions, and its even share of what is left of the cap."""
        path = self.folder / f"{number:06}.db"
        path.touch(0o600)  # it holds text
        with Collection.create(path, alone=True) as part:
            part.remember(running=self.collection.meta["running"])
            part.add(self.collection.example(place) for place in share)
            for own, place in zip(part.todo(), share, strict=True):
                part.journal(own, self.collection.journaled(place))
                if reason := self.collection.failure(place):
                    part.fail(own, reason)
            before = part.spent()
        limits: dict[str, Any] = {}
        for name, most in left.items():
            if most is not None:
                even = most * len(share) / questions
                limits[name] = _used(before, name) + (even if name == "money" else int(even))
        return Part(str(path), str(self.policy), self.concurrency, Cap(**limits))

    def _tried(self, shares: Sequence[Sequence[int]], outcomes: Sequence[Outcome]) -> Iterator[int]:
        """Take what came of the parts, and say which questions are not to be tried again in this run."""
        before = {place for share in shares for place in share if self.collection.failure(place)}
        take_parts(self.collection)
        for share, outcome in zip(shares, outcomes, strict=True):
            for place in share:
                if not outcome.stopped or (place not in before and self.collection.failure(place)):
                    yield place


def _outcomes(parts: Sequence[Part], on: str) -> Iterator[Outcome]:
    rows = [{"part": json.dumps(dataclasses.asdict(part))} for part in parts]
    if on == LOCAL:
        made: Iterator[Any] = map(do_row, rows)
    else:
        from gate.tuning.ray_parts import done_on_ray

        made = done_on_ray(rows, do_row, on)
    for row in made:
        yield Outcome(**json.loads(row["outcome"]))


def do_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """As `do_part`, for a cluster: from text to text."""
    said = json.loads(row["part"])
    return {"outcome": json.dumps(dataclasses.asdict(do_part(Part(**{**said, "cap": Cap(**said["cap"])}))))}


def do_part(part: Part) -> Outcome:
    """Fill a part: the gateway of this process, and an event loop of its own."""
    halt = Path(part.collection).with_name(_HALT)
    if halt.is_file():
        return Outcome(part.collection, stopped=halt.read_text("utf-8"))
    try:
        gateway = _gateway(Path(part.policy))
        with Collection.open(Path(part.collection), alone=True) as held:
            if json.loads(held.meta["running"]) != running_of(gateway):
                raise ConfigError("this node has another policy than where the work was asked for", where=part.policy)
            done = asyncio.run(collect(gateway, held, concurrency=part.concurrency, cap=part.cap))
    except GateError as error:
        return Outcome(part.collection, fault=str(error))
    if done.stopped and done.failed >= ROW_OF_FAILURES:
        halt.write_text(done.stopped, "utf-8")
    return Outcome(part.collection, done.finished, done.failed, done.stopped)


def take_parts(collection: Collection, *, forget: bool = False) -> None:
    """Put into a collection what the parts hold that are there of it, and delete them.

    ``forget``: give up parts whose folder is not there. Raises `ConfigError`; for such a folder too, else: what it
    holds was paid for, and would be asked and paid again.
    """
    place = collection.meta.get(_PARTS)
    if not place:
        return
    if not Path(place).is_dir() and not forget:
        said = (
            f"replies that were paid for are in parts in the folder {place}, which is not there: have this machine see "
            "it, or give them up with --forget-parts, and they are asked anew"
        )
        raise ConfigError(said, where=str(collection.path))
    for path in sorted(Path(place).glob("*.db")):
        with Collection.open(path, alone=True) as part:
            if part.meta.get("running", collection.meta["running"]) != collection.meta["running"]:
                said = "this part of a collection was made with another policy: go on with that one, or delete the part"
                raise ConfigError(said, where=str(path))
            _take(collection, part)
        path.unlink()
    collection.remember(**{_PARTS: ""})
    shutil.rmtree(place, ignore_errors=True)


def _take(collection: Collection, part: Collection) -> None:
    for row in part.collected():
        if (place := collection.place_todo(row.example.id)) is not None:
            collection.finish(place, row.tape, row.answers, part.cost(row.place))
    for own in part.todo():
        if (place := collection.place_todo(part.example(own).id)) is None:
            continue
        held = collection.journaled(place)
        collection.journal(place, [entry for entry in part.journaled(own) if entry not in held])
        if reason := part.failure(own):
            collection.fail(place, reason)


def _used(spent: Cost, name: str) -> float:
    return {"calls": spent.calls, "tokens": spent.tokens, "money": spent.money}[name]


def _left(limit: float | None, spent: Cost, name: str) -> float | None:
    return None if limit is None else max(0, limit - _used(spent, name))


def _gateway(policy: Path) -> Gateway:
    return _assembled(policy, hashlib.sha256(read(policy, certificate=False).path.read_bytes()).hexdigest())


@lru_cache(maxsize=4)
def _assembled(policy: Path, digest: str) -> Gateway:
    return assemble(read(policy, certificate=False), Unfitted())
