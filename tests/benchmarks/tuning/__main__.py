"""Measure gate's tuning: is the promise kept, is p to be believed, what does it save, how long does it take.

    make bench-tune DATA=folder               a folder of *.jsonl or *.jsonl.gz in the schema of its README
    python -m tests.benchmarks.tuning DATA [--no-peers] [--no-scale] [--draws N]

Four measures, each in a module of its own: `promise`, `calibration`, `cascades`, `scale`.
Prints tables with the aim of each and whether it is met; writes build/bench-tune.json and build/bench-tune.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process a core; threads of their own would only get in the way

import argparse
import json
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.quality import markdown
from tests.benchmarks.tuning import calibration, scale
from tests.benchmarks.tuning.calibration import GATE, LABELS, Measured
from tests.benchmarks.tuning.cascades import Cascade, Interval, Retrieval, costs_of
from tests.benchmarks.tuning.promise import DELTA, FIT, RESPLITS, Kept, Promised, promised_or_why, simulated
from tests.benchmarks.tuning.scale import Scale
from tests.benchmarks.tuning.sets import Readings, read, sets_of

ROOT = Path(__file__).parents[3]
COVERAGE, COST, LOST, SAVED = 0.9, 0.4, 0.5, 0.3
"""The aims: share of the oracle's coverage; share of the strongest's cost, at so many points; share of retrievals."""


@dataclass
class Page:
    """What is printed and written, part by part."""

    began: float = field(default_factory=time.monotonic)
    parts: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.parts.append(text)
        print(f"\n[{time.monotonic() - self.began:.0f} s]\n{text}", flush=True)


def verdict(aim: str, met: bool | None, saw: str) -> str:
    return f"Aim: {aim}. **{'Nothing to tell it by' if met is None else 'Met' if met else 'Not met'}**: {saw}.\n"


# --- promise -----------------------------------------------------------------------------------------------------


def most_broken(draws: int) -> float:
    """The share of broken promises that still fits delta: three standard errors above."""
    return DELTA + 3 * float(np.sqrt(DELTA * (1 - DELTA) / draws)) if draws else 1.0


def of_simulation(found: Sequence[Kept]) -> str:
    rows = [(k.name, f"{k.broken:.1%}", f"{k.refused:.1%}", f"{k.coverage:.3f}") for k in found]
    held = [k for k in found if k.name.startswith("gate") or "counted" in k.name]
    saw = "; ".join(f"{k.name}: {k.broken:.1%}" for k in held)
    return (
        f"### Promise, simulated\n\n{found[0].draws} draws of 500 labelled answers, P(right | s) = .4 + .6 s, "
        "target risk .15, delta .05; a threshold that keeps the promise answers half at most.\n\n"
        + markdown(("method", "promise broken", "promises nothing", "answers (mean)"), rows)
        + "\n"
        + verdict("broken in at most 5 %", all(k.broken <= most_broken(k.draws) for k in held), saw)
    )


def of_promises(found: Sequence[Promised]) -> str:
    head = (
        "set", "n", "labels", "right", "alpha (x error)", "broken", "on the rest alone (on any as large)",
        "promises nothing", "answers", "oracle", "share of the oracle", "could be certified",
    )  # fmt: skip
    rows = [_promise_row(one) for one in found]
    able = [one for one in found if not one.target.hopeless]
    draws = sum(one.draws for one in found)
    broken = sum(one.broken * one.draws for one in found) / max(1, draws)
    worst = max(found, key=lambda one: one.broken - most_broken(one.draws), default=None)
    large = [one for one in able if one.labelled >= 1000]
    shares = [one.coverage / one.oracle for one in large if one.oracle]
    ceiling = [one.target.certifiable / one.oracle for one in large if one.oracle]
    kept = worst is not None and worst.broken <= most_broken(worst.draws)
    saw = f"{broken:.2%} of {draws} promises broken" + (f", most on {worst.name}: {worst.broken:.1%}" if worst else "")
    reached = (
        f"median {np.median(shares):.2f} over {len(shares)} sets of 1,000 labels"
        if shares
        else "no set is large enough"
    )
    if shares:
        reached += f"; knowing the best threshold and testing it exactly would reach about {np.median(ceiling):.2f}"
    return (
        f"### Promise, on recorded answers\n\nFit on {FIT:.0%} of the labels, certify on the others, judge on what has "
        "none; delta .05. Broken: of all answers that fitted nothing, more than alpha are wrong. Hopeless sets (*) "
        "only show whether it is broken.\n\n"
        + markdown(head, rows)
        + "\n"
        + verdict("no set breaks it in more than delta + 3 s.e. of the re-splits", kept if found else None, saw)
        + verdict(
            f"{COVERAGE:.0%} of the oracle's coverage at n = 1,000",
            float(np.median(shares)) >= COVERAGE if shares else None,
            reached,
        )
    )


def _promise_row(one: Promised) -> tuple[str, ...]:
    return (
        one.name + ("*" if one.target.hopeless else ""),
        str(one.n),
        str(one.labelled),
        f"{one.accuracy:.0%}",
        f"{one.target.alpha:.2f} ({one.target.factor:.1f})",
        f"{one.broken:.1%} of {one.draws}",
        f"{one.rest_above:.1%} ({one.chance_above:.1%}) of {one.rest}",
        f"{one.refused:.0%}",
        f"{one.coverage:.3f}",
        f"{one.oracle:.3f}",
        "-" if one.reached is None or one.target.hopeless else f"{one.reached:.2f}",
        "-" if one.target.hopeless else f"{one.target.certifiable:.2f}",
    )


# --- calibration -------------------------------------------------------------------------------------------------


def of_calibration(found: Sequence[Measured], lacking: Sequence[str]) -> str:
    text = "### Calibration\n\nMedians over re-splits; the rest of each set judges.\n"
    for labels in LABELS:
        some = [one for one in found if one.labels == labels]
        if some:
            text += f"\n{labels} labels, {len({one.set for one in some})} sets; mean over sets of the median:\n\n"
            text += markdown(("method", "re-splits", "ECE", "Brier", "AUROC"), _means(some)) + "\n"
            text += markdown(
                ("set", "judged on", "ECE (by chance)", "Brier", "AUROC", "best ECE of another"), _by_set(some)
            )
            text += "\n" + _calibration_verdict(some, labels)
    return text + "".join(f"- {line}\n" for line in lacking)


def _means(some: Sequence[Measured]) -> Iterator[tuple[str, ...]]:
    for method in dict.fromkeys(one.method for one in some):
        mine = [one for one in some if one.method == method]
        means = [f"{np.mean([getattr(one, name) for one in mine]):.4f}" for name in ("ece", "brier", "auroc")]
        yield (method, str(max(one.resplits for one in mine)), *means)


def _by_set(some: Sequence[Measured]) -> Iterator[tuple[str, ...]]:
    for one in some:
        if one.method == GATE:
            others = [other for other in some if other.set == one.set and other.method != GATE]
            best = min(others, key=lambda other: other.ece, default=None)
            ece = f"{one.ece:.3f} ({one.chance_ece:.3f})"
            said = f"{best.ece:.3f} {best.method}" if best else "-"
            yield (one.set, str(one.judged_on), ece, f"{one.brier:.4f}", f"{one.auroc:.3f}", said)


def _calibration_verdict(some: Sequence[Measured], labels: int) -> str:
    ours = {one.set: one for one in some if one.method == GATE}
    worse = {
        method: sum(ours[one.set].brier > one.brier + 0.0005 for one in some if one.method == method)
        for method in dict.fromkeys(one.method for one in some)
        if method != GATE
    }
    limit = 0.04 if labels == 1000 else 0.08
    within = sum(one.ece <= limit for one in ours.values())
    saw = f"ECE at most {limit} on {within} of {len(ours)} sets, median {np.median([o.ece for o in ours.values()]):.3f}"
    beaten = ", ".join(f"{method} on {count}" for method, count in worse.items())
    return f"{saw}. Sets with a better Brier score (by more than .0005): {beaten or 'no peers were run'}.\n"


# --- cost --------------------------------------------------------------------------------------------------------


def interval(value: Interval, digits: int = 1) -> str:
    return f"{value.value:+.{digits}f} ({value.low:+.{digits}f} to {value.high:+.{digits}f})"


def share(value: Interval) -> str:
    return f"{value.value:.0%} ({value.low:.0%} to {value.high:.0%})"


def of_cascades(found: Sequence[Cascade]) -> str:
    head = (
        "set", "fit, test", "strongest", "may lose", "ladder", "points over the strongest (95 %)", "cost of its (95 %)",
        "at random, as dear", "oracle router",
    )  # fmt: skip
    rows = [_cascade_row(one, place) for one in found for place in range(len(one.points))]
    half = [(one, point) for one in found for point in one.points if point.points == LOST]
    good = [one.name for one, point in half if point.cost.value <= COST and point.over_strongest.value >= -LOST]
    saw = f"{len(good)} of {len(half)} sets" + (f" ({'; '.join(good)})" if good else "")
    return (
        "### Cost: several upstreams\n\nThe cheapest ladder and thresholds that lose at most so many points on the fit "
        "split, judged on the test split. Prices marked L are of a list.\n\n"
        + markdown(head, rows)
        + "\n"
        + verdict(
            f"at most {COST:.0%} of the strongest's cost within {LOST} points",
            len(good) == len(half) if half else None,
            saw,
        )
    )


def _cascade_row(one: Cascade, place: int) -> tuple[str, ...]:
    point = one.points[place]
    return (
        one.name + (" L" if one.listed else ""),
        f"{one.fitted_on}, {one.judged_on}",
        f"{one.accuracies[-1]:.3f}",
        f"{point.points:.1f}",
        " → ".join(name.rpartition("/")[2] for name in point.ladder),
        interval(point.over_strongest),
        share(point.cost),
        f"{100 * (point.at_random - one.accuracies[-1]):+.1f}",
        f"{one.oracle[0]:.3f} at {one.oracle[1]:.0%}",
    )


def of_retrieval(found: Sequence[Retrieval]) -> str:
    head = (
        "set", "n", "never", "always", "policy", "points over always (95 %)", "saved (95 %)", "at random",
        "best of both", "recorded router",
    )  # fmt: skip
    rows = [
        (
            one.name, str(one.n), f"{one.without:.3f}", f"{one.always:.3f}", f"{one.policy:.3f}",
            interval(one.over_always), share(one.saved), f"{one.at_random:+.1f}", f"{one.best_of_both:.3f}",
            f"saves {one.router[0]:.0%} at {one.router[1]:+.1f}" if one.router else "-",
        )
        for one in found
    ]  # fmt: skip
    good = [one.name for one in found if one.saved.value >= SAVED and one.over_always.value >= 0]
    return (
        "### Cost: retrieval\n\nPassages only where closed-book signals want them; five folds.\n\n"
        + markdown(head, rows)
        + "\n"
        + verdict(
            f"{SAVED:.0%} fewer retrievals at no loss",
            len(good) == len(found) if found else None,
            f"{len(good)} of {len(found)} sets" + (f" ({'; '.join(good)})" if good else ""),
        )
    )


# --- scale -------------------------------------------------------------------------------------------------------


def of_scale(found: Scale) -> str:
    saw = f"{found.seconds:.0f} s ({found.cpu_seconds:.0f} s of CPU time) and {found.gigabytes:.2f} GiB"
    return (
        f"### Scale\n\n`gate tune` on {found.decisions:,} logged decisions with {found.signals} signals "
        f"({found.log_megabytes:,.0f} MB), all labelled: {saw}, exit code {found.exit_code}.\n\n"
        + verdict("under 3 minutes and 3 GiB", found.met, saw)
    )


# --- running -----------------------------------------------------------------------------------------------------


def _calibrated(sets: Sequence[Readings], pool: Executor, *, peers: bool) -> tuple[list[Measured], list[str]]:
    made, lacking = calibration.peers(sets) if peers else ({}, ["the other libraries were left out"])
    tasks = [(found, labels) for labels in LABELS for found in sets if calibration.fits(found, labels)]
    ours = pool.map(calibration.gates, *zip(*tasks, strict=True)) if tasks else ()
    measured = [
        one
        for (found, labels), p in zip(tasks, ours, strict=True)
        for one in calibration.measured(found, labels, p, made)
    ]
    return measured, lacking


def run(data: Path, *, peers: bool, decisions: int, draws: int) -> tuple[dict[str, Any], str]:
    """All measures; returns what is written as JSON and as Markdown."""
    page = Page()
    groups, left_out = sets_of(data)
    result: dict[str, Any] = {}
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        known = list(pool.map(read, groups))
        left_out += [one for one in known if isinstance(one, str)]
        sets = [one for one in known if isinstance(one, Readings)]
        costing, simulating = pool.submit(costs_of, data), pool.submit(simulated, max(50, 5 * draws))
        tried = list(pool.map(partial(promised_or_why, draws=draws), sets))
        left_out += [one for one in tried if isinstance(one, str)]
        promises = [one for one in tried if isinstance(one, Promised)]
        kept, costs = simulating.result(), costing.result()
        page.say(of_simulation(kept))
        page.say(of_promises(promises))
        measured, lacking = _calibrated(sets, pool, peers=peers)
        page.say(of_calibration(measured, lacking))
    left_out += [one for one in costs if isinstance(one, str)]
    cascades = [one for one in costs if isinstance(one, Cascade)]
    retrievals = [one for one in costs if isinstance(one, Retrieval)]
    page.say(of_cascades(cascades))
    page.say(of_retrieval(retrievals))
    if decisions:
        scale.check()
        found = scale.measured(decisions)
        page.say(of_scale(found))
        result["scale"] = asdict(found)
    page.say("### Left out\n\n" + "".join(f"- {reason}\n" for reason in left_out))
    result |= {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "minutes": (time.monotonic() - page.began) / 60,
        "simulated": [asdict(one) for one in kept],
        "promises": [asdict(one) for one in promises],
        "calibration": [asdict(one) for one in measured],
        "lacking": lacking,
        "cascades": [asdict(one) for one in cascades],
        "retrieval": [asdict(one) for one in retrievals],
        "left out": left_out,
    }
    return result, f"{result['machine']}, {result['date']}, {result['minutes']:.0f} min\n\n" + "\n".join(page.parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder of recorded answers")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    parser.add_argument("--no-scale", action="store_true", help="leave the long log out")
    parser.add_argument("--draws", type=int, default=RESPLITS, help="re-splits of a set for the promise")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder: give one with recorded answers, DATA=…")
    decisions = 0 if options.no_scale else 1_000_000
    result, page = run(options.data, peers=not options.no_peers, decisions=decisions, draws=options.draws)
    target = ROOT / "build" / "bench-tune.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
