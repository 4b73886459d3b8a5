"""Client keys: a file of hashes, who may do what with which, and finding out whose key a request brings.

A key is ``gate-`` and 256 random bits. Nobody guesses that, so one salted SHA-256 protects it as well as a password
hash, which would cost milliseconds of every request. All keys of a file share one salt, so that a request costs one
hash. It is compared with every entry, in constant time each and without stopping at the one that fits, so that the time
taken tells nothing of which keys there are; an entry costs 0.04 µs.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gate import yaml_lines
from gate.errors import ConfigError, RequestError, UnknownName
from gate.well_known_secrets import STAND_INS, WELL_KNOWN
from gate.yaml_lines import Lines

Role = Literal["ask", "feedback", "review", "admin", "metrics"]
"""None holds another: who may do everything has them all."""
ROLES: tuple[Role, ...] = get_args(Role)
ANY_MODEL = "*"
LONGEST = 256
"""Characters of a key; what is longer is refused before it is hashed."""
_MARK = 16
_HASH = re.compile(r"sha256:([A-Za-z0-9_-]{16,64}):([0-9a-f]{64})")
_BEARER = re.compile(r"bearer(?: +|$)", re.IGNORECASE)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(_Part):
    """The most a client may ask for; None: no limit. See `gate.proxy.counters` for what a minute is."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    """Requests under way at once, in all workers together."""


class Spend(_Part):
    """The most a client may spend, in US dollars, in one calendar day or month (UTC), or ever."""

    limit: float = Field(gt=0, le=1e9, allow_inf_nan=False)
    per: Literal["day", "month", "total"]


class KeyEntry(_Part):
    """One key of a key file."""

    name: Name
    """Shown in logs and on the dashboard."""
    hash: str
    policies: tuple[Name, ...] | None = Field(default=None, min_length=1)
    """The first is its default; None: all that the server has."""
    models: tuple[Text, ...] = ()
    """What it may ask endpoints for that are passed through."""
    rate: Rate = Rate()
    spend: Spend | None = None
    roles: tuple[Role, ...] = ("ask",)
    expires: Annotated[date, Field(strict=True)] | None = None
    """The first day, in UTC, on which it is no longer valid."""
    disabled: bool = False

    @field_validator("hash")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if not _HASH.fullmatch(value):
            raise ValueError("must be 'sha256:<salt>:<hex>', as 'gate keys new' writes it")
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return (ANY_MODEL,) if value == ANY_MODEL else value


class KeyFile(_Part):
    """A whole file."""

    keys: tuple[KeyEntry, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever brings a key."""

    name: str
    policies: tuple[str, ...] = ()
    """Of the server's, by name, the default first; none named: all of them."""
    models: tuple[str, ...] = ()
    rate: Rate = Rate()
    spend: Spend | None = None
    roles: frozenset[Role] = frozenset({"ask"})
    expires: date | None = None
    mark: str = field(default="", repr=False)
    """The start of its key's hash: tells a key from a later one of the same name."""

    def may(self, role: Role) -> bool:
        return role in self.roles


ANYONE = Client("anyone", models=(ANY_MODEL,), roles=frozenset(ROLES))
"""Who asks where no keys are kept: a server that listens on loopback only."""


class Keys:
    """The keys of one file. Immutable: a changed file is loaded anew."""

    def __init__(self, salt: str, entries: Sequence[tuple[KeyEntry, Client]]) -> None:
        self.salt = salt
        self._held = tuple((_digest(e.hash), e.disabled, _end(e.expires), client) for e, client in entries)
        self.clients = tuple(client for _, client in entries)
        """Of all entries, also those that are disabled or have expired."""

    @classmethod
    def load(cls, path: Path, policies: Sequence[str] = ()) -> Keys:
        """Read a key file strictly. Raises `ConfigError`, with file and line.

        ``policies`` are the server's, the default first: a key that names another is refused, and one that names none
        may use them all. Without them what keys name is taken as it is.
        """
        entries = entries_of(path, policies)
        return cls(_salt(entries[0].hash), [(entry, _client(entry, policies)) for entry in entries])

    def identify(self, authorization_header: str | None, x_api_key: str | None) -> Client | None:
        """Whose key it is; None where there is none, an unknown, disabled or expired one, or two that differ."""
        try:
            return self.authenticate(authorization_header, x_api_key)
        except RequestError:
            return None

    def authenticate(self, authorization_header: str | None, x_api_key: str | None) -> Client:
        """The same, or `RequestError` of status 401 that says why; what was presented is in no message."""
        found = self._found(_presented(authorization_header, x_api_key))
        if found is None:
            raise _refused("this key is not known here")
        disabled, end, client = found
        if disabled:
            raise _refused("this key is disabled")
        if time.time() >= end:
            raise _refused("this key has expired")
        return client

    def named(self, name: str) -> Client | None:
        """The client of a name, as long as its key is valid."""
        now = time.time()
        valid = (client for _, disabled, end, client in self._held if not disabled and now < end)
        return next((client for client in valid if client.name == name), None)

    def _found(self, key: str) -> tuple[bool, float, Client] | None:
        digest = hashlib.sha256(f"{self.salt}:{key}".encode()).digest()
        found = None
        for held, disabled, end, client in self._held:
            if hmac.compare_digest(held, digest):
                found = disabled, end, client
        return found


