"""Writing the decision log, off the request path: a bounded queue, and one thread that empties it in batches.

Whoever decides only puts an `Entry` at the end of a queue, which never waits. The thread makes rows of them and writes
up to 500 in one transaction. It is a plain thread with a synchronous driver: there is one writer, so an asynchronous
driver would gain nothing, and its work would stand on the loop that answers requests. Where the database is away, rows
are held and tried again with growing pauses, while what comes is made rows of (they hold no tapes, and of what length
they are is known), until the queue is full: from then on what comes is counted as dropped,
or, where the log says ``refuse``, the server is told by ``full`` not to take on more.

Who wants to know when a decision is in the database uses `LogWriter.keep`: while anyone waits, a batch is whatever is
there once the one before is written (group commit), so that waiting takes one or two writes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import Literal

from sqlalchemy import Engine, bindparam, update
from sqlalchemy.exc import SQLAlchemyError

from gate.errors import GateError
from gate.log import retention
from gate.log.address import cause, for_writing, inode_of, moved, place
from gate.log.entries import Entry
from gate.log.inserting import BAD_ROW, Inserter
from gate.log.line import Line
from gate.log.rows import Row, RowMaker
from gate.log.tables import DECISIONS

log = logging.getLogger("gate.log")
WhenFull = Literal["drop", "refuse"]
BATCH = 500
_NICE = 10
_BATCH_TEXT = 8 * 2**20
"""Characters of traces after which a batch is large enough: with text, a single one may be of megabytes."""
_MOST_TEXT = 256 * 2**20
"""Characters of traces that may be held for a database that is away; the queue is full then, however few they are."""
GATHER = 0.05
"""Seconds in which entries gather to a batch."""
_MANY = 200
"""Entries that may wait as they came. Those behind them hold no more than is kept: see `RowMaker.lean`."""
_IN_A_ROW, _BEHIND = 16, 128
"""Rows after which the interpreter is offered to the loop that answers requests: some 0.3 ms; and when more than a
batch waits, because a loop that never pauses gives it back only after 5 ms."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_PURGE_EVERY = 3600.0
_DAY = 86_400.0


