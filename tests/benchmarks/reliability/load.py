"""The load: requests arrive at a rate of their own (a Poisson process), whether or not earlier ones were answered.

The latency of each runs from when it was to be sent, so that a server that stands still is not let off. Bounded in
number, in time and in what is under way; on loopback alone. Every response is checked against what was asked.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.benchmarks.reliability.accounting import (
    DECIDED,
    MODEL_TOO_FAST,
    PROMPT,
    TOO_FAST,
    Asked,
    Kind,
    Phases,
    recovery,
)
from tests.benchmarks.reliability.questions import CODE_LENGTH, TENANTS, TIGHT, WITHHELD, Item

MOST, MOST_SECONDS, MOST_UNDER_WAY = 100_000, 3600.0, 2000
PATIENCE = 20.0
"""Seconds in which a response must be there."""
STREAMED = 0.2
"""Of the requests, answered by events while they are written."""
KEYED, REPEATED = 0.5, 0.4
"""Of the requests, those with an idempotency key; of these, those that come twice: half of them at the same time."""
OF_TIGHT = 0.15
"""Of the requests, those of the tenant with the tight limit."""
_STREAM_ID = re.compile(r'"id": ?"chatcmpl-([^"]+)"')
_PAUSE, _LONGEST = 0.3, 3.0
"""Seconds after which a client asks again whose connection was closed, as clients of models do by themselves: twice as
long each time, up to so many."""
_CODE = re.compile(rf"(?=([a-z]{{{CODE_LENGTH}}}))")
"""Wherever it begins: what is glued to other letters is found too."""
_BLAMING = range(400, 500)
_NOT_BLAMING = (408, 409, 429)
_LOOK = 0.25
"""Seconds from one look whether it is back to the next."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: the addresses in turn."""

    urls: tuple[str, ...]
    keys: Mapping[str, str] = field(repr=False)
    """Of each tenant."""
    again: bool = False
    """Whether clients ask again when their connection was closed."""
    streamed: float = STREAMED
    plain: bool = False
    """Whether no request has an idempotency key, nor any tenant a limit that it comes to."""

    def __post_init__(self) -> None:
        away = [url for url in self.urls if urlsplit(url).hostname not in _LOOPBACK]
        if away:
            raise ValueError(f"load goes to loopback only, not to {away[0]}")


class Codes:
    """Whose code is whose, of all that was asked so far: something of another question's is known when it comes."""

    def __init__(self) -> None:
        self._whose: dict[str, str] = {}

    def note(self, item: Item) -> None:
        for code in (item.right, *item.wrong):
            self._whose[code] = item.id

    def foreign(self, item: Item, text: str) -> bool:
        return any(self._whose.get(code, item.id) != item.id for code in _CODE.findall(text))


