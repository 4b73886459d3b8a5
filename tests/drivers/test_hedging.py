"""Asking once more: what may be, after how long, how many of all, and that the first good reply is the one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.drivers.hedging import Hedge, Second, alike, hedged
from gate.effects import Embed, Entail, Generate, HandOver, Request, Retrieve
from gate.endpoint_settings import HedgeSettings
from gate.errors import UpstreamError
from tests.drivers.running import MESSAGES

GREEDY = Generate("main", MESSAGES, temperature=0.0)


def always() -> bool:
    return True


@pytest.mark.parametrize(
    ("effect", "may"),
    [
        (GREEDY, True),
        (Generate("main", MESSAGES), False),  # at whatever temperature the server likes
        (Generate("main", MESSAGES, temperature=0.01), False),
        (Generate("main", MESSAGES, temperature=1.0, seed=7), False),  # servers keep no promise about seeds
        (Generate("main", MESSAGES, temperature=0.0, n=2), False),
        (Generate("main", MESSAGES, temperature=0.0, tight=True), False),
        (Embed("v", ("x",)), True),
        (Embed("v", ("x",), tight=True), False),
        (Entail("e", (("x", "y"),)), True),
        (Entail("e", (("x", "y"),), tight=True), False),
        (Retrieve("world", "x", 3), True),
        (HandOver("desk", MESSAGES, "uncertain"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_is_answered_alike_and_has_room_in_the_budget_is_asked_twice(effect: Request, may: bool) -> None:
    assert alike(effect) is may


@given(st.lists(st.booleans(), max_size=400), st.sampled_from([0.05, 0.1, 0.5]))
def test_never_more_than_the_share_of_the_requests_so_far(slow: list[bool], share: float) -> None:
    hedge = Hedge(HedgeSettings(after=1.0, share=share))
    for begun, each in enumerate(slow, 1):
        second = hedge.begin(always)
        assert second is not None
        if each:
            second.begin()
        assert hedge.sent <= share * begun


def test_the_share_is_of_the_last_thousand() -> None:
    hedge = Hedge(HedgeSettings(after=1.0, share=0.01))
    for _ in range(3000):
        second = hedge.begin(always)
        assert second is not None
        second.begin()
    assert hedge.sent == 30
    fast = Hedge(HedgeSettings(after=1.0, share=0.01))
    for _ in range(5000):
        fast.begin(always)
    assert sum(fast.take() for _ in range(100)) == 10, "what was not sent twice before is not made up for"


def test_the_percentile_is_of_its_own_latencies_once_fifty_are_known() -> None:
    hedge = Hedge(HedgeSettings())

    def after() -> float | None:
        second = hedge.begin(always)
        assert second is not None
        return second.after

    for number in range(49):
        hedge.took(number / 100)
        assert after() is None
    hedge.took(9.0)
    assert after() == 0.46
    for _ in range(500):
        hedge.took(2.0)
    assert after() == 2.0, "of the last ones"


def test_it_is_no_time_for_it_while_the_endpoint_is_not_well() -> None:
    hedge = Hedge(HedgeSettings(after=1.0, share=0.5))
    for _ in range(10):
        second = hedge.begin(lambda: False)
        assert second is not None
        assert not second.begin()
    assert hedge.sent == 0


# --- the two -----------------------------------------------------------------------------------------------------

Ends = Callable[[], Any]


class Line:
    """What is asked is answered when its turn comes: by so many ticks of the loop."""

    def __init__(self, *ends: tuple[int, Any]) -> None:
        self.ends = list(ends)
        self.begun = self.over = self.called_off = 0

    async def send(self) -> Any:
        ticks, end = self.ends[self.begun]
        self.begun += 1
        try:
            for _ in range(ticks):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.called_off += 1
            raise
        self.over += 1
        if isinstance(end, Exception):
            raise end
        return end


NEVER = 10**9
FAULT, OTHER = UpstreamError("main", "broke off"), UpstreamError("main", "is down")


def asked(line: Line, *, may: bool = True, after: float | None = 0.0) -> tuple[Any, Second]:
    hedge = Hedge(HedgeSettings(after=1.0, share=0.5))
    hedge.begin(always)
    second = hedge.begin(lambda: may)
    assert second is not None
    second.after = after

    async def main() -> Any:
        try:
            return await hedged(line.send, second)
        except UpstreamError as error:
            return error

    return asyncio.run(main()), second


@pytest.mark.parametrize(
    ("ends", "found", "called_off"),
    [
        ([(NEVER, None), (0, "second")], "second", 1),
        ([(60, "first"), (NEVER, None)], "first", 1),
        ([(60, FAULT), (90, "second")], "second", 0),
        ([(90, "first"), (3, FAULT)], "first", 0),
        ([(60, FAULT), (90, OTHER)], FAULT, 0),
    ],
)
def test_the_first_good_reply_is_the_one(ends: list[tuple[int, Any]], found: Any, called_off: int) -> None:
    line = Line(*ends)
    reply, second = asked(line)
    assert reply is found
    assert second.sent
    assert (line.begun, line.called_off) == (2, called_off)


@pytest.mark.parametrize(("may", "after"), [(False, 0.0), (True, None), (True, 60.0)])
@pytest.mark.parametrize("end", ["first", FAULT])
def test_a_second_that_may_not_be_sent_is_not(may: bool, after: float | None, end: Any) -> None:
    line = Line((30, end))
    reply, second = asked(line, may=may, after=after)
    assert reply is end
    assert (line.begun, second.sent) == (1, False)


def test_who_goes_away_calls_off_both() -> None:
    line = Line((NEVER, None), (NEVER, None))
    hedge = Hedge(HedgeSettings(after=1.0, share=0.5))
    hedge.begin(always)
    second = hedge.begin(always)
    assert second is not None
    second.after = 0.0

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(hedged(line.send, second))
            while line.begun < 2:
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(main())
    assert line.called_off == 2
