"""The driver for threads: one serves many callers."""

from __future__ import annotations

import threading

from gate.drivers import Recording, ThreadedDriver
from gate.pipeline import answer
from tests.drivers.running import ASKED
from tests.scripted import Scripted, always, plan_over, world_of


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
