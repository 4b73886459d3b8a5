"""The simulated world of tools: tasks and attempts that can be made again, errors of every kind, and honest labels."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from gate.agents import tool_policy
from gate.signals.json_schema import fits
from tests.benchmarks.decorator.tool_world import SAMPLES, TOOLS, attempt, policy, tasks

TASKS = list(tasks(600, 7))
ATTEMPTS = [attempt(task) for task in TASKS]


def test_the_same_seed_makes_the_same_world() -> None:
    assert list(tasks(20, 7)) == TASKS[:20]
    assert attempt(TASKS[3]) == ATTEMPTS[3]
    assert list(tasks(20, 8)) != TASKS[:20]


def test_right_calls_fit_the_policy_of_the_world() -> None:
    held = tool_policy(policy())
    assert {tool.irreversible for name in TOOLS if (tool := held.tool(name))} == {True, False}
    for task in TASKS:
        tool = held.tool(task.tool)
        assert tool is not None
        assert fits(dict(task.arguments), tool.schema)


def test_labels_are_of_the_call_that_would_run() -> None:
    for each in ATTEMPTS:
        (call,) = each.draft.tool_calls
        if (call.name, json.loads(call.arguments)) == (each.task.tool, dict(each.task.arguments)):
            assert each.right
        if call.name != each.task.tool:
            assert not each.right
        assert len(each.samples) == SAMPLES


def test_errors_are_of_many_kinds_and_some_are_repeated_by_the_samples() -> None:
    many = [*ATTEMPTS, *(attempt(task) for task in tasks(1200, 8))]
    wrong = [each for each in many if not each.right]
    kinds = Counter(each.error for each in wrong)
    assert set(kinds) >= {"wrong entity", "wrong tool", "off by one", "wrong unit", "swapped arguments"}
    assert "" not in kinds
    assert 0.05 < len(wrong) / len(many) < 0.2
    repeated = [all(s.tool_calls[0].arguments == e.draft.tool_calls[0].arguments for s in e.samples) for e in wrong]
    assert 0.0 < sum(repeated) / len(wrong) < 0.5


def test_tokens_write_the_call_and_know_a_little_of_it() -> None:
    means = {True: [], False: []}  # type: dict[bool, list[float]]
    for each in ATTEMPTS:
        tokens, (call,) = each.draft.tokens or (), each.draft.tool_calls
        written = json.loads("".join(token.token for token in tokens))
        assert written == {"name": call.name, "arguments": json.loads(call.arguments)}
        means[each.right].append(float(np.mean([token.logprob for token in tokens])))
    assert np.mean(means[True]) > np.mean(means[False])


def test_tasks_of_one_run_share_a_part_of_their_difficulty() -> None:
    spread = [np.std([task.difficulty for task in tasks(10, 9, run=run)]) for run in range(60)]
    assert np.mean(spread) < 0.75 * np.std([task.difficulty for task in TASKS])
