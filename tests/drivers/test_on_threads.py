"""The driver for threads: one serves many callers, and whoever goes is not waited for."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any

import pytest

from gate.drivers import Recording, ThreadedDriver, World
from gate.effects import Call, Flow, Generate, call, generate, together
from gate.errors import UpstreamError, UpstreamTimeout
from gate.pipeline import answer
from gate.ports import Price
from gate.upstreams import OpenAIChat
from tests.drivers.running import ASKED, MESSAGES
from tests.scripted import Awaited, Scripted, always, plan_over, world_of
from tests.upstreams.faulty_server import Behaviour, FaultyServer, chat, silent, status, trickles


def test_a_threaded_driver_serves_many_threads_at_once() -> None:
    upstreams = {"small": Scripted("small", always("Nigeria"), seconds=0.02)}
    plan, driver, said = plan_over(upstreams), ThreadedDriver(world_of(upstreams)), []

    def work() -> None:
        said.append(driver.run(answer(plan, ASKED), Recording()).text)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    driver.close()
    assert said == ["Nigeria"] * 16


def served(**servers: FaultyServer) -> World:
    options = {name: OpenAIChat.Options(base_url=server.url, model="m") for name, server in servers.items()}
    return World({name: OpenAIChat.from_options(name, o, Price()) for name, o in options.items()})


dawdling = pytest.mark.parametrize("behaviour", [silent(), trickles], ids=["silent", "trickles"])


@dawdling
def test_a_failure_beside_it_closes_the_connection_to_a_slow_server_at_once(behaviour: Behaviour) -> None:
    def refuse(handler: Any, asked: dict[str, Any]) -> None:
        while not slow.asked:
            time.sleep(0.01)
        status(403)(handler, asked)

    with FaultyServer(behaviour) as slow, FaultyServer(refuse) as broken:
        flow = together(generate(Generate(name, MESSAGES)) for name in ("slow", "broken"))
        driver, began = ThreadedDriver(served(slow=slow, broken=broken)), time.monotonic()
        with pytest.raises(UpstreamError, match="403"):
            driver.run(flow, Recording())
        assert slow.gone.wait(2)
        assert time.monotonic() - began < 5
        driver.close()


@dawdling
def test_the_deadline_closes_the_connection_too(behaviour: Behaviour) -> None:
    with FaultyServer(behaviour) as slow:
        driver = ThreadedDriver(served(slow=slow))
        with pytest.raises(UpstreamTimeout, match="deadline"):
            driver.run(generate(Generate("slow", MESSAGES)), Recording(), seconds=0.3)
        assert slow.gone.wait(2)
        driver.close()


@pytest.mark.parametrize("side_by_side", [False, True])
def test_an_interrupted_caller_is_back_at_once_and_its_server_sees_it(side_by_side: bool) -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not slow.asked:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    with FaultyServer(silent()) as slow:
        driver, asked = ThreadedDriver(served(slow=slow)), Generate("slow", MESSAGES)
        flow = together(generate(asked) for _ in range(2)) if side_by_side else generate(asked)
        began = time.monotonic()
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            driver.run(flow, Recording())
        assert slow.gone.wait(2)
        assert time.monotonic() - began < 5
        driver.close()


def test_nobody_sleeps_on_for_a_retry_of_what_was_given_up() -> None:
    busy = Scripted("busy", lambda e, i: UpstreamError("busy", "busy", retryable=True, retry_after=20))
    broken = Scripted("broken", lambda e, i: UpstreamError("broken", "is down"), seconds=0.2)
    driver, began = ThreadedDriver(world_of({"busy": busy, "broken": broken})), time.monotonic()
    with pytest.raises(UpstreamError, match="is down"):
        driver.run(together(generate(Generate(name, MESSAGES)) for name in ("busy", "broken")), Recording())
    assert time.monotonic() - began < 5
    assert len(busy.asked) == 1
    driver.close()


def test_closing_the_driver_breaks_off_what_is_under_way_and_says_so() -> None:
    with FaultyServer(silent()) as slow:
        driver = ThreadedDriver(served(slow=slow))

        def close() -> None:
            while not slow.asked:
                time.sleep(0.01)
            driver.close()

        threading.Thread(target=close, daemon=True).start()
        for _ in range(2):
            with pytest.raises(UpstreamError, match="the gateway was closed"):
                driver.run(generate(Generate("slow", MESSAGES)), Recording())


def test_a_loop_that_is_gone_as_after_a_fork_is_replaced() -> None:
    with FaultyServer(chat("Nigeria")) as server:
        driver = ThreadedDriver(served(small=server))
        for _ in range(2):
            assert driver.run(generate(Generate("small", MESSAGES)), Recording()).value.choices[0].text == "Nigeria"
            assert driver._sender is not None
            driver._sender.close()
        driver.close()


def test_code_of_the_callers_is_called_on_its_own_thread_unless_side_by_side() -> None:
    driver = ThreadedDriver(World({}))
    called = Call("mine", threading.current_thread)
    assert driver.run(call(called), Recording()) is threading.current_thread()
    one, other = driver.run(together([call(called), call(called)]), Recording())
    assert threading.current_thread() not in (one, other)
    driver.close()


def test_code_of_the_callers_is_not_called_once_a_neighbour_has_failed() -> None:
    called = list[str]()

    def waits() -> Flow[Any]:
        with contextlib.suppress(UpstreamError):
            yield from generate(Generate("slow", MESSAGES))
        return (yield from call(Call("mine", lambda: called.append("called"))))

    slow = Scripted("slow", always("x"), seconds=30)
    broken = Scripted("broken", lambda e, i: UpstreamError("broken", "is down"))
    driver = ThreadedDriver(world_of({"slow": slow, "broken": broken}))
    with pytest.raises(UpstreamError, match="is down"):
        driver.run(together([waits(), generate(Generate("broken", MESSAGES))]), Recording())
    assert called == []
    driver.close()


def test_an_upstream_that_waits_on_a_loop_takes_up_no_thread_and_is_called_off_at_the_deadline() -> None:
    slow = {"a": Awaited("a", always("x"), seconds=30), "b": Awaited("b", always("Nigeria"))}
    driver = ThreadedDriver(world_of(slow))
    try:
        before = {*threading.enumerate()}
        reply = driver.run(generate(Generate("b", MESSAGES)), Recording())
        assert reply.value.choices[0].text == "Nigeria"
        assert not [each for each in {*threading.enumerate()} - before if each.name == "gate-call"]
        with pytest.raises(UpstreamTimeout):
            driver.run(generate(Generate("a", MESSAGES)), Recording(), seconds=0.05)
        assert slow["a"].cancelled.wait(5)
    finally:
        driver.close()


def test_a_fault_of_an_upstream_that_waits_on_a_loop_is_one_of_a_model_endpoint() -> None:
    def fail(effect: Generate, place: int) -> str:
        raise KeyError("the words of a user")

    driver = ThreadedDriver(world_of({"a": Awaited("a", fail)}))
    with pytest.raises(UpstreamError, match="failed: KeyError") as failed:
        driver.run(generate(Generate("a", MESSAGES)), Recording())
    assert "user" not in str(failed.value)
    driver.close()
