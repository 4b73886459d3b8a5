"""Medians over rounds, the rate to load at, and how much of it a log holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.benchmarks.proxy import rounds
from tests.benchmarks.proxy.contestants import Absent, Contestant
from tests.benchmarks.proxy.load import Asked, Load, LoadFailed
from tests.benchmarks.proxy.rounds import Measured, both, half_rate, measure, middle, started

ASKED = Asked(1, "/", "{}", "none")
LOAD = Load(100, 1.0, 2.0, 9.0, 0)


def test_medians() -> None:
    assert middle([]) is None
    assert middle([3.0, 1.0, 2.0]) == 2.0
    assert both([]) is None
    assert both([LOAD, Load(1, 1.0, 4.0, 5.0, 0), Load(1, 1.0, 3.0, 30.0, 0)]) == (3.0, 9.0)


def test_half_of_the_most_it_can_do_and_never_more_than_the_generator_can() -> None:
    assert half_rate(3000.0) == 1500.0
    assert half_rate(60_000.0) == 8000.0
    assert half_rate(None) is None
    assert half_rate(0.0) is None


def test_the_upstream_itself_is_measured_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "wrk", lambda asked, connections, seconds: Load(connections, seconds, 1.0, 2.0, 0))
    one = Measured(Contestant("direct", ASKED), None)
    measure([one], ASKED, rounds=2, seconds=4)
    assert {n: len(loads) for n, loads in one.busy.items()} == {1: 2, 32: 2, 256: 2}
    assert (one.rate(32), one.latency(256), one.half) == (8.0, (1.0, 2.0), [])
    assert one.told()["busy"]["1"][0]["requests"] == 1


def test_a_load_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(asked: Asked, connections: int, seconds: int) -> Load:
        raise LoadFailed("wrk failed: no route")

    monkeypatch.setattr(rounds, "wrk", fail)
    one = Measured(Contestant("direct", ASKED), None)
    measure([one], ASKED, rounds=1, seconds=1)
    assert one.troubles == ["wrk failed: no route"]


@pytest.mark.parametrize(("rows", "share"), [(50, 0.5), (100, 1.0), (130, 1.0)])
def test_the_share_that_was_logged(rows: int, share: float, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as log:
        log.execute("CREATE TABLE decisions (id INTEGER PRIMARY KEY)")
        log.executemany("INSERT INTO decisions VALUES (?)", [(n,) for n in range(rows)])
    log.close()
    one = Measured(Contestant("one-draft", ASKED, log=path, table="decisions"), None, [LOAD])
    assert rounds._logged(one) == share
    assert rounds._logged(Measured(Contestant("aiohttp", ASKED), None, [LOAD])) is None


def test_one_that_does_not_start_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = Contestant("litellm", ASKED, ("python3", "-c", "raise SystemExit('no key')"))
    with started([broken, Contestant("direct", ASKED)], tmp_path) as made:
        assert made[0] == Absent("litellm", "ended with 1: no key")
        assert isinstance(made[1], Measured)
