"""What a policy file says of whoever is asked: models, retrievers, people. Their kinds check the rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _unset(value: object) -> bool:
    return not value


def _off(value: Any) -> Any:
    """``off`` is false to YAML 1.1, and a word to later ones."""
    return None if value is False or value == "off" else value


def _moment(value: Any) -> Any:
    sound = value == "p95" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 3600)
    if not sound:
        raise ValueError("must be seconds above 0, or p95")
    return value


class BreakerSettings(BaseModel):
    """When an endpoint that fails is left alone for a while (a circuit breaker; Nygard, Release It!, 2007).

    What counts is the server's fault: it cannot be reached, breaks off, says nothing for as long as it may, answers
    with a status of 500 or above, or with broken JSON. What it refuses (4xx, 429) does not count. A request counts once
    with all its retries, and so do requests for the same that arrived. Where it replies, the request may be to blame,
    which must not shut it to all others: then many different ones have to fail, and hardly any other be answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    failures: int = Field(default=5, ge=1)
    """So many without a reply in a row, and it is left alone."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Or this share of the last calls,"""
    within: float = Field(default=30, gt=0, le=3600)
    """of those over so many seconds,"""
    least: int = Field(default=20, ge=1)
    """once there were so many."""
    errors: int = Field(default=10, ge=1)
    """Or so many different ones in a row, over a tenth of that time, failed with a reply or without, and nine of ten of
    the last calls did."""
    seconds: float = Field(default=10, gt=0, le=3600)
    """It is left alone so long, then one call tries it; each time in vain it is twice as long,"""
    most_seconds: float = Field(default=120, gt=0, le=3600)
    """and never longer than this."""

    @model_validator(mode="after")
    def _growing(self) -> Self:
        if self.most_seconds < self.seconds:
            raise ValueError("most_seconds must not be less than seconds")
        return self


class HedgeSettings(BaseModel):
    """When a request that has no reply yet is sent once more (Dean and Barroso 2013, The Tail at Scale).

    Only what would be answered alike is: answers at temperature 0, embeddings, entailment, searches. Of two answers
    that were sampled the faster is the shorter one more often than not, and no certificate holds for those.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[float | Literal["p95"], BeforeValidator(_moment)] = "p95"
    """Seconds; or when 95 of 100 of its replies were there, lately."""
    share: float = Field(default=0.05, gt=0, le=0.5)
    """Of the last 1000 requests that may be sent twice, at most this share is."""


_BREAKER = BreakerSettings()


def _usual(value: object) -> bool:
    return value == _BREAKER


class PriceSettings(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(default=0, ge=0)
    completion: float = Field(default=0, ge=0)


class EndpointSettings(BaseModel):
    """Whoever is asked. Keys beyond these are the options of its ``kind`` and are checked by it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    timeout: float = Field(default=30, gt=0, le=3600)
    """Seconds for one call, retries included."""


class FallibleSettings(EndpointSettings):
    """Whoever may be left alone while it fails, or asked twice."""

    breaker: Annotated[BreakerSettings | None, BeforeValidator(_off)] = Field(default=_BREAKER, exclude_if=_usual)
    """``off``: it is asked however often it fails."""
    hedge: Annotated[HedgeSettings | None, BeforeValidator(_off)] = Field(default=None, exclude_if=_unset)
    """Not of what runs in this process."""


class UpstreamSettings(FallibleSettings):
    """A model endpoint."""

    price: PriceSettings = PriceSettings()
    """Where it is not given, a kind that has a list of prices (``litellm``) looks it up; others charge nothing."""


class EmbedderSettings(UpstreamSettings):
    """A model that makes vectors of texts. Keys beyond these are the options of its ``kind``."""


class JudgeSettings(UpstreamSettings):
    """A model that says what follows from what. Keys beyond these are the options of its ``kind``."""


class RetrieverSettings(FallibleSettings):
    """Where passages are found. Keys beyond these are the options of its ``kind``."""

    path: str | None = None
    """Of a kind that reads a file."""


class PersonSettings(EndpointSettings):
    """Who takes over where gate gives up. Keys beyond these are the options of its ``kind``."""
