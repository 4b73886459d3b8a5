"""What is tried again, until when, and what an error of the HTTP library becomes."""

from __future__ import annotations

import time

import pytest

from gate.drivers import World
from gate.drivers.retrying import HTTP_ERRORS, http_error
from gate.effects import Generate, Reply, generate
from gate.errors import UpstreamError, UpstreamTimeout
from gate.ports import Price
from gate.types import Message
from gate.upstreams.openai_chat import OpenAIChat, OpenAIChatOptions
from tests.drivers.running import MESSAGES, both, run
from tests.scripted import Answer, Scripted, world_of
from tests.upstreams.faulty_server import FaultyServer, chat


@both
def test_what_may_pass_is_tried_again_and_what_cannot_is_not(threaded: bool) -> None:
    def failing(times: int, *, retryable: bool) -> Scripted:
        left = [times]

        def say(effect: Generate, place: int) -> Answer:
            left[0] -= 1
            return UpstreamError("small", "busy", retryable=retryable, retry_after=0.01) if left[0] >= 0 else "Nigeria"

        return Scripted("small", say)

    passing = failing(2, retryable=True)
    _, recording = run(world_of({"small": passing}), generate(Generate("small", MESSAGES)), threaded=threaded)
    assert len(passing.asked) == 3
    assert recording.tape[0].cost.calls == 3
    for upstream, tries in ((failing(99, retryable=True), 4), (failing(99, retryable=False), 1)):
        with pytest.raises(UpstreamError, match="busy"):
            run(world_of({"small": upstream}), generate(Generate("small", MESSAGES)), threaded=threaded)
        assert len(upstream.asked) == tries


@both
def test_what_came_after_a_part_was_shown_is_not_tried_again(threaded: bool) -> None:
    error = UpstreamError("small", "unknown parameter: 'n'", said="n is not supported", status=400, retryable=True)
    error.final = True
    small = Scripted("small", lambda e, i: error)
    with pytest.raises(UpstreamError):
        run(world_of({"small": small}), generate(Generate("small", MESSAGES, n=2)), threaded=threaded)
    assert len(small.asked) == 1


@both
def test_half_a_surrogate_pair_goes_through_http_and_comes_back(threaded: bool) -> None:
    with FaultyServer.of(chat("Ni\ud800geria")) as server:
        options = OpenAIChatOptions(base_url=server.url, model="m")
        world = World({"main": OpenAIChat.from_options("main", options, Price())})
        asked = Generate("main", (Message("user", "Where is \udfffLagos é🦜?"),))
        reply, recording = run(world, generate(asked), threaded=threaded)
    assert isinstance(reply, Reply)
    assert reply.value.choices[0].text == "Ni\ud800geria"
    assert len(recording.tape) == len(server.asked) == 1
    assert server.asked[0]["messages"][0]["content"] == "Where is ?Lagos é🦜?"


@both
def test_no_sleep_goes_past_the_deadline(threaded: bool) -> None:
    busy = Scripted("small", lambda e, i: UpstreamError("small", "busy", retryable=True, retry_after=3600))
    began = time.monotonic()
    with pytest.raises(UpstreamError, match="busy"):
        run(world_of({"small": busy}), generate(Generate("small", MESSAGES)), threaded=threaded, seconds=1)
    assert time.monotonic() - began < 1
    assert len(busy.asked) == 1


def _all_below(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind} | {below for child in kind.__subclasses__() for below in _all_below(child)}


@pytest.mark.parametrize(
    "kind",
    sorted(set().union(*(_all_below(k) for k in HTTP_ERRORS)), key=lambda k: k.__name__),
    ids=lambda k: k.__name__,
)
def test_every_error_of_the_http_library_becomes_one_of_ours(kind: type[Exception]) -> None:
    made = http_error("mine", kind.__new__(kind))
    assert made.upstream == "mine"
    assert made.cause
    assert isinstance(made, UpstreamTimeout) == issubclass(kind, TimeoutError)
