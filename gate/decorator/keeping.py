"""Keeping what is decided in Python code in a decision log, as the proxy keeps what it decides.

A log belongs to the process that opened it, and SQLite forbids that a file which is open is carried through a fork. So
a log is written and closed before one, and opened anew by whichever process decides something next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import weakref
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gate.errors import GateError, first_of, trace_of
from gate.log.entries import Entry
from gate.proxy.wire_errors import FAULT, wire_error
from gate.traces import TraceRecord
from gate.types import Outcome

if TYPE_CHECKING:
    from gate.log.kept import Label
    from gate.log.opening import DecisionLog
    from gate.log.rows import Keep

log = logging.getLogger("gate.log")
DOOR = "python"
"""Where such decisions came in, as the log has it."""
_GONE = 499
_WAIT = 5.0
"""Seconds that closing waits for the database."""


class Keeper:
    """One decision log. Safe to share between threads and with forked processes."""

    def __init__(self, url: str, keep: Keep) -> None:
        """Opens it. Raises as `open_log`."""
        self._url, self._keep = url, keep
        self._lock = threading.RLock()
        self._log: DecisionLog | None = None
        self._closing: weakref.finalize[..., Keeper] | None = None
        self._open()
        _KEEPERS.add(self)

    def put(self, entry: Entry) -> None:
        """Have it written, without waiting."""
        with self._lock:
            self._open().writer.put(entry)

    def label(self, label: Label) -> bool:
        """Keep what somebody says of a decision. Blocks. False where there is no such decision."""
        with self._lock:
            opened = self._open()
        return opened.reader.label(label) or (opened.writer.flush(_WAIT) and opened.reader.label(label))

    def close(self) -> None:
        """Write what is waiting, as far as that goes within 5 seconds. What is kept later opens it again."""
        with self._lock:
            closing, self._log, self._closing = self._closing, None, None
            if closing is not None:
                closing()

    def _open(self) -> DecisionLog:
        with self._lock:
            if self._log is None:
                from gate.log.opening import open_log  # which takes a database's library to import

                self._log = open_log(self._url, keep=self._keep)
                self._closing = weakref.finalize(self, self._log.close, _WAIT)  # also where the program ends
            return self._log

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held, nobody opens it."""
        return self._lock


_KEEPERS: weakref.WeakSet[Keeper] = weakref.WeakSet()
_turn = threading.Lock()
_forking = contextlib.ExitStack()


def _before_fork() -> None:
    _turn.acquire()
    for keeper in tuple(_KEEPERS):
        _forking.enter_context(keeper.lock)
        keeper.close()


def _after_fork() -> None:
    """In both processes: the one that forked holds the locks in either."""
    _forking.close()
    _turn.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


class Noted:
    """Keeps what one question comes to, also where it is an error."""

    __slots__ = ("_began", "_keeper", "_record")

    def __init__(self, keeper: Keeper | None) -> None:
        self._keeper = keeper
        self._record: TraceRecord | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __call__(self, outcome: Outcome, record: TraceRecord) -> tuple[Outcome, TraceRecord]:
        self._record = record
        return outcome, record

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._keeper is None:
            return
        record = self._record if error is None else trace_of(error)
        if record is not None:
            entry = Entry(record, DOOR, status=_status(error), seconds=time.monotonic() - self._began)
            try:
                self._keeper.put(entry)
            except GateError as failed:  # no answer is lost for it
                log.warning("a decision was not kept: %s", failed)


def _status(error: BaseException | None) -> int:
    """What the proxy would have answered."""
    if error is None:
        return 200
    first = first_of(error)
    if isinstance(first, GateError):
        return wire_error(first).status
    return _GONE if isinstance(first, asyncio.CancelledError | KeyboardInterrupt) else FAULT.status
