"""Whoever waits on a connection that is severed is told at once; one that is closed is let be."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from gate.postgres_wire import sever

psycopg = pytest.importorskip("psycopg")


class Connection:
    """As far as this goes."""

    def __init__(self, number: Any) -> None:
        self._number = number

    def fileno(self) -> int:
        if isinstance(self._number, Exception):
            raise self._number
        return int(self._number)


def test_who_waits_on_it_is_told_at_once_and_the_descriptor_stays_its_own() -> None:
    one, other = socket.socketpair()
    told: list[bytes] = []
    waiting = threading.Thread(target=lambda: told.append(one.recv(1)))
    waiting.start()
    sever(Connection(one.fileno()))
    waiting.join(5)
    assert told == [b""]
    assert one.fileno() >= 0
    one.close()
    other.close()


@pytest.mark.parametrize("number", [psycopg.OperationalError("the connection is closed"), -1, 0])
def test_one_that_is_closed_or_no_connection_is_let_be(number: Any) -> None:
    sever(Connection(number))
