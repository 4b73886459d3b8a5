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
from gate.tuning.grade import draw_sample
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


COUNTED = Counted(300, 200, 4, 0.0)


def draw_and_label(collection: Collection, count: int, *, missed: int = 0) -> JudgeError:
    """Draw answers and label them as they are, but as many of the right ones as wrong; the judge's errors with that."""
    truth = {(row.example.id, a): row.correct(a) for row in collection.collected() for a in row.answers.values()}
    drawn = [(row.id, row.answer) for row in draw_sample(collection, count)]
    called_right = [key for key in drawn if truth[key]]
    flipped = set(called_right[:missed])
    collection.label({key: Label(bool(truth[key]) and key not in flipped, "ann", human=True) for key in drawn})
    return JudgeError(count - len(called_right) + missed, missed, len(called_right) - missed, 0)


@pytest.mark.parametrize("missed", [0, 3])
@pytest.mark.parametrize("grader", ["model", "exact"])
@pytest.mark.parametrize("trust", [False, True])
def test_where_people_labelled_a_random_sample_labels_are_believed_as_far_as_it_says(
    collection: Collection, grader: str, missed: int, trust: bool
) -> None:
    relabel(collection, grader)
    judge = draw_and_label(collection, 12, missed=missed)
    assert judge.wrong
    assert judge.right
    with opened(collection.path, None, None, trust=trust) as ground:
        assert "12 by people" in ground.labels
        assert f" by {grader}" in ground.labels
        assert ground.labels.endswith(
            f"; of a random sample it accepts {missed} of {judge.wrong} wrong answers and rejects 0 of {judge.right} "
            "right ones"
        )
        assert ground.bound(COUNTED, 0.05) == judged_upper_bound(4, 200, 0.05, judge) > upper_bound(4, 200, 0.05)


def test_a_models_labels_are_refused_without_a_sample(collection: Collection) -> None:
    relabel(collection, "model")
    advice = (
        r"collection\.db: a model labelled .* --sample 200 --export sample\.csv.* --labels sample\.csv.*--trust-judge"
    )
    with pytest.raises(ConfigError, match=advice), opened(collection.path, None, None):
        pass
    # what people picked themselves says nothing of a judge
    relabel(collection, "person", human=True, rows=6)
    with pytest.raises(ConfigError, match=advice), opened(collection.path, None, None):
        pass


def test_a_model_may_be_trusted_and_it_is_said(collection: Collection) -> None:
    relabel(collection, "model")
    with opened(collection.path, None, None, trust=True) as ground:
        assert ground.labels.endswith(" by model, whose errors nobody counted")
        assert ground.bound(COUNTED, 0.05) == upper_bound(4, 200, 0.05)


def test_a_sample_that_nobody_labelled_says_nothing(collection: Collection) -> None:
    draw_sample(collection, 5)
    with opened(collection.path, None, None) as ground:
        assert ground.labels.endswith(" by exact"), "a comparison with references is taken as it is"
        assert ground.bound(COUNTED, 0.05) == upper_bound(4, 200, 0.05)
    relabel(collection, "model")
    with pytest.raises(ConfigError, match="nobody knows how often it errs"), opened(collection.path, None, None):
        pass


def test_what_people_labelled_alone_is_the_truth(collection: Collection) -> None:
    relabel(collection, "model")
    relabel(collection, "ann", human=True)
    with opened(collection.path, None, None) as ground:
        assert ground.labels.endswith(" by people")
        assert ground.bound(COUNTED, 0.05) == upper_bound(4, 200, 0.05)


def test_answers_that_nobody_could_judge_are_counted_among_the_labels(collection: Collection) -> None:
    row = next(collection.collected())
    answers = set(row.answers.values())
    collection.label({(row.example.id, answer): Label(None, "exact") for answer in list(answers)[:1]})
    total = sum(len(set(each.answers.values())) for each in collection.collected())
    with opened(collection.path, None, None) as ground:
        assert sorted(ground.labels.split(", ")) == sorted(
            [f"{total - 1} by exact", "1 by nobody (open: wrong where let through)"]
        )


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
