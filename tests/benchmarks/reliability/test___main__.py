"""The command line: which faults are chosen, and that what is found wrong makes it fail."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.reliability import __main__ as command
from tests.benchmarks.reliability.accounting import Tally
from tests.benchmarks.reliability.faults import FAULTS
from tests.benchmarks.reliability.rows import Row
from tests.benchmarks.reliability.table import Found


def test_words_choose_faults_however_they_are_written() -> None:
    names = {fault.name for fault in command.chosen(["redis", "KILLED"], quick=False)}
    assert names == {fault.name for fault in FAULTS if "Redis" in fault.name or "killed" in fault.name}
    assert any("Redis" in name for name in names)
    assert command.chosen(None, quick=False) == list(FAULTS)
    assert command.chosen(None, quick=True) == [fault for fault in FAULTS if fault.quick]


def test_a_word_of_no_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no fault whose name holds 'nosuch'"):
        command.chosen(["redis", "nosuch"], quick=False)
    with pytest.raises(ValueError, match="the short version has no fault whose name holds 'drip'"):
        command.chosen(["drip"], quick=True)


def run(monkeypatch: pytest.MonkeyPatch, found: Found, out: Path, *given: str) -> Any:
    monkeypatch.setattr(command, "measure", lambda given, say: found)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["reliability", "--out", str(out), *given])
    try:
        command.main()
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize("given", [(), ("--quick",)])
def test_what_is_found_wrong_makes_either_version_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: tuple[str, ...]
) -> None:
    lost = Row("a", Tally(1, Counter(), Counter(), 0, 0, 0, 0, 1, 0, 0, None, 0.0, 0.0))
    assert "without a response" in run(monkeypatch, Found([lost]), tmp_path, *given)
    assert (tmp_path / "bench-reliability.md").is_file(), "what was found is kept"
    monkeypatch.setattr(command.table, "failed", lambda found: [])
    assert run(monkeypatch, Found([lost]), tmp_path, *given) == 0


@pytest.mark.parametrize(
    "given", [("--faults", "nosuch"), ("--quick", "--faults", "drip"), ("--only", "cost", "--faults", "redis")]
)
def test_what_would_measure_nothing_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: tuple[str, ...]
) -> None:
    assert run(monkeypatch, Found(), tmp_path, *given) == 2
    assert not list(tmp_path.iterdir())
