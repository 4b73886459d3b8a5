"""What a policy is tuned on: a collection or a log, with the limit that its labels allow and who gave them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.guarantees.label_noise import JudgeError, judged_upper_bound
from gate.guarantees.selective_risk import upper_bound
from gate.guarantees.weighted import weighted_upper_bound
from gate.tuning.certification import Counted
from gate.tuning.collection import Collection, Label
from gate.tuning.sources import CollectionSource, LogSource
from gate.tuning.splits import Shares
from gate.tuning.tuning_source import opened
from tests.tuning.collected import collection_in
from tests.tuning.logs import labels_in, policy_in, served, written


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with collection_in(tmp_path, 12) as held:
        yield held


def test_a_collection_opens_with_its_labels_and_keeps_its_shares(collection: Collection) -> None:
    with opened(collection.path, None, Shares(0.5, 0.3), thresholds_only=True) as ground:
        assert isinstance(ground.source, CollectionSource)
        assert ground.source.thresholds_only
        assert ground.labels.endswith(" by exact")
        assert ground.bound(Counted(100, 80, 4, 0.0), 0.05) == upper_bound(4, 80, 0.05)
    with (
        pytest.raises(ConfigError, match=r"with shares of 0\.5 and 0\.3: keep to them"),
        opened(collection.path, None, Shares()),
    ):
        pass


def relabel(collection: Collection, grader: str, *, human: bool = False, rows: int = 99) -> None:
    """The labels again as another's."""
    for row in list(collection.collected())[:rows]:
        said = {(row.example.id, a): Label(row.correct(a), grader, human=human) for a in row.answers.values()}
        collection.label(said)


def test_a_models_labels_are_believed_as_far_as_people_say(collection: Collection) -> None:
    relabel(collection, "model")
    with opened(collection.path, None, None) as ground:
        assert ground.labels.endswith(" by model, whose errors nobody counted")
    relabel(collection, "person", human=True, rows=6)
    with opened(collection.path, None, None) as ground:
        people = sum(len(set(row.answers.values())) for row in list(collection.collected())[:6])
        assert f"{people} by people" in ground.labels
        assert "it accepts 0 of " in ground.labels
        judge = JudgeError(*(int(part) for part in _counts(ground.labels)))
        counted = Counted(300, 200, 4, 0.0)
        assert ground.bound(counted, 0.05) == judged_upper_bound(
            4, 200, 0.05, JudgeError(judge.wrong, 0, judge.right, 0)
        )
        assert ground.bound(counted, 0.05) > upper_bound(4, 200, 0.05)


def _counts(labels: str) -> tuple[str, str, str, str]:
    """wrong, accepted, right, rejected."""
    words = labels.partition("accepts ")[2].split()
    return words[2], words[0], words[8], words[6]


def test_labels_that_nobody_gave_are_asked_for(tmp_path: Path) -> None:
    with collection_in(tmp_path, 3, labels=False) as held:
        with pytest.raises(ConfigError, match="no answer has a label: run 'gate grade'"), opened(held.path, None, None):
            pass
        table = labels_in(tmp_path / "labels.jsonl", [{"id": "q1", "correct": 1}])
        with pytest.raises(ConfigError, match="a collection holds its labels"), opened(held.path, table, None):
            pass
    log = written(tmp_path / "log.jsonl", served(3)[0])
    with pytest.raises(ConfigError, match="give labels with --labels"), opened(log, None, None):
        pass


# --- logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chances", [(1.0, 1.0), (0.5, 0.5), (0.1, 0.8)])
def test_a_log_is_certified_by_the_weights_of_its_audits_where_they_differ(
    tmp_path: Path, chances: tuple[float, float]
) -> None:
    gateway = assemble(policy_in(tmp_path))
    log, right, p = served(800)
    written(tmp_path / "log.jsonl", log)
    chance = np.where(p >= 0.84, *chances)
    picked = np.flatnonzero(np.random.default_rng(0).random(800) < chance)
    labels_in(
        tmp_path / "labels.jsonl",
        ({"id": log[i]["id"], "correct": bool(right[i]), "probability": float(chance[i])} for i in picked),
    )
    with opened(tmp_path / "log.jsonl", tmp_path / "labels.jsonl", Shares(0.3, 0.7)) as ground:
        assert isinstance(ground.source, LogSource)
        uneven = chances[0] != chances[1]
        assert ground.labels == f"{len(picked)} decisions audited{', with unequal chances' if uneven else ''}"
        calibrator = gateway.plan.calibrator
        done = ground.source.counted(gateway.policy, gateway.plan, calibrator)  # type: ignore[arg-type]
        limit = ground.bound(done, 0.05)
    mine = [i for i in picked if Shares(0.3, 0.7).split(log[i]["id"]) == "certify"]
    out = [i for i in mine if log[i]["action"] == "answer"]
    wrong = ~right[out]
    assert (done.asked, done.answered, done.wrong, done.unknown) == (len(mine), len(out), int(wrong.sum()), 0)
    if uneven:
        assert done.weighted is not None
        assert limit == pytest.approx(weighted_upper_bound(wrong, chance[out], 0.05, min(chances)), abs=1e-6)
    else:
        assert done.weighted is None
        assert limit == upper_bound(int(wrong.sum()), len(out), 0.05)


def test_the_least_chance_of_all_audits_bounds_those_of_one_split(tmp_path: Path) -> None:
    """What is likely to be missed may by luck be missing from the certify split."""
    gateway = assemble(policy_in(tmp_path))
    log, right, _ = served(300)
    written(tmp_path / "log.jsonl", log)
    rare = next(i for i in range(300) if Shares().split(log[i]["id"]) == "fit")
    labels_in(
        tmp_path / "labels.jsonl",
        (
            {"id": log[i]["id"], "correct": bool(right[i]), "probability": 0.01 if i == rare else 0.5}
            for i in range(300)
        ),
    )
    with opened(tmp_path / "log.jsonl", tmp_path / "labels.jsonl", None) as ground:
        done = ground.source.counted(gateway.policy, gateway.plan, gateway.plan.calibrator)  # type: ignore[arg-type]
        assert done.weighted is not None
        assert done.weighted.least == 0.01
        assert ground.bound(done, 0.05) > upper_bound(done.wrong, done.answered, 0.05)
