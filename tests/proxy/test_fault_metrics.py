"""What is counted of faults: of upstreams over policies loaded anew, of requests turned away, of the shared store."""

from __future__ import annotations

from gate.proxy.fault_metrics import Watched
from gate.proxy.metrics import Metrics
from gate.proxy.redis_counters import RedisCounters
from gate.proxy.shared_counters import SharedCounters
from gate.state.opening import open_store
from gate.state.redis_store import RedisStore
from tests.proxy.test_metrics import shown


def test_the_shared_store_is_shown_as_this_worker_sees_it() -> None:
    metrics = Metrics()
    assert b"gate_shared_down 0.0" in metrics.render()
    store = open_store("unix:///nowhere/redis.sock")
    assert isinstance(store, RedisStore)
    counters = SharedCounters(RedisCounters(store))
    metrics.faults.watch_shared(counters)
    store.circuit.failed("gone")
    store.circuit.failed("gone")
    for _ in range(2):
        shown = metrics.render().decode()
        for line in ("gate_shared_down 1.0", "gate_shared_failures_total 2.0", "gate_shared_waiting 0.0"):
            assert line in shown
        assert "gate_shared_lost_total 0.0" in shown
        assert "gate_shared_alone_total 0.0" in shown


class Counts:
    """What counts: a thing that can be forgotten."""


def test_how_upstreams_do_is_counted_over_policies_that_are_loaded_anew() -> None:
    metrics, old, new = Metrics(), Counts(), Counts()
    watched = [Watched(old, "main", 2, opened=3, hedged=5), Watched(Counts(), "main", 0), Watched(old, "world", None)]
    metrics.faults.watch_upstreams(lambda: watched)
    for _ in range(2):
        found = shown(metrics)
    assert found["gate_upstream_breaker", ("main",)] == 2, "the worst of them"
    assert found["gate_upstream_breaker_opened_total", ("main",)] == 3
    assert found["gate_upstream_hedged_total", ("main",)] == 5
    assert ("gate_upstream_breaker", ("world",)) not in found
    watched[:] = [Watched(new, "main", 0, opened=1), Watched(old, "other", other_models=2)]
    found = shown(metrics)
    assert found["gate_upstream_breaker", ("main",)] == 0
    assert found["gate_upstream_breaker_opened_total", ("main",)] == 4
    assert found["gate_upstream_hedged_total", ("main",)] == 5
    assert found["gate_upstream_other_model_total", ("other",)] == 2
    watched.clear()
    assert ("gate_upstream_breaker", ("main",)) not in shown(metrics)


def test_what_a_thread_saw_earlier_and_tells_later_takes_nothing_back() -> None:
    metrics, source = Metrics(), Counts()
    for opened in (3, 2, 4):
        metrics.faults.note(Watched(source, "main", 2, opened=opened, hedged=opened))
    found = shown(metrics)
    assert found["gate_upstream_breaker_opened_total", ("main",)] == 4
    assert found["gate_upstream_hedged_total", ("main",)] == 4


def test_requests_that_were_not_let_in_are_counted_by_code_and_reason() -> None:
    metrics, away, shed = Metrics(), {"overloaded": 2}, {"full": 2}
    metrics.faults.watch_refused(lambda: (away, shed))
    shown(metrics)
    away |= {"overloaded": 3, "bad_request": 1}
    shed["would_wait"] = 1
    found = shown(metrics)
    assert [found["gate_turned_away_total", (code,)] for code in ("overloaded", "bad_request")] == [3, 1]
    assert [found["gate_shed_total", (reason,)] for reason in ("full", "would_wait")] == [2, 1]
