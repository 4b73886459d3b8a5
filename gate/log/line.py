"""The way of one writer to its database, where a database or a network that says nothing any more holds nothing up.

A connection whose other end is gone without a word (a machine that froze, a router that forgot it, a failover) would
be waited for as long as the system's timeouts are, up to hours. So what takes long is told of, and what takes longer is
cut off: whoever waits for it is told at once, and the next try goes by a new connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError

from gate.errors import GateError
from gate.log.address import is_sqlite
from gate.postgres_wire import sever

T = TypeVar("T")
LATE = 2.0
"""Seconds after which a database that does not answer counts as away."""
PATIENCE, _MOST_PATIENCE = 15.0, 120.0
"""Seconds after which a connection is cut; each time in a row twice as many, for a large batch on a slow line."""
_LOOK = 0.05


class Line:
    """Of one writer, who alone uses the engine. One thing at a time goes by it."""

    def __init__(self, engine: Engine) -> None:
        self.late = False
        """Whether something has been waited for longer than `LATE`."""
        self._patience = PATIENCE
        self._open: WeakSet[Any] = WeakSet()
        self._opening = threading.Lock()
        if not is_sqlite(engine.url):  # SQLite sets an end to its waiting itself
            event.listen(engine, "connect", self._opened, insert=True)  # the first thing done with it may get no answer

    def _opened(self, connection: Any, _: object) -> None:
        with self._opening:
            self._open.add(connection)

    def run(
        self, work: Callable[[], T], meanwhile: Callable[[], object], tell: Callable[[bool], object] | None = None
    ) -> T:
        """What ``work`` returns, done on a thread of its own; ``meanwhile`` goes on here, every 50 ms. ``tell`` is
        called with True once it is `late`, and with False when it came after all; without it the work may take its
        time, and is never late. Raises what work raises: an error of the database, or `GateError`.
        """
        doing = _Doing(work)
        began = cut = time.monotonic()
        patience = _MOST_PATIENCE if tell is None else self._patience
        while not doing.over.wait(_LOOK):
            meanwhile()
            now = time.monotonic()
            if tell is not None and not self.late and now - began > LATE:
                self.late = True
                tell(True)
            if now - cut > patience:
                cut = now
                patience = self._patience = min(_MOST_PATIENCE, 2 * patience)
                self._cut()
        late, self.late = self.late, False
        done = doing.done()
        if tell is not None:
            self._patience = PATIENCE
            if late:
                tell(False)
        return done

    def _cut(self) -> None:
        with self._opening:
            held = [*self._open]
        for connection in held:
            sever(connection)


class _Doing(Generic[T]):
    """One piece of work, on a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.over = threading.Event()
        self._work = work
        self._done: list[T] = []
        self._error: SQLAlchemyError | GateError | None = None
        threading.Thread(target=self._run, name="gate-log-batch", daemon=True).start()

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except (SQLAlchemyError, GateError) as error:
            self._error = error
        finally:
            self.over.set()

    def done(self) -> T:
        """Once it is over."""
        if self._error is not None:
            raise self._error
        if not self._done:  # its thread has told of the fault
            raise RuntimeError("what was to be written to the decision log was not")
        return self._done[0]
