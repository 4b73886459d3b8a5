"""What a decision log gives back: rows as they were kept, and what it can be asked. Times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gate.guarantees.monitor import DriftMonitor
from gate.log.entries import Mode
from gate.traces import TraceRecord
from gate.types import JsonObject

Source = Literal["feedback", "review"]


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody says of a decision."""

    decision: str
    """Its id."""
    correct: bool | None
    """Of the decision's `Kept.answer`; None where that cannot be told."""
    by: str
    """The name of the key that said so."""
    source: Source = "feedback"
    """``review``: of somebody who labels because they were asked to, the key having that role or ``admin``. Only these
    stand for chance; ``feedback`` is volunteered, and who complains is no random sample."""
    at: float = 0.0
    note: str = ""
    answer: str = ""
    """What would have been right."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One decision as it was kept. What the log's level does not keep is empty or None."""

    id: str
    at: float
    door: str
    key: str
    request_id: str
    policy: str
    policy_fingerprint: str
    certified: bool
    mode: Mode
    action: str
    """"" where an error ended it."""
    reason: str
    stage: str
    p: float | None
    """Of ``answer``, as is ``threshold``."""
    threshold: float | None
    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    seconds: float
    status: int
    error: str
    streamed: bool
    retracted: bool
    audit: float | None
    full_evidence: bool
    question_hash: str
    question: str
    answer: str
    """What is labelled: where gate observes the first draft, which went out; else the last one, sent or not."""
    further: bool = False
    """Whether ``action`` is about another draft than ``answer``: the first went out, and gate would have gone on."""
    explanation: JsonObject = field(default_factory=dict)
    """As `gate.log.explain.explanation` gives it; only from ``find``."""
    label: Label | None = None
    """The latest review or, where there is none, the latest feedback."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which decisions: None, or "", leaves a field open. ``keys`` None = of all keys."""

    policy: str = ""
    action: str = ""
    keys: tuple[str, ...] | None = None
    since: float | None = None
    before: float | None = None
    """Older than this; with ``before_id`` where several are of the same time."""
    before_id: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the decisions of one policy, mode and action."""

    policy: str
    mode: Mode
    action: str
    count: int
    retracted: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    seconds: float
    """The mean."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A labelled decision, for diagrams: how sure gate was, whether it was right, and how likely it was to be drawn."""

    id: str
    p: float | None
    correct: bool
    action: str
    mode: Mode
    audit: float | None
    further: bool = False
    """See `Kept`."""
    reviewed: bool = False
    """Whether the label is a review: see `Label.source`."""

    @property
    def audit_counts(self) -> bool:
        """Whether chance alone decided that there is this label: it was drawn, and labelled for that."""
        return self.audit is not None and self.reviewed

    @property
    def let_through(self) -> bool:
        """Whether gate let the labelled draft through, or would have."""
        return self.action == "answer" and not self.further


class DecisionReader(Protocol):
    """Blocks: call it on a thread. Safe to share between threads. Raises `GateError` where the log cannot be read."""

    def recent(self, sought: Sought, limit: int = 50) -> Sequence[Kept]:
        """The newest first."""
        ...

    def find(self, decision: str) -> Kept | None: ...

    def trace(self, decision: str) -> TraceRecord | None:
        """The whole trace, as far as it was kept."""
        ...

    def waiting(self, limit: int = 50, after: str = "") -> Sequence[Kept]:
        """Drawn for a person to check and not reviewed yet, the oldest first, past the decision ``after``."""
        ...

    def waiting_count(self) -> int: ...

    def totals(self, sought: Sought) -> Sequence[Total]: ...

    def spent(self, since: float) -> Sequence[tuple[str, float, int]]:
        """By key: money and tokens."""
        ...

    def audited(self, policy: str, policy_fingerprint: str = "") -> Sequence[Audited]: ...

    def label(self, label: Label) -> bool:
        """Keep it, beside earlier ones of the same decision. False where there is no such decision."""
        ...

    def monitor(self, policy: str, policy_fingerprint: str) -> DriftMonitor | None: ...

    def update_monitor(
        self, policy: str, policy_fingerprint: str, wrong: bool, weight: float, fresh: DriftMonitor
    ) -> DriftMonitor:
        """The state after one more audited answer, kept; from ``fresh`` on where there is none yet. No two workers
        overwrite each other's."""
        ...
