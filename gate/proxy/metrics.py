"""What Prometheus is told: counters and histograms of requests, upstreams, money, the log, and the promise.

No text of anyone is in a label, and every label has few values: doors, modes and actions are gate's own, policies and
upstreams those of the policy files, and what a client names is never one.

Workers share a port, and a scrape reaches any of them. So each keeps what it counted in a file that all read
(`gate.proxy.shared_samples`). The client library's own way for several processes writes every count to a mapped file
and so takes near three times as long for each (measured: 0.76 against 0.26 microseconds for a counter, 1.7 against 0.66
for a histogram), and its files grow in number with each worker that dies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gate import __version__
from gate.guarantees.monitor import DriftMonitor
from gate.log.entries import Entry
from gate.proxy.fault_metrics import FaultMetrics
from gate.proxy.shared_samples import How, Merge, Samples, SharedSamples, summed
from gate.traces import TapeEntry

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
DOORS = frozenset({"chat", "responses", "messages", "guardrail", "completions", "embeddings"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
_OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_P = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_LARGEST = frozenset({"gate_certificate_void", "gate_shared_down", "gate_upstream_breaker"})
_SUMMED = frozenset({"gate_in_flight", "gate_waiting", "gate_log_waiting", "gate_shared_waiting"})
"""Gauges of which there is as much as all workers have together."""
_LAYOUT = repr((__version__, _SECONDS, _OVERHEAD, _P))
"""Counts of other buckets cannot be added to."""


class LogCounts(NamedTuple):
    """What became of the entries the decision log was given, since this process began; ``waiting``: now."""

    written: int
    dropped: int
    failed: int
    waiting: int


class _OfPolicy(NamedTuple):
    """What is counted of one policy, as bound methods: looking labels up costs more than counting."""

    prompt: Callable[[float], None]
    completion: Callable[[float], None]
    money: Callable[[float], None]
    confidence: Callable[[float], None]


class Metrics:
    """The counts of one process. ``folder`` is where the workers of a server share them; None where there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._log: Callable[[], LogCounts] | None = None
        self._under_way: Callable[[], tuple[int, int]] | None = None
        self._turn = Lock()
        self._define()
        self._define_states()
        self.faults = FaultMetrics(self._registry)
        self._by_request: dict[tuple[object, ...], Callable[[], None]] = {}
        self._by_policy: dict[str, _OfPolicy] = {}
        self._by_call: dict[tuple[str, str, str], Callable[[], None]] = {}
        self._by_upstream: dict[str, Callable[[float], None]] = {}
        self._shared = SharedSamples(folder, _LAYOUT) if folder else None
        if self._shared:
            self.share()

    def _define(self) -> None:
        kept: dict[str, Any] = {"registry": self._registry}
        labels = ("door", "policy", "action", "mode", "status")
        self._requests = Counter("gate_requests", "Requests decided, or failed while they were.", labels, **kept)
        seconds = "From a request's arrival to its last byte."
        self._seconds = Histogram("gate_request_seconds", seconds, buckets=_SECONDS, **kept)
        overhead = "Of that, the time in which no upstream, retriever or judge was at work for it."
        self._overhead = Histogram("gate_overhead_seconds", overhead, buckets=_OVERHEAD, **kept)
        called = ("upstream", "kind", "outcome")
        self._calls = Counter("gate_upstream_calls", "Calls made for requests, retries not told apart.", called, **kept)
        took = "What each took, retries included."
        self._call_seconds = Histogram("gate_upstream_seconds", took, ("upstream",), buckets=_SECONDS, **kept)
        self._tokens = Counter("gate_tokens", "Tokens of all models.", ("policy", "kind"), **kept)
        self._money = Counter(
            "gate_money_usd", "What all models charged, by the policies' prices.", ("policy",), **kept
        )
        held = "The last confidence of each request."
        self._confidence = Histogram("gate_confidence", held, ("policy",), buckets=_P, **kept)
        self._passed = Counter("gate_passed", "Requests passed through, nothing judged.", ("path", "status"), **kept)
        self._retractions = Counter("gate_retractions", "Streams that were withdrawn after text was sent.", **kept)
        self._reloads = Counter("gate_policy_reloads", "Policies loaded again, by worker.", ("outcome",), **kept)
        repeats = "Requests with an idempotency key, by what became of them."
        self._repeats = Counter("gate_idempotent_requests", repeats, ("outcome",), **kept)
        self._restarts = Counter("gate_worker_restarts", "Workers started in the place of one that died.", **kept)

    def _define_states(self) -> None:
        kept: dict[str, Any] = {"registry": self._registry}
        self.in_flight = Gauge("gate_in_flight", "Requests being worked on.", **kept)
        self.waiting = Gauge("gate_waiting", "Requests that wait for their turn.", **kept)
        self._log_written = Counter("gate_log_written", "Decisions the log has kept.", **kept)
        self._log_dropped = Counter("gate_log_dropped", "Decisions not kept: there was no room to wait.", **kept)
        self._log_failed = Counter("gate_log_failed", "Decisions not kept: the log could not be written.", **kept)
        self._log_waiting = Gauge("gate_log_waiting", "Decisions that wait to be written.", **kept)
        void = "Whether the certificate does not hold for what runs: 1 or 0; no sample where there is none."
        self._void = Gauge("gate_certificate_void", void, ("policy",), **kept)
        e = "Evidence against the promise: it is refuted at 1 / (1 - confidence)."
        self._e_value = Gauge("gate_monitor_e_value", e, ("policy",), **kept)
        self._alarm = Gauge("gate_monitor_alarm", "Whether the promise was refuted: 1 or 0.", ("policy",), **kept)
        Gauge("gate_build_info", "The version of gate.", ("version",), **kept).labels(__version__).set(1)
        for outcome in ("ok", "failed"):
            self._reloads.labels(outcome)

    # --- counting ------------------------------------------------------------------------------------------------

    def observe(self, entry: Entry) -> None:
        """Count one request. On the way of each: microseconds."""
        record = entry.record
        key = (entry.door, record.policy, record.action, entry.mode, entry.status)
        count = self._by_request.get(key)
        if count is None:
            count = self._by_request[key] = self._request(entry)
        count()
        self._seconds.observe(entry.seconds)
        tape = record.tape
        if entry.mode == "enforce" and not entry.full_evidence:  # else there are calls behind the response
            self._overhead.observe(max(0.0, entry.seconds - busy_seconds(tape)))
        of = self._by_policy.get(record.policy) or self._policy(record.policy)
        cost = record.cost
        of.prompt(cost.prompt_tokens)
        of.completion(cost.completion_tokens)
        if cost.money:
            of.money(cost.money)
        if record.steps and (confidence := record.steps[-1].decision.confidence):
            of.confidence(confidence.p)
        for asked in tape:
            self._called(asked)
        if entry.retracted:
            self._retractions.inc()

    def _called(self, asked: TapeEntry) -> None:
        failure = asked.failure
        outcome = "ok" if failure is None else "timeout" if failure.timeout else "error"
        key = (asked.to, asked.kind, outcome)
        count = self._by_call.get(key)
        if count is None:
            count = self._by_call[key] = self._calls.labels(*key).inc
        count()
        took = self._by_upstream.get(asked.to)
        if took is None:
            took = self._by_upstream[asked.to] = self._call_seconds.labels(asked.to).observe
        took(asked.cost.seconds)

    def _request(self, entry: Entry) -> Callable[[], None]:
        door = entry.door if entry.door in DOORS else "other"
        action = entry.record.action.value if entry.record.action else "error"
        return self._requests.labels(door, entry.record.policy, action, entry.mode, str(entry.status)).inc

    def _policy(self, name: str) -> _OfPolicy:
        made = _OfPolicy(
            self._tokens.labels(name, "prompt").inc,
            self._tokens.labels(name, "completion").inc,
            self._money.labels(name).inc,
            self._confidence.labels(name).observe,
        )
        self._by_policy[name] = made
        return made

    # --- states --------------------------------------------------------------------------------------------------

    def passed(self, path: str, status: int) -> None:
        """A request was passed through, and nothing decided."""
        self._passed.labels(path, status).inc()

    def repeated(self, outcome: str) -> None:
        """A request with an idempotency key came: see `gate.proxy.idempotency.once.Outcome`."""
        self._repeats.labels(outcome).inc()

    def watch_requests(self, counts: Callable[[], tuple[int, int]]) -> None:
        """Ask this for the requests under way, and those that wait, whenever the metrics are shown."""
        self._under_way = counts

    def reloaded(self, outcome: str) -> None:
        """Fits ``on_reload`` of `gate.proxy.policies.Policies`."""
        self._reloads.labels("ok" if outcome == "ok" else "failed").inc()

    def restarted(self) -> None:
        """A worker was started in the place of one that died."""
        self._restarts.inc()

    def watch_log(self, counts: Callable[[], LogCounts]) -> None:
        """Ask this for the log's counts whenever the metrics are shown."""
        self._log = counts

    def certificate(self, policy: str, void: bool | None) -> None:
        """Whether the certificate of a policy is void; None where it has none."""
        if void is None:
            self._void.remove_by_labels({"policy": policy})
        else:
            self._void.labels(policy).set(void)

    def monitor(self, policy: str, monitor: DriftMonitor | None) -> None:
        """How the promise of a policy stands; None where nothing was audited yet."""
        if monitor is not None:
            self._e_value.labels(policy).set(monitor.e_value)
            self._alarm.labels(policy).set(monitor.alarm)

    def forget(self, policy: str) -> None:
        """A policy that is no longer served has no state. What was counted of it stays counted."""
        for gauge in (self._void, self._e_value, self._alarm):
            gauge.remove_by_labels({"policy": policy})

    # --- showing -------------------------------------------------------------------------------------------------

    def render(self) -> bytes:
        """All of it, of all workers, in Prometheus' text format (`CONTENT_TYPE`). Reads and writes files where there
        are several workers: call it on a thread."""
        with self._turn:  # else what another thread collected before could be written after
            families = self._families()
            samples = _samples(families)
            if self._shared is None:
                return generate_latest(_Shown(families, samples))
            # what is shown was first written: scrapes that reach different workers never see a counter go back
            how = _how(families)
            together = summed(self._shared.write(samples, how), self._shared.others(), how)
        return generate_latest(_Shown(families, together))

    def share(self) -> None:
        """Write what other workers show. Call it every few seconds, on a thread, and at the end."""
        with self._turn:
            if self._shared is not None:
                families = self._families()
                self._shared.write(_samples(families), _how(families))

    def close(self) -> None:
        """Leave what was counted to whoever takes this worker's place."""
        if self._shared is not None:
            self.share()
            self._shared.close()
            self._shared = None

    def _families(self) -> list[Metric]:
        if self._under_way is not None:
            for gauge, now in zip((self.in_flight, self.waiting), self._under_way(), strict=True):
                gauge.set(now)
        if self._log is not None:
            counts = self._log()
            counters = (self._log_written, self._log_dropped, self._log_failed)
            for counter, now in zip(counters, counts[:3], strict=True):
                counter.reset()
                counter.inc(now)
            self._log_waiting.set(counts.waiting)
        self.faults.refresh()
        return list(self._registry.collect())


