"""A webhook: the question is posted as JSON to an address that puts it before a person. Pure: no sockets.

What is posted: ``id`` (also the header ``Idempotency-Key``: the same hand-over has the same), ``question``,
``conversation``, ``reason``, ``confidence``, ``draft`` and ``passages``. With a secret, the header ``X-Gate-Signature``
is ``sha256=`` and the HMAC-SHA256 of the body (RFC 2104), in hexadecimal.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gate.effects import HandOver, effect_key
from gate.errors import UpstreamError
from gate.http_wire import (
    BROKEN,
    headers_without_keys,
    http_address,
    is_html,
    not_json,
    other_status,
    parsed,
    refusal,
    secret_of,
)
from gate.ports import HttpRequest
from gate.types import Message, Passage, Question

_LONGEST = 200


class WebhookOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret_env: str | None = Field(default=None, min_length=1)
    """The environment variable that holds the secret which requests are signed with."""
    headers: dict[str, str] = {}
    """Sent with every request. Not for keys: they would stand in the policy."""

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        http_address(value, example="https://desk.example.org/questions")
        return value

    @field_validator("headers")
    @classmethod
    def _no_keys(cls, value: dict[str, str]) -> dict[str, str]:
        return headers_without_keys(value)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Fits `Person`, behind HTTP."""

    kind: ClassVar[str] = "webhook"
    Options: ClassVar[type[BaseModel]] = WebhookOptions

    name: str
    options: WebhookOptions
    secret: str | None = field(repr=False)

    @classmethod
    def from_options(cls, name: str, options: WebhookOptions) -> Self:
        return cls(name, options, secret_of(options.secret_env, "the secret") if options.secret_env else None)

    @property
    def fingerprint(self) -> str:
        return f"webhook:{hashlib.sha256(self.options.url.encode()).hexdigest()[:16]}"

    def encode(self, effect: HandOver) -> HttpRequest:
        key = effect_key(effect)
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "connection": "close",  # on one that was kept, nobody could tell a lost request from one that arrived
            **self.options.headers,
            "idempotency-key": key,
        }
        body = {
            "id": key,
            "question": Question(effect.messages).text,
            "conversation": [_turn(message) for message in effect.messages],
            "reason": effect.reason,
            "confidence": effect.p if effect.p is not None and math.isfinite(effect.p) else None,
            "draft": effect.draft,
            "passages": [_passage(passage) for passage in effect.passages],
        }
        request = HttpRequest(self.options.url, headers, body)
        if self.secret is None:
            return request
        signed = hmac.new(self.secret.encode("utf-8", "surrogateescape"), request.content, hashlib.sha256).hexdigest()
        return replace(request, headers={**headers, "x-gate-signature": f"sha256={signed}"})

    def decode(self, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """The reference in the reply; "" where it was taken without one."""
        data = parsed(body)
        if status >= 400:
            raise refusal(self.name, status, headers, body, data, self.secret, "url")
        if not 200 <= status < 300:  # a redirect is not followed: questions go where the policy says
            raise other_status(self.name, status, "url")
        if data is BROKEN and is_html(body):  # the page of a login, say
            raise UpstreamError(self.name, not_json(body, "url"), status=status)
        found = data.get("reference") if isinstance(data, dict) else None
        if isinstance(found, bool) or not isinstance(found, str | int):
            return ""
        line = "".join(mark if mark.isprintable() else " " for mark in str(found)[:_LONGEST])
        return " ".join(line.split())


def _turn(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.content} if message.wire is None else dict(message.wire)


def _passage(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "title": passage.title, "source": passage.source, "text": passage.text}
