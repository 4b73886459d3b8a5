"""The key file, read again when it changes, so that a key can be taken away without a restart.

It is read again too when a policy goes by another name: a key that names none may use all that are served.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import anyio

from gate.errors import ConfigError
from gate.proxy.file_watch import Sights, changed, sights_of
from gate.proxy.keys import Keys
from gate.proxy.policies import POLL
from gate.proxy.service import Service

log = logging.getLogger("gate.proxy.keys")


class KeyWatch:
    """Serves the keys of the file as it is now. One that cannot be used leaves those before in force, and is logged."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._path: Path | None = service.settings.keys if service.keys is not None else None
        self._poked = asyncio.Event()
        self._seen: Sights = {}
        self._policies: tuple[str, ...] | None = None

    def poke(self) -> None:
        """Look at once."""
        self._poked.set()

    async def run(self, *, every: float = POLL) -> None:
        """Until cancelled. The first look is at once: the file may have changed since the server read it."""
        while self._path is not None:
            await self.look()
            with anyio.move_on_after(every if self._service.settings.reload else None):
                await self._poked.wait()
            self._poked.clear()

    async def look(self) -> None:
        path = self._path
        if path is None:
            return
        now = await anyio.to_thread.run_sync(sights_of, [path], self._seen)
        policies = self._service.policies.names
        if not changed(self._seen, now) and policies == self._policies:
            return
        self._seen, self._policies = now, policies
        try:
            keys = await anyio.to_thread.run_sync(Keys.load, path, policies)
        except ConfigError as error:
            log.error("the changed key file cannot be used, the keys before stay in force: %s", error)
            return
        self._service.keys = keys
        log.info("the keys of the file are in force: %d", len(keys.clients))
