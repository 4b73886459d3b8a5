"""The file of a server: which policies it serves to whom, its limits, its log. Read by ``gate serve --config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gate import yaml_lines

Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitSettings(_Part):
    """What a client may ask of the server, whoever it is."""

    body_bytes: int = Field(default=16 * 2**20, ge=1024)
    header_bytes: int = Field(default=32 * 2**10, ge=1024)
    read_seconds: float = Field(default=30, gt=0)
    """The longest a client may take to send its request."""
    concurrency: int = Field(default=256, ge=1)
    """Requests worked on at once, in each worker; more wait."""
    waiting: int = Field(default=512, ge=0)
    """Requests that may wait for their turn; more get 503 and Retry-After."""
    wait_seconds: float = Field(default=10, gt=0)


class LogSettings(_Part):
    """The decision log."""

    url: str = ""
    """``sqlite:///decisions.db`` or ``postgresql://…``; "" keeps none."""
    url_env: str | None = None
    """The environment variable that holds the address, where it holds a password."""
    keep: Literal["scalars", "hashed", "text"] = "scalars"
    """Numbers and reasons; beside them a hash of the question; or question, answer and all that was replied."""
    retention_days: float | None = Field(default=90, gt=0)
    queue: int = Field(default=10_000, ge=1)
    when_full: Literal["drop", "refuse"] = "drop"
    """Count what cannot be kept, or answer 503 rather than decide unlogged."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if self.url and self.url_env:
            raise ValueError("give url or url_env, not both")
        return self

    @property
    def holds_text(self) -> bool:
        return self.keep == "text" and bool(self.url or self.url_env)


class AuditSettings(_Part):
    """What is drawn at random, so that the promise can be checked and later policies be judged."""

    share: Probability = 0.05
    """Of the decisions on a draft, sent or not, drawn for a person to check."""
    counts: Literal["drawn", "all"] = "drawn"
    """Which labels the drift monitor counts. ``drawn``: reviews (of keys with the role review or admin) of decisions
    that were drawn; what users volunteer is kept beside them. ``all``: any, only where every answer gets one."""
    full_evidence: Probability = 0.0
    """Of the requests, for which all evidence is gathered after the answer has left: it costs calls."""


class WebhookSettings(_Part):
    """Whom to tell when the promise is broken. The body is signed where there is a secret."""

    url: Text
    secret_env: str | None = None
    seconds: float = Field(default=10, gt=0)


class ServerSettings(_Part):
    """One server."""

    policies: tuple[Text, ...] = Field(default=("balanced",), min_length=1)
    """Shipped ones by name, or files; the first is the default."""
    host: str = "127.0.0.1"
    port: int = Field(default=8800, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    keys: Path | None = None
    """The file of client keys; without one the server listens on loopback only."""
    state: Path | None = None
    """A folder for what workers share and restarts must not lose: counters of rates and spending."""
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    webhook: WebhookSettings | None = None
    dashboard: bool = True
    trust_forwarded: bool = False
    """Whether a front server that is trusted sets X-Forwarded-For, -Proto and -Host: the dashboard goes by them."""
    reload: bool = True
    """Whether policy and key files are read again when they change."""


def read_settings(path: Path) -> ServerSettings:
    """The settings in a YAML file. Raises `ConfigError`, with file and line.

    Policies, keys and state that are relative paths are so to the file.
    """
    data, lines = yaml_lines.read(path, "server file")
    return _beside(yaml_lines.checked(ServerSettings, data, lines), path.parent)


def _beside(settings: ServerSettings, folder: Path) -> ServerSettings:
    def placed(source: str) -> str:
        path = Path(source)
        return str(folder / path) if path.suffix in {".yaml", ".yml"} or path.parent != Path() else source

    return settings.model_copy(
        update={
            "policies": tuple(map(placed, settings.policies)),
            "keys": settings.keys and folder / settings.keys,
            "state": settings.state and folder / settings.state,
        }
    )
