"""What the decision log is told of one request: the trace, and what happened around it on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.traces import TraceRecord
from gate.types import Generation

Mode = Literal["enforce", "observe"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that was decided, or failed while it was."""

    record: TraceRecord
    door: str = "chat"
    """Where it came in: ``chat``, ``responses``, ``messages``, ``guardrail``."""
    key: str = ""
    """The name of the client's key; "" where there are no keys."""
    request_id: str = ""
    """The caller's, or gate's own."""
    mode: Mode = "enforce"
    """``observe``: the first model's draft went out, whatever ``record.action`` says."""
    streamed: bool = False
    status: int = 200
    """Of the HTTP response, or of the error that ended its stream; 499 where nobody was there to read it any more."""
    retracted: bool = False
    """Whether text had been sent that was then withdrawn."""
    audit: float | None = None
    """The probability with which it was drawn for a person to check; None where it was not drawn."""
    full_evidence: bool = False
    """Whether all evidence was gathered, whatever the rule would have bought."""
    seconds: float = 0.0
    """From when the whole request was there to the last byte of its response, or until it was given up. What is done
    after the response, such as judging where a policy observes, is not in it."""
    sent: Generation | None = None
    """With ``observe``: the draft that went out."""