@dataclass(slots=True)
class Load:
    """One load under way."""

    target: Target
    rate: float
    asked: list[Asked] = field(default_factory=list)
    codes: Codes = field(default_factory=Codes)
    rng: random.Random = field(default_factory=random.Random)
    unsent: int = 0
    """Those that were not sent, because too many were under way."""
    began: float = field(default_factory=time.monotonic)
    _under_way: int = 0
    _mark: str = field(default_factory=lambda: secrets.token_hex(4))
    """Of this load's idempotency keys."""
    _keyed: Counter[str] = field(default_factory=Counter)
    """Of each tenant, how many."""

    def now(self) -> float:
        return time.monotonic() - self.began

    async def run(self, over: Callable[[], bool]) -> None:
        """Until it is over, and all that was sent has ended."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            at = self.now()
            while not over() and len(self.asked) < MOST and at < MOST_SECONDS:
                at += self.rng.expovariate(self.rate)
                await asyncio.sleep(max(0.0, at - self.now()))
                asked = self._drawn(at)
                if self._under_way >= MOST_UNDER_WAY:
                    self.unsent += 1
                    asked.kind, asked.done = Kind.UNSENT, self.now()
                    self.asked.append(asked)
                    continue
                twin = asked.key and self.rng.random() < REPEATED
                beside = twin and self.rng.random() < 0.5
                if beside:
                    group.create_task(self._one(session, self._noted(self._repeated(asked))))
                group.create_task(self._one(session, self._noted(asked), again=bool(twin and not beside)))

    def _drawn(self, at: float) -> Asked:
        """Both tenants number their keys alike: the same key is another's at another tenant."""
        tight = TIGHT in self.target.keys and not self.target.plain and self.rng.random() < OF_TIGHT
        item = Item(f"{self.rng.getrandbits(48):012x}", TIGHT if tight else self.rng.choice(TENANTS))
        self.codes.note(item)
        asked = Asked(item, at, streamed=self.rng.random() < self.target.streamed)
        if not self.target.plain and self.rng.random() < KEYED:
            asked.key = f"{self._mark}-{self._keyed[item.tenant]}"
            self._keyed[item.tenant] += 1
        return asked

    def _repeated(self, asked: Asked) -> Asked:
        return Asked(asked.item, self.now(), key=asked.key, streamed=asked.streamed, repeats=True)

    def _noted(self, asked: Asked) -> Asked:
        self.asked.append(asked)
        self._under_way += 1
        return asked

    async def _one(self, session: aiohttp.ClientSession, asked: Asked, *, again: bool = False) -> None:
        """``again``: whether its client asks the same once more when it has the answer."""
        await self._until_told(session, asked)
        if again and asked.kind in DECIDED:
            await self._until_told(session, self._noted(self._repeated(asked)))

    async def _until_told(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        try:
            while True:
                await self._try(session, asked)
                late = self.now() - asked.at > PATIENCE
                if asked.kind is not Kind.CUT or not self.target.again:
                    return
                if late:  # it asked again for all that time, and was told nothing
                    asked.kind = Kind.LOST
                    return
                asked.again += 1
                await asyncio.sleep(min(_LONGEST, _PAUSE * 2 ** (asked.again - 1)))
        finally:
            asked.done = self.now()
            self._under_way -= 1

    async def _try(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        item, urls = asked.item, self.target.urls
        url = urls[(len(self.asked) + asked.again) % len(urls)]
        headers = {"authorization": f"Bearer {self.target.keys[item.tenant]}"}
        if asked.key:
            headers["idempotency-key"] = asked.key
        policy = "live" if asked.streamed else "held"
        body = {"model": policy, "stream": asked.streamed, "messages": [{"role": "user", "content": item.question}]}
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
                asked.status = response.status
                content = await response.text()
        except TimeoutError:
            asked.kind = Kind.LOST
        except aiohttp.ClientError:
            asked.kind = Kind.CUT
        else:
            asked.decisions = tuple(filter(None, response.headers.get("x-gate-decision-id", "").split(", ")))
            asked.kind, asked.code = judged(item, response.status, response.headers, content, self.codes)
            asked.sure = "x-gate-idempotency" not in response.headers
            if not asked.decisions and asked.kind in DECIDED:  # a stream that began before there was a decision
                asked.decisions = tuple(_STREAM_ID.findall(content)[:1])


@dataclass(slots=True)
class _Said:
    """What a response says of its question."""

    text: str = ""
    refusal: str = ""
    action: str = ""
    retracted: bool = False
    """Whether the text is taken back that a stream has shown."""
    error: tuple[Kind, str] | None = None


def judged(item: Item, status: int, headers: Mapping[str, str], content: str, codes: Codes) -> tuple[Kind, str]:
    """How the request ended, and the code of its error."""
    shown = "\n".join((content, *(f"{name}: {value}" for name, value in headers.items())))
    if codes.foreign(item, shown):
        return Kind.LEAK, ""
    try:
        if status == 200 and headers.get("content-type", "").startswith("text/event-stream"):
            said = _of_events(content, headers.get("x-gate-action", ""))
        elif status != 200:
            return _refused(status, json.loads(content))
        else:
            said = _of_message(json.loads(content), headers["x-gate-action"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Kind.LOST, ""
    if codes.foreign(item, said.text) or codes.foreign(item, said.refusal):  # it came in pieces
        return Kind.LEAK, ""
    return said.error or (_of_decided(item, said), "")


def _refused(status: int, said: Any) -> tuple[Kind, str]:
    """Raises KeyError, TypeError for what does not say clearly what is wrong."""
    error = said["error"]
    if not error["message"]:
        raise KeyError("message")
    blaming = status in _BLAMING and status not in _NOT_BLAMING
    if status == 200:  # in a stream that had begun
        blaming = error.get("type") == "invalid_request_error"
    code = str(error.get("code") or error["type"])
    if (code, error["type"]) == (TOO_FAST, "upstream_error"):
        code = MODEL_TOO_FAST
    return (Kind.BLAMED if blaming else Kind.REFUSED), code


def _of_decided(item: Item, said: _Said) -> Kind:
    if said.action == "answer":
        text = said.refusal if said.retracted else said.text  # one that was written anew stands where models refuse
        if said.refusal and not said.retracted:
            return Kind.LOST
        return Kind.RIGHT if text.strip() == item.right else Kind.WRONG
    if said.action != "abstain":  # nothing else can be done here
        return Kind.LOST
    if said.text and not said.retracted:
        return Kind.WRONG
    if said.refusal.strip() == WITHHELD:
        return Kind.WITHHELD
    return Kind.WRONG if any(code in said.refusal for code in (item.right, *item.wrong)) else Kind.LOST


def _of_message(said: Any, action: str) -> _Said:
    message = said["choices"][0]["message"]
    return _Said(str(message["content"] or ""), str(message.get("refusal") or ""), action)


def _of_events(content: str, action: str) -> _Said:
    """Of a stream: its last event says what is to be thought of the text before it. One without an end says nothing,
    unless it says why. Raises KeyError, TypeError, ValueError for what is no such stream."""
    events = [line.removeprefix("data: ") for line in content.split("\n") if line.startswith("data: ")]
    said, whole = _Said(action=action), bool(events) and events[-1] == "[DONE]"
    for event in events[:-1] if whole else events:
        try:
            each = json.loads(event)
        except ValueError:
            if whole:
                raise
            break  # it broke off here
        _take(said, each)
    if said.error is None and (not whole or not said.action):
        said.error = Kind.LOST, ""
    return said


def _take(said: _Said, event: Any) -> None:
    if "error" in event and said.error is None:
        said.error = _refused(200, event)
    for choice in event.get("choices", ()):
        delta = choice.get("delta", {})
        said.text += delta.get("content") or ""
        said.refusal += delta.get("refusal") or ""
        said.action = (choice.get("gate") or {}).get("action", said.action)
    gate = event.get("gate") or {}
    said.action = gate.get("action", said.action)
    said.retracted = said.retracted or gate.get("retracted") is True


@dataclass(frozen=True, slots=True)
class Course:
    """Seconds before a fault, of it, and after."""

    before: float
    during: float
    after: float
    longer: float = 15.0
    """More seconds at most, where right answers are not back by then: a slow machine gets the time it takes."""


def not_back(load: Load, phases: Phases) -> bool:
    """Whether there were right answers before the fault, and are none yet after it."""
    now = load.now()
    told = [each for each in load.asked if each.done or now - each.at > PROMPT]
    return any(each.kind is Kind.RIGHT and each.at < phases.began for each in told) and recovery(told, phases) is None


async def through(load: Load, course: Course, begin: Callable[[], None], end: Callable[[], None]) -> Phases:
    """Let the load run through a fault. Beginning and ending it may take a while, in which the load goes on."""
    over = asyncio.Event()
    phases: list[float] = []

    async def fault() -> None:
        try:
            await asyncio.sleep(course.before)
            phases.append(load.now())
            await asyncio.to_thread(begin)
            await asyncio.sleep(course.during)
            await asyncio.to_thread(end)
            phases.append(load.now())
            await asyncio.sleep(course.after)
            while load.now() < phases[1] + course.after + course.longer and not_back(load, Phases(*phases)):
                await asyncio.sleep(_LOOK)
        finally:
            over.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(over.is_set))
        group.create_task(fault())
    return Phases(*phases)
