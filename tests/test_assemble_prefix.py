"""The calibrator of the growing text: found beside the policy, and refused where it is of something else."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from gate.assemble import assemble
from gate.assemble_prefix import prefix_calibrator, rounds_of
from gate.calibration.prefix import AskedAt, PrefixCalibrator, Shown
from gate.calibration.unfitted import Unfitted
from gate.errors import ConfigError, StaleCalibrator, UnknownName
from gate.policy import PolicyFile
from tests.calibration.test_prefix import weights
from tests.tuning.growing import POLICY, ROUND, policy_in

SERVING = """\
serving:
  streaming: prefix
  prefix:
    calibrator: growing.prefix.json
    release_at: 0.9
"""
SHOWN = Shown(release_at=0.8, stop_below=0.1, max_error=0.1, confidence=0.95, asked=9, released=9, wrong=0, bound=0.1,
              right=9, stopped=0)  # fmt: skip
LINE = POLICY.count("\n") + 4
"""Of the calibrator's name."""


def made(folder: Path, serving: str = SERVING, **changes: Any) -> PolicyFile:
    held: dict[str, Any] = {"asked_at": AskedAt(positions="sentence"), "edges": (0,), "rounds": {ROUND: (weights(),)}}
    fitted = PrefixCalibrator(**held | {"shown": SHOWN} | changes)
    (folder / "growing.prefix.json").write_text(fitted.dump())
    return policy_in(folder, POLICY + serving)


def test_it_is_the_gateways_where_the_policy_streams_by_it(tmp_path: Path) -> None:
    gateway = assemble(made(tmp_path))
    assert gateway.prefix == PrefixCalibrator.load(tmp_path / "growing.prefix.json")


@pytest.mark.parametrize("mode", ["hold", "annotate"])
def test_other_modes_have_none(mode: str, tmp_path: Path) -> None:
    file = made(tmp_path, SERVING.replace("streaming: prefix", f"streaming: {mode}"))
    (tmp_path / "growing.prefix.json").unlink()
    assert prefix_calibrator(file) is None
    assert assemble(file).prefix is None


def test_offline_it_need_not_be_there(tmp_path: Path) -> None:
    file = made(tmp_path)
    (tmp_path / "growing.prefix.json").unlink()
    assert assemble(file, Unfitted()).prefix is None


def test_a_file_that_is_not_there_is_named_with_the_line(tmp_path: Path) -> None:
    file = made(tmp_path, SERVING.replace("growing.prefix", "growin.prefix"))
    with pytest.raises(UnknownName, match=r"did you mean .growing\.prefix\.json") as caught:
        assemble(file)
    assert caught.value.where == f"{file.path}:{LINE}"


def test_a_file_that_is_none_is_refused_with_the_line(tmp_path: Path) -> None:
    file = made(tmp_path)
    (tmp_path / "growing.prefix.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a usable prefix calibrator: asked_at") as caught:
        assemble(file)
    assert caught.value.where == f"{file.path}:{LINE}"


@pytest.mark.parametrize(
    ("serving", "changes", "complaint"),
    [
        (SERVING + "    positions: tokens\n", {}, "fitted at the end of each sentence, the policy asks it every 30"),
        (SERVING, {"rounds": {"two/closed_book": (weights(),)}}, "knows no draft of this policy"),
        (SERVING, {"fitted_on": {"upstream:one": "another"}}, "fitted on drafts of another 'one': fit it again"),
    ],
)
def test_one_of_something_else_is_refused_with_the_line(
    serving: str, changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    file = made(tmp_path, serving, **changes)
    with pytest.raises(StaleCalibrator, match=complaint) as caught:
        assemble(file)
    assert caught.value.where == f"{file.path}:{LINE}"


@pytest.mark.parametrize(
    ("serving", "changes", "warning"),
    [
        (SERVING, {}, None),
        (SERVING.replace("0.9", "0.7"), {}, "bolder than what was shown to hold"),
        (SERVING + "    stop_below: 0.2\n", {}, "bolder than what was shown to hold"),
        (SERVING, {"shown": None}, "bolder than what was shown to hold"),
        (SERVING, {"fitted_on": {"upstream:gone": "1", "prompt:p": "1"}}, None),
    ],
)
def test_thresholds_that_nobody_showed_to_hold_are_warned_of(
    serving: str, changes: dict[str, Any], warning: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gate.assemble")
    assert assemble(made(tmp_path, serving, **changes)).prefix is not None
    said = [entry.getMessage() for entry in caplog.records]
    assert len(said) == (warning is not None)
    assert warning is None or warning in said[0]


def test_other_differences_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = made(tmp_path, fitted_on={"retriever": "1"})
    assert prefix_calibrator(file, {"retriever": "2"}) is not None
    assert "fitted with another retriever" in caplog.text


def test_drafts_that_it_does_not_know_are_held_back_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = POLICY.replace("ladder: [one]", "ladder: [one, two]").replace(
        "  one: {", '  two: {kind: openai_chat, model: two, base_url: "http://127.0.0.1:9/v1"}\n  one: {'
    )
    made(tmp_path)
    file = policy_in(tmp_path, two + SERVING)
    assert rounds_of(file) == (ROUND, "two/closed_book")
    assert prefix_calibrator(file) is not None
    assert "drafts of two/closed_book are held back whole" in caplog.text
