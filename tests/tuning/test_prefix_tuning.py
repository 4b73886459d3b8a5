"""From a graded collection to a prefix calibrator: the splits, the judge, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gate.assemble import assemble
from gate.errors import ConfigError
from gate.gateway import Gateway
from gate.policy import Promise
from gate.tuning.bounds import trusted
from gate.tuning.prefix_tuning import PrefixTuned, record, tune_prefix
from tests.tuning.growing import ROUND, SENTENCES, collection_in, policy_in

PROMISE = Promise(max_error=0.3)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    made = assemble(policy_in(tmp_path_factory.mktemp("growing")))
    return replace_running(made)


def replace_running(made: Gateway) -> Gateway:
    return Gateway(made.policy, made.plan, made.world, {**made.running, "file:x": "1", "prompt:p": "2"})


@pytest.fixture(scope="module")
def tuned(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> PrefixTuned:
    with collection_in(tmp_path_factory.mktemp("c") / "c.db", gateway, 400) as held:
        return tune_prefix(gateway, held, SENTENCES, PROMISE, trusted, labels="made up")


def test_it_is_fitted_certified_and_judged_on_questions_of_their_own(tuned: PrefixTuned) -> None:
    shown = tuned.fitted.calibrator.shown
    assert shown is not None
    assert tuned.split == "test"
    assert tuned.fitted.drafts + shown.asked + tuned.exposure.questions == 400
    assert list(tuned.shares) == [ROUND]
    assert [at.share for at in tuned.shares[ROUND]] == [0.25, 0.5, 0.75, 1.0]
    assert (tuned.shares[ROUND][-1].auroc or 0) > 0.85
    assert 0 < tuned.exposure.wrong / tuned.exposure.released < 0.3
    assert tuned.useful


def test_it_remembers_what_wrote_the_drafts(tuned: PrefixTuned, gateway: Gateway) -> None:
    assert list(tuned.fitted.calibrator.rounds) == [ROUND]
    assert tuned.fitted.calibrator.fitted_on == {
        "upstream:one": gateway.running["upstream:one"],
        "prompt:p": "2",
    }


def test_the_record_is_plain_and_whole(tuned: PrefixTuned) -> None:
    made = record(tuned)
    assert made["release_at"] == tuned.fitted.release_at < 1
    assert made["shown"]["released"] == made["tests"][-2 if not made["tests"][-1]["passed"] else -1]["released"]
    assert made["exposure"]["saved_share"] == tuned.exposure.saved_share
    assert (made["asked_at"], made["judged_on"], made["labels"]) == ({"positions": "sentence"}, "test", "made up")


def test_upstreams_without_log_probabilities_are_held(gateway: Gateway, tmp_path: Path) -> None:
    lean = replace(gateway.plan, signals=())
    plain = Gateway(gateway.policy, lean, gateway.world, gateway.running)
    with (
        collection_in(tmp_path / "c.db", plain, 30, logprobs=False) as held,
        pytest.raises(ConfigError, match=r"no draft of the fit split has log-probabilities by token.*hold"),
    ):
        tune_prefix(gateway, held, SENTENCES, PROMISE, trusted)


def test_too_little_to_learn_from_is_said(gateway: Gateway, tmp_path: Path) -> None:
    with (
        collection_in(tmp_path / "c.db", gateway, 30) as held,
        pytest.raises(ConfigError, match=r"c\.db: too little to learn from: need 20 labelled drafts"),
    ):
        tune_prefix(gateway, held, SENTENCES, PROMISE, trusted)
