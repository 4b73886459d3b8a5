"""What the dashboard is told of the server it belongs to: who may look, which policies are live, how the log fares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from gate.guarantees.monitor import DriftMonitor
from gate.log.entries import Mode
from gate.types import Certificate

ADMIN, REVIEW = "admin", "review"
"""The roles that open the dashboard: an admin sees everything, a reviewer the queue and what its own key asked."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose key it is. ``policies`` are those whose decisions a reviewer is shown; None = of all."""

    name: str
    roles: frozenset[str]
    policies: frozenset[str] | None = None
    mark: str = ""
    """Tells this key from others of its name, before or after it; nothing of the key can be told from it."""

    @property
    def admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def welcome(self) -> bool:
        """Whether it has any business here."""
        return bool(self.roles & {ADMIN, REVIEW})

    def sees(self, policy: str) -> bool:
        return self.admin or self.policies is None or policy in self.policies


@dataclass(frozen=True, slots=True)
class LivePolicy:
    """A policy as it is served now."""

    name: str
    fingerprint: str
    max_error: float
    """The promise: the largest share of wrong answers among those that go out …"""
    confidence: float = 0.95
    """… and how surely."""
    mode: Mode = "enforce"
    certificate: Certificate | None = None
    void: tuple[str, ...] = ()
    """Why the certificate does not hold for what runs; empty when it does."""
    summary: str = ""
    ladder: tuple[str, ...] = ()
    """The upstreams, the first to draft first."""
    monitor: DriftMonitor | None = None
    """Where no log holds one."""


@dataclass(frozen=True, slots=True)
class LogHealth:
    """How the writing of the log fares in this process."""

    keep: Literal["scalars", "hashed", "text"]
    waiting: int = 0
    """Decisions in the queue, not yet written."""
    dropped: int = 0
    """Decisions that could not be kept since the server started."""
    problem: str = ""
    """Why nothing can be written just now; "" when all is well."""


class Serving(Protocol):
    """What is live. Called while a page is made, on the event loop: it must not block."""

    def policies(self) -> Sequence[LivePolicy]:
        """The default one first."""
        ...

    def log_health(self) -> LogHealth | None:
        """None where no log is kept."""
        ...

    def viewer(self, name: str) -> Viewer | None:
        """What the key of this name may do now; None once it is gone. Its sessions then end with the
        next click; so do they once another key has its name, which is to have another ``mark``."""
        ...
