"""What is kept of a question: every request and its reply, every step, and the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.types import (
    Action,
    Budget,
    Cost,
    Entailments,
    Generations,
    JsonObject,
    Outcome,
    Passage,
    Question,
    Step,
    Vectors,
)

STATES_NOT_KEPT = "internal states were not kept when this was recorded"
"""`Generation.no_states` of an answer whose states were dropped from its record."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An upstream or retriever error, as recorded: enough to raise it again in a replay."""

    upstream: str
    cause: str
    status: int | None = None
    timeout: bool = False
    said: str = ""
    """The server's own words, which may quote the user's."""


@dataclass(frozen=True, slots=True)
class TapeEntry:
    """One effect and its reply.

    ``key`` is a hash of what was asked; one of generations, passages, vectors, entailments, reference and failure is
    set.
    """

    key: str
    kind: str
    cost: Cost
    generations: Generations | None = None
    cap: int | None = None
    """The most tokens the budget left for each of the generations."""
    passages: tuple[Passage, ...] | None = None
    vectors: Vectors | None = None
    entailments: Entailments | None = None
    reference: str | None = None
    """Under which a person was handed the question."""
    failure: Failure | None = None
    family: str = ""
    """The hash of a request for several answers without their number: fewer of them can be told from the same reply,
    and as many in other parts from all replies of one `gate.effects.Draws`."""
    n: int = 1
    """How many answers were asked for."""
    to: str = ""
    """The name of who was asked."""
    began: float = 0.0
    """When, in seconds since 1970, UTC."""
    brought: bool = False
    """Whether it was brought along, and not asked for."""


@dataclass(frozen=True, slots=True)
class Brought:
    """How an answer was judged that somebody else had got: what a replay needs to know beside the tape."""

    upstream: str
    """In whose place it stood."""
    profile: JsonObject
    """What whoever gave it could do: the fields of `gate.ports.Profile`."""
    gather: bool | Literal["evidence"] = False
    """See `gate.given.Given`."""
    void: tuple[str, ...] = ()
    """Why no certificate held for it, whatever ran."""
    passages: tuple[Passage, ...] = ()
    """What it was written from."""
    more: bool = False
    """Whether its caller's code stood for the upstream: by what name that answers says nothing of the policy's own."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """Everything about one question. ``question``, ``tape`` and texts are kept only when text is asked for."""

    id: str
    started: str
    """UTC, ISO 8601."""
    policy: str
    policy_fingerprint: str
    certified: bool
    steps: tuple[Step, ...]
    question: Question | None = None
    tape: tuple[TapeEntry, ...] = ()
    outcome: Outcome | None = None
    error: str | None = None
    """The error that ended it, in gate's own words, when it did not end in an outcome."""
    action: Action | None = None
    cost: Cost = Cost()
    budget: Budget = Budget()
    """The caller's own, beside the policy's."""
    brought: Brought | None = None
    """Set where the answer was brought along."""
