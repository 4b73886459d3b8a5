"""The files of a tuned policy: what is written, in which order, and what is never written over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import yaml

from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError
from gate.policy import CertificateSettings, Policy, PolicyFile, read
from gate.rules import ThresholdRule
from gate.tuning import certification, tuned_files
from gate.tuning.certification import Counted
from gate.tuning.search import Option, Structure
from gate.tuning.tune import Candidate, Tuned
from gate.tuning.tuned_files import Paths, frontier, record, write
from gate.types import Action
from tests.tuning.test_policy_text import TEXT

CALIBRATOR = LogisticCalibrator(signals=("vote_share",), stages={})


def option(answer_at: float, coverage: float = 0.5) -> Option:
    rule = ThresholdRule(answer_at=answer_at, answer_at_in={"small/closed_book": 0.9}, otherwise=(Action.ESCALATE,))
    return Option(Structure(("small", "large"), (Action.ESCALATE,)), rule, coverage, 0.04, 0.002, 0.03)


def outcome_of(
    place: int, answered: int, wrong: int, *, passed: bool = True, asked: int = 200
) -> certification.Tested[Candidate]:
    policy = Policy.model_validate(yaml.safe_load(TEXT))
    candidate = Candidate(option(0.9 - 0.1 * place), "2 tiers, 5 samples", policy, CALIBRATOR)
    return certification.Tested(
        candidate, Counted(asked, answered, wrong, 0.001 * (place + 1), 1), 0.05 + 0.01 * place, passed
    )


def tuned_with(tests: tuple[certification.Tested[Candidate], ...], chosen: int | None) -> Tuned:
    policy = None
    if chosen is not None:
        certificate = CertificateSettings(
            alpha=0.1, delta=0.05, n=200, answered=90, errors=3, bound=0.06, segment="", date="2026-01-02",
            fingerprints={"gate": "1"},
        )  # fmt: skip
        update = {"certificate": certificate, "calibrator": "out.calibrator.json", "rule": option(0.8).rule}
        policy = tests[chosen].candidate.policy.model_copy(update=update)
    considered = tuple(test.candidate.option for test in tests)
    held = CALIBRATOR if policy else None
    return Tuned(policy, held, tests, considered, None if chosen is None else tests[chosen], 321, "3 have no label")


TESTS = (outcome_of(0, 80, 2), outcome_of(1, 82, 3), outcome_of(2, 120, 5), outcome_of(3, 125, 20, passed=False))
TUNED = tuned_with(TESTS, 1)


@pytest.fixture
def file(tmp_path: Path) -> PolicyFile:
    path = tmp_path / "mine.yaml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    return read(path)


def test_everything_is_written_beside_the_policy(file: PolicyFile, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "new" / "out.yaml")
    write(TUNED, file, paths, overwrite=False)
    assert sorted(path.name for path in paths.policy.parent.iterdir()) == [
        "out.calibrator.json",
        "out.tuning.json",
        "out.yaml",
    ]
    assert read(paths.policy).policy == TUNED.policy
    assert LogisticCalibrator.load(paths.calibrator) == CALIBRATOR
    assert json.loads(paths.record.read_bytes()) == json.loads(json.dumps(record(TUNED)))
    assert b"# Who is asked.\r\n" in paths.policy.read_bytes()
    assert not paths.policy.read_bytes().replace(b"\r\n", b"").count(b"\n")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nothing_is_written_over_unless_it_may_be(file: PolicyFile, tmp_path: Path, place: int) -> None:
    paths = Paths(tmp_path / "out.yaml")
    standing = (paths.policy, paths.calibrator, paths.record)[place]
    standing.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="this file exists") as caught:
        paths.check(overwrite=False)
    assert caught.value.where == str(standing)
    with pytest.raises(ConfigError, match="this file exists"):
        write(TUNED, file, paths, overwrite=False)
    assert standing.read_text(encoding="utf-8") == "mine"
    assert not paths.policy.exists() or standing == paths.policy
    paths.check(overwrite=True)
    write(TUNED, file, paths, overwrite=True)
    assert read(paths.policy).policy == TUNED.policy


def test_a_policy_may_be_tuned_over_itself(file: PolicyFile) -> None:
    write(TUNED, file, Paths(file.path), overwrite=True)
    assert read(file.path).policy == TUNED.policy


def test_the_policy_is_written_last(file: PolicyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, order, whole = Paths(tmp_path / "out.yaml"), [], tuned_files.written_whole

    @contextmanager
    def noted(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
        order.append(path)
        if len(order) == 3:
            raise OSError("the disk is full")
        with whole(path, overwrite=overwrite) as out:
            yield out

    monkeypatch.setattr(tuned_files, "written_whole", noted)
    with pytest.raises(OSError, match="disk is full"):
        write(TUNED, file, paths, overwrite=False)
    assert order == [paths.calibrator, paths.record, paths.policy]
    assert not paths.policy.exists()
    assert paths.calibrator.exists()


def test_what_was_not_certified_is_not_written(file: PolicyFile, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was certified"):
        write(tuned_with(TESTS[3:], None), file, Paths(tmp_path / "out.yaml"), overwrite=False)
    assert list(tmp_path.iterdir()) == [file.path]


# --- the record --------------------------------------------------------------------------------------------------


def test_the_record_says_what_was_tested_and_what_was_considered() -> None:
    said = json.loads(json.dumps(record(TUNED)))
    assert (said["certified"], said["fitted_on"], said["left_out"]) == (True, 321, "3 have no label")
    assert said["best_bound"] == 0.05
    assert said["certificate"]["bound"] == 0.06
    assert [test["passed"] for test in said["tests"]] == [True, True, True, False]
    assert [test["chosen"] for test in said["tests"]] == [False, True, False, False]
    assert said["tests"][2] == {
        "evidence": "2 tiers, 5 samples",
        "ladder": ["small", "large"],
        "otherwise": ["escalate"],
        "rule": {
            "kind": "threshold",
            "answer_at": pytest.approx(0.7),
            "answer_at_in": {"small/closed_book": 0.9},
            "closed_book_at": None,
            "gather_above": 0.0,
        },
        "asked": 200,
        "answered": 120,
        "wrong": 5,
        "not_known": 1,
        "money_a_question": 0.003,
        "bound": pytest.approx(0.07),
        "passed": True,
        "chosen": False,
    }
    assert len(said["considered"]) == 4
    assert said["considered"][0]["expected_coverage"] == 0.5


def test_a_record_of_nothing_certified() -> None:
    said = record(tuned_with(TESTS[3:], None))
    assert (said["certified"], said["certificate"], said["best_bound"]) == (False, None, TESTS[3].bound)
    assert record(tuned_with((), None))["best_bound"] == 1.0


def recorded(folder: Path, content: Any) -> Path:
    path = folder / "out.tuning.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_report_shows_the_frontier_that_was_recorded(tmp_path: Path) -> None:
    """The chosen and the failed, and of the others those that answer noticeably more than the one before."""
    points = frontier(recorded(tmp_path, record(TUNED)))
    assert [(point.coverage, point.chosen, point.certified) for point in points] == [
        (0.4, False, True),
        (0.41, True, True),
        (0.6, False, True),
        (0.625, False, False),
    ]
    assert points[1].label == "small → large, 2 tiers, 5 samples"
    assert (points[1].money, points[1].risk) == (0.002, pytest.approx(3 / 82))
    close = tuple(outcome_of(0, 80 + place, 2) for place in range(10))
    assert [p.coverage for p in frontier(recorded(tmp_path, record(tuned_with(close, 4))))] == [0.4, 0.42]


def test_without_a_record_there_is_no_frontier(tmp_path: Path) -> None:
    assert frontier(tmp_path / "none.json") == ()
    assert frontier(recorded(tmp_path, record(tuned_with((), None)))) == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"tests": 7}',
        '{"tests": [7]}',
        '{"tests": [{"asked": 1}]}',
        '{"tests": null}',
        '"text"',
        '{"tests": "abc"}',
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigError, match="not a record of 'gate tune'") as caught:
        frontier(recorded(tmp_path, content))
    assert caught.value.where == str(tmp_path / "out.tuning.json")


@pytest.mark.parametrize(
    ("name", "value"), [("answered", 0), ("asked", 0), ("wrong", 999), ("money_a_question", -1), ("ladder", [1])]
)
def test_a_record_with_impossible_numbers_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    said = record(TUNED)
    said["tests"][0] = {**said["tests"][0], name: value}
    with pytest.raises(ConfigError, match="not a record of 'gate tune'"):
        frontier(recorded(tmp_path, said))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may read all is refused nothing")
def test_a_record_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = recorded(tmp_path, record(replace(TUNED)))
    path.chmod(0)
    with pytest.raises(ConfigError, match="not a record"):
        frontier(path)
