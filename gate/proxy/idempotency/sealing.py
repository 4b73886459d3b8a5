"""What is kept of an idempotency key, so that who reads the store alone learns nothing of it.

From tenant, door and key a root is derived, and of it, by keyed BLAKE2b (RFC 7693), the name in the store, the key of
the request's fingerprint and those of the response's seal. Neither the key nor the request is kept, and without them
what is kept cannot be opened. The seal: a keystream of SHAKE-256 over a key of its own and a random nonce, and over
nonce and ciphertext a BLAKE2b tag (encrypt-then-MAC), which is checked before anything is opened.

It is as strong as the idempotency key is hard to guess. With a secret of the servers a key like ``order-17`` does too.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import blake2b, shake_256

import orjson

_VERSION = b"\1"
_NONCE, _TAG = 24, 32


class Scope:
    """One idempotency key of one tenant at one door."""

    __slots__ = ("_cipher", "_mac", "_print", "name")

    def __init__(self, tenant: str, door: str, key: str, secret: bytes = b"") -> None:
        """``secret``: the same on all servers that share a store."""
        said = b"".join(len(each).to_bytes(8, "big") + each for each in map(_bytes, (tenant, door, key)))
        outer = blake2b(secret, person=b"gate-once-secret").digest()
        root = blake2b(said, key=outer, person=b"gate-once-root").digest()
        self.name = _derived(root, b"gate-once-name").hex()
        """What it is kept under."""
        self._print = _derived(root, b"gate-once-print")
        self._cipher = _derived(root, b"gate-once-cipher")
        self._mac = _derived(root, b"gate-once-mac")

    def fingerprint(self, body: bytes) -> str:
        """Of a request by its content: neither spaces nor the order of fields count. The body is JSON."""
        content = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
        return blake2b(content, key=self._print, digest_size=32).hexdigest()

    def seal(self, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._crypt(nonce, plain)
        return _VERSION + nonce + hidden + self._tag(nonce, hidden)

    def open(self, sealed: bytes) -> bytes | None:
        """None for what was not sealed under this key, or is damaged."""
        if len(sealed) < 1 + _NONCE + _TAG or sealed[:1] != _VERSION:
            return None
        nonce, hidden, tag = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE : -_TAG], sealed[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(nonce, hidden)):
            return None
        return self._crypt(nonce, hidden)

    def _crypt(self, nonce: bytes, text: bytes) -> bytes:
        stream = shake_256(self._cipher + nonce).digest(len(text))
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")

    def _tag(self, nonce: bytes, hidden: bytes) -> bytes:
        return blake2b(_VERSION + nonce + hidden, key=self._mac, digest_size=_TAG).digest()


def _derived(root: bytes, what: bytes) -> bytes:
    return blake2b(b"", key=root, person=what, digest_size=32).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