def _stand_back() -> None:
    """Have this thread, and those it starts, give way to the one that answers requests, where a system can (Linux):
    on a full core they would else take turns of some milliseconds."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class LogWriter:
    """Safe to share between threads. It belongs to the process that made it: each worker makes its own."""

    def __init__(
        self,
        engine: Engine,
        make: RowMaker,
        *,
        queue: int = 10_000,
        when_full: WhenFull = "drop",
        retention_days: float | None = None,
    ) -> None:
        """``engine`` is the writer's alone. ``queue`` bounds the entries that wait to be written; without
        ``retention_days`` they are kept for ever."""
        self.written = 0
        """Decisions that are in the database."""
        self.dropped = 0
        """Decisions that were not taken, because the queue was full or the log closed, or were lost in closing."""
        self.failed = 0
        """Decisions that the database does not take, whatever the reason."""
        self.engine = engine
        self._line = Line(engine)
        self._inode = inode_of(engine.url)
        self._make = make
        self._insert = Inserter(engine)
        self._refuse = when_full == "refuse"
        self._limit = queue
        # what was under way when the queue filled is decided all the same: where nothing may be lost there is room
        self._most = 2 * queue if self._refuse else queue
        self._retention = None if retention_days is None else retention_days * _DAY
        self._purge_at = time.monotonic()
        self._queue: deque[Entry] = deque()
        self._rows: deque[Row] = deque()
        self._waiting_for: dict[str, Future[bool]] = {}
        """By decision, who wants to know what becomes of it."""
        self._amended: dict[str, int] = {}
        """By decision, the status that its response had in the end."""
        self._held = 0
        self._pause = 0.0
        self._lock = threading.Lock()
        self._signal = threading.Event()
        self._idle = False
        self._deadline: float | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, name="gate-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Decisions that are not in the database yet."""
        return len(self._queue) + len(self._rows)

    @property
    def full(self) -> bool:
        """Whether requests are to be refused, because what they decide could not be kept. False under ``drop``."""
        return self._refuse and (self._over or self.waiting >= self._limit or self._held >= _MOST_TEXT)

    @property
    def away(self) -> bool:
        """Whether the database could not be written when that was last tried, or does not answer now, and something
        waits for it."""
        return self._pause > 0 or self._line.late

    def put(self, entry: Entry) -> bool:
        """Have it written. False, and counted as dropped, where there is no room. Never waits for the database."""
        if len(self._queue) >= _MANY:
            entry = self._make.lean(entry)
        with self._lock:
            queued = len(self._queue)
            room = queued + len(self._rows) < self._most and self._held < _MOST_TEXT
            if self._over or self._deadline is not None or not room:
                self.dropped += 1
                return False
            self._queue.append(entry)
        if self._idle or queued + 1 == BATCH:
            self._idle = False
            self._signal.set()
        return True

    def keep(self, entry: Entry) -> Future[bool]:
        """Have it written soon, and learn whether it was: true once it is in the database, false where it will never
        be. Both may take as long as the database is away: whoever waits sets an end to it."""
        told: Future[bool] = Future()
        self._waiting_for[entry.record.id] = told
        if self.put(entry):
            self._signal.set()
        else:
            self._tell((entry.record.id,), False)
        return told

    def amend(self, decisions: Iterable[str], status: int) -> None:
        """The response to these had this status in the end, whatever they were put with. Written once they are."""
        with self._lock:
            self._amended.update(dict.fromkeys(decisions, status))
        self._signal.set()

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until nothing is waiting, and whether that came to be. Blocks: call it on a thread."""
        until = time.monotonic() + seconds
        while self._due and time.monotonic() < until and self._thread.is_alive():
            self._signal.set()
            time.sleep(0.002)
        return not self._due

    def close(self, seconds: float = 5.0) -> int:
        """Write what is waiting, as far as that goes within ``seconds``, and stop; how many were lost."""
        if self._deadline is None:
            self._deadline = time.monotonic() + seconds
            self._signal.set()
            self._thread.join(seconds + 1.0)
            lost, self._over = self.waiting, True
            self.dropped += lost
            self._tell(tuple(self._waiting_for), False)
            if lost:
                log.error("the decision log closed with %d decisions unwritten", lost)
            return lost
        return 0

    @property
    def _due(self) -> bool:
        return bool(self.waiting or self._amended)

    @property
    def stopped(self) -> bool:
        """Whether its thread is done with the database."""
        return not self._thread.is_alive()

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        _stand_back()
        try:
            while self._wait():
                self._encode()
                self._write()
                if self._retention is not None and not self._pause:
                    self._forget(self._retention)
        finally:
            self._over = True
            self._tell(tuple(self._waiting_for), False)

    def _wait(self) -> bool:
        """Until a batch is there, or as much as came in 50 ms, or it is time to forget. False at the end."""
        if not self._due:
            self._idle = True
            if not self._queue and not self._amended and self._deadline is None:
                forget_in = None if self._retention is None else max(0.0, self._purge_at - time.monotonic())
                if not self._signal.wait(forget_in):
                    return True
            self._idle = False
            self._signal.clear()
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            time.sleep(max(0.0, min(self._pause, left)))
            return self._due and left > 0
        if self._pause or (len(self._queue) < BATCH and not self._waiting_for):
            self._gather(self._pause or GATHER)
        return True

    def _gather(self, seconds: float) -> None:
        """Wait so long, or until the signal; where the database is away, make rows of what comes meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._signal.wait(min(left, GATHER)):
            if self._pause:
                self._encode()
        self._signal.clear()

    def _encode(self) -> None:
        """Rows are small: what waits for a database that is away holds no tapes."""
        in_a_row = _IN_A_ROW if len(self._queue) <= BATCH else _BEHIND
        for made in range(1, len(self._queue) + 1):
            if not made % in_a_row:
                time.sleep(0)
            try:
                row = self._make(self._queue[0])
                self._rows.append(row)
                self._held += len(row[1])
            except (TypeError, ValueError, AttributeError, RecursionError) as error:
                self._fail(error, getattr(self._queue[0].record, "id", ""))
            self._queue.popleft()

    def _write(self) -> None:
        if self._rows and moved(self.engine.url, self._inode):
            self._hold("its file was moved or deleted while it was open; put it back, or start the server again")
            return
        while self._rows:
            batch = self._batch()
            try:
                lost = self._line.run(partial(self._put_in, batch), self._encode, self._note_late)
            except SQLAlchemyError as error:
                self._hold(cause(error))
                return
            for _, trace in batch:
                self._rows.popleft()
                self._held -= len(trace)
            self.written += len(batch) - lost
            self._tell((row[0] for row, _ in batch), True)
            self._goes_on()
        if self._amended:
            self._amend()

    def _amend(self) -> None:
        """Of what is in the database by now."""
        with self._lock:
            coming = {entry.record.id for entry in self._queue}
            due = {decision: status for decision, status in self._amended.items() if decision not in coming}
        if not due:
            return
        statement = update(DECISIONS).where(DECISIONS.c.id == bindparam("which")).values(status=bindparam("said"))

        def put_in() -> None:
            with for_writing(self.engine).begin() as connection:
                connection.execute(statement, [{"which": which, "said": said} for which, said in due.items()])

        try:
            self._line.run(put_in, self._encode, self._note_late)
        except SQLAlchemyError as error:
            self._hold(cause(error))
            return
        with self._lock:
            for decision in due:
                del self._amended[decision]
        self._goes_on()

    def _goes_on(self) -> None:
        if self._pause:
            self._pause = 0.0
            log.warning("the decision log can be written again; %d decisions were dropped so far", self.dropped)

    def _batch(self) -> list[Row]:
        batch, text = [], 0
        for row in islice(self._rows, BATCH):
            batch.append(row)
            text += len(row[1])
            if text >= _BATCH_TEXT:
                break
        return batch

    def _put_in(self, batch: list[Row]) -> int:
        """Write a batch; how many of it the database does not take."""
        try:
            with for_writing(self.engine).begin() as connection:
                self._insert(connection, batch)
            return 0
        except BAD_ROW as error:
            if len(batch) == 1:
                self._fail(error, batch[0][0][0])
                return 1
        half = len(batch) // 2
        return self._put_in(batch[:half]) + self._put_in(batch[half:])

    def _note_late(self, late: bool) -> None:
        said = "does not answer: it is waited for" if late else "answers again"
        log.warning("the decision log %s %s", place(self.engine.url), said)

    def _hold(self, why: str) -> None:
        if not self._pause:
            log.warning("the decision log %s cannot be written, and is tried again: %s", place(self.engine.url), why)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or _FIRST_PAUSE)

    def _tell(self, decisions: Iterable[str], kept: bool) -> None:
        """Those who want to know, if they still do."""
        if not self._waiting_for:
            return
        for decision in decisions:
            told = self._waiting_for.pop(decision, None)
            if told is not None and told.set_running_or_notify_cancel():
                told.set_result(kept)

    def _fail(self, error: Exception, decision: str) -> None:
        self._tell((decision,), False)
        self.failed += 1
        if self.failed == 1:  # its message may quote what was to be written
            log.error("a decision could not be written: %s; more are only counted", type(error).__name__)

    def _forget(self, seconds: float) -> None:
        """One batch of what is too old; the next an hour later, or soon where there is more."""
        if time.monotonic() < self._purge_at:
            return
        try:
            purge = partial(retention.purge_some, self.engine, time.time() - seconds)
            gone = self._line.run(purge, self._encode)
        except GateError as error:
            gone = 0
            log.warning("old decisions could not be forgotten: %s", error)
        self._purge_at = time.monotonic() + (GATHER if gone == retention.BATCH else _PURGE_EVERY)
