"""What a policy file says of whoever is asked: models, retrievers, people. Their kinds check the rest."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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


class UpstreamSettings(EndpointSettings):
    """A model endpoint."""

    price: PriceSettings = PriceSettings()
    """Where it is not given, a kind that has a list of prices (``litellm``) looks it up; others charge nothing."""


class EmbedderSettings(UpstreamSettings):
    """A model that makes vectors of texts. Keys beyond these are the options of its ``kind``."""


class JudgeSettings(UpstreamSettings):
    """A model that says what follows from what. Keys beyond these are the options of its ``kind``."""


class RetrieverSettings(EndpointSettings):
    """Where passages are found. Keys beyond these are the options of its ``kind``."""

    path: str | None = None
    """Of a kind that reads a file."""


class PersonSettings(EndpointSettings):
    """Who takes over where gate gives up. Keys beyond these are the options of its ``kind``."""
