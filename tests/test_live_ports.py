"""Telling an upstream that can be watched from one that cannot, by its methods alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gate.effects import Generate
from gate.embedders import HashedNgrams
from gate.live_ports import AwaitableUpstream, LiveLocalUpstream, LiveWireUpstream, Piece, is_awaitable, is_live
from gate.ports import Price, is_local
from gate.types import Message
from gate.upstreams import UPSTREAMS, OpenAIChat, PocketUpstream, VllmChat
from gate.upstreams.vllm import VllmOptions
from tests.scripted import Awaited, Scripted, always
from tests.test_ports import Wired
from tests.upstreams.fake_litellm import FakeLitellm, says


def test_an_upstream_is_live_when_it_can_be_asked_so_and_nothing_else_of_it_is_looked_at() -> None:
    assert not is_live(Wired())
    assert not is_live(Scripted("small", always("Nigeria")))
    assert not is_live(HashedNgrams("hashed"))
    assert is_live(PocketUpstream("small"))


@pytest.mark.parametrize("kind", UPSTREAMS, ids=lambda kind: kind.kind)
def test_who_says_that_it_streams_is_live_and_fits_one_of_the_two(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litellm", FakeLitellm(says("hm")))  # whether it is installed or not
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "a", "answer": "b"}\n')
    fields = {"path": str(rows), "base_url": "http://127.0.0.1:1/v1", "model": "small", "identity": "m"}
    asked = {name: value for name, value in fields.items() if name in kind.Options.model_fields}
    if kind.kind == "recorded":
        del asked["model"]
    made = kind.from_options("mine", kind.Options.model_validate(asked), Price())
    assert made.profile.stream is is_live(made)
    if is_live(made):
        assert hasattr(made, "complete_live") if is_local(made) else hasattr(made, "live")


def test_the_two_protocols_are_fitted() -> None:
    local: LiveLocalUpstream = PocketUpstream("small")
    options = VllmOptions(base_url="http://127.0.0.1:1/v1", model="m")
    wire: tuple[LiveWireUpstream, ...] = (
        OpenAIChat.from_options("a", options, Price()),
        VllmChat.from_options("b", options, Price()),
    )
    assert local.profile.stream
    for upstream in wire:
        request = upstream.encode_live(Generate(upstream.name, (Message("user", "hi"),)))
        assert request is not None
        assert request.body["stream"] is True
        assert not upstream.live(200, {}).whole


def test_an_upstream_can_be_awaited_when_it_has_the_method() -> None:
    fits: AwaitableUpstream = Awaited("small", always("Nigeria"))
    assert is_awaitable(fits)
    assert is_local(fits)
    assert not is_awaitable(Scripted("small", always("Nigeria")))
    assert not is_awaitable(HashedNgrams("hashed"))


def test_a_piece_may_be_text_alone() -> None:
    assert Piece("a") == Piece("a", ())
