"""What came of the policies of replicas: each says it in a store of the cluster, while a rollout asks for it.

A replica that starts or comes back later says nothing, so nothing gathers there between two rollouts.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("gate.deploy")

_ASKED = ":asked"
"""The key of the mark of the rollout that asks now. All others are ids of replicas, which have no colon."""
_LOOK_EVERY = 0.2


class Store(Protocol):
    """A namespace of the cluster's own store."""

    def put(self, key: str, value: bytes) -> None: ...

    def get(self, key: str) -> bytes | None: ...

    def listed(self) -> Sequence[str]: ...

    def delete(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Reports:
    """Those in a store. ``faults``: what the store raises where it cannot be reached or refuses."""

    store: Store
    faults: tuple[type[Exception], ...] = (OSError, ValueError)

    def open(self, asked: str) -> None:
        """From now on replicas that are asked by this mark are to say what came of it."""
        self.store.put(_ASKED, asked.encode())

    def say(self, replica: str, asked: str, refused: str) -> None:
        """By a replica: why it does not serve what it was asked to, "" where it does. Raises nothing."""
        try:
            if self.store.get(_ASKED) == asked.encode():
                self.store.put(replica, json.dumps({"asked": asked, "refused": refused}).encode())
        except self.faults as error:
            log.warning("cannot tell the cluster what came of the policies: %s", type(error).__name__)

    def collect(
        self, asked: str, running: Callable[[], Set[str]], *, seconds: float
    ) -> tuple[Sequence[str], Sequence[str]]:
        """What running replicas refused, and the ids of those that did not say within ``seconds``."""
        said: dict[str, str] = {}
        until = time.monotonic() + seconds
        while True:
            here = running()
            for replica in here - said.keys():
                refused = self._said(replica, asked)
                if refused is not None:
                    said[replica] = refused
            silent = sorted(here - said.keys())
            if not silent or time.monotonic() >= until:
                return sorted({said[replica] for replica in here & said.keys()} - {""}), silent
            time.sleep(_LOOK_EVERY)

    def close(self, asked: str) -> None:
        """Nobody is to say anything any more; forgets what was said. Of another rollout that asks by now, nothing."""
        try:
            ours = self.store.get(_ASKED) == asked.encode()
            if ours:
                self.store.delete(_ASKED)
            for key in self.store.listed():
                if key != _ASKED and (ours or self._said(key, asked) is not None):
                    self.store.delete(key)
        except self.faults as error:
            log.warning("cannot clear what replicas told the cluster: %s", type(error).__name__)

    def _said(self, replica: str, asked: str) -> str | None:
        """None where it has not said what came of this request."""
        report = json.loads(self.store.get(replica) or b"{}")
        return str(report["refused"]) if report.get("asked") == asked else None
