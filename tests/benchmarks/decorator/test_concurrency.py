"""A small crowd: nothing is lost or mixed up, and a mix-up would be seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import gate
from tests.benchmarks.decorator import concurrency, overhead


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return overhead.write_policy(tmp_path, overhead.SAMPLES)


def test_nothing_is_lost_or_mixed_up(policy: Path) -> None:
    for crowd in (concurrency.tasks(policy, 20), concurrency.threads(policy, 20)):
        assert (crowd.calls, crowd.lost, crowd.mixed_up, crowd.asked_again) == (20, 0, 0, 20 * overhead.SAMPLES)
        assert f"| {crowd.how} | 20 | 0 | 0 | 200 |" in concurrency.table([crowd])


def test_a_lost_decision_and_a_mix_up_are_counted(policy: Path) -> None:
    ask = gate.guard(policy, samples="again")(lambda question: f"answer {question.rsplit(' ', 1)[-1]}")
    one, other = ask.decided("question 0"), ask.decided("question 1")
    assert concurrency._counted("so", [one, other], 0, 0.0).mixed_up == 0
    assert concurrency._counted("so", [other, one], 0, 0.0).mixed_up == 2
    assert concurrency._counted("so", [one, one], 0, 0.0).lost == 1
    swapped = dataclasses.replace(one, value="answer 1")
    assert concurrency._counted("so", [swapped, other], 0, 0.0).mixed_up == 1
