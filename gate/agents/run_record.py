"""What is kept of a run: its steps, what they spent, and what has been done that cannot be undone. Plain JSON.

The arguments of calls are kept only where text is asked for; a digest of each call stands in their place, by which a
run that goes on in another process still makes no irreversible call twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from gate.agents.ledgers import RecordedStep, chance_of_error
from gate.agents.verdict import ToolVerdict
from gate.errors import ConfigError

Came = Literal["", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class RunStep:
    """One verdict of a run and what came of it."""

    number: int
    """From 0."""
    verdict: ToolVerdict
    digest: str
    """Of the tool and its arguments (`gate.agents.call_digest`)."""
    spent: float = 0.0
    """Risk; 0 unless the gate approved it."""
    by_person: bool = False
    """Whether a person has decided it: then no risk of the gate's is spent."""
    came: Came = ""
    """``running``, ``done`` or ``failed`` once the tool was called; "" before, and where it was not."""
    at: str = ""
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it stands. ``limit`` is None where nothing limits it."""

    id: str
    gate: str
    """Fingerprint of the gate that judges it."""
    ledger: str
    max_risk: float
    confidence: float | None
    limit: float | None
    spent: float
    stopped: str
    """The reason; "" while it may go on."""
    steps: tuple[RunStep, ...]
    begun: tuple[str, ...] = ()
    """Digests of irreversible calls that were made, or at least begun."""
    version: Literal[1] = 1

    def dump(self, *, text: bool = False) -> str:
        """As JSON. Without ``text`` no argument's value is in it."""
        kept = self if text else replace(self, steps=tuple(_without_text(step) for step in self.steps))
        return _RECORD.dump_json(kept).decode()

    @classmethod
    def load(cls, text: str | bytes) -> RunRecord:
        """Raises `ConfigError` for what is no record of a run."""
        try:
            return _RECORD.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"no record of a run: {place or 'text'}: {first['msg']}") from None

    def recorded(self, wrong: set[int] | frozenset[int]) -> tuple[RecordedStep, ...]:
        """Its approved steps, for `RunHistory.of`; ``wrong``: the numbers of those that were wrong calls. Steps that a
        person or another gate has approved are left out: they say nothing of this gate.

        Raises `ValueError` for a number that is no approved step's.
        """
        approved = [step for step in self.steps if self._own(step)]
        strange = wrong - {step.number for step in approved}
        if strange:
            raise ValueError(f"no approved step of the run has the numbers {sorted(strange)}")
        return tuple(
            RecordedStep(chance_of_error(step.verdict), step.number in wrong, step.verdict.cost) for step in approved
        )

    def _own(self, step: RunStep) -> bool:
        return step.verdict.approved and not step.by_person and step.verdict.gate == self.gate


_RECORD = TypeAdapter(RunRecord)


def _without_text(step: RunStep) -> RunStep:
    return replace(step, verdict=replace(step.verdict, call=replace(step.verdict.call, arguments="")))
