"""Errors on the wire: each kind's HTTP status, and OpenAI's shape of it. An abstention can be one too."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gate.errors import ConfigError, GateError, RequestError, UpstreamError, UpstreamTimeout

_BEYOND_CONTEXT = re.compile(
    r"context[ _-]?(length|window|size)|(maximum|max) (context|model length)|too many (input )?tokens"
    r"|token count\b.{0,40}\bexceeds"
    r"|\b(prompt|inputs?|messages?|conversation)\b.{0,40}\b(is|are|was) (too long|longer than)",
    re.IGNORECASE,
)
"""How servers say that the conversation does not fit into the model's context."""
_LONGEST = 3600
"""Seconds after which a client is to come again, at most, where an upstream says it."""
ABSTENTION = "gate_abstention"
"""The type of an abstention that is sent as an error."""


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as HTTP has it; each door has a shape of its own for the body."""

    status: int
    message: str
    type: str
    code: str | None = None
    """A stable word for programs."""
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: Mapping[str, Any] | None = None
    """The ``gate`` object beside it, of an abstention."""

    @property
    def body(self) -> dict[str, Any]:
        """As OpenAI has it."""
        said = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": said} if self.gate is None else {"error": said, "gate": self.gate}


def wire_error(error: GateError) -> WireError:
    """The one place where errors get an HTTP status."""
    match error:
        case RequestError():
            return http_error(
                error.status,
                str(error),
                error.code or ("model_not_found" if error.status == 404 else None),
                param=error.param,
                headers=_told_with(error),
            )
        case UpstreamTimeout():
            return WireError(504, error.in_full, "upstream_error", "upstream_timeout")
        case UpstreamError(status=429):
            after = {} if error.retry_after is None else _come_again(error.retry_after)
            return WireError(429, error.in_full, "upstream_error", "rate_limit_exceeded", headers=after)
        case UpstreamError(status=503, unsent=True):  # it is left alone for a while: see `gate.drivers.breaker`
            after = _come_again(error.retry_after or 0.0)
            return WireError(503, error.in_full, "upstream_error", "upstream_unavailable", headers=after)
        case UpstreamError(status=400 | 413 | 422) if _BEYOND_CONTEXT.search(error.in_full):
            return WireError(400, error.in_full, "invalid_request_error", "context_length_exceeded", "messages")
        case UpstreamError(status=400 | 413 | 422):  # what the caller sent: not to be tried again as it is
            return WireError(400, error.in_full, "invalid_request_error", "upstream_refused")
        case UpstreamError():
            return WireError(502, error.in_full, "upstream_error", "upstream_error")
        case ConfigError():
            return WireError(500, str(error), "server_error", "configuration_error")
        case _:
            return WireError(500, str(error), "server_error", "gate_error")


def _come_again(seconds: float) -> dict[str, str]:
    """What an upstream says is any number at all; a client gets whole seconds, and no more than it may believe."""
    return {"retry-after": str(max(1, math.ceil(seconds)) if seconds < _LONGEST else _LONGEST)}


def _told_with(error: RequestError) -> dict[str, str]:
    """How to be let in, and when to come again: rounded up, for one who comes too early is refused again."""
    key = {"www-authenticate": "Bearer"} if error.status == 401 else {}
    return key if error.retry_after is None else key | {"retry-after": str(max(1, math.ceil(error.retry_after)))}


def http_error(
    status: int,
    message: str,
    code: str | None,
    *,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> WireError:
    """An error that only HTTP knows: no such path, no room, a fault. The type follows from the status."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return WireError(status, message, kind, code, param, dict(headers or {}))


FAULT = http_error(500, "an unexpected error in gate; the server's log has more", "internal_error")
"""A fault of gate's own: whoever asked is told no more than that there was one."""
