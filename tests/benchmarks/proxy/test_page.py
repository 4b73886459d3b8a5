"""The table and the aims, of worked figures."""

from __future__ import annotations

from tests.benchmarks.proxy.contestants import Absent, Contestant
from tests.benchmarks.proxy.load import Asked, Load
from tests.benchmarks.proxy.memory import Grown, Sample
from tests.benchmarks.proxy.page import aims, memory_table, table
from tests.benchmarks.proxy.rounds import CONNECTIONS, Measured
from tests.benchmarks.proxy.server_process import ServerProcess

ASKED = Asked(1, "/", "{}", "none")
SERVER = object.__new__(ServerProcess)
"""Of those that are no upstream: the page only asks whether there is one."""


def measured(name: str, rate: int, p50: float, p99: float, *, failed: int = 0) -> Measured:
    load = Load(rate + failed, 1.0, p50, p99, failed)
    made = Measured(Contestant(name, ASKED), None if name == "direct" else SERVER, [], {n: [load] for n in CONNECTIONS})
    if name != "direct":
        made.half, made.half_direct = [Load(rate // 2, 1.0, p50 / 2, p99 / 2, 0)], [Load(rate // 2, 1.0, 0.25, 0.5, 0)]
        made.cpu, made.resident = [400.0], 123.4
    return made


def rows() -> list[Measured | Absent]:
    made: list[Measured | Absent] = [measured("direct", 50_000, 0.5, 1.0), measured("one-draft", 2600, 12.0, 20.0)]
    return [*made, measured("litellm", 100, 300.0, 900.0), Absent("firstpass", "could not be installed: no | wheel")]


def test_the_table_has_what_each_adds() -> None:
    head, rule, direct, gate, litellm, absent = table(rows())
    assert head.count("|") == rule.count("|") == direct.count("|") == gate.count("|") == absent.count("|")
    assert "| 50,000 | 50,000 | 50,000 | (0.50 / 1.00) |" in direct
    assert "| 2,600 | 2,600 | 2,600 | 11.50 / 19.00 |" in gate
    assert "| 1,300 | 5.75 / 9.50 | 400 | 123 |" in gate
    assert "| 50 | 149.75 / 449.50 |" not in litellm  # that many digits would say more than was measured
    assert "| 50 | 150 / 450 |" in litellm
    assert "could not be installed: no / wheel" in absent


def test_failures_stand_below() -> None:
    last = list(table([measured("one-draft", 100, 1.0, 2.0, failed=7)]))[-1]
    assert last.endswith("gate, one draft, log-probabilities: 21 requests failed")


def test_aims_are_met_missed_or_not_measured() -> None:
    steady = Grown((Sample(10_000, 150.0), Sample(50_000, 151.0), Sample(100_000, 151.2)), 0, 100_000, 10**8)
    lines = [aim.line() for aim in aims(rows(), steady)]
    assert lines == [
        "- at least 2,500 requests a second with one draft: 2,600, met",
        "- at least 20 times LiteLLM's: 26.00 times, met",
        "- at least 0.7 times firstpass's: not measured",
        "- p99 added under 5 ms at 32 connections, at half its rate: 9.50 ms, **not met**",
        "- at most 200 MB resident, no growth: 151 MB after 100,000 requests, +0.40 MB for 100,000 more, met",
    ]
    leaking = Grown(tuple(Sample(n * 50_000, 100.0 + n) for n in range(1, 9)), 0, 0, 0)
    assert [aim.met for aim in aims([], leaking)] == [None, None, None, None, False]


def test_the_table_of_memory() -> None:
    lines = list(memory_table(Grown((Sample(10_000, 150.04),), 3, 9_000, 9_000_000)))
    assert lines[2:] == ["| 10,000 | 150.0 |", "\nLogged: 90.0% of them, 1,000 bytes each. Failed: 3."]
