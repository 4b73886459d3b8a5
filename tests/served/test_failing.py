"""What a server refuses is refused by name; one that dies is an error, and nobody hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.drivers.world import NO_STATES
from gate.effects import Generate, ReadStates
from gate.errors import UpstreamError, UpstreamTimeout
from gate.types import Message
from gate.upstreams import VllmChat
from tests.drivers.running import both
from tests.served.asking import LONG, ask, reply_to, served
from tests.served.server import Server, serving

QUESTION = "Where is Lagos?"


@both
def test_a_prompt_longer_than_the_context_is_refused(small: Server, threaded: bool) -> None:
    with pytest.raises(UpstreamError, match="refused with status 400") as caught:
        ask(served(small), QUESTION * 200, threaded=threaded)
    assert caught.value.status == 400
    assert not caught.value.retryable
    assert "maximum context length is 512 tokens" in caught.value.said


def test_a_model_that_is_not_served_is_refused(small: Server) -> None:
    upstream = served(small)
    options = upstream.options.model_copy(update={"model": "no-such-model"})
    with pytest.raises(UpstreamError, match="refused with status 404") as caught:
        ask(VllmChat.from_options("it", options, upstream.price), QUESTION)
    assert "no-such-model" in caught.value.said


# --- a server that anyone may have started ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(small_folder, "pocket-small", tmp_path_factory.mktemp("vllm"), plugin=False) as server:
        yield server


@both
def test_without_the_plugin_answers_say_what_is_missing(plain: Server, threaded: bool) -> None:
    asked = Generate("it", (Message("user", QUESTION),), temperature=0.0, states=ReadStates())
    (answer,) = reply_to(served(plain), asked, threaded=threaded).choices
    assert answer.text == ask(served(plain), QUESTION).choices[0].text
    assert (answer.states, answer.no_states) == (None, NO_STATES)
    given = replace(asked, messages=(*asked.messages, Message("assistant", "Nigeria")), states=ReadStates(given=True))
    (read,) = reply_to(served(plain), given, threaded=threaded).choices
    assert (read.states, read.no_states) == (None, NO_STATES)


def test_killed_it_is_an_error_at_once(plain: Server) -> None:
    """The last test of this server."""
    killer = threading.Timer(1.0, plain.kill)  # a server that works hard may not say so until it is done
    killer.start()
    began = time.monotonic()
    with pytest.raises(UpstreamError, match=r"cannot be reached|broke the connection off") as caught:
        reply_to(served(plain), LONG, seconds=60)
    killer.join()
    assert not isinstance(caught.value, UpstreamTimeout)
    assert time.monotonic() - began < 30
    with pytest.raises(UpstreamError, match="cannot be reached"):
        ask(served(plain), QUESTION)
