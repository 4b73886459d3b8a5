"""What each key has used: of its minute, its day and month and ever, and how much of it is under way.

A minute is a token bucket that holds one minute's worth and fills evenly, as OpenAI's is: a client that was idle may
send a whole minute's worth at once, and in any minute at most that and what flows in meanwhile. Its clock is the
system's monotonic one, which all processes share and nobody sets; after a reboot it begins anew, and then nothing flows
in for the time in between. Days and months are UTC by the wall clock; one that is set back over midnight does not
give a day's money twice.

What a request will take is charged when it is let in, as estimated, and corrected when it has ended. What a process
that was killed had charged stays charged: upstreams have most likely done the work.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.proxy.counter_file import CounterFile
from gate.proxy.counting import NANO, Refused, Short, Standing, Taken, Usage, Used, nanos_of, seconds_short
from gate.proxy.keys import Rate, Spend

_STATE = struct.Struct("<3d11q")
_REQUESTS, _TOKENS, _AT, _DAY, _MONTH = range(5)
_USED = 5
"""From here on: requests, tokens and billionths of a dollar, of the day, the month and ever."""
_FRESH = _STATE.pack(math.inf, math.inf, 0.0, *(0 for _ in range(11)))
_PER = {"day": 0, "month": 1, "total": 2}
_DAY_SECONDS = 86_400


class Counters:
    """The counts of all keys. Safe from any thread, and shared by all processes that open the same folder."""

    def __init__(
        self,
        file: CounterFile,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._monotonic = monotonic
        self._wall = wall
        self._today = (-1, -1)

    @classmethod
    def open(cls, state: Path | None, workers: int = 1) -> Counters:
        """In a folder; or in memory, which is lost with the process. Raises `ConfigError` where neither will do."""
        if state is None and workers > 1:
            raise ConfigError(
                "several workers keep the limits of keys together: give the server a folder for its 'state'"
            )
        return cls(CounterFile.open(state, _FRESH))

    def take(
        self, name: str, rate: Rate, spend: Spend | None = None, tokens: int | None = 0, money: float = 0.0
    ) -> Taken | Refused:
        """Charge one request with what it will likely take, if all of that is left; nothing otherwise. ``tokens`` None:
        it takes none, and none need be left."""
        nanos, need = nanos_of(money), tokens
        tokens = tokens or 0
        with self._file as file:
            place = file.place(name)
            held = self._brought_up_to_now(place, rate)
            under_way = file.under_way(place)
            if rate.concurrency is not None and under_way >= rate.concurrency:
                under_way -= file.forget_dead(place)
            short = self._short(held, under_way, rate, spend, need, nanos)
            if short is not None:
                _STATE.pack_into(file.memory, place, *held)
                requests, left = held[_REQUESTS], held[_TOKENS]
                seconds = seconds_short(short, requests, left, rate, spend, tokens, self._wall())
                return Refused(short, seconds, Standing(requests, left, under_way))
            self._charge(place, held, 1, tokens, nanos)
            file.entered(place)
            left = Standing(held[_REQUESTS], held[_TOKENS], under_way + 1)
            return Taken(name, rate, tokens, nanos, held[_DAY], held[_MONTH], left)

    def settle(self, taken: Taken, tokens: int, money: float) -> None:
        """The request has ended and took this. A second time it does nothing."""
        self._end(taken, 0, tokens - taken.tokens, nanos_of(money) - taken.nanos)

    def give_back(self, taken: Taken) -> None:
        """The request was not served after all, and cost nothing: as if it had never been. Once, as `settle`."""
        self._end(taken, -1, -taken.tokens, -taken.nanos)

    def standing(self, name: str, rate: Rate) -> Standing:
        """What is left now."""
        with self._file as file:
            place = file.place(name)
            held = self._brought_up_to_now(place, rate)
            return Standing(held[_REQUESTS], held[_TOKENS], file.under_way(place))

    def usage(self, name: str) -> Usage:
        with self._file as file:
            place = file.place(name)
            held = self._brought_up_to_now(place, Rate())
            used = [held[_USED + per : _USED + 9 : 3] for per in range(3)]
            day, month, total = (Used(requests, tokens, nanos / NANO) for requests, tokens, nanos in used)
            return Usage(day, month, total, file.under_way(place))

    def restore(
        self, name: str, requests: float, tokens: float, ago: float, windows: tuple[int, int], nanos: Sequence[int]
    ) -> None:
        """Go on from what another counter had ``ago`` seconds before: what was left of the minute, and the billionths
        of a dollar that were spent on that day, in that month and ever."""
        with self._file as file:
            at = self._monotonic() - ago
            _STATE.pack_into(file.memory, file.place(name), requests, tokens, at, *windows, *(0,) * 6, *nanos)

    def close(self) -> None:
        self._file.close()

    # --- within the lock -----------------------------------------------------------------------------------------

    def _brought_up_to_now(self, place: int, rate: Rate) -> list[Any]:
        """The state of a record with what has flowed in since, and windows of time that have passed emptied."""
        held = list(_STATE.unpack_from(self._file.memory, place))
        now = self._monotonic()
        passed = max(0.0, now - held[_AT])
        held[_REQUESTS] = _filled(held[_REQUESTS], rate.requests_per_minute, passed)
        held[_TOKENS] = _filled(held[_TOKENS], rate.tokens_per_minute, passed)
        held[_AT] = now
        windows = self._windows()
        if (held[_DAY], held[_MONTH]) != windows:
            for per, window in enumerate(windows):
                # one step back is a clock set over midnight; more, and the clock was far ahead before
                if not held[_DAY + per] - 1 <= window <= held[_DAY + per]:
                    held[_DAY + per] = window
                    held[_USED + per] = held[_USED + 3 + per] = held[_USED + 6 + per] = 0
        return held

    def _windows(self) -> tuple[int, int]:
        """The day and the month, counted through."""
        day = int(self._wall() // _DAY_SECONDS)
        if day != self._today[0]:
            date = datetime.fromtimestamp(day * _DAY_SECONDS, UTC)
            self._today = day, date.year * 12 + date.month
        return self._today

    def _short(
        self, held: list[Any], under_way: int, rate: Rate, spend: Spend | None, need: int | None, nanos: int
    ) -> Short | None:
        """What there is too little of."""
        if spend is not None:
            used, limit = held[_USED + 6 + _PER[spend.per]], nanos_of(spend.limit)
            if used >= limit or used + nanos > limit:
                return "money"
        if rate.requests_per_minute is not None and held[_REQUESTS] < 1:
            return "requests"
        if rate.tokens_per_minute is not None and need is not None and held[_TOKENS] < max(1, need):
            return "tokens"
        if rate.concurrency is not None and under_way >= rate.concurrency:
            return "concurrency"
        return None

    def _end(self, taken: Taken, requests: int, tokens: int, nanos: int) -> None:
        with self._file as file:
            if not taken.open:
                return
            taken.open = False
            place = file.place(taken.name)
            held = self._brought_up_to_now(place, taken.rate)
            windows = (held[_DAY] == taken.day, held[_MONTH] == taken.month, True)
            self._charge(place, held, requests, tokens, nanos, windows)
            file.left(place)

    def _charge(
        self,
        place: int,
        held: list[Any],
        requests: int,
        tokens: int,
        nanos: int,
        windows: tuple[bool, bool, bool] = (True, True, True),
    ) -> None:
        """Write a record with this charged, or given back where negative: to ``windows`` that had it charged."""
        held[_REQUESTS] -= requests
        held[_TOKENS] -= tokens
        for per, same in enumerate(windows):
            held[_USED + per] += requests if same else max(0, requests)
            held[_USED + 3 + per] += tokens if same else max(0, tokens)
            held[_USED + 6 + per] += nanos if same else max(0, nanos)
        _STATE.pack_into(self._file.memory, place, *held)


def _filled(left: float, cap: int | None, seconds: float) -> float:
    return math.inf if cap is None else min(cap, left + seconds * cap / 60)
