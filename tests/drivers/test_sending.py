"""Sending over connections: what is called off is closed at once, and no thread stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

import pytest

from gate.drivers import sending
from gate.drivers.sending import BackgroundSender, Sender
from gate.effects import Generate
from gate.errors import UpstreamError
from gate.ports import Price
from gate.upstreams import OpenAIChat
from tests.drivers.running import MESSAGES
from tests.scripted import Awaited, always
from tests.upstreams.faulty_server import Behaviour, FaultyServer, chat, cut_mid_body, resets, says, silent, trickles

ASKED = Generate("mine", MESSAGES)
dawdling = pytest.mark.parametrize("behaviour", [silent(), trickles], ids=["silent", "trickles"])


def endpoint(server: FaultyServer) -> OpenAIChat:
    return OpenAIChat.from_options("mine", OpenAIChat.Options(base_url=server.url, model="m"), Price())


def begun(server: FaultyServer) -> Callable[[], bool]:
    return lambda: bool(server.asked)


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    done = threading.Event()
    for _ in range(int(seconds * 100)):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it did not come to pass")


def test_a_reply_is_read_on_a_loop_and_behind_one() -> None:
    async def main() -> str:
        sender = Sender()
        reply = await sender.send(endpoint(server), ASKED)
        await sender.aclose()
        return reply.choices[0].text

    with FaultyServer(chat("Nigeria")) as server:
        assert asyncio.run(main()) == "Nigeria"
        behind = BackgroundSender()
        assert behind.send(endpoint(server), ASKED).result(5).choices[0].text == "Nigeria"
        behind.close()


@dawdling
def test_cancelling_closes_the_connection_at_once(behaviour: Behaviour) -> None:
    with FaultyServer(behaviour) as server:
        behind = BackgroundSender()
        call = behind.send(endpoint(server), ASKED)
        wait_for(begun(server))
        assert call.cancel()
        assert server.gone.wait(2)
        behind.close()


@dawdling
def test_closing_breaks_off_what_is_under_way_and_leaves_no_thread(behaviour: Behaviour) -> None:
    with FaultyServer(behaviour) as server:
        behind = BackgroundSender()
        call = behind.send(endpoint(server), ASKED)
        wait_for(begun(server))
        behind.close()
        behind.close()
        with pytest.raises(CancelledError):
            call.result(0)
        assert server.gone.wait(2)
        assert not behind.alive


def test_a_sender_that_was_never_closed_ends_with_its_last_reference() -> None:
    with FaultyServer(chat("Nigeria")) as server:
        behind = BackgroundSender()
        behind.send(endpoint(server), ASKED).result(5)
        thread = behind._thread
        del behind
        gc.collect()
        wait_for(lambda: not thread.is_alive())


@pytest.mark.parametrize("behaviour", [None, resets, cut_mid_body], ids=["nobody there", "resets", "cut mid-body"])
def test_only_where_no_connection_came_about_is_it_known_that_nothing_arrived(behaviour: Behaviour | None) -> None:
    behind = BackgroundSender()
    with contextlib.ExitStack() as running:
        server = running.enter_context(FaultyServer(behaviour or chat("Nigeria")))
        if behaviour is None:
            running.close()
        with pytest.raises(UpstreamError) as caught:
            behind.send(endpoint(server), ASKED).result(5)
    behind.close()
    assert caught.value.unsent is (behaviour is None)
    assert caught.value.retryable


def test_a_reply_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_BODY", 1000)
    with FaultyServer(says(b" " * 2000)) as server:
        behind = BackgroundSender()
        with pytest.raises(UpstreamError, match="sent more than"):
            behind.send(endpoint(server), ASKED).result(5)
        behind.close()


def test_what_waits_behind_is_called_off_with_its_future() -> None:
    slow, behind = Awaited("mine", always("x"), seconds=30), BackgroundSender()
    waiting = behind.wait_for(slow, ASKED)
    wait_for(lambda: bool(slow.asked))
    waiting.cancel()
    assert slow.cancelled.wait(5)
    assert behind.wait_for(Awaited("mine", always("Nigeria")), ASKED).result(5).choices[0].text == "Nigeria"
    behind.close()
