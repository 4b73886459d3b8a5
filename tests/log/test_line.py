"""A database that says nothing any more is told of, cut off and tried anew; a network between is real sockets."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from gate.log import line
from gate.log.line import Line
from gate.log.opening import open_log
from tests.log.decided import entry
from tests.postgres import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as address:
        yield address


class Wire:
    """Between a client and a server. What has connected before `lose` is acknowledged and goes nowhere from then on."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._entry = socket.create_server(("127.0.0.1", 0))
        self.port = self._entry.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lost: set[socket.socket] = set()
        self._picking = selectors.DefaultSelector()
        self._picking.register(self._entry, selectors.EVENT_READ)
        self._over = False
        self.connected = 0
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def lose(self) -> None:
        self._lost.update(self._pairs)

    def _carry(self) -> None:
        while not self._over:
            for key, _ in self._picking.select(0.02):
                if key.fileobj is self._entry:
                    self._connect()
                else:
                    self._pass_on(key.fileobj)

    def _connect(self) -> None:
        client, _ = self._entry.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._folder}/.s.PGSQL.5432")
        self.connected += 1
        self._pairs |= {client: server, server: client}
        for each in (client, server):
            self._picking.register(each, selectors.EVENT_READ)

    def _pass_on(self, one: Any) -> None:
        said = one.recv(65536)
        if one in self._lost and said:
            return
        if said:
            self._pairs[one].sendall(said)
            return
        for each in (one, self._pairs[one]):
            if each in self._pairs:
                self._picking.unregister(each)
                del self._pairs[each]
                each.close()

    def close(self) -> None:
        self._over = True
        self._thread.join()
        for each in (*self._pairs, self._entry):
            each.close()
        self._picking.close()


@pytest.fixture
def wire(server: str) -> Iterator[Wire]:
    made = Wire(str(make_url(server).query["host"]))
    yield made
    made.close()


def test_a_connection_that_falls_silent_is_cut_and_the_log_goes_on_by_another(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line, "PATIENCE", 0.3)
    monkeypatch.setattr(line, "LATE", 0.1)
    log = open_log(f"postgresql://gate@127.0.0.1:{wire.port}/postgres", retention_days=None)
    assert log.writer.keep(entry("before")).result(10)
    before = wire.connected
    wire.lose()
    told = log.writer.keep(entry("after"))
    until = time.monotonic() + 5
    while not log.writer.away and time.monotonic() < until:
        time.sleep(0.005)
    assert log.writer.away, "nothing more is decided meanwhile"
    assert told.result(10)
    while log.writer.away and time.monotonic() < until:
        time.sleep(0.005)
    assert not log.writer.away
    assert (log.writer.written, log.writer.dropped) == (2, 0)
    assert wire.connected > before
    log.close()
    said = [record.getMessage() for record in caplog.records if record.name == "gate.log"]
    assert [text for text in said if "does not answer: it is waited for" in text]
    assert said[-1].endswith("answers again")


def test_what_comes_late_counts_and_is_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LATE", 0.05)
    made, told, looked = Line(create_engine("sqlite://")), list[bool](), list[bool]()

    def work() -> int:
        time.sleep(0.2)
        return 7

    with caplog.at_level(logging.WARNING):
        assert made.run(work, lambda: looked.append(made.late), told.append) == 7
    assert told == [True, False]
    assert looked[0] is False
    assert looked[-1] is True
    assert not made.late


def test_what_fails_is_raised_here_and_a_fault_is_no_result() -> None:
    made = Line(create_engine("sqlite://"))

    def fails() -> int:
        raise OperationalError("SELECT", {}, OSError("no"))

    with pytest.raises(OperationalError):
        made.run(fails, lambda: None, lambda _: None)


def test_a_slow_line_is_given_twice_as_long_after_each_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "PATIENCE", 0.1)
    made, cuts = Line(create_engine("sqlite://")), list[float]()
    monkeypatch.setattr(made, "_patience", 0.1)
    monkeypatch.setattr(Line, "_cut", lambda self: cuts.append(time.monotonic()))
    began = time.monotonic()
    made.run(lambda: time.sleep(0.5), lambda: None, lambda _: None)
    assert cuts[0] - began >= 0.1
    assert cuts[1] - cuts[0] >= 0.2
    assert made._patience == 0.1, "one that answered is waited for as at first"


def test_the_first_thing_that_a_connection_is_asked_may_get_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a pooler in front of a server that is gone: it takes the client in, and then says nothing."""
    monkeypatch.setattr(line, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as entry_, closing_all() as held:

        def take_in() -> None:
            for _ in range(2):
                client, _ = entry_.accept()
                held.append(client)
                client.recv(65536)
                trusted = b"R\0\0\0\x08\0\0\0\0"
                client.sendall(trusted + b"Z\0\0\0\x05I")

        taking = threading.Thread(target=take_in, daemon=True)
        taking.start()
        port = entry_.getsockname()[1]
        engine = create_engine(f"postgresql+psycopg://gate@127.0.0.1:{port}/gate?sslmode=disable&gssencmode=disable")
        made, began = Line(engine), time.monotonic()
        with pytest.raises(DBAPIError):
            made.run(lambda: engine.connect().close(), lambda: None, lambda _: None)
        assert time.monotonic() - began < 5
        engine.dispose()


@contextmanager
def closing_all() -> Iterator[list[socket.socket]]:
    held: list[socket.socket] = []
    yield held
    for each in held:
        each.close()


def test_what_may_take_its_time_is_never_late_nor_cut_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "LATE", 0.05)
    monkeypatch.setattr(line, "PATIENCE", 0.05)
    made, cuts, late = Line(create_engine("sqlite://")), list[float](), list[bool]()
    monkeypatch.setattr(Line, "_cut", lambda self: cuts.append(time.monotonic()))
    made.run(lambda: time.sleep(0.25), lambda: late.append(made.late))
    assert (cuts, any(late)) == ([], False)
