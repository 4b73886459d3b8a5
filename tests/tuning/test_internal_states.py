"""Probes on the way from a collection into a tuned policy, over the real pocket model."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import yaml

from gate.assemble import assemble, load_gateway
from gate.calibration.unfitted import Unfitted
from gate.evidence import HiddenStates
from gate.evidence.probes import PROBES
from gate.evidence.reference_pool import question_key
from gate.pipeline import Plan
from gate.pocket.world import facts
from gate.policy import Policy, PolicyFile, read
from gate.tuning.bounds import trusted
from gate.tuning.collect import collect
from gate.tuning.collection import Collected, Collection
from gate.tuning.examples import Example
from gate.tuning.grade import grade
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.internal_states import probe_examples, probed, reads_states
from gate.tuning.observing import labelled, seen_of
from gate.tuning.sources import CollectionSource
from gate.tuning.splits import Shares
from gate.tuning.tune import Tuned, tune
from gate.tuning.tuned_files import Paths, write
from gate.types import Question
from gate.upstreams import PocketUpstream

POLICY = {
    "name": "inner",
    "promise": {"max_error": 0.2},
    "upstreams": {"small": {"kind": "pocket"}},
    "ladder": ["small"],
    "tiers": [["draft", "hidden_states"], ["samples", "meanings"]],
    "evidence": {"samples": {"n": 4, "seed": 1}},
    "signals": ["token_logprob_sum", "linear_probe", "semantic_entropy_probe", "flip_radius", "vote_share"],
    "calibrator": "inner.calibrator.json",
    "rule": {"answer_at": 0.9},
    "routes": {"escalate": False},
}
ASKED = 450


@dataclass(frozen=True)
class Made:
    file: PolicyFile
    collection: Collection
    plan: Plan
    rows: tuple[Collected, ...]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("inner")
    path = folder / "inner.yaml"
    path.write_text(yaml.safe_dump(POLICY, sort_keys=False), encoding="utf-8")
    file = read(path)
    gateway = assemble(file, Unfitted())
    asked = [fact for fact in facts() if fact.split in ("fit", "certify")][:ASKED]
    with Collection.create(folder / "inner.collection") as collection:
        collection.add(
            Example(fact.key, Question.from_text(fact.question), (fact.answer,), fact.relation, fact.split)
            for fact in asked
        )
        asyncio.run(collect(gateway, collection))
        asyncio.run(grade(collection, ExactGrader(), gateway.world))
        yield Made(file, collection, gateway.plan, tuple(labelled(collection)))


@pytest.fixture(scope="module")
def tuned(made: Made) -> Tuned:
    source = CollectionSource(made.collection, Shares(), thresholds_only=True)
    return tune(made.file, source, bound=trusted, calibrator="inner.calibrator.json", probes="inner.probes.npz")


def test_an_example_holds_what_the_draft_held(made: Made) -> None:
    examples = {one.question: one for one in probe_examples(made.rows, made.plan)}
    assert len(examples) > 0.95 * len(made.rows)  # few drafts are a single token that ends nowhere
    for row in made.rows[:50]:
        one = examples.get(row.example.asked.text)
        if one is None:
            continue
        (*_, last) = seen_of(made.plan, row)
        assert one.round_key == "small/closed_book"
        assert one.correct == bool(row.correct(last.draft))
        states = last.evidence.find(HiddenStates)
        assert states is not None
        np.testing.assert_array_equal(one.block.numbers, states.block.numbers)
        assert one.certainty is not None
        assert 0 < one.certainty <= 1
        assert one.semantic_entropy is not None
        assert 0 <= one.semantic_entropy <= math.log(4) + 1e-9


def test_what_has_no_label_teaches_nothing(made: Made) -> None:
    bare = [dataclasses.replace(row, labels={}) for row in made.rows[:30]]
    assert list(probe_examples(bare, made.plan)) == []


def test_tuning_fits_probes_on_the_fit_split_alone(made: Made, tuned: Tuned) -> None:
    assert tuned.probes is not None
    fit = [row for row in made.rows if Shares().of(row.example) == "fit"]
    learned = {question_key(one.question) for one in probe_examples(fit, made.plan)}
    assert set(tuned.probes.keys.tolist()) == learned
    assert set(tuned.probes.rounds["small/closed_book"].probes) >= set(PROBES) - {"certain_error", "attention"}


def test_the_tuned_policy_runs_with_its_probes_and_no_others(made: Made, tuned: Tuned) -> None:
    paths = Paths(made.file.path)
    write(tuned, made.file, paths, overwrite=True)
    gateway = load_gateway(str(paths.policy))
    assert gateway.void == ()
    assert tuned.probes is not None
    assert gateway.running["file:inner.probes.npz"] == tuned.probes.fingerprint
    outcome, record = gateway.ask(Question.from_text("Which city serves as capital of France?"))
    gateway.close()
    assert record.certified
    readings = {reading.signal: reading.value for reading in outcome.steps[0].signals.readings}
    assert all(readings[name] is not None for name in ("linear_probe", "semantic_entropy_probe", "flip_radius"))

    fewer = dataclasses.replace(tuned.probes, keys=tuned.probes.keys[1:], folds=tuned.probes.folds[1:])
    fewer.save(paths.probes)
    assert load_gateway(str(paths.policy)).void == ("file:inner.probes.npz is not what was certified",)


def test_another_model_than_the_probes_were_fitted_for_is_missing_and_voids(made: Made, tuned: Tuned) -> None:
    """As if the server behind an unchanged address had been given other weights."""
    paths = Paths(made.file.path)
    write(tuned, made.file, paths, overwrite=True)
    gateway = load_gateway(str(paths.policy))
    gateway.world.upstreams = {"small": PocketUpstream("small", "large")}
    outcome, record = gateway.ask(Question.from_text("Which city serves as capital of France?"))
    gateway.close()
    assert not record.certified
    assert "fitted for the weights" in outcome.void[0]
    missing = {reading.signal: reading.missing for reading in outcome.steps[0].signals.readings}
    assert missing["linear_probe"] == missing["flip_radius"] == outcome.void[0]
    assert missing["token_logprob_sum"] is None


def test_a_policy_with_and_without_probes() -> None:
    policy = Policy.model_validate(POLICY)
    assert reads_states(policy)
    named = probed(policy, "a.npz")
    assert named.evidence["hidden_states"] == {"path": "a.npz"}
    assert probed(named, None).evidence["hidden_states"] == {}
    assert not reads_states(policy.model_copy(update={"tiers": (("draft",),)}))
