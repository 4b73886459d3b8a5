"""Drift in a log: an alarm where the promise is broken, and none where it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gate.policy import Promise
from gate.tuning.decision_log import Audit
from gate.tuning.drift import watched
from gate.types import Stage
from tests.tuning.logs import decision, step, written

PROMISE = Promise(max_error=0.1)
ANSWER = step(Stage("small"), "answer", {"x": 1.0})
HELD_BACK = step(Stage("small"), "abstain", {"x": 0.0})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 answers in order, each with an abstention behind it."""
    pairs = ((decision(f"a{i}", [ANSWER]), decision(f"h{i}", [HELD_BACK])) for i in range(2_000))
    return written(tmp_path_factory.mktemp("drift") / "log.jsonl", (each for pair in pairs for each in pair))


def audits(wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], chance: float = 1.0, seed: int = 0) -> dict[str, Audit]:
    picked = np.random.default_rng(seed).random(len(wrong)) < chance
    return {f"a{i}": Audit(not wrong[i], chance) for i in np.flatnonzero(picked)}


@pytest.mark.parametrize("seed", range(4))
def test_a_drift_in_the_middle_raises_the_alarm_after_it_and_none_before(log: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = rng.random(2_000) < 0.05
    drifted = np.where(np.arange(2_000) < 1_000, kept, rng.random(2_000) < 0.3)
    quiet, loud = watched(log, audits(kept), PROMISE), watched(log, audits(drifted), PROMISE)
    assert (quiet.monitor.alarm, quiet.alarm_at) == (False, None)
    assert quiet.monitor.audited == 2_000
    assert loud.monitor.alarm
    assert loud.alarm_at is not None
    assert 1_000 <= int(loud.alarm_at[1:]) < 1_400


@pytest.mark.parametrize("seed", range(3))
def test_audits_by_lot_alarm_too_only_later(log: Path, seed: int) -> None:
    wrong = np.random.default_rng(seed).random(2_000) < 0.4
    mixed = audits(wrong, 0.25, 100 + seed) | {f"h{i}": Audit(False, 1.0) for i in range(50)}
    found = watched(log, mixed, PROMISE)
    assert found.monitor.alarm
    assert found.monitor.audited == sum(id_.startswith("a") for id_ in mixed), "what was held back did not go out"
    assert found.monitor.largest_weight == 4.0
    assert found.monitor.risk == pytest.approx(0.4, abs=0.1)


def test_what_it_sums_up(log: Path) -> None:
    found = watched(log, {"a0": Audit(True), "a1": Audit(False), "zz": Audit(False)}, PROMISE).summary()
    assert (found["audited_answers"], found["wrong"], found["risk"], found["alarm"]) == (2, 1, 0.5, False)
    low, high = found["interval"]
    assert 0 <= low < 0.5 < high <= 1
    assert found["state"]["alpha"] == 0.1


def test_answers_of_a_log_that_nobody_checked_say_nothing(log: Path) -> None:
    found = watched(log, {"h0": Audit(False)}, PROMISE)
    assert (found.monitor.audited, found.monitor.risk, found.monitor.alarm) == (0, None, False)
    found = watched(log, {"a0": Audit(False, first=True), "a1": Audit(True)}, PROMISE)
    assert (found.monitor.audited, found.monitor.wrong) == (1, 0), "what was only observed gate did not let out"


def test_chances_that_are_no_fractions_of_two_are_no_weight_beyond_the_largest(log: Path) -> None:
    found = watched(log, {f"a{i}": Audit(True, chance) for i, chance in enumerate((0.1, 0.3, 0.7, 1 / 3))}, PROMISE)
    assert found.monitor.audited == 4