def entries_of(path: Path, policies: Sequence[str] = ()) -> tuple[KeyEntry, ...]:
    """What a key file holds, read as `Keys.load` reads it."""
    data, lines = yaml_lines.parsed(_text_of(path), path, "key file")
    _refuse_plain(data, lines)
    entries = yaml_lines.checked(KeyFile, data, lines).keys
    for error in _faults(entries, _salt(entries[0].hash), policies, lines):
        raise error
    return entries


def new_key() -> str:
    return f"gate-{secrets.token_urlsafe(32)}"


def new_salt() -> str:
    return secrets.token_urlsafe(18)


def hash_of(key: str, salt: str) -> str:
    """What a key file holds of a key."""
    return f"sha256:{salt}:{hashlib.sha256(f'{salt}:{key}'.encode()).hexdigest()}"


def _refused(why: str) -> RequestError:
    return RequestError(why, status=401, code="invalid_api_key")


def _presented(authorization: str | None, x_api_key: str | None) -> str:
    bearer = None
    if authorization is not None:
        scheme = _BEARER.match(authorization)
        if scheme is None:
            raise _refused("the header 'authorization' must be 'Bearer' and the key")
        bearer = authorization[scheme.end() :].strip(" ")
    given = [key for key in (bearer, None if x_api_key is None else x_api_key.strip(" ")) if key is not None]
    if not any(given):
        raise _refused("no key was given: send it as 'authorization: Bearer <key>' or 'x-api-key: <key>'")
    if given[0] != given[-1]:
        raise _refused("'authorization' and 'x-api-key' bring different keys: send one")
    key = given[0]
    if len(key) > LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise _refused("this is no key: a key is one word of printable ASCII")
    return key


def _salt(hashed: str) -> str:
    return hashed.split(":")[1]


def _digest(hashed: str) -> bytes:
    return bytes.fromhex(hashed.rsplit(":", 1)[1])


def _end(day: date | None) -> float:
    """Seconds since 1970 at which a key ends."""
    return float("inf") if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _client(entry: KeyEntry, policies: Sequence[str]) -> Client:
    return Client(
        entry.name,
        tuple(policies) if entry.policies is None else entry.policies,
        entry.models,
        entry.rate,
        entry.spend,
        frozenset(entry.roles),
        entry.expires,
        _digest(entry.hash).hex()[:_MARK],
    )


# --- reading -----------------------------------------------------------------------------------------------------


def _text_of(path: Path) -> str:
    """The text. Raises `ConfigError` also where others than the owner may write: they could let themselves in."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the key file: {error}", where=str(path)) from error
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        shown = stat.filemode(mode)
        raise ConfigError(f"others than its owner may write this key file ({shown}): chmod go-w", where=str(path))
    return text


def _refuse_plain(data: dict[str, Any], lines: Lines) -> None:
    """Before the schema, which would only say that there is no such field."""
    listed = data.get("keys")
    for number, entry in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(entry, dict) and "key" in entry:
            said = "a key itself must never stand in a file: make a new one with 'gate keys new', which keeps its hash"
            raise ConfigError(said, where=lines.where("keys", number, "key"))


def _faults(entries: Sequence[KeyEntry], salt: str, policies: Sequence[str], lines: Lines) -> Iterator[ConfigError]:
    known = _well_known(salt)
    names: set[str] = set()
    hashes: dict[str, str] = {}
    for number, entry in enumerate(entries):
        where = lines.where("keys", number, "hash")
        if entry.name in names:
            yield ConfigError(f"the key {entry.name!r} stands twice", where=lines.where("keys", number, "name"))
        if _salt(entry.hash) != salt:
            said = f"the hash of the key {entry.name!r} has another salt than the first of this file"
            yield ConfigError(f"{said}: make it with 'gate keys new --file'", where=where)
        if entry.hash in hashes:
            yield ConfigError(f"the keys {hashes[entry.hash]!r} and {entry.name!r} are the same", where=where)
        if entry.hash in known:
            said = f"the key {entry.name!r} is an example or a well-known key"
            yield ConfigError(f"{said}: make a new one with 'gate keys new'", where=where)
        for place, policy in enumerate(entry.policies or ()):
            if policies and policy not in policies:
                yield UnknownName("policy", policy, policies, where=lines.where("keys", number, "policies", place))
        names.add(entry.name)
        hashes[entry.hash] = entry.name


def _well_known(salt: str) -> frozenset[str]:
    """Hashes of what everybody knows, as written and in other cases, alone and with the start of a key before it."""
    words = {*WELL_KNOWN, *STAND_INS}
    words |= {word.lower() for word in words} | {word.upper() for word in words} | {word.title() for word in words}
    return frozenset(hash_of(start + word, salt) for word in words for start in ("", "gate-", "sk-"))