class _Shown(Collector):
    """Families with other samples than their own: what `generate_latest` asks a registry for."""

    def __init__(self, families: Iterable[Metric], samples: Samples) -> None:
        self._families = families
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        by_family: dict[str, list[tuple[str, dict[str, str], float]]] = {}
        for (of, name, labels), value in self._samples.items():
            by_family.setdefault(of, []).append((name, dict(labels), value))
        for family in self._families:
            shown = Metric(family.name, family.documentation, family.type)
            for sample in by_family.get(family.name, ()):
                shown.add_sample(*sample)
            yield shown


def _samples(families: Iterable[Metric]) -> Samples:
    """Without the times at which counters were made, which say nothing here and double what is shown."""
    return {
        (family.name, sample.name, tuple(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def _how(families: Iterable[Metric]) -> How:
    kinds = {family.name: _merge(family) for family in families}
    return lambda name: kinds.get(name, "own")


def _merge(family: Metric) -> Merge:
    if family.type != "gauge":
        return "count"
    return "sum" if family.name in _SUMMED else "largest" if family.name in _LARGEST else "own"


def busy_seconds(tape: Iterable[TapeEntry]) -> float:
    """How long at least one of the calls was under way: those side by side count once."""
    spans = [(asked.began, asked.began + asked.cost.seconds) for asked in tape]
    if len(spans) > 1:
        spans.sort()
    total, until = 0.0, 0.0
    for began, ended in spans:
        if ended > until:
            total += ended - max(began, until)
            until = ended
    return total
