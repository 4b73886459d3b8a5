"""What is tried again, when, and for how long; and the HTTP library's errors as gate's own."""

from __future__ import annotations

import random
import time
from typing import Any

import aiohttp
import tenacity

from gate.drivers.pacing import spread
from gate.errors import UpstreamError, UpstreamTimeout
from gate.http_wire import BROKEN_OFF
from gate.ports import HttpRequest

_ATTEMPTS = 4
MAX_BODY = 32 * 2**20
"""Bytes of a reply; more is refused rather than held in memory."""
HTTP_ERRORS = (aiohttp.ClientError,)
_UNREACHABLE = "cannot be reached (is it running, and its address right?)"


def http_error(upstream: str, error: Exception) -> UpstreamError:
    """Every error of the HTTP library as one of ours, naming the upstream and the cause."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamError(upstream, _UNREACHABLE, retryable=True, unsent=True)
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(upstream, "did not answer in time", retryable=False)
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError):
        return UpstreamError(upstream, BROKEN_OFF, retryable=True)
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return UpstreamError(upstream, "has an address that is none of http")
    return UpstreamError(upstream, f"HTTP failed: {type(error).__name__}", retryable=True)


class _Wait(tenacity.wait.wait_base):
    """What the upstream asked for in Retry-After, and a little more at random, for it may have asked many; else
    exponential back-off with full jitter."""

    _backoff = tenacity.wait_random_exponential(multiplier=0.2, max=8)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome and retry_state.outcome.exception()
        asked = error.retry_after if isinstance(error, UpstreamError) else None
        if asked is None:
            return self._backoff(retry_state)
        return asked + random.random() * spread(asked)


class _Late(tenacity.stop.stop_base):
    """Stop when the next sleep would end past the deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return time.monotonic() + retry_state.upcoming_sleep >= self._deadline


def retrying(deadline: float, *, once: bool = False) -> dict[str, Any]:
    """Retry what may pass, a few times, and never sleep past the deadline: then the last error stands.

    ``once``: what may have arrived is not sent again. Nothing is that was shown in part.
    """

    def may_pass(error: BaseException) -> bool:
        if not isinstance(error, UpstreamError) or error.final:
            return False
        return error.retryable and (error.unsent or not once)

    return {
        "retry": tenacity.retry_if_exception(may_pass),
        "wait": _Wait(),
        "stop": tenacity.stop_after_attempt(_ATTEMPTS) | _Late(deadline),
        "reraise": True,
    }


def too_long(upstream: str) -> UpstreamError:
    return UpstreamError(upstream, f"sent more than {MAX_BODY // 2**20} MiB")


def http_arguments(request: HttpRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "data": request.content or None,
        "allow_redirects": False,
    }
