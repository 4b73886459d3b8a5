"""What replicas say in a store that is made up. In Ray's: `tests.integrations.test_ray_serve`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from gate.deploy import reports
from gate.deploy.reports import Reports


class Kept(dict[str, bytes]):
    """Raises what it is told to."""

    fault: Exception | None = None

    def put(self, key: str, value: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self[key] = value

    def delete(self, key: str) -> None:
        if self.fault is not None:
            raise self.fault
        del self[key]

    def listed(self) -> Sequence[str]:
        return list(self)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_LOOK_EVERY", 0.001)


def test_what_replicas_say_is_collected_of_those_that_run() -> None:
    said = Reports(Kept())
    said.open("m")
    for replica, refused in [("a", ""), ("b", "no such signal"), ("c", "no such signal"), ("gone", "away")]:
        said.say(replica, "m", refused)
    assert said.collect("m", lambda: {"a", "b", "c"}, seconds=0) == (["no such signal"], [])


def test_a_replica_that_says_nothing_of_this_request_is_not_content() -> None:
    said = Reports(Kept())
    said.open("before")
    said.say("b", "before", "")
    said.open("m")
    said.say("a", "m", "")
    assert said.collect("m", lambda: {"a", "b", "c"}, seconds=0.01) == ([], ["b", "c"])


def test_a_replica_has_a_while_to_say_it() -> None:
    said, looks = Reports(Kept()), 0
    said.open("m")

    def running() -> set[str]:
        nonlocal looks
        looks += 1
        if looks == 3:
            said.say("a", "m", "late")
        return {"a"}

    assert said.collect("m", running, seconds=5) == (["late"], [])
    assert looks == 3


def test_nothing_gathers_there(caplog: pytest.LogCaptureFixture) -> None:
    """An autoscaler starts replicas all the while, and each is asked as it starts."""
    kept = Kept(long_gone=b"{}")
    said = Reports(kept)
    said.open("m")
    said.say("a", "m", "")
    said.close("m")
    said.say("later", "m", "")
    assert kept == {}
    assert caplog.records == []


def test_one_rollout_forgets_nothing_of_another() -> None:
    kept = Kept()
    said = Reports(kept)
    said.open("first")
    said.say("a", "first", "")
    said.open("second")
    said.say("b", "second", "")
    said.close("first")
    assert "a" not in kept
    assert said.collect("second", lambda: {"b"}, seconds=0) == ([], [])


@pytest.mark.parametrize("fault", [OSError("away"), ValueError("?"), ConnectionResetError()])
def test_a_store_that_is_away_ends_no_replica(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    said = Reports(kept)
    said.open("m")
    kept.fault = fault
    with caplog.at_level(logging.WARNING):
        said.say("a", "m", "")
        said.close("m")
    assert [type(fault).__name__ in record.getMessage() for record in caplog.records] == [True, True]
