"""The file of a server: which policies it serves to whom, its limits, its log. Read by ``gate serve --config``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gate import yaml_lines
from gate.state.address import holds_password

_FILE = "server file"
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
    """The longest that one may wait; one that would wait longer, as things go, is refused at once."""


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
    durable: bool = False
    """Whether a response waits until its decision is in the database, and is 503 where it cannot be: whatever kills the
    server then, no decision that anyone was told of is missing. Every stream is held until then, whatever its policy
    says. A policy that observes waits for nothing."""
    durable_seconds: float = Field(default=5, gt=0, le=600)
    """The longest it waits."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if self.url and self.url_env:
            raise ValueError("give url or url_env, not both")
        if self.durable and not (self.url or self.url_env):
            raise ValueError("durable needs a log: give url or url_env")
        return self

    @property
    def holds_text(self) -> bool:
        return self.keep == "text" and bool(self.url or self.url_env)


class SharedSettings(_Part):
    """A store that the servers of several machines share: the limits of keys hold over all of them together."""

    url: str = ""
    """``redis://…``, ``rediss://…``, ``unix://…`` (of a Redis) or ``postgresql://…``, without a password."""
    url_env: str | None = None
    """The environment variable that holds the address, where it holds a password."""
    prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "gate"
    """What the keys in Redis begin with, or the schema in PostgreSQL, which keeps ``pg_…`` to itself."""
    timeout: float = Field(default=0.25, gt=0, le=10)
    """The longest that a request waits for it, in seconds."""
    when_down: Literal["refuse", "local"] = "refuse"
    """Answer 503 to keys with limits, or have each worker count alone: of N workers a key gets up to N times its limit.
    """
    lease: float = Field(default=15, ge=1, le=3600)
    """Seconds after which what a machine that is gone had under way counts no more."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if bool(self.url) == bool(self.url_env):
            raise ValueError("give url or url_env, one of both")
        if holds_password(self.url):
            raise ValueError("url holds a password: put it into the environment, and give the variable's name: url_env")
        return self


class IdempotencySettings(_Part):
    """What is kept of requests with an ``Idempotency-Key``, so that a repeat gets the same response."""

    enabled: bool = True
    """Whether the header means anything. A response is kept only where its client asked for that by sending one, and
    sealed with what the store does not hold."""
    ttl_hours: float = Field(default=24, gt=0, le=24 * 366)
    max_bytes: int = Field(default=2**20, ge=1024, le=64 * 2**20)
    """Of a response, its events where it streams. A larger one is not kept, and its repeat is refused."""
    wait_seconds: float = Field(default=60, ge=0, le=3600)
    """The longest that a repeat waits for the first."""
    lease: float = Field(default=15, ge=1, le=3600)
    """Seconds after which what a worker that is gone had under way may be tried anew."""
    secret_env: str | None = None
    """The environment variable that holds a secret of all servers with one store. With it not even a key that can be
    guessed opens what is kept."""


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
    shared: SharedSettings | None = None
    """Where those counters are kept instead, for several machines."""
    idempotency: IdempotencySettings = IdempotencySettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    webhook: WebhookSettings | None = None
    dashboard: bool = True
    trust_forwarded: bool = False
    """Whether a front server that is trusted sets X-Forwarded-For, -Proto and -Host: the dashboard goes by them."""
    reload: bool = True
    """Whether policy and key files are read again when they change."""

    @model_validator(mode="after")
    def _written_once(self) -> Self:
        if self.log.durable and self.audit.full_evidence:
            said = "a decision that is written before its answer leaves cannot hold what is gathered after"
            raise ValueError(f"log.durable and audit.full_evidence do not go together: {said}")
        return self


def read_settings(path: Path) -> ServerSettings:
    """The settings in a YAML file. Raises `ConfigError`, with file and line.

    Policies, keys and state that are relative paths are so to the file.
    """
    data, lines = yaml_lines.read(path, _FILE)
    return _beside(yaml_lines.checked(ServerSettings, data, lines), path.parent)


def settings_of(text: str, path: Path) -> ServerSettings:
    """The same of a text that is taken for that of the file at ``path``."""
    data, lines = yaml_lines.parsed(text, path, _FILE)
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
