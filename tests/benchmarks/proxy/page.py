"""The page of the benchmark: who answers how many requests and adds how much, and which aims are met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.benchmarks.proxy.contestants import TITLES, Absent
from tests.benchmarks.proxy.memory import Grown
from tests.benchmarks.proxy.rounds import AT_HALF, CONNECTIONS, Measured, both

OURS = "one-draft"
MOST_ADDED, MOST_MEGABYTES, LEAST_RATE, LITELLM_TIMES, FIRSTPASS_SHARE = 5.0, 200.0, 2500.0, 20.0, 0.7
STEADY = 1.0
"""Megabytes for 100,000 more requests that count as no growth."""
NOTES = (
    "Requests a second: wrk, as fast as each answers. Added: p50 / p99 in ms less those of the upstream direct at as "
    "many connections, whose own stand in brackets; with wrk they are latencies at saturation. At half its rate: "
    "Poisson arrivals at half of what it did at 32 connections (8,000/s at most), timed from arrival, less the "
    "upstream at the same rate in the same round. A draft and five samples are two upstream calls. CPU: user and "
    "system, microseconds a request, at 32 connections. Memory: resident at the end of the rounds. Logged: share of "
    "the requests that the decision log holds after the end."
)


def table(rows: Sequence[Measured | Absent]) -> Iterator[str]:
    """Markdown, a line for each contestant."""
    heads = ["", *(f"req/s, {n}" for n in CONNECTIONS), *(f"added ms, {n}" for n in CONNECTIONS)]
    heads += ["at half its rate: req/s", "added ms", "CPU µs", "MB", "logged"]
    yield _line(heads)
    yield _line(["---", *["--:"] * (len(heads) - 1)])
    direct = next((row for row in rows if isinstance(row, Measured) and row.server is None), None)
    for row in rows:
        if isinstance(row, Absent):
            yield _line([TITLES[row.name], _plain(row.reason), *[""] * (len(heads) - 2)])
        else:
            yield _line([TITLES[row.name], *_cells(row, direct)])
    for row in rows:
        if isinstance(row, Measured) and (said := _troubles(row)):
            yield f"\n{TITLES[row.name]}: {said}"


def _cells(row: Measured, direct: Measured | None) -> Iterator[str]:
    for connections in CONNECTIONS:
        yield _number(row.rate(connections), ",.0f")
    for connections in CONNECTIONS:
        own, bare = row.latency(connections), direct.latency(connections) if direct else None
        yield f"({_pair(own)})" if row is direct else _pair(less(own, bare))
    yield _number(sum(load.rate for load in row.half) / len(row.half) if row.half else None, ",.0f")
    yield _pair(added_at_half(row))
    yield _number(sum(row.cpu) / len(row.cpu) if row.cpu else None, ",.0f")
    yield _number(row.resident, ",.0f")
    yield _number(row.logged, ".1%")


def less(own: tuple[float, float] | None, bare: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if own is None or bare is None else (own[0] - bare[0], own[1] - bare[1])


def added_at_half(row: Measured) -> tuple[float, float] | None:
    """p50 and p99, milliseconds more than the upstream at the same rate."""
    return less(both(row.half), both(row.half_direct))


def _troubles(row: Measured) -> str:
    failed = sum(load.failed for loads in (*row.busy.values(), row.half) for load in loads)
    said = [f"{failed:,} requests failed"] if failed else []
    return "; ".join([*said, *row.troubles])


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at, what came, and whether it is enough; None where it was not measured."""

    what: str
    came: str
    met: bool | None

    def line(self) -> str:
        verdict = {True: "met", False: "**not met**", None: "not measured"}[self.met]
        return f"- {self.what}: {self.came + ', ' if self.came else ''}{verdict}"


def aims(rows: Sequence[Measured | Absent], grown: Grown | None) -> Iterator[Aim]:
    known = {row.name: row for row in rows if isinstance(row, Measured)}
    ours = known.get(OURS)
    rate = _rate(ours)
    yield _aim(f"at least {LEAST_RATE:,.0f} requests a second with one draft", rate, LEAST_RATE, "{:,.0f}")
    for name, times in (("litellm", LITELLM_TIMES), ("firstpass", FIRSTPASS_SHARE)):
        theirs = _rate(known.get(name))
        ratio = rate / theirs if rate and theirs else None
        yield _aim(f"at least {times:g} times {TITLES[name].split()[0]}'s", ratio, times, "{:.2f} times")
    added = added_at_half(ours) if ours else None
    most = None if added is None else -added[1]
    yield _aim(f"p99 added under {MOST_ADDED:g} ms at {AT_HALF} connections, at half its rate", most, -MOST_ADDED, "")
    yield _memory_aim(grown)


def _rate(row: Measured | None) -> float | None:
    return row.rate(AT_HALF) if row else None


def _aim(what: str, value: float | None, least: float, form: str) -> Aim:
    if value is None:
        return Aim(what, "", None)
    return Aim(what, form.format(value) if form else f"{-value:.2f} ms", value >= least)


def _memory_aim(grown: Grown | None) -> Aim:
    what = f"at most {MOST_MEGABYTES:g} MB resident, no growth"
    if grown is None:
        return Aim(what, "", None)
    last, more = grown.samples[-1], grown.slope
    steady = "" if more is None else f", {more:+.2f} MB for 100,000 more"
    came = f"{last.megabytes:.0f} MB after {last.requests:,} requests{steady}"
    return Aim(what, came, last.megabytes <= MOST_MEGABYTES and (more is None or more <= STEADY))


def memory_table(grown: Grown) -> Iterator[str]:
    yield _line(["requests", "MB resident"])
    yield _line(["--:", "--:"])
    for sample in grown.samples:
        yield _line([f"{sample.requests:,}", f"{sample.megabytes:.1f}"])
    share = min(1.0, grown.kept / max(1, grown.samples[-1].requests))
    each = grown.log_bytes / max(1, grown.kept)
    yield f"\nLogged: {share:.1%} of them, {each:,.0f} bytes each. Failed: {grown.failed:,}."


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text as a table's cell."""
    return " ".join(text.replace("|", "/").split())


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _pair(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else " / ".join(f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}" for value in pair)
