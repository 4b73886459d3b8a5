"""Whoever calls gate as an upstream: what a certificate is held against, and that nobody asks it anything."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import Price, is_local
from gate.types import Message
from gate.upstreams.caller import CallerOptions, CallerUpstream


def caller(identity: str = "model-1", **capabilities: object) -> CallerUpstream:
    options = CallerOptions.model_validate({"identity": identity, "capabilities": capabilities})
    return CallerUpstream.from_options("mine", options, Price(1.0, 2.0))


def test_its_identity_is_what_a_certificate_is_held_against() -> None:
    assert caller("model-1").fingerprint == caller("model-1", n=8).fingerprint == "caller:model-1"
    assert caller("model-2").fingerprint != caller("model-1").fingerprint


@pytest.mark.parametrize("identity", [None, "", "x" * 201, 7])
def test_without_an_identity_there_is_none(identity: object) -> None:
    with pytest.raises(ValidationError, match="identity"):
        CallerOptions.model_validate({} if identity is None else {"identity": identity})


def test_it_gives_one_answer_unless_the_policy_says_otherwise_and_is_never_streamed() -> None:
    assert CallerOptions(identity="m").capabilities.n == 1
    assert caller(n=5, top_logprobs=0).profile.n == 5
    assert caller(top_logprobs=0).profile.top_logprobs == 0
    assert not caller(stream=True).profile.stream


def test_asked_it_says_who_it_is_and_what_to_do() -> None:
    upstream = caller()
    assert is_local(upstream)
    with pytest.raises(UpstreamError, match=r"'mine': is whoever calls gate.*gate\.guard or Gate\.judge") as caught:
        upstream.complete(Generate("mine", (Message("user", "Where is Lagos?"),)), lambda: False)
    assert (caught.value.status, caught.value.retryable) == (501, False)
