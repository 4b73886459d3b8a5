"""An open-loop load generator: requests arrive at a rate of their own, whether or not earlier ones were answered.

    python -m tests.benchmarks.proxy.arrivals PORT CONNECTIONS RATE SECONDS < request

Arrivals are a Poisson process with a fixed seed. Each takes a connection that is free, or waits for one; its latency
runs from when it arrived, so that a server that falls behind is not let off (what wrk2 calls the coordinated omission).
One loop over ``select``, whose time-outs are exact to some 50 microseconds: those of ``epoll``, which event loops build
on, are whole milliseconds, more than what is to be measured. Prints one line of JSON; latencies in milliseconds.
"""

from __future__ import annotations

import gc
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

_PATIENCE = 20.0
"""Seconds after the last arrival in which answers are waited for."""


@dataclass(slots=True)
class Reply:
    """One HTTP response as its bytes come in."""

    data: bytearray = field(default_factory=bytearray)
    _end: int | None = None
    _chunked: bool = False

    def feed(self, data: bytes) -> bool:
        """Take some bytes; whether the response is whole. Raises ValueError for what is none."""
        self.data += data
        if self._end is None and not self._chunked:
            head = self.data.find(b"\r\n\r\n")
            if head < 0:
                return False
            self._begin(head)
        if self._chunked:
            return self.data.endswith(b"\r\n0\r\n\r\n")
        return self._end is not None and len(self.data) >= self._end

    def _begin(self, head: int) -> None:
        for line in bytes(self.data[:head]).lower().split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name == b"content-length":
                self._end = head + 4 + int(value)
            elif name == b"transfer-encoding":
                self._chunked = b"chunked" in value
        if self._end is None and not self._chunked:
            raise ValueError("a response without a length")

    @property
    def good(self) -> bool:
        return self.data[9:10] == b"2"


@dataclass(slots=True)
class Connection:
    socket: socket.socket
    began: float = 0.0
    """When the request it carries arrived."""
    reply: Reply = field(default_factory=Reply)


def arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """When requests arrive, in seconds from the start."""
    rng, now, made = random.Random(seed), 0.0, []
    while (now := now + rng.expovariate(rate)) < seconds:
        made.append(now)
    return made


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that at least ``percent`` % of all are not above."""
    listed = sorted(values)
    place = -(-len(listed) * percent // 100)
    return listed[max(0, int(place) - 1)]


@dataclass(slots=True)
class Generator:
    """Sends the same request at given times."""

    request: bytes
    free: list[Connection]
    busy: dict[socket.socket, Connection] = field(default_factory=dict)
    waiting: deque[float] = field(default_factory=deque)
    """When those arrived that have no connection yet."""
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    def run(self, times: Sequence[float]) -> float:
        """Seconds from the first arrival to the last answer."""
        began = time.perf_counter()
        due = deque(began + at for at in times)
        last = began + (times[-1] if times else 0) + _PATIENCE
        while due or self.waiting or self.busy:
            now = time.perf_counter()
            if now > last:
                break
            while due and due[0] <= now:
                self.waiting.append(due.popleft())
            self._send()
            until = (due[0] if due else last) - time.perf_counter()
            for ready in select.select(list(self.busy), [], [], max(0.0, until))[0]:
                self._receive(self.busy[ready])
        self.failed += len(due) + len(self.waiting) + len(self.busy)
        return time.perf_counter() - began

    def _send(self) -> None:
        while self.waiting and self.free:
            connection = self.free.pop()
            connection.began, connection.reply = self.waiting.popleft(), Reply()
            self.busy[connection.socket] = connection
            connection.socket.sendall(self.request)

    def _receive(self, connection: Connection) -> None:
        if not connection.reply.feed(_some(connection.socket)):
            return
        if connection.reply.good:
            self.latencies.append(time.perf_counter() - connection.began)
        else:
            self.failed += 1
        del self.busy[connection.socket]
        self.free.append(connection)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server closed a connection")
    return data


def main() -> None:
    port, connections, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    opened = [Connection(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(connections)]
    for each in opened:
        each.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    generator = Generator(sys.stdin.buffer.read(), opened)
    gc.disable()
    took = generator.run(arrivals(rate, seconds))
    for each in opened:
        each.socket.close()
    ms = [1000 * seconds for seconds in generator.latencies]
    p50, p99 = (percentile(ms, 50), percentile(ms, 99)) if ms else (None, None)
    told = {"answered": len(ms) + generator.failed, "seconds": took, "p50": p50, "p99": p99}
    print(json.dumps({**told, "failed": generator.failed}))


if __name__ == "__main__":
    main()
