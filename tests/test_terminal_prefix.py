"""How fitting confidence on the growing text looks: what is certified, and what is said where nothing is."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
import yaml
from rich.console import Console

from gate.calibration.prefix import AskedAt, PrefixCalibrator, Shown
from gate.serving_settings import ServingSettings
from gate.terminal_prefix import prefix_tuned, serving_lines
from gate.tuning import certification
from gate.tuning.prefix_fit import FittedPrefix
from gate.tuning.prefix_measures import AtShare, Exposure
from gate.tuning.prefix_tuning import PrefixTuned
from tests.calibration.test_prefix import calibrator
from tests.test_assemble_prefix import SHOWN

TEST = certification.Tested(0.8, certification.Counted(9, 9, 0, 0.0), 0.15, True)


def fitted(shown: Shown | None = SHOWN, asked_at: AskedAt | None = None, **changes: Any) -> FittedPrefix:
    made: PrefixCalibrator = calibrator(shown=shown, **({"asked_at": asked_at} if asked_at else {}))
    held: dict[str, Any] = {"release_at": 0.8, "stop_below": 0.1, "tests": (TEST,), "certified": (), "drafts": 77}
    return FittedPrefix(made, **held | changes)


DONE = PrefixTuned(
    fitted(),
    "test",
    {"small/closed_book": (AtShare(0.25, 12, 0.7531, None, None, None, 0.5, 0.25),)},
    Exposure(40, 20, 1, 0.216, 0.33, 30, 2, 1000, 250),
    "9 by exact",
)


def said(done: PrefixTuned) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(prefix_tuned(done))
    return " ".join(console.export_text().split())


def test_what_was_found_is_shown() -> None:
    shown = said(DONE)
    for part in (
        "fitted on 77 drafts, asked at the end of each sentence",
        "small/closed_book 25% 12 0.753 - 50.0% 25.0%",
        "something of 20 of 40 questions (hold: of none)",
        "wrong among them: 1 (5.00%, at most 21.60%)",
        "of the text of right drafts: 33.0%",
        "tokens of drafts that are not right: 1000, not written: 250 (25.0%)",
        "right drafts stopped: 2 of 30",
        "labels: 9 by exact",
        "certified: 0 wrong of 9 questions of which something is sent early (9 asked), at most 10.00% wrong with 95%",
    ):
        assert part in shown
    assert "judges them afresh" not in shown
    assert "judges them afresh" in said(replace(DONE, split="certify"))


def test_where_nothing_is_sent_early_it_says_why() -> None:
    none = SHOWN.model_copy(update={"bound": None, "released": 0})
    shown = said(replace(DONE, fitted=fitted(none, release_at=1.0)))
    assert (
        "no threshold keeps the promise (at most 10.00% wrong of what is sent early): the best bound is 15.00%" in shown
    )
    shown = said(replace(DONE, fitted=fitted(none, release_at=1.0, stop_below=0.0, tests=())))
    assert "no draft is sure of a whole sentence before its end" in shown
    assert "Nothing was written: stream in the mode 'hold'." in shown


@pytest.mark.parametrize(
    "asked_at",
    [
        AskedAt(positions="sentence"),
        AskedAt(positions="tokens", every=12),
        AskedAt(positions="entropy", entropy=0.25),
    ],
)
def test_the_lines_are_settings(asked_at: AskedAt) -> None:
    lines = yaml.safe_load(serving_lines(fitted(asked_at=asked_at), "a folder/x.prefix.json"))
    made = ServingSettings.model_validate(lines["serving"])
    assert made.streaming == "prefix"
    assert made.prefix is not None
    assert AskedAt.of(made.prefix) == asked_at
    assert (made.prefix.calibrator, made.prefix.release_at, made.prefix.stop_below) == (
        "a folder/x.prefix.json",
        0.8,
        0.1,
    )
