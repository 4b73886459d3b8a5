"""Fit a tool gate on labelled calls, and certify a threshold for each of its promises on others.

The calibrator is a sign-constrained logistic that bears missing signals (`gate.tuning.fit`): one set of weights a tool,
drawn towards those of all tools. Each promise is then tested on calls that fitted nothing: thresholds chosen on the fit
split, from safe to bold, by the exact binomial bound (Clopper and Pearson 1934) in a fixed sequence (Angelopoulos et
al. 2021, Learn then Test; see `gate.guarantees.selective_risk`).

A tool with enough labelled calls has a promise of its own. The others share that of their class: those that can be
undone, and those that cannot. Each promise holds by itself with probability ``confidence``, and on average over calls
like the labelled ones: of a single tool in a class it says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gate.agents.call_labels import LabelledCall
from gate.agents.call_readings import BOUNDS, proposed
from gate.agents.gate_file import ANY, ToolGateFile, ToolPromise
from gate.agents.tool_gate import checked
from gate.agents.tool_settings import Tool, ToolPolicy, tool_policy
from gate.agents.verdict import ToolVerdict
from gate.calibration.logistic import LogisticCalibrator, StageWeights
from gate.calibration.probabilities import probabilities
from gate.errors import ConfigError, MissingExtra
from gate.guarantees.selective_risk import answers_needed, upper_bound
from gate.pocket.world import unit_hash
from gate.policy import Promise
from gate.tuning.certification import Counted, Foreseen, start, tested
from gate.tuning.fit import FEWEST, Readings, cross_fit_stages, fit
from gate.tuning.splits import Shares
from gate.types import Certificate, Stage

try:
    from threadpoolctl import threadpool_limits
except ModuleNotFoundError as error:
    raise MissingExtra("threadpoolctl", "tune") from error

ENOUGH_TIMES = 8
"""A tool has a promise of its own where it has so many times the calls that could certify it without one error."""
_OWN_WEIGHTS = 500
"""Fewest labelled calls of a tool for weights of its own."""
_THRESHOLDS = 48
_FORESEEN = 0.85
"""Of the calls that a threshold should let through in the test, so many are counted on in choosing the first: one that
lets through a single call too few proves nothing, and the first that fails ends the test."""
_A_FAIR_PART = 0.05
"""Of the tested calls: a signal that fewer lack counts as one that was there."""
Array = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Calls:
    """Labelled calls that could be made, as arrays of n; ``refused`` could not: no gate would let them through."""

    tools: tuple[str, ...]
    values: Array
    """[n, signals]"""
    right: Array
    questions: tuple[str, ...]
    refused: int

    def __len__(self) -> int:
        return len(self.tools)


@dataclass(frozen=True, slots=True)
class Judged:
    """p of calls [n], and whether they lie outside what the calibrator has seen [n]."""

    p: Array
    outside: Bools


def fit_tool_gate(
    calls: Sequence[LabelledCall],
    policy: ToolPolicy | Mapping[str, Any] | Path | str,
    *,
    certify: Sequence[LabelledCall] | None = None,
    tools: Mapping[str, Any] | None = None,
    model: str = "",
    labels: str = "",
    date: str = "",
    seed: int = 0,
) -> ToolGateFile:
    """Learn from labelled calls what a call's signals say, and which promises of the policy can be kept.

    ``calls`` are split by their questions into a part to fit on and one to certify on, unless ``certify`` holds the
    latter: of other questions. ``tools``: schemas by name of tools the policy does not list. ``model``: whose calls
    they are: those of another are not approved. ``labels``: who said what is right, for the record. Raises
    `ConfigError` where there are too few to learn anything from, and where ``certify`` holds what is fitted on; a
    promise that cannot be certified stays open, and its calls are not approved.
    """
    held = tool_policy(policy)
    if certify is None:
        # by questions: one that is told apart twice would be both learned from and tested on
        parts = [Shares().split(call.question or _key(call)) for call in calls]
        certify = [call for call, part in zip(calls, parts, strict=True) if part == "certify"]
        calls = [call for call, part in zip(calls, parts, strict=True) if part == "fit"]
    else:
        _apart(calls, certify)
    learned, testing = _read(calls, held, tools or {}), _read(_one_a_question(certify, seed), held, tools or {})
    wrong = int((learned.right == 0).sum())
    if len(learned) < FEWEST or not 0 < wrong < len(learned):
        raise ConfigError(
            f"a tool gate learns from {FEWEST} labelled calls or more, right and wrong ones; to fit on there are "
            f"{len(learned) - wrong} right and {wrong} wrong, and {learned.refused} that no gate would let through"
        )
    with threadpool_limits(
        1, user_api="blas"
    ):  # on busy cores, threads that wait for each other cost more than they do
        stages, unseen = _fitted(learned, seed)
    date = date or f"{datetime.now(UTC):%Y-%m-%d}"
    told = {"policy": held.fingerprint, "model": model}
    certificate = Certificate(0.0, 1 - held.confidence, 0, 0, 0, 1.0, "", date, told, labels)
    ground = _Ground(learned, unseen, testing, _judged(stages, testing), held.confidence, certificate)
    promises = tuple(
        _promise(*segment, names, ground) for segment, names in _segments(learned, testing, held, tools or {}).items()
    )
    return ToolGateFile(
        policy=held.fingerprint,
        model=model,
        date=date,
        fitted_on=len(learned),
        calibrator=LogisticCalibrator(signals=tuple(BOUNDS), stages=dict(stages)),
        promises=promises,
    )


def _key(call: LabelledCall) -> str:
    return "\n".join(f"{each.name} {each.arguments}" for each in call.draft.tool_calls)


def _told_apart(call: LabelledCall) -> Hashable:
    """What a call counts as in certifying: its question; where that is not told, all that is known of it."""
    return call.question or _all_known(call)


def _all_known(call: LabelledCall) -> Hashable:
    replies = (call.draft, *call.samples)
    made = tuple(tuple((each.name, each.arguments) for each in reply.tool_calls) for reply in replies)
    return call.place, call.draft.tokens, made


def _apart(calls: Sequence[LabelledCall], certify: Sequence[LabelledCall]) -> None:
    """Raises `ConfigError` where a call would be both learned from and tested on: its certificate would say nothing."""
    asked, known = {call.question for call in calls if call.question}, {_all_known(call) for call in calls}
    bare = {_all_known(call) for call in calls if not call.question}
    shared = sum(
        call.question in asked or _all_known(call) in (bare if call.question else known)
        for call in {_told_apart(call): call for call in certify}.values()
    )
    if shared:
        raise ConfigError(
            f"certify shares {shared} questions, or calls without one, with the calls that are fitted on: a promise is "
            "certified on others; leave them out of one of both, or say which questions they answer"
        )


def _one_a_question(calls: Sequence[LabelledCall], seed: int) -> list[LabelledCall]:
    """Drawn at random: the bound counts calls that are independent, and those of one question are not. A call
    without a question counts once as well, however often it is listed."""
    drawn: dict[Hashable, tuple[float, LabelledCall]] = {}
    for number, call in enumerate(calls):
        key = _told_apart(call)
        name = call.question or f"\n{number}"
        place = unit_hash(f"{name}\n{number}", f"one a question {seed}")
        if key not in drawn or place < drawn[key][0]:
            drawn[key] = (place, call)
    return [call for _, call in drawn.values()]


def _read(calls: Sequence[LabelledCall], policy: ToolPolicy, offered: Mapping[str, Any]) -> Calls:
    names, rows, right, questions, refused = [], [], [], [], 0
    for number, each in enumerate(calls):
        found = proposed(each.draft, each.samples)[each.place]
        tool = policy.tool(each.call.name, offered)
        ready = None if tool is None else checked(found, tool)
        if ready is None or isinstance(ready, ToolVerdict):
            refused += 1
            continue
        names.append(each.call.name)
        rows.append([np.nan if r.value is None else r.value for r in ready.signals.readings])
        right.append(float(each.right))
        questions.append(each.question or f"\n{number}")
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(BOUNDS))
    return Calls(tuple(names), values, np.array(right), tuple(questions), refused)


def _fitted(calls: Calls, seed: int) -> tuple[dict[str, StageWeights], Judged]:
    """Weights of each tool that has calls enough and of all together; and p of each call by fits that saw it not."""
    count = Counter(calls.tools)
    stage = np.array([tool if count[tool] >= _OWN_WEIGHTS else "*" for tool in calls.tools])
    numbers: dict[str, int] = {}
    question = np.array([numbers.setdefault(each, len(numbers)) for each in calls.questions])
    readings = {
        str(name): Readings(calls.values[stage == name], calls.right[stage == name], question[stage == name])
        for name in np.unique(stage)
    }
    made = cross_fit_stages(readings, tuple(BOUNDS), BOUNDS, seed=seed)
    stages = {Stage(name).key: each.stage for name, each in made.items()}
    if ANY.key not in stages:
        stages[ANY.key] = fit(Readings(calls.values, calls.right, question), tuple(BOUNDS), BOUNDS, seed=seed)
    p = np.empty(len(calls))
    for name, each in made.items():
        p[stage == name] = each.unseen
    return stages, Judged(p, _judged(stages, calls).outside)


def _judged(stages: Mapping[str, StageWeights], calls: Calls) -> Judged:
    p, outside = np.empty(len(calls)), np.zeros(len(calls), dtype=np.bool_)
    tools = np.array(calls.tools)
    for name in set(calls.tools):
        rows = tools == name
        p[rows], outside[rows] = probabilities(stages.get(Stage(name).key, stages[ANY.key]), calls.values[rows])
    return Judged(p, outside)


def _segments(
    learned: Calls, testing: Calls, policy: ToolPolicy, offered: Mapping[str, Any]
) -> dict[tuple[str, float], tuple[str, ...]]:
    """For each promise, by its name and what it promises, the tools it is of. No label of the test has a say in it."""
    delta, found = 1 - policy.confidence, dict[tuple[str, float], list[str]]()
    there, share = Counter(learned.tools), len(testing) / max(1, len(learned))
    for name in sorted(there):
        tool = _known(policy, name, offered)
        needed = answers_needed(tool.max_error, delta)
        kind = "irreversible" if tool.irreversible else "reversible"
        own = share * there[name] >= ENOUGH_TIMES * needed
        found.setdefault((name if own else kind, tool.max_error), []).append(name)
    return {segment: tuple(names) for segment, names in found.items()}


def _known(policy: ToolPolicy, name: str, offered: Mapping[str, Any]) -> Tool:
    tool = policy.tool(name, offered)
    if tool is None:
        raise ValueError(f"the tool {name!r} is not known")
    return tool


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every promise is tested on."""

    learned: Calls
    unseen: Judged
    """The calls that were learned from, by fits that had not seen them."""
    testing: Calls
    judged: Judged
    confidence: float
    certificate: Certificate
    """What all certificates have in common."""


