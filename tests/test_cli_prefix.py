"""gate fit-prefix, run as a user runs it: from a graded collection to a policy that streams by it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gate.assemble import assemble, load_gateway
from gate.calibration.prefix import PrefixCalibrator
from tests.commands import AS_BY_A_MODEL, changed, check_help, contents, gate
from tests.tuning.growing import collection_in, policy_in


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy and its collection."""
    folder = tmp_path_factory.mktemp("growing")
    collection_in(folder / "c.db", assemble(policy_in(folder)), 260).close()
    return folder


@pytest.fixture
def folder(growing: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(growing, tmp_path / "mine"))


def fit(folder: Path, *more: object) -> tuple[object, ...]:
    return ("fit-prefix", folder / "c.db", "-p", folder / "growing.yaml", "-o", folder / "growing.prefix.json", *more)


def test_the_lines_it_prints_make_a_policy_that_streams_by_it(folder: Path) -> None:
    ran = gate(*fit(folder))
    assert ran.code == 0, ran.err
    shown = " ".join(ran.out.split())
    for part in ("asked at the end of each sentence", "test split", "AUROC", "sent early", "certified:", "hold"):
        assert part in shown
    lines = ran.out[ran.out.index("serving:") :]
    policy = folder / "growing.yaml"
    policy.write_text(policy.read_text() + lines)
    gateway = load_gateway(str(policy))
    settings = gateway.policy.serving.prefix
    assert settings is not None
    assert gateway.prefix is not None
    held = gateway.prefix.shown
    assert held is not None
    assert (settings.release_at, settings.stop_below) == (held.release_at, held.stop_below)
    assert held.max_error == 0.3, "the policy's own promise"


def test_as_json_with_the_thresholds_asked_for(folder: Path) -> None:
    ran = gate(
        *fit(folder, "--max-error", 0.35, "--max-stopped", 0.05, "--positions", "tokens", "--every", 5, "--json")
    )
    assert ran.code == 0, ran.err
    said = ran.json
    assert said["asked_at"] == {"positions": "tokens", "every": 5}
    assert said["shown"]["max_error"] == 0.35
    assert said["shown"]["bound"] <= 0.35
    assert said["shown"]["stopped"] <= 0.05 * said["shown"]["right"]
    assert 'calibrator: "growing.prefix.json"\n    positions: tokens\n    every: 5\n' in said["serving"]
    assert PrefixCalibrator.load(folder / "growing.prefix.json").asked_at.every == 5


def test_where_confidence_is_asked_is_as_the_policy_says(folder: Path) -> None:
    policy = folder / "growing.yaml"
    serving = "serving: {streaming: prefix, prefix: {calibrator: x.json, positions: entropy, entropy: 0.4}}\n"
    policy.write_text(policy.read_text() + serving)
    ran = gate(*fit(folder, "--json"))
    assert ran.code in (0, 3), "the file that the policy names need not be there yet"
    assert ran.json["asked_at"] == {"positions": "entropy", "entropy": 0.4}


def test_where_nothing_can_be_promised_nothing_is_written(folder: Path) -> None:
    before = contents(folder)
    ran = gate(*fit(folder, "--positions", "entropy", "--entropy", 50))
    assert ran.code == 3
    said = " ".join(ran.out.split())
    assert "no draft is sure of a whole sentence before its end" in said
    assert "Nothing was written: stream in the mode 'hold'." in said
    assert contents(folder) == before


def test_where_nothing_may_be_sent_early_doomed_answers_are_stopped_all_the_same(folder: Path) -> None:
    ran = gate(*fit(folder, "--max-error", 0.001))
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "no threshold keeps the promise (at most 0.10% wrong of what is sent early): the best bound is" in said
    assert "release_at: 1 stop_below: 0." in said


def test_it_is_judged_where_it_can_be(folder: Path) -> None:
    changed(folder / "c.db", "INSERT INTO meta VALUES ('shares', '[0.4, 0.6]')")
    changed(folder / "c.db", AS_BY_A_MODEL)
    ran = gate(*fit(folder, "--trust-judge"))
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "only a test split judges them afresh" in said
    assert "by model, whose errors nobody counted" in said


@pytest.mark.parametrize(
    ("statement", "options", "complaint"),
    [
        ("UPDATE labels SET correct = 1", (), "too little to learn from: need 20 labelled drafts"),
        ("DELETE FROM labels", (), "no answer has a label: run 'gate grade'"),
        (AS_BY_A_MODEL, (), "a model labelled these answers"),
        ("", ("--positions", "words"), "--positions: Input should be 'sentence', 'tokens' or 'entropy'"),
        ("", ("--policy", "balanced"), "collect with a policy that has this evidence"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    statement: str, options: tuple[str, ...], complaint: str, folder: Path
) -> None:
    if statement:
        changed(folder / "c.db", statement)
    before = contents(folder)
    ran = gate(*fit(folder, *options))
    assert ran.code == 2
    assert complaint in ran.complaint
    assert contents(folder) == before


def test_what_stands_there_is_not_written_over(folder: Path) -> None:
    target = folder / "growing.prefix.json"
    target.write_text("mine")
    assert "is not written over" in gate(*fit(folder)).complaint
    assert target.read_text() == "mine"
    assert gate(*fit(folder, "--overwrite")).code == 0
    assert json.loads(target.read_text())["kind"] == "prefix"


def test_help_fills_the_line_and_the_heavy_libraries_wait() -> None:
    check_help("fit-prefix")
    code = (
        "import sys\nfrom gate.cli import app\ntry:\n    app(['fit-prefix', '--help'])\nexcept SystemExit:\n    pass\n"
    )
    code += "print('loaded:', *(name for name in ('numpy', 'scipy') if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines()[-1].strip() == "loaded:"
