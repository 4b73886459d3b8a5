"""The pocket world with every route live: what each way of answering costs, covers and gets wrong.

Asked are the facts of the test split, which taught and certified nothing. Gates without routes are tuned here as the
shipped ones are: fitted on the fit split, certified on the certify split, for the promise of 5 %.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gate.assemble import assemble, load_gateway
from gate.calibration.unfitted import Unfitted
from gate.gateway import Gateway
from gate.guarantees.selective_risk import upper_bound
from gate.pocket.world import facts, facts_of
from gate.policy import PolicyFile, find, read
from gate.tuning.bounds import trusted
from gate.tuning.collect import collect
from gate.tuning.collection import Collection
from gate.tuning.examples import Example
from gate.tuning.grade import grade
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.sources import CollectionSource
from gate.tuning.splits import Shares
from gate.tuning.tune import tune
from gate.types import Question
from tests.benchmarks.foundations import same
from tests.benchmarks.quality import markdown

SHIPPED = ("balanced", "strict", "cost-saver", "rag", "agents")
PROMISE = 0.05
TIMES, TOKENS = 1.5, 0.5
"""The aims: coverage over that of the best gate without routes; tokens over those of gating by ten samples."""
TEN = {"n": 10, "temperature": 1.0, "seed": 7}
BARE: Mapping[str, Any] = {"tiers": [["draft"]], "evidence": {}, "signals": ["token_logprob_sum"]}


@dataclass(frozen=True)
class Way:
    """What one way of answering did with the questions."""

    name: str
    promise: float | None
    n: int
    answered: int
    wrong: int
    calls: float
    tokens: float
    money: float
    ms: float
    """Median."""

    @property
    def coverage(self) -> float:
        return self.answered / self.n

    @property
    def risk(self) -> float:
        return self.wrong / self.answered if self.answered else 0.0


def asked(name: str, gateway: Gateway | None, n: int | None, promise: float | None) -> Way:
    """Every question, one after the other, through the gateway; without one nothing is answered."""
    questions, answered, wrong, times, costs = facts_of("test")[:n], 0, 0, [], []
    if gateway is None:
        return Way(f"{name}: no threshold keeps it", promise, len(questions), 0, 0, 0.0, 0.0, 0.0, 0.0)
    gateway.ask(Question.from_text("Where is Lagos?"))  # models are loaded once
    for fact in questions:
        began = time.perf_counter()
        outcome, _ = gateway.ask(Question.from_text(fact.question))
        times.append(1000 * (time.perf_counter() - began))
        costs.append(outcome.cost)
        answered += outcome.answered
        wrong += outcome.answered and not same(outcome.text, fact.answer)
    gateway.close()
    means = (statistics.fmean(each) for each in zip(*((c.calls, c.tokens, c.money) for c in costs), strict=True))
    calls, tokens, money = means
    return Way(name, promise, len(questions), answered, wrong, calls, tokens, money, statistics.median(times))


def changed(folder: Path, name: str, **changes: Any) -> PolicyFile:
    """The balanced policy with other keys, to be tuned or to run without a gate."""
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    data.pop("certificate", None)
    data |= {"name": name, "calibrator": f"{name}.calibrator.json", **changes}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return read(path)


def ungated(folder: Path, name: str, upstream: str, *, reading: bool) -> Gateway:
    """One upstream whose every draft goes out, with passages or without."""
    retrieve = {"retriever": "world", "prompt": "pocket_with_passages", "k": 1, "first": "always"}
    routes = {"retrieve": retrieve if reading else None, "escalate": False}
    rule = {"kind": "threshold", "answer_at": 0.0, "otherwise": []}
    file = changed(folder, name, ladder=[upstream], routes=routes, rule=rule, on_failure="pass_through", **BARE)
    return assemble(file, Unfitted())


def without_routes(folder: Path, name: str, upstream: str, samples: Mapping[str, Any] | None) -> Gateway | None:
    """A gate that answers or abstains, tuned; by samples of every question, or by the tokens of the draft alone.

    None where no threshold keeps the promise.
    """
    data = yaml.safe_load(find("balanced").read_text(encoding="utf-8"))
    kept = [s for s in data["signals"] if "passage" not in s and (samples is not None or s.startswith("token"))]
    file = changed(
        folder,
        name,
        ladder=[upstream],
        routes={"retrieve": None, "escalate": False},
        tiers=[["draft", "samples", "meanings"]] if samples else [["draft"]],
        evidence={"samples": dict(samples)} if samples else {},
        signals=kept,
        rule={"kind": "threshold", "answer_at": 0.9, "otherwise": []},
    )
    return tuned_as_shipped(folder, file)


def with_ten_samples(folder: Path, name: str) -> Gateway | None:
    """The balanced policy with all its routes, and ten samples of every draft."""
    tiers = [["draft", "question", "passages", "samples", "meanings"]]
    rule = {"kind": "threshold", "answer_at": 0.9, "otherwise": ["retrieve", "escalate"]}
    return tuned_as_shipped(folder, changed(folder, name, tiers=tiers, evidence={"samples": TEN}, rule=rule))


def tuned_as_shipped(folder: Path, file: PolicyFile) -> Gateway | None:
    """The policy fitted and certified on the facts that are there for it; None where no threshold keeps the promise."""
    with Collection.create(folder / f"{file.policy.name}.collection") as collection:
        collection.add(
            Example(fact.key, Question.from_text(fact.question), (fact.answer,), fact.relation, fact.split)
            for fact in facts()
            if fact.split in ("fit", "certify")
        )
        gateway = assemble(file, Unfitted())
        asyncio.run(collect(gateway, collection))
        asyncio.run(grade(collection, ExactGrader(), gateway.world))
        tuned = tune(file, CollectionSource(collection, Shares(), thresholds_only=True), bound=trusted)
    if tuned.policy is None:
        return None
    return assemble(replace(file, policy=tuned.policy), tuned.calibrator)


def measured(n: int | None = None) -> list[Way]:
    """Every way of answering, on the first n questions or on all."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        ways = [
            asked("small alone", ungated(folder, "small-alone", "small", reading=False), n, None),
            asked("large alone", ungated(folder, "large-alone", "large", reading=False), n, None),
            asked("always retrieve, small", ungated(folder, "small-reading", "small", reading=True), n, None),
            asked("always retrieve, large", ungated(folder, "large-reading", "large", reading=True), n, None),
            asked("gate without routes, small", without_routes(folder, "small-gate", "small", None), n, PROMISE),
            asked("gate without routes, large", without_routes(folder, "large-gate", "large", None), n, PROMISE),
            asked("ten samples, small", without_routes(folder, "small-ten", "small", TEN), n, PROMISE),
            asked("ten samples, large", without_routes(folder, "large-ten", "large", TEN), n, PROMISE),
            asked("balanced with ten samples", with_ten_samples(folder, "balanced-ten"), n, PROMISE),
        ]
    for name in SHIPPED:
        gateway = load_gateway(name)
        ways.append(asked(name, gateway, n, gateway.policy.promise.max_error))
    return ways