def _promise(title: str, alpha: float, names: tuple[str, ...], on: _Ground) -> ToolPromise:
    promise = Promise(max_error=alpha, confidence=on.confidence)
    chosen, tried = np.isin(on.learned.tools, names), np.isin(on.testing.tools, names)
    own, wrong = _able(on.unseen)[chosen], on.learned.right[chosen] == 0
    p, failed = _able(on.judged)[tried], on.testing.right[tried] == 0
    thresholds = _thresholds(own)
    foreseen = [_foreseen(own, wrong, threshold) for threshold in thresholds]
    first = start(foreseen, _FORESEEN * len(p) / max(1, len(own)), promise, _bound)
    tests = list(tested(((t, _counted(p, failed, t)) for t in thresholds[first:]), promise, _bound))
    passed = [test for test in tests if test.passed]
    if not passed:
        best = tests[0].bound if tests else None
        return ToolPromise(segment=title, tools=names, alpha=alpha, best_bound=best, calls=len(p))
    missing = np.isnan(on.testing.values[tried]).mean(axis=0) >= _A_FAIR_PART
    last = passed[-1]
    found = last.counted
    certificate = replace(
        on.certificate,
        alpha=alpha,
        n=len(p),
        answered=found.answered,
        errors=found.wrong,
        bound=last.bound,
        segment=title,
    )
    return ToolPromise(
        segment=title,
        tools=names,
        alpha=alpha,
        threshold=last.candidate,
        certificate=certificate,
        calls=len(p),
        lacking=tuple(name for name, lacked in zip(BOUNDS, missing, strict=True) if lacked),
    )


def _able(judged: Judged) -> Array:
    """p; -1 where it lies outside what was seen, for that is never approved."""
    return np.where(judged.outside, -1.0, judged.p)


def _bound(counted: Counted, delta: float) -> float:
    return upper_bound(counted.wrong, counted.answered, delta)


def _thresholds(p: Array) -> list[float]:
    """From the safest to the boldest, by how many of the fit split's calls each lets through."""
    able = np.sort(p[p >= 0])
    if not len(able):
        return []
    quantiles = np.quantile(able, np.linspace(1 - 1 / _THRESHOLDS, 0, _THRESHOLDS), method="lower")
    return [float(each) for each in np.unique(quantiles)[::-1]]


def _foreseen(p: Array, wrong: Bools, threshold: float) -> Foreseen:
    through = p >= threshold
    stated = float((1 - p[through]).mean()) if through.any() else 1.0
    return Foreseen(int(through.sum()), int(wrong[through].sum()), stated)


def _counted(p: Array, wrong: Bools, threshold: float) -> Counted:
    through = p >= threshold
    return Counted(len(p), int(through.sum()), int(wrong[through].sum()), 0.0)
