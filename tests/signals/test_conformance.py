"""What every signal must be, run over SIGNALS: registering is being tested."""

from __future__ import annotations

import builtins
import io
import math
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.evidence import SOURCES, AnswerVectors, Draft, Meanings, Samples, Similarities
from gate.evidence.log_probabilities import NO_NUMBER
from gate.ports import Evidence, Fact, Missing, Signal
from gate.signals import SIGNALS
from gate.types import Cost, Generation, TokenLogprob
from tests.signals.scenes import ALONE, FAMILIES, core

each = pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: str(signal.name))


def evidence_of(facts: Iterable[Fact]) -> Evidence:
    return Evidence({type(fact): fact for fact in facts})


SURE = evidence_of(fact for family in FAMILIES for fact in family.sure())
UNSURE = evidence_of(fact for family in FAMILIES for fact in family.unsure())
SCENES = [(SURE, UNSURE), *((evidence_of(alone.sure()), evidence_of(alone.unsure())) for alone in ALONE)]


def scene_of(signal: Signal) -> tuple[Evidence, Evidence]:
    """A sure and an unsure scene with a draft of the kind the signal is about."""
    return next((scene for scene in SCENES if isinstance(signal.measure(scene[0]), float)), SCENES[0])


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """A draft, and the facts of some of the families; or a draft of a kind of its own."""
    alone = draw(st.none() | st.sampled_from(ALONE))
    if alone is not None:
        return evidence_of(draw(alone.facts()))
    some = [family for family in FAMILIES if family is core or draw(st.booleans())]
    return evidence_of(fact for family in some for fact in draw(family.facts()))


def test_no_two_signals_share_a_name() -> None:
    assert len({signal.name for signal in SIGNALS}) == len(SIGNALS) > 0


@each
def test_a_signal_is_named_for_a_policy_and_says_what_it_needs_and_where_it_lies(signal: Signal) -> None:
    assert re.fullmatch(r"[a-z][a-z_]*", signal.name)
    low, high = signal.bounds
    assert low < high
    assert set(signal.needs) <= {source.provides for source in SOURCES}
    assert signal.needs


@settings(max_examples=100, deadline=None)
@given(evidence=evidences())
def test_a_value_lies_within_its_bounds_or_is_missing_for_a_reason_and_repeats(evidence: Evidence) -> None:
    """All signals on the same evidence: making it takes longer than reading it."""
    for signal in SIGNALS:
        said = signal.measure(evidence)
        if isinstance(said, Missing):
            assert said.reason, signal.name
        else:
            low, high = signal.bounds
            assert low <= said <= high, signal.name
        assert signal.measure(evidence) == said, signal.name


UNREADABLE = [math.nan, math.inf, 0.5]


@settings(max_examples=50, deadline=None)
@given(logprob=st.sampled_from(UNREADABLE), place=st.integers(0, 4), listed=st.booleans())
def test_a_log_probability_that_is_none_raises_no_value(logprob: float, place: int, listed: bool) -> None:
    """Whatever reads the draft's or a sample's tokens is missing; whatever reads none says what it said."""
    for scene in (SURE, UNSURE):
        draft, samples = scene.find(Draft), scene.find(Samples)
        assert draft is not None
        assert samples is not None
        generations = list(samples.generations)
        generations[place] = broken(generations[place], logprob, listed)
        spoilt = scene.having(Samples(Cost(), tuple(generations)))
        spoilt = spoilt.having(replace(draft, generation=broken(draft.generation, logprob, listed)))
        for signal in SIGNALS:
            said = signal.measure(spoilt)
            assert said in (signal.measure(scene), NO_NUMBER), signal.name
            if signal.name.startswith(("token_", "semantic_concentration_", "text_probability_share")):
                assert isinstance(said, Missing), signal.name


def broken(generation: Generation, logprob: float, listed: bool) -> Generation:
    first, *rest = generation.tokens or ()
    top = ((first.token, first.logprob), ("other", logprob)) if listed else first.top
    spoilt = TokenLogprob(first.token, first.logprob if listed else logprob, top)
    return replace(generation, tokens=(spoilt, *rest))


@pytest.mark.parametrize("kept", [0, 1])
def test_fewer_than_two_samples_have_no_spread_and_no_majority(kept: int) -> None:
    samples, meanings, alike = SURE.find(Samples), SURE.find(Meanings), SURE.find(Similarities)
    vectors = SURE.find(AnswerVectors)
    assert samples and meanings and alike and vectors  # noqa: PT018 - all are in the scene
    few = SURE.having(replace(samples, generations=samples.generations[:kept]))
    few = few.having(replace(meanings, samples=meanings.samples[:kept]))
    few = few.having(Similarities(Cost(), tuple(row[: kept + 1] for row in alike.rows[: kept + 1])))
    few = few.having(
        replace(
            vectors, rows=vectors.rows[: kept + 1], cosines=tuple(r[: kept + 1] for r in vectors.cosines[: kept + 1])
        )
    )
    for signal in SIGNALS:
        if signal.name.startswith(SPREAD):
            said = signal.measure(few)
            assert said == Missing("one sample has no spread" if kept else "no samples were drawn"), signal.name


SPREAD = (
    "vote_share", "single_meaning", "largest_meaning_share", "draft_mode_margin", "semantic_c",
    "text_probability_share", "graph_", "lexical_similarity",
)  # fmt: skip


@each
def test_with_all_its_facts_it_has_a_value(signal: Signal) -> None:
    sure, _ = scene_of(signal)
    only = Evidence({kind: sure.facts[kind] for kind in signal.needs})
    assert isinstance(signal.measure(only), float)


@each
def test_with_no_facts_it_is_missing_for_the_reason_that_is_known(signal: Signal) -> None:
    known = Evidence()
    for kind in signal.needs:
        known = known.lacking(kind, "is down")
    assert signal.measure(known) == Missing("is down")


@pytest.mark.parametrize(
    ("signal", "lost"),
    [(signal, kind) for signal in SIGNALS if len(signal.needs) > 1 for kind in signal.needs],
    ids=lambda part: part.__name__ if isinstance(part, type) else str(part.name),
)
def test_losing_one_of_several_facts_it_needs_is_missing_for_a_reason(signal: Signal, lost: type[Fact]) -> None:
    sure, _ = scene_of(signal)
    said = signal.measure(Evidence({kind: fact for kind, fact in sure.facts.items() if kind is not lost}))
    assert isinstance(said, Missing)
    assert said.reason


@each
def test_higher_means_more_likely_correct(signal: Signal) -> None:
    sure, unsure = (signal.measure(scene) for scene in scene_of(signal))
    assert isinstance(sure, float)
    assert isinstance(unsure, float)
    assert sure > unsure


def refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"a signal called {name}")

    return refuse


@each
def test_measuring_touches_neither_files_nor_sockets_nor_the_clock(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = scene_of(signal)
    with monkeypatch.context() as patch:
        for owner, name in (
            (builtins, "open"), (io, "open"), (os, "open"), (socket, "socket"), (subprocess, "Popen"),
            (time, "time"), (time, "monotonic"), (time, "sleep"),
        ):  # fmt: skip
            patch.setattr(owner, name, refusing(name))
        said = [signal.measure(evidence) for evidence in scenes]
    assert len(said) == 2
