"""Run the application in one process, or in several on one port.

Several are uvicorn's supervisor: its workers are spawned, not forked, and listen on one socket that the supervisor
opened, so that what waits to be accepted is not lost with a worker. On SIGTERM and SIGINT they stop accepting and
finish what was started. It lacks what is added here. A worker that dies is started again at once the first time and
later and later after that, and counted; one that cannot start ends the server only if none ever could, for a policy
file that was broken since must not take down those that serve. SIGHUP reaches the workers and replaces none. A worker
that does not end in time is killed, and workers do not outlive a supervisor that was.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from gate.errors import ConfigError, GateError
from gate.proxy.sd_notify import notify
from gate.proxy.settings import ServerSettings

log = logging.getLogger("gate.proxy.workers")
GRACE = 20
"""Seconds a stopping server gives requests under way."""
MakeApp = Callable[[], ASGIApp]
_CLOSING = 10
"""Seconds beyond `GRACE` for what an application does at its end: writing out its log, say."""
_LONG = 60.0
"""Seconds after which a worker that dies counts as one that had worked."""
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0


def run(
    make_app: MakeApp,
    settings: ServerSettings,
    *,
    log_config: Mapping[str, Any] | None = None,
    on_restart: Callable[[], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then finish what was started, and close. TLS is the front server's work.

    ``make_app`` is called in each worker; where there are several it must be importable: a function of a module, or a
    `functools.partial` of one. ``on_restart`` is called in the supervisor. ``options`` go to uvicorn. Raises
    `ConfigError` where no worker can start, or the port cannot be had.
    """
    config = uvicorn.Config(
        _Worker(make_app, settings.workers > 1),
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=dict(log_config) if log_config is not None else uvicorn.config.LOGGING_CONFIG,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        server_header=False,
        **(options or {}),
    )
    with _ending_well():
        if settings.workers == 1:
            _Server(config).run()
            return
        supervisor = _Supervisor(config, [config.bind_socket()], on_restart)
        supervisor.run()
        if not supervisor.ever_ready and supervisor.failed:
            raise ConfigError("no worker could start; the log above says why")


@contextlib.contextmanager
def _ending_well() -> Iterator[None]:
    """What uvicorn does at its end, as a command does it: the signal that stopped it, which it raises again once it has
    shut down in good order, is no failure; and where it could not start, that is an error like any other."""
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)) if ours else None
    try:
        yield
    except KeyboardInterrupt:
        pass
    except SystemExit as error:
        if error.code == STARTUP_FAILURE:
            raise ConfigError("the server could not start; the log above says why") from None
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Makes the application in the process that serves it."""

    make_app: MakeApp
    one_of_several: bool

    def __call__(self) -> ASGIApp:
        if os.name == "posix":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the application listens to it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        if not self.one_of_several:
            return self.make_app()
        threading.Thread(target=_end_with_parent, name="gate-parent", daemon=True).start()
        try:
            return self.make_app()
        except GateError as error:
            log.error("a worker cannot start: %s", error)
            sys.exit(STARTUP_FAILURE)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Server(uvicorn.Server):
    """One that tells systemd how it is."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            notify("READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        await super().shutdown(sockets)


@dataclass(slots=True)
class _Life:
    """Of the worker at one place."""

    began: float
    deaths: int = 0
    """In a row, each soon after its start."""
    due: float | None = None
    """When the next is to be started, where there is none."""

    def died(self, now: float) -> float:
        """Seconds until the next."""
        self.deaths = 1 if now - self.began > _LONG else self.deaths + 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (self.deaths - 2)) if self.deaths > 1 else 0.0
        self.due = now + delay
        return delay


class _Process(Process):
    """A worker that SIGHUP cannot end before it knows what to do about it: it begins with the signal held back."""

    def start(self) -> None:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


class _Supervisor(Multiprocess):
    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], on_restart: Callable[[], None] | None
    ) -> None:
        super().__init__(config, sockets)
        self.ever_ready = False
        self.failed = False
        """Whether a worker could not start."""
        self._on_restart = on_restart
        self._lives: dict[int, _Life] = {}

    def init_processes(self) -> None:
        self.processes = [_Process(self.config, self.sockets) for _ in range(self.processes_num)]
        for process in self.processes:
            process.start()

    def keep_subprocess_alive(self) -> None:
        self._ask_ready()
        now = time.monotonic()
        for place, process in enumerate(self.processes):
            life = self._lives.setdefault(place, _Life(now))
            if process.process.is_alive():
                continue
            if life.due is None:
                process.join()
                if process.exitcode == STARTUP_FAILURE:
                    self.failed = True
                    if not self.ever_ready:
                        self.should_exit.set()
                        return
                delay = life.died(now)
                log.error("worker %s died (%s); another starts in %.1f s", process.pid, process.exitcode, delay)
            if life.due is not None and life.due <= now:
                life.due, life.began = None, now
                self.processes[place] = _Process(self.config, self.sockets)
                self.processes[place].start()
                if self._on_restart is not None:
                    self._on_restart()

    def _ask_ready(self) -> None:
        if not self.ever_ready and any(process.is_ready(timeout=0.1) for process in self.processes):
            self.ever_ready = True
            notify("READY=1")

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)

    def terminate_all(self) -> None:
        notify("STOPPING=1")
        for sock in self.sockets:
            sock.close()  # else clients would wait for an answer to what nobody accepts any more
        super().terminate_all()

    def join_all(self) -> None:
        until = time.monotonic() + GRACE + _CLOSING
        for process in self.processes:
            process.process.join(max(0.0, until - time.monotonic()))
            if process.process.is_alive():
                log.error("worker %s did not end in time and is killed", process.pid)
                process.process.kill()
                process.process.join()
