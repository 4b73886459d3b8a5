"""Writing what tuning found: the policy, its calibrator beside it, and the record of how it was chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.errors import ConfigError
from gate.policy import PolicyFile
from gate.tuning.internal_states import reads_states
from gate.tuning.policy_text import rewritten
from gate.tuning.report.contents import FrontierPoint
from gate.tuning.search import Option
from gate.tuning.tune import Tuned
from gate.tuning.whole_file import written_whole

_APART = 0.05
"""Share of the questions that two policies shown one after the other differ by in coverage, at least."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a tuned policy and what belongs to it lie."""

    policy: Path

    @property
    def calibrator(self) -> Path:
        return self.policy.with_suffix(".calibrator.json")

    @property
    def probes(self) -> Path:
        return self.policy.with_suffix(".probes.npz")

    @property
    def record(self) -> Path:
        return self.policy.with_suffix(".tuning.json")

    def check(self, *, overwrite: bool) -> None:
        """Raise `ConfigError` before hours of work, where the policy could not be found again or written at all."""
        if self.policy.suffix not in {".yaml", ".yml"}:
            raise ConfigError("the name of a policy file must end in .yaml", where=str(self.policy))
        for path in (self.policy, self.calibrator, self.probes, self.record):
            if path.exists() and not overwrite:
                raise ConfigError("this file exists: name another with --out, or allow --overwrite", where=str(path))


def write(tuned: Tuned, file: PolicyFile, paths: Paths, *, overwrite: bool) -> None:
    """The policy last, so that it never stands there without its calibrator."""
    if tuned.policy is None or tuned.calibrator is None:
        raise ValueError("nothing was certified: there is no policy to write")
    text = file.path.read_bytes().decode("utf-8")  # with its own ends of lines
    policy = rewritten(text, file.policy, tuned.policy, source=file.path, target=paths.policy)
    files = {
        paths.calibrator: tuned.calibrator.dump().encode(),
        paths.record: (json.dumps(record(tuned), indent=1) + "\n").encode(),
        paths.policy: policy.encode(),
    }
    if tuned.probes is not None and reads_states(tuned.policy):
        files = {paths.probes: tuned.probes.dump(), **files}
    for path, content in files.items():
        with written_whole(path, overwrite=overwrite) as out:
            out.write(content)


def record(tuned: Tuned) -> dict[str, Any]:
    """Every test that was made, in order, and everything that was considered."""
    policy = tuned.policy
    return {
        "certified": policy is not None,
        "certificate": policy.certificate.model_dump() if policy and policy.certificate else None,
        "best_bound": tuned.best_bound,
        "fitted_on": tuned.fitted_on,
        "left_out": tuned.left_out,
        "tests": [
            {
                "evidence": test.candidate.variant,
                **_option(test.candidate.option),
                "asked": test.counted.asked,
                "answered": test.counted.answered,
                "wrong": test.counted.wrong,
                "not_known": test.counted.unknown,
                "money_a_question": test.counted.money,
                "bound": test.bound,
                "passed": test.passed,
                "chosen": test is tuned.chosen,
            }
            for test in tuned.tests
        ],
        "considered": [
            {
                **_option(option),
                "expected_coverage": option.coverage,
                "expected_risk": option.risk,
                "expected_money_a_question": option.money,
            }
            for option in tuned.considered
        ],
    }


def _option(option: Option) -> dict[str, Any]:
    rule = option.rule
    return {
        "ladder": list(option.structure.ladder),
        "otherwise": [way.value for way in option.structure.otherwise],
        "rule": rule.model_dump(mode="json", exclude={"otherwise"}),
    }


def frontier(path: Path) -> tuple[FrontierPoint, ...]:
    """Policies that were tested, for a report: not more than can be told apart. Empty where there is no record.

    Raises `ConfigError` for a file that is none.
    """
    if not path.is_file():
        return ()
    try:
        tests = _apart(json.loads(path.read_bytes())["tests"])
        return tuple(
            FrontierPoint(
                label=f"{' → '.join(test['ladder'])}, {test['evidence']}",
                money=test["money_a_question"],
                coverage=test["answered"] / test["asked"],
                risk=test["wrong"] / test["answered"],
                chosen=test["chosen"],
                certified=test["passed"],
            )
            for test in tests
        )
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(f"not a record of 'gate tune': {error}", where=str(path)) from error


def _apart(tests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chosen one, those that failed, and others that answer noticeably more than the one before."""
    kept: list[dict[str, Any]] = []
    least = max((test["asked"] for test in tests), default=0) * _APART
    for test in tests:
        differs = not kept or abs(test["answered"] - kept[-1]["answered"]) >= least
        if differs or test["chosen"] or not test["passed"]:
            kept.append(test)
    return kept
