"""Fitting a tool gate and certifying its promises: worked cases, and what the promises hold to in many worlds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gate.agents import ToolGate, fit_tool_gate
from gate.agents import fit_gate as fitting
from gate.agents.call_readings import BOUNDS
from gate.agents.fit_gate import Judged, _one_a_question, _promise, _segments
from gate.agents.tool_settings import tool_policy
from gate.errors import ConfigError
from gate.guarantees.selective_risk import upper_bound
from gate.types import Certificate
from tests.agents.made import POLICY, call, labelled, learned, reply, sure


def test_each_class_has_a_certificate_that_says_what_it_rests_on() -> None:
    promises = {promise.segment: promise for promise in learned().promises}
    assert set(promises) == {"look_up", "irreversible"}, "a tool with many calls has a promise of its own"
    for promise in promises.values():
        held = promise.certificate
        assert held is not None
        assert held.bound == upper_bound(held.errors, held.answered, held.delta) <= promise.alpha
        assert (held.alpha, round(held.delta, 9), held.date) == (promise.alpha, 0.05, "2031-01-01")
        assert held.answered <= held.n == promise.calls == 400
        assert held.fingerprints == {"policy": tool_policy(POLICY).fingerprint, "model": "m-1"}
    assert (promises["irreversible"].alpha, promises["irreversible"].tools) == (0.05, ("pay",))


def test_surer_calls_have_higher_p() -> None:
    gate, made = ToolGate(POLICY, learned()), call("pay", to="ann", amount=10)
    other = call("pay", to="ann", amount=11)
    p = [gate.check_call(made, samples=[made] * n + [other] * (6 - n)).p or 0 for n in range(7)]
    assert p == sorted(p)
    assert p[0] < 0.3
    assert p[6] > 0.95


def test_a_promise_that_cannot_be_certified_stays_open() -> None:
    few = fit_tool_gate(labelled(200, 3), POLICY, certify=labelled(40, 4))
    pay = few.by_tool["pay"]
    assert (pay.threshold, pay.certificate) == (None, None)
    assert (pay.best_bound or 0) > 0.05
    verdict = ToolGate(POLICY, few).check_call(made := call("pay", to="ann", amount=10), samples=sure(made))
    assert (verdict.action.value, verdict.reason) == ("ask", "not_certified")


def test_questions_are_split_whole_and_one_call_of_each_is_tested() -> None:
    calls = [replace(each, question=f"q{n // 4}") for n, each in enumerate(labelled(1200, 5))]
    made = fit_tool_gate(calls, POLICY)
    tested = sum(promise.calls for promise in made.promises)
    assert made.fitted_on + 4 * tested == 1200
    drawn = _one_a_question(calls, 0)
    assert len(drawn) == len({each.question for each in drawn}) == 300
    assert {calls.index(each) % 4 for each in drawn} == {0, 1, 2, 3}, "not always the first"


def test_without_a_question_the_same_call_counts_once() -> None:
    bare = [replace(each, question="") for each in labelled(300, 5)]
    once = {repr(replace(each, right=True)) for each in bare}
    assert len(_one_a_question(bare * 3, 0)) == len(_one_a_question(bare, 0)) == len(once) < 300
    other = replace(bare[0], draft=reply(replace(bare[0].call, id="another id")))
    assert len(_one_a_question([bare[0], other], 0)) == 1


def test_nothing_is_certified_on_what_it_was_fitted_on() -> None:
    calls = labelled(400, 1)
    for kept in (calls, [replace(each, question="") for each in calls]):
        with pytest.raises(ConfigError, match="calls that are fitted on: a promise is certified on others"):
            fit_tool_gate(kept, POLICY, certify=kept)
        with pytest.raises(ConfigError, match="or calls without one"):
            fit_tool_gate(calls, POLICY, certify=[replace(kept[3], question="")])
    with pytest.raises(ConfigError, match="certify shares 1 questions"):
        fit_tool_gate(calls, POLICY, certify=[*labelled(40, 2), replace(labelled(1, 9)[0], question="q1.7")])


def test_calls_that_no_gate_would_let_through_teach_nothing() -> None:
    unknown = [replace(each, draft=reply(call("pays"))) for each in labelled(100, 6)]
    with pytest.raises(ConfigError, match="there are 0 right and 0 wrong, and 100 that no gate would let through"):
        fit_tool_gate(unknown, POLICY, certify=[])
    with pytest.raises(ConfigError, match="30 right and 0 wrong"):
        fit_tool_gate(labelled(30, 7, wrong=0.0), POLICY, certify=[])


def test_tools_that_only_the_request_offers_are_learned_with_their_schemas() -> None:
    settings = {"max_error": {"reversible": 0.1, "irreversible": 0.1}}
    tools = {name: tool["schema"] for name, tool in POLICY["tools"].items() if name != "search"}
    made = fit_tool_gate(labelled(300, 8), settings, certify=labelled(200, 9), tools=tools)
    assert {promise.segment: promise.tools for promise in made.promises} == {"irreversible": ("look_up", "pay")}


def test_what_the_tested_calls_lacked_is_on_record() -> None:
    tokens = {name for name in BOUNDS if "logprob" in name}
    assert all(set(promise.lacking) == tokens for promise in learned().promises)
    bare = [replace(each, samples=()) if n % 80 < 2 else each for n, each in enumerate(labelled(800, 12))]
    some = fit_tool_gate(labelled(400, 1), POLICY, certify=bare)
    assert {set(promise.lacking) == tokens for promise in some.promises} == {True}, "one in forty is no fair part"
    bare = [replace(each, samples=()) if n % 8 < 2 else each for n, each in enumerate(labelled(800, 12, wrong=0.03))]
    some = fit_tool_gate(labelled(400, 1), POLICY, certify=bare)
    assert {len(promise.lacking) for promise in some.promises} == {len(BOUNDS)}


def test_segments_hang_on_promises_and_numbers_and_on_no_label_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tool_policy(POLICY)
    some = fitting._read(labelled(100, 10), policy, {})
    assert _segments(some, some, policy, {}) == {("reversible", 0.1): ("look_up",), ("irreversible", 0.05): ("pay",)}
    monkeypatch.setattr(fitting, "ENOUGH_TIMES", 0.5)
    assert _segments(some, some, policy, {}) == {("look_up", 0.1): ("look_up",), ("pay", 0.05): ("pay",)}


def test_the_true_error_of_what_is_approved_is_above_the_promise_in_no_more_worlds_than_stated() -> None:
    """P(right | p) = p^2 here: the gate is far too sure, and the promise must hold all the same."""
    rng, alpha, delta, worlds = np.random.default_rng(11), 0.1, 0.05, 200
    certificate, broken, open_ = Certificate(0, delta, 0, 0, 0, 1.0, "", "", {}, ""), 0, 0
    for _ in range(worlds):
        own, p = rng.beta(8, 1, 300), rng.beta(8, 1, 300)

        def calls(p: Any) -> Any:
            right = (rng.random(len(p)) < p**2).astype(float)
            return fitting.Calls(("f",) * len(p), np.ones((len(p), len(BOUNDS))), right, ("",) * len(p), 0)

        none = np.zeros(300, dtype=bool)
        ground = fitting._Ground(calls(own), Judged(own, none), calls(p), Judged(p, none), 1 - delta, certificate)
        made = _promise("f", alpha, ("f",), ground)
        if made.threshold is None:
            open_ += 1
            continue
        t = made.threshold
        right = (8 / 10 * (1 - t**10)) / (1 - t**8)  # E[p^2 | p > t] under Beta(8, 1)
        broken += 1 - right > alpha
    assert broken / worlds <= delta + 3 * math.sqrt(delta * (1 - delta) / worlds)
    assert open_ / worlds < 0.5
