"""Who is logged in: a signed cookie, and the tokens that show that a form came from one of our own pages.

Nothing is kept on the server but the sessions that were ended early. A cookie holds the name and the mark of a key,
never the key. Its signature and the forms' tokens come from two keys, both made of one secret, which workers share.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from gate.errors import ConfigError

LIFETIME = 8 * 3600
"""Seconds from the login to the end of a session."""
_LONGEST = 2048
_FEWEST = 32


@dataclass(frozen=True, slots=True)
class Session:
    """One login."""

    name: str
    """Of the key."""
    id: str
    until: int
    """Seconds since 1970."""
    mark: str = ""
    """Of the key: a later one of its name has another."""


class Sessions:
    """Begins, reads and ends sessions. ``secret``: 32 random bytes or more. Raises `ConfigError` for a shorter one."""

    def __init__(self, secret: bytes, now: Callable[[], float] = time.time) -> None:
        if len(secret) < _FEWEST:
            raise ConfigError(f"the secret of dashboard sessions needs {_FEWEST} bytes or more, got {len(secret)}")
        self._cookies = hmac.digest(secret, b"gate dashboard session", "sha256")
        self._forms = hmac.digest(secret, b"gate dashboard form", "sha256")
        self._now = now
        self._ended: dict[str, int] = {}

    def begin(self, name: str, mark: str = "") -> str:
        """The value of the cookie of a new session."""
        session = {"name": name, "id": secrets.token_urlsafe(18), "until": int(self._now()) + LIFETIME, "mark": mark}
        body = _encoded(json.dumps(session, separators=(",", ":")).encode())
        return f"{body}.{self._signature(body)}"

    def read(self, cookie: str | None) -> Session | None:
        """None for what we did not sign, what is over, and what was ended."""
        if not cookie or len(cookie) > _LONGEST:
            return None
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._signature(body).encode(), signature.encode()):
            return None
        held = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        session = Session(held["name"], held["id"], held["until"], held.get("mark", ""))
        return session if session.until > self._now() and session.id not in self._ended else None

    def end(self, session: Session) -> None:
        """From now on its cookie is refused, by this worker: the others trust the browser to have forgotten it."""
        now = self._now()
        self._ended = {one: until for one, until in self._ended.items() if until > now} | {session.id: session.until}

    def token(self, of: str) -> str:
        """What a form carries to show that we made it for this session, or this browser before it has one."""
        return _encoded(hmac.digest(self._forms, of.encode(), "sha256"))

    def made(self, token: str, of: str) -> bool:
        return hmac.compare_digest(self.token(of).encode(), token.encode())

    def _signature(self, body: str) -> str:
        return _encoded(hmac.digest(self._cookies, body.encode(), hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