def page(ways: Sequence[Way]) -> str:
    head = (
        "way", "promise", "coverage", "wrong among answers", "95 % upper bound", "right of all", "calls", "tokens",
        "$ per 1,000", "ms, median",
    )  # fmt: skip
    rows = [
        (
            way.name,
            "-" if way.promise is None else f"{way.promise:.0%}",
            f"{way.coverage:.1%}",
            f"{way.risk:.1%}",
            f"{upper_bound(way.wrong, way.answered, 0.05):.1%}" if way.answered else "-",
            f"{(way.answered - way.wrong) / way.n:.1%}",
            f"{way.calls:.2f}",
            f"{way.tokens:.0f}",
            f"{1000 * way.money:.4f}",
            f"{way.ms:.0f}",
        )
        for way in ways
    ]
    return markdown(head, rows) + "\n" + "".join(verdicts(ways))


def verdicts(ways: Sequence[Way]) -> list[str]:
    """Each aim, whether it is met, and by which figures."""
    by = {way.name.partition(":")[0]: way for way in ways}
    gate, ten = by["balanced"], by["balanced with ten samples"]
    told = []
    for upstream in ("small", "large"):
        best = max((by[f"{kind}, {upstream}"] for kind in ("gate without routes", "ten samples")), key=_coverage)
        met = gate.risk <= PROMISE and gate.coverage >= TIMES * best.coverage
        saw = f"{gate.risk:.1%}, {gate.coverage:.1%} of the questions; "
        if best.coverage:
            saw += f"{gate.coverage / best.coverage:.2f} times {best.coverage:.1%}, of {1 / best.coverage:.2f} possible"
        else:
            saw += "the other can promise nothing"
        told.append(
            f"Aim: wrong among answers at most {PROMISE:.0%}, at {TIMES} times the coverage of the best gate without "
            f"routes ({upstream}). **{_met(met)}**: {saw}.\n"
        )
    share = gate.tokens / ten.tokens if ten.tokens else float("inf")
    told.append(
        f"Aim: at most {TOKENS:.0%} of the tokens of the same gate with ten samples of every draft. "
        f"**{_met(share <= TOKENS)}**: {share:.0%}, at {gate.coverage:.1%} of the questions for {ten.coverage:.1%}.\n"
    )
    return told


def _coverage(way: Way) -> float:
    return way.coverage


def _met(met: bool) -> str:
    return "Met" if met else "Not met"
