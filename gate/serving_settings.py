"""What a policy says about serving it: whether it is enforced or observes, how answers stream, what a refusal is.

None of it bears on a decision, so none of it enters a fingerprint.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrefixSettings(_Part):
    """Confidence on the growing text (FineCE, Han et al. 2025): where it is asked, and what is done about it."""

    positions: Literal["sentence", "tokens", "entropy"] = "sentence"
    """At the end of each sentence, every ``every`` tokens, or where the entropy of a token is above ``entropy``."""
    every: int = Field(default=30, ge=1)
    entropy: float = Field(default=1.5, gt=0)
    """In nats, over the likeliest tokens listed."""
    release_at: Probability = 0.9
    """From this confidence on, the whole sentences written so far are sent."""
    stop_below: Probability = 0.05
    """Below it the writing is stopped: the answer is doomed."""
    calibrator: str = ""
    """A file that tuning wrote beside the policy."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.stop_below >= self.release_at:
            raise ValueError("'stop_below' must be below 'release_at'")
        return self


class ServingSettings(_Part):
    """How a policy is served."""

    mode: Literal["enforce", "observe"] = "enforce"
    """``observe``: answers go out as the first model gives them, and what gate would have done is only recorded."""
    enforced_share: Probability = 0.0
    """With ``observe``: the share of requests, drawn at random, on which the policy is enforced all the same."""
    streaming: Literal["hold", "prefix", "annotate"] = "hold"
    """``hold``: judged first, streamed after. ``prefix``: sentences are sent once they are safe. ``annotate``: streamed
    at once, with the verdict in the last chunk."""
    keep_alive: float = Field(default=10.0, ge=0.01, le=600)
    """Seconds without an event after which a streaming client is sent a comment."""
    prefix: PrefixSettings | None = None
    abstention: Literal["completion", "error"] = "completion"
    """What an abstention is on the wire: a normal completion, or HTTP 422 for programs that prefer errors."""
    refusal_in: Literal["refusal", "content", "both"] = "refusal"
    """Where its text stands in the message."""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.streaming == "prefix" and (self.prefix is None or not self.prefix.calibrator):
            raise ValueError("'streaming: prefix' needs 'prefix' with a 'calibrator'")
        if self.enforced_share and self.mode != "observe":
            raise ValueError("'enforced_share' goes with 'mode: observe'")
        return self
