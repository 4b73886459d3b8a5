"""Errors: status, shape and code of each, and when a prompt is called too long."""

from __future__ import annotations

import pytest

from gate.effects import Generate
from gate.errors import ConfigError, GateError, RequestError, UpstreamError, UpstreamTimeout
from gate.proxy.wire_errors import FAULT, http_error, wire_error
from gate.types import Message
from gate.upstreams.pocket import PocketUpstream

ERRORS: list[tuple[GateError, int, str | None]] = [
    (RequestError("no"), 400, None),
    (RequestError("no such model", param="model", status=404), 404, "model_not_found"),
    (RequestError("big", status=413), 413, None),
    (UpstreamTimeout("small", "late"), 504, "upstream_timeout"),
    (UpstreamError("small", "down"), 502, "upstream_error"),
    (UpstreamError("small", "busy", status=429, retry_after=2.2), 429, "rate_limit_exceeded"),
    (UpstreamError("small", "the context length is 512", status=400), 400, "context_length_exceeded"),
    (UpstreamError("small", "refused", said="the context length is 8k", status=400), 400, "context_length_exceeded"),
    (UpstreamError("small", "refused", said="no such stop", status=400), 400, "upstream_refused"),
    (UpstreamError("small", "cannot call tools", status=400), 400, "upstream_refused"),
    (UpstreamError("small", "refused with status 401", status=401), 502, "upstream_error"),
    (ConfigError("broken"), 500, "configuration_error"),
    (GateError("other"), 500, "gate_error"),
    (RequestError("slow down", status=429, code="rate_limit_exceeded"), 429, "rate_limit_exceeded"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_error_has_the_openai_shape(error: GateError, status: int, code: str | None) -> None:
    made = wire_error(error)
    assert made.status == status
    assert made.body["error"].keys() == {"message", "type", "param", "code"}
    assert made.body["error"]["code"] == code
    assert made.body["error"]["message"] == getattr(error, "in_full", str(error))


@pytest.mark.parametrize(
    ("said", "beyond"),
    [
        ("This model's maximum context length is 4097 tokens. However, you requested 5000 tokens.", True),
        ("Your input exceeds the context window of this model.", True),
        ("context_length_exceeded", True),
        ("the request exceeds the available context size, try increasing it", True),
        ("prompt is too long: 208310 tokens > 200000 maximum", True),
        ("Input is too long for requested model.", True),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", True),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", True),
        ("too many tokens: the total must be at most 4096", True),
        ("'context' is not a known field", False),
        ("Invalid value for 'metadata.context': must be text", False),
        ("images are not allowed in this context", False),
        ("Invalid 'messages[0].name': string too long. Expected a string with maximum length 64.", False),
    ],
)
def test_only_a_prompt_that_does_not_fit_is_called_too_long(said: str, beyond: bool) -> None:
    made = wire_error(UpstreamError("main", f"refused with status 400: {said}", status=400)).body["error"]
    assert made["code"] == ("context_length_exceeded" if beyond else "upstream_refused")
    assert made["param"] == ("messages" if beyond else None)


def test_the_pocket_models_own_words_for_it_are_understood() -> None:
    long = Generate("small", (Message("user", "word " * 9000),))
    with pytest.raises(UpstreamError) as caught:
        PocketUpstream("small").complete(long, lambda: False)
    assert wire_error(caught.value).body["error"]["code"] == "context_length_exceeded"


def test_a_busy_upstreams_wait_is_passed_on() -> None:
    assert wire_error(UpstreamError("small", "busy", status=429, retry_after=2.2)).headers == {"retry-after": "3"}


def test_an_upstream_that_is_left_alone_is_told_apart_from_one_that_failed() -> None:
    for seconds in (3599.5, 1e300, float("inf"), float("nan")):
        for error in (
            UpstreamError("small", "busy", status=429, retry_after=seconds),
            UpstreamError("small", "is not asked", status=503, unsent=True, retry_after=seconds),
        ):
            assert wire_error(error).headers == {"retry-after": "3600"}
    made = wire_error(UpstreamError("main", "is not asked", status=503, unsent=True, retry_after=6.2))
    assert (made.status, made.code, made.headers) == (503, "upstream_unavailable", {"retry-after": "7"})
    failed = wire_error(UpstreamError("main", "refused with status 503", status=503, retry_after=6.2))
    assert (failed.status, failed.code, failed.headers) == (502, "upstream_error", {})


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "invalid_request_error"), (429, "rate_limit_error"), (503, "server_error")]
)
def test_what_only_http_knows_has_the_same_shape(status: int, kind: str) -> None:
    made = http_error(status, "said", "code", headers={"retry-after": "1"})
    assert made.body == {"error": {"message": "said", "type": kind, "param": None, "code": "code"}}
    assert (made.status, made.headers) == (status, {"retry-after": "1"})


def test_a_fault_tells_nothing() -> None:
    assert (FAULT.status, FAULT.body["error"]["code"], FAULT.headers) == (500, "internal_error", {})


def test_a_refused_caller_is_told_when_to_come_again_and_how_to_be_let_in() -> None:
    assert wire_error(RequestError("no")).headers == {}
    assert wire_error(RequestError("slow down", status=429, retry_after=2.2)).headers == {"retry-after": "3"}
    assert wire_error(RequestError("slow down", status=429, retry_after=0.0)).headers == {"retry-after": "1"}
    assert wire_error(RequestError("who?", status=401)).headers == {"www-authenticate": "Bearer"}
