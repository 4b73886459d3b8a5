"""Which files a policy is made of, and that only another content counts as a change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gate.proxy import file_watch
from gate.proxy.file_watch import changed, files_of, sights_of

POLICY = """
name: mine
calibrator: mine.calibrator.json
summary: ""
evidence: {hidden_states: {path: probes/one.npz}}
retrievers: {world: {kind: index, path: pool}}
abstain: I am not sure.
url: http://127.0.0.1:8000/v1
tiers: [[draft], [samples]]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "a.bin").write_bytes(b"a")
    (tmp_path / "other.txt").write_text("of no policy")
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY)
    return path


def test_the_files_are_the_policy_and_all_it_may_name(policy: Path) -> None:
    files = files_of(str(policy))
    folder = policy.parent
    named = {policy, folder / "mine.calibrator.json", folder / "probes/one.npz", folder / "pool/a.bin"}
    assert named <= files
    assert folder / "other.txt" not in files
    assert folder / "pool" not in files


@pytest.mark.parametrize("text", ["{", "- [", "a: 2020-99-99", "", "\x00", "a: &a [*a]", "[" * 3000])
def test_what_is_no_yaml_names_itself_alone(policy: Path, text: str) -> None:
    policy.write_text(text)
    assert files_of(str(policy)) == {policy}


def test_a_shipped_policy_and_an_unknown_one() -> None:
    assert {path.name for path in files_of("strict")} >= {"strict.yaml", "strict.calibrator.json"}
    assert files_of("no-such-policy") == frozenset()


def test_only_content_counts(policy: Path) -> None:
    before = sights_of(files_of(str(policy)))
    assert not changed(before, sights_of(before, before))
    os.utime(policy, ns=(1, 1))
    touched = sights_of(before, before)
    assert touched[policy].stat != before[policy].stat
    assert not changed(before, touched)
    policy.write_text(POLICY + "# more\n")
    assert changed(before, sights_of(before, touched))


def test_a_file_that_comes_or_goes_is_a_change(policy: Path) -> None:
    before = sights_of(files_of(str(policy)))
    calibrator = policy.parent / "mine.calibrator.json"
    calibrator.write_text("{}")
    there = sights_of(before, before)
    assert changed(before, there)
    calibrator.unlink()
    assert changed(there, sights_of(there, there))
    assert not changed(before, sights_of(there, there))


def test_a_file_that_looks_as_before_is_not_read(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sights_of([policy])
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read"))
    assert sights_of([policy], before) == before


def test_a_large_file_is_told_by_time_and_size(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "_LARGE", 10)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("read"))
    before = sights_of([policy])
    os.utime(policy, ns=(1, 1))
    assert changed(before, sights_of([policy], before))


def test_what_can_be_no_path_is_not_there() -> None:
    odd = [Path("a" * 5000), Path("a\x00b")]
    assert [sight.digest for sight in sights_of(odd).values()] == ["", ""]
