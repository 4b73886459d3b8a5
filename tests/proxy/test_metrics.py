"""What is counted of a request, of several workers together, and that no label is anyone's text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gate.guarantees.monitor import DriftMonitor
from gate.proxy.metrics import LogCounts, Metrics, busy_seconds
from tests.proxy.entries import SECRET, asked, entry_of, failed, failed_entry


def shown(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and its labels' values."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_one_request() -> None:
    metrics = Metrics()
    metrics.observe(entry_of(asked(seconds=0.2), asked("world", "retrieve", began=100.2, seconds=0.1), seconds=0.301))
    found = shown(metrics)
    assert found["gate_requests_total", ("answer", "chat", "enforce", "balanced", "200")] == 1
    assert found["gate_request_seconds_sum", ()] == 0.301
    assert found["gate_request_seconds_bucket", ("0.5",)] == 1
    assert found["gate_request_seconds_bucket", ("0.25",)] == 0
    assert found["gate_overhead_seconds_sum", ()] == pytest.approx(0.001)
    assert found["gate_upstream_calls_total", ("generate", "ok", "small")] == 1
    assert found["gate_upstream_calls_total", ("retrieve", "ok", "world")] == 1
    assert found["gate_upstream_seconds_sum", ("world",)] == pytest.approx(0.1)
    assert found["gate_tokens_total", ("prompt", "balanced")] == 60
    assert found["gate_tokens_total", ("completion", "balanced")] == 18
    assert found["gate_money_usd_total", ("balanced",)] == 0.25
    assert found["gate_confidence_bucket", ("0.9", "balanced")] == 0
    assert found["gate_confidence_bucket", ("0.95", "balanced")] == 1
    assert found["gate_retractions_total", ()] == 0


def test_what_went_wrong() -> None:
    metrics = Metrics()
    metrics.observe(failed_entry(failed(timeout=True), failed(status=500), door="responses", mode="observe"))
    metrics.observe(entry_of(answered=False, retracted=True, status=422))
    found = shown(metrics)
    assert found["gate_requests_total", ("error", "responses", "observe", "balanced", "502")] == 1
    assert found["gate_requests_total", ("abstain", "chat", "enforce", "balanced", "422")] == 1
    assert found["gate_upstream_calls_total", ("generate", "timeout", "small")] == 1
    assert found["gate_upstream_calls_total", ("generate", "error", "small")] == 1
    assert found["gate_retractions_total", ()] == 1


def test_no_text_and_no_door_of_a_clients_making() -> None:
    metrics = Metrics()
    for number in range(5):
        metrics.observe(entry_of(asked(), failed(), door=f"{SECRET} {number}", key=SECRET, request_id=SECRET))
    assert SECRET.encode() not in metrics.render()
    assert shown(metrics)["gate_requests_total", ("answer", "other", "enforce", "balanced", "200")] == 5


def test_requests_with_a_key_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    for outcome in ("first", "replayed", "replayed"):
        metrics.repeated(outcome)
    assert b'gate_idempotent_requests_total{outcome="replayed"} 2.0' in metrics.render()


def test_states_are_shown_as_they_are() -> None:
    metrics = Metrics()
    metrics.in_flight.inc()
    metrics.waiting.set(3)
    metrics.certificate("balanced", void=True)
    metrics.certificate("mine", void=None)
    monitor = DriftMonitor(alpha=0.05, delta=0.05)
    for _ in range(12):
        monitor = monitor.updated(wrong=True)
    metrics.monitor("balanced", monitor)
    metrics.monitor("mine", None)
    metrics.reloaded("ok")
    metrics.restarted()
    counts = LogCounts(7, 2, 1, 4)
    metrics.watch_log(lambda: counts)
    for _ in range(2):
        found = shown(metrics)
    assert [found[f"gate_{name}", ()] for name in ("in_flight", "waiting", "log_waiting")] == [1, 3, 4]
    assert [found[f"gate_log_{name}_total", ()] for name in ("written", "dropped", "failed")] == [7, 2, 1]
    assert found["gate_certificate_void", ("balanced",)] == 1
    assert ("gate_certificate_void", ("mine",)) not in found
    assert found["gate_monitor_e_value", ("balanced",)] == pytest.approx(monitor.e_value)
    assert found["gate_monitor_alarm", ("balanced",)] == 1
    assert found["gate_policy_reloads_total", ("ok",)] == 1
    assert found["gate_policy_reloads_total", ("failed",)] == 0
    assert found["gate_worker_restarts_total", ()] == 1
    metrics.certificate("balanced", void=None)
    metrics.forget("balanced")
    assert not [key for key in shown(metrics) if key[0].startswith(("gate_monitor", "gate_certificate"))]


@pytest.mark.parametrize(
    ("spans", "busy"),
    [
        ((), 0.0),
        (((100.0, 0.2),), 0.2),
        (((100.0, 0.2), (100.0, 0.2)), 0.2),
        (((100.1, 0.2), (100.0, 0.2)), 0.3),
        (((100.0, 1.0), (100.2, 0.1), (102.0, 0.5)), 1.5),
    ],
)
def test_calls_side_by_side_count_once(spans: tuple[tuple[float, float], ...], busy: float) -> None:
    assert busy_seconds([asked(began=began, seconds=took) for began, took in spans]) == pytest.approx(busy)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8))
def test_busy_is_what_is_covered(spans: list[tuple[int, int]]) -> None:
    covered = {second for began, took in spans for second in range(began, began + took)}
    assert busy_seconds([asked(began=began, seconds=took) for began, took in spans]) == len(covered)


# --- workers -----------------------------------------------------------------------------------------------------

ONE = ("gate_requests_total", ("answer", "chat", "enforce", "balanced", "200"))


def test_any_worker_shows_all(tmp_path: Path) -> None:
    one, two = Metrics(tmp_path), Metrics(tmp_path)
    one.in_flight.inc(2)
    two.in_flight.inc(3)
    two.certificate("balanced", void=True)
    for metrics, times in ((one, 2), (two, 5)):
        for _ in range(times):
            metrics.observe(entry_of(asked()))
        metrics.share()
    for metrics in (one, two):
        found = shown(metrics)
        assert found[ONE] == 7
        assert found["gate_request_seconds_count", ()] == 7
        assert found["gate_request_seconds_bucket", ("+Inf",)] == 7
        assert found["gate_in_flight", ()] == 5
        assert found["gate_certificate_void", ("balanced",)] == 1
        assert [value for (name, _), value in found.items() if name == "gate_build_info"] == [1]
    one.close()
    two.close()


def test_what_was_shown_never_goes_back(tmp_path: Path) -> None:
    """Each scrape may reach another worker, and a counter that falls looks to Prometheus like one begun anew."""
    one, two = Metrics(tmp_path), Metrics(tmp_path)
    seen = 0.0
    for turn in range(6):
        (one, two)[turn % 2].observe(entry_of())
        now = shown((one, two)[turn % 2])[ONE]
        assert now >= seen
        assert now >= turn / 2
        seen = now
    one.close()
    two.close()


def test_counts_outlive_a_killed_worker_and_its_states_do_not(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from gate.proxy.metrics import Metrics
from tests.proxy.entries import entry_of
metrics = Metrics(Path({str(tmp_path)!r}))
for _ in range(3):
    metrics.observe(entry_of())
metrics.in_flight.inc(9)
metrics.certificate("balanced", void=True)
metrics.share()
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    own = Metrics(tmp_path)
    for turn in (1, 2):
        done = subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
        assert done.returncode == -9
        found = shown(own)
        assert found[ONE] == 3 * turn, "the second took the place of the first and goes on with its counts"
        assert found["gate_in_flight", ()] == 0
        assert ("gate_certificate_void", ("balanced",)) not in found
    assert len(list(tmp_path.glob("*.json"))) == 2
    own.close()
    again = Metrics(tmp_path)
    assert shown(again)[ONE] == 6
    again.close()
