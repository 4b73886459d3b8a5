"""Where the shared store is: Redis or PostgreSQL, by its address. It may hold a password: it is in no error or log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from gate.errors import ConfigError

Kind = Literal["redis", "postgresql"]
_KNOWN = "redis://host:6379/0, rediss://host:6380/0, unix:///path/of/socket or postgresql://user@host/database"
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("redis", "rediss", "unix"), "redis"),
    **dict.fromkeys(("postgresql", "postgres", "postgresql+psycopg"), "postgresql"),
}
_REDIS_OPTIONS = frozenset(
    {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The address of a store, read."""

    kind: Kind
    url: str = field(repr=False)
    """As its driver takes it."""
    place: str
    """For people: no user, no password, no options."""


def read_store_address(text: str) -> StoreAddress:
    """Raises `ConfigError`, which does not repeat it, for what is no address of a store."""
    try:
        parts = urlsplit(text)
        port, options = parts.port, parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        raise _unreadable() from None
    kind = _KINDS.get(parts.scheme)
    if kind is None:
        raise _unreadable()
    if kind == "postgresql":
        host = parts.hostname or options.get("host", [""])[0] or "this machine"
        place = f"PostgreSQL {parts.path.strip('/') or 'postgres'} at {host}"
        return StoreAddress(kind, parts._replace(scheme="postgresql").geturl(), place)
    if unknown := sorted(options.keys() - _REDIS_OPTIONS):
        raise ConfigError(f"the address of the shared store has the option {unknown[0]!r}; known: {_options()}")
    if parts.scheme == "unix":
        if not parts.path or parts.hostname:
            raise _unreadable()
        return StoreAddress(kind, text, f"Redis at {parts.path}")
    if not parts.hostname or not (parts.path.strip("/") or "0").isdecimal():
        raise _unreadable()
    return StoreAddress(kind, text, f"Redis at {parts.hostname}:{port or 6379}")


def holds_password(text: str) -> bool:
    """Whether an address has one in it, wherever; False for what is no address."""
    try:
        parts: SplitResult = urlsplit(text)
        return parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        return False


def _unreadable() -> ConfigError:
    return ConfigError(f"the address of the shared store cannot be read: write it as {_KNOWN}")


def _options() -> str:
    return ", ".join(sorted(_REDIS_OPTIONS))
