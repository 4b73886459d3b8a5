"""Fitting confidence on the growing text: it tells right from wrong early, and its thresholds hold on other drafts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gate.calibration.metrics import auroc
from gate.calibration.prefix import FEATURES
from gate.guarantees.selective_risk import upper_bound
from gate.policy import Promise
from gate.tuning.bounds import trusted
from gate.tuning.prefix_drafts import Watched, watched
from gate.tuning.prefix_fit import NEVER_RELEASE, FittedPrefix, fit_bands, fit_prefix, stop_threshold
from tests.tuning.growing import ROUND, SENTENCES, drafts

PROMISE = Promise(max_error=0.1)
FIT, CERTIFY, TEST = drafts(range(400)), drafts(range(400, 900)), drafts(range(900, 1500))


@pytest.fixture(scope="module")
def fitted() -> FittedPrefix:
    return fit_prefix(FIT, CERTIFY, SENTENCES, PROMISE, trusted, fitted_on={"upstream:one": "x"})


def test_the_first_sentence_tells_right_from_wrong(fitted: FittedPrefix) -> None:
    p = [one.p[0] for one in watched(TEST, fitted.calibrator)]
    right = [bool(draft.right) for draft in TEST]
    assert (auroc(p, right) or 0) > 0.8
    assert np.mean(p) == pytest.approx(np.mean(right), abs=0.06)


def test_it_knows_more_at_the_end(fitted: FittedPrefix) -> None:
    right = [bool(draft.right) for draft in TEST]
    losses = []
    for place in (0, -1):
        p = np.array([one.p[place] for one in watched(TEST, fitted.calibrator)])
        losses.append(-np.log(np.where(right, p, 1 - p)).mean())
    assert losses[1] < losses[0]


def test_the_threshold_is_the_boldest_of_those_that_passed(fitted: FittedPrefix) -> None:
    passed = [test for test in fitted.tests if test.passed]
    assert fitted.release_at == passed[-1].candidate == min(test.candidate for test in passed)
    assert [test.passed for test in fitted.tests[:-1]] == [True] * (len(fitted.tests) - 1)
    sent = [one.draft for one in fitted.certified if one.surest >= fitted.release_at]
    wrong = sum(not draft.right for draft in sent)
    shown = fitted.calibrator.shown
    assert shown is not None
    assert (shown.asked, shown.released, shown.wrong) == (500, len(sent), wrong)
    assert shown.bound == pytest.approx(upper_bound(wrong, len(sent), 0.05))
    assert shown.bound is not None
    assert shown.bound <= 0.1
    assert shown.released > 100


def test_it_holds_on_drafts_that_fitted_nothing(fitted: FittedPrefix) -> None:
    sent = [one.draft.right for one in watched(TEST, fitted.calibrator) if one.surest >= fitted.release_at]
    assert len(sent) > 100
    assert 1 - np.mean(np.array(sent, dtype=float)) <= 0.1


def test_few_right_answers_are_stopped_and_many_doomed_ones(fitted: FittedPrefix) -> None:
    seen = watched(TEST, fitted.calibrator)
    stopped = [(one.draft.right, one.stopped_at(fitted.stop_below) is not None) for one in seen]
    assert np.mean([stop for right, stop in stopped if right]) <= 0.03
    assert np.mean([stop for right, stop in stopped if not right]) >= 0.1


def test_labels_say_nothing_where_they_are_drawn_at_random() -> None:
    """What tells nothing must not come to anything: no early release under a promise of 10 % at a base rate of half."""
    rng = np.random.default_rng(3)
    fit, certify = ([replace(draft, right=bool(rng.random() < 0.5)) for draft in some] for some in (FIT, CERTIFY))
    made = fit_prefix(fit, certify, SENTENCES, PROMISE, trusted)
    assert made.release_at == NEVER_RELEASE
    assert made.stop_below <= 0.25, "what is right every other time is not doomed"
    shown = made.calibrator.shown
    assert shown is not None
    assert (shown.bound, shown.released) == (None, 0)


def test_an_open_label_is_learned_from_by_nobody_and_counts_as_wrong() -> None:
    fit = [replace(draft, right=None) if place % 3 == 0 else draft for place, draft in enumerate(FIT)]
    certify = [replace(draft, right=None if draft.right else False) for draft in CERTIFY]
    made = fit_prefix(fit, certify, SENTENCES, PROMISE, trusted)
    assert made.drafts == sum(draft.right is not None for draft in fit)
    assert made.release_at == NEVER_RELEASE
    assert (made.best_bound or 0) > 0.9


def test_drafts_nobody_sees_grow_prove_nothing() -> None:
    unseen = [replace(draft, streamed=False) for draft in CERTIFY]
    made = fit_prefix(FIT, unseen, SENTENCES, PROMISE, trusted)
    assert (made.tests, made.release_at, made.best_bound, made.stop_below) == ((), NEVER_RELEASE, None, 0.0)


def test_bands_begin_where_enough_drafts_still_are() -> None:
    made, unseen = fit_bands(FIT, SENTENCES, {})
    assert made.edges == (0, 8, 16)
    assert sum(draft.length >= 16 for draft in FIT) >= 100 > sum(draft.length >= 32 for draft in FIT)
    bands = made.rounds[ROUND]
    assert all(tuple(band.signals) == tuple(FEATURES) for band in bands)
    assert all(band.joint is None and not band.covariance for band in bands)
    assert [len(one.p) for one in unseen] == [len(draft.tokens) for draft in FIT]
    # a draft is looked at by fits that had not seen it: else the unseen would be as good as the fitted
    own = [one.p for one in watched(FIT, made)]
    assert not np.allclose(np.concatenate(own), np.concatenate([one.p for one in unseen]))


def test_a_band_that_a_round_never_came_to_is_as_its_first() -> None:
    short = [replace(draft, round_key="two/closed_book") for draft in drafts(range(600)) if draft.length < 16]
    made, _ = fit_bands([*FIT, *short], SENTENCES, {})
    two = made.rounds["two/closed_book"]
    assert two[2] == two[0] != two[1]


def test_too_few_drafts_are_refused() -> None:
    with pytest.raises(ValueError, match="need 20 labelled drafts"):
        fit_prefix(FIT[:19], CERTIFY, SENTENCES, PROMISE, trusted)
    with pytest.raises(ValueError, match="need 20 labelled drafts"):
        fit_prefix([draft for draft in FIT if draft.right], CERTIFY, SENTENCES, PROMISE, trusted)


def test_the_stop_threshold_counts_right_drafts_alone() -> None:
    two = [draft for draft in FIT if draft.right][:100]
    seen = [Watched(draft, np.full(len(draft.tokens), 0.1005 + 0.001 * n)) for n, draft in enumerate(two)]
    wrong = [Watched(replace(draft, right=False), np.full(len(draft.tokens), 0.001)) for draft in two]
    assert stop_threshold(seen + wrong, 0.0) == (0.1, 100, 0)
    assert stop_threshold(seen + wrong, 0.05) == (0.105, 100, 5)
    assert stop_threshold(seen[:19] + wrong, 0.05) == (0.0, 19, 0)
    assert stop_threshold(seen, 0.0) == (0.0, 100, 0), "it would stop nothing"
