"""A table walked is the pipeline run: every question ends where, and for what, the pipeline ends it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.calibration.logistic import Way, Ways
from gate.drivers import Recording, ReplayDriver
from gate.errors import ReplayGap, UpstreamError
from gate.pipeline import answer
from gate.rules import ExpectedCostRule, ThresholdRule, Thresholds
from gate.traces import TapeEntry
from gate.tuning.table import Table
from gate.tuning.walk import ABSTAINED, ANSWERED, UNKNOWN, Terrain, Walked, opened, walk
from gate.types import Action, Outcome, Question, Stage
from tests.tuning.small_worlds import ANY_WAY, LADDER, Said, SmallWorld, believed, stages_in_order
from tests.tuning.terrains import confident

P = st.integers(0, 16).map(lambda k: k / 16)
AT = st.integers(1, 16).map(lambda k: k / 16)
"""Of the same sixteenths, so that a confidence often lies right on the threshold."""


@st.composite
def worlds(draw: st.DrawFn) -> SmallWorld:
    ladder = LADDER[: draw(st.integers(1, 3))]
    passages, tiers = draw(st.booleans()), draw(st.integers(1, 3))
    questions = tuple(f"q{place}" for place in range(draw(st.integers(1, 4))))
    rare = st.integers(0, 7).map(lambda k: k == 0)
    said = st.builds(
        Said,
        st.tuples(*[P] * tiers),
        st.tuples(*[rare] * tiers),
        right=st.booleans(),
        declined=rare,
        cut_short=rare,
        fails=rare,
    )
    told = {(q, name, book): draw(said) for q in questions for name in ladder for book in (False, True)[: 1 + passages]}
    return SmallWorld(ladder, passages, tiers, questions, told, draw(st.frozensets(st.sampled_from(questions))))


COST = st.integers(0, 20).map(lambda k: k / 16)


@st.composite
def ways(draw: st.DrawFn, world: SmallWorld) -> Ways:
    """What ways on cost: more evidence by how sure the draft is, the others always the same."""
    falling = st.lists(COST, min_size=2, max_size=2).map(lambda ends: ((0.0, max(ends)), (1.0, min(ends))))
    flat = COST.map(lambda cost: ((0.5, cost),))
    stages = {}
    for stage in stages_in_order(world):
        further = world.ladder[world.ladder.index(stage.upstream) + 1 :]
        names = {"gather": falling, "retrieve": flat, **{f"escalate:{name}": flat for name in further}}
        chosen = draw(st.sets(st.sampled_from(sorted(names))))
        stages[stage.key] = {name: Way(cost=draw(names[name])) for name in sorted(chosen)}
    return Ways(wrong=1.0, abstain=0.5, stages=stages)


@st.composite
def far_sighted(draw: st.DrawFn) -> tuple[SmallWorld, ExpectedCostRule]:
    world = draw(worlds())
    abstain = draw(st.integers(1, 16).map(lambda k: k / 16))
    rule = ExpectedCostRule(
        wrong=abstain + draw(st.integers(0, 32).map(lambda k: k / 8)),
        abstain=abstain,
        answer_at=draw(P),
        otherwise=draw(st.sampled_from(ANY_WAY)),
    )
    return replace(world, ways=draw(st.none() | ways(world))), rule


@st.composite
def rules(draw: st.DrawFn) -> ThresholdRule:
    rounds = [Stage(name, passages).round_key for name in LADDER for passages in (False, True)]
    return ThresholdRule(
        answer_at=draw(AT),
        closed_book_at=draw(st.none() | AT),
        answer_at_in=draw(st.dictionaries(st.sampled_from(rounds), AT, max_size=4)),
        gather_above=draw(P),
        otherwise=draw(st.sampled_from(ANY_WAY)),
    )


def run(world: SmallWorld, rule: Thresholds, question: str, tape: tuple[TapeEntry, ...]) -> Outcome | None:
    """What the pipeline does, from the replies; None where it has no first draft."""
    try:
        return ReplayDriver(tape).run(answer(world.plan(rule), Question.from_text(question)), Recording())
    except UpstreamError:
        return None


def walked_by(world: SmallWorld, table: Table, rule: Thresholds) -> Walked:
    terrain = Terrain.of(table, believed(table), world.ladder, world.tiers)
    return walk(terrain.looking_ahead(table, world.ways), rule)


def same(walked: Walked, row: int, outcome: Outcome, world: SmallWorld, question: str) -> bool:
    """Whether a row ended as an outcome did. Money is added up in another order."""
    decision = outcome.decision
    assert decision.confidence is not None
    last = world.told[question, decision.stage.upstream, decision.stage.passages]
    neither = last.declined and last.cut_short  # never answered nor gathered for: its p decides nothing
    return (
        walked.end[row] == (ANSWERED if outcome.answered else ABSTAINED)
        and walked.stages[walked.stage[row]] == decision.stage.key
        and math.isclose(walked.costs["money"][row], outcome.cost.money, rel_tol=1e-9)
        and walked.correct[row] == last.right
        and (walked.p[row] == decision.confidence.p or neither)
    )


@settings(max_examples=100)
@given(worlds(), st.lists(rules(), min_size=1, max_size=4))
def test_walking_a_table_is_running_the_pipeline(world: SmallWorld, tried: list[ThresholdRule]) -> None:
    table, tapes = world.collect(world.plan(tried[0]))
    assert list(table.ids) == list(tapes)
    for rule in tried:
        walked = walked_by(world, table, rule)
        for row, (question, tape) in enumerate(tapes.items()):
            outcome = run(world, rule, question, tape)
            assert outcome is not None
            assert same(walked, row, outcome, world, question)


def tied(outcome: Outcome, abstain: float) -> bool:
    """Whether ways somewhere cost the same, but for the order in which they are added up: then either may be gone."""
    for step in outcome.steps:
        found = step.decision.confidence.prospects if step.decision.confidence else ()
        costs = sorted([abstain, *(way.cost for way in found)])
        if found and costs[1] - costs[0] < 1e-9:
            return True
    return False


@settings(max_examples=150)
@given(far_sighted())
def test_so_it_is_under_the_rule_of_least_expected_cost(made: tuple[SmallWorld, ExpectedCostRule]) -> None:
    world, rule = made
    table, tapes = world.collect(world.plan(rule))
    walked = walked_by(world, table, rule)
    for row, (question, tape) in enumerate(tapes.items()):
        outcome = run(world, rule, question, tape)
        assert outcome is not None
        assert tied(outcome, rule.abstain) or same(walked, row, outcome, world, question)


@settings(max_examples=40)
@given(worlds(), rules(), st.data())
def test_so_it_is_for_every_ladder_within_the_one_collected(
    world: SmallWorld, rule: ThresholdRule, data: st.DataObject
) -> None:
    table, tapes = world.collect(world.plan(rule))
    chosen = data.draw(st.sets(st.sampled_from(world.ladder), min_size=1))
    part = replace(world, ladder=tuple(name for name in world.ladder if name in chosen))
    walked = walked_by(part, table, rule)
    for row, (question, tape) in enumerate(tapes.items()):
        with suppress(ReplayGap):  # a rung before it failed, and what comes behind was not collected
            outcome = run(part, rule, question, tape)
            assert walked.unknown[row] if outcome is None else same(walked, row, outcome, world, question)


def as_logged(
    world: SmallWorld, table: Table, tapes: Mapping[str, tuple[TapeEntry, ...]], rule: ThresholdRule
) -> Table:
    """What a log of this rule would hold: of each question the stages it came to."""
    runs = [run(world, rule, question, tape) for question, tape in tapes.items()]
    came = [{step.decision.stage.key for step in outcome.steps} if outcome else set() for outcome in runs]
    seen = {
        key: replace(column, there=column.there & np.array([key in stages for stages in came], dtype=np.bool_))
        for key, column in table.stages.items()
    }
    return replace(table, stages=seen, complete=False)


@settings(max_examples=100)
@given(worlds(), rules(), rules())
def test_what_a_log_does_not_hold_is_unknown_and_never_an_end(
    world: SmallWorld, logged: ThresholdRule, tried: ThresholdRule
) -> None:
    table, tapes = world.collect(world.plan(logged))
    walked = walked_by(world, as_logged(world, table, tapes, logged), tried)
    for row, (question, tape) in enumerate(tapes.items()):
        outcome = run(world, tried, question, tape)
        assert outcome is not None
        assert walked.unknown[row] or same(walked, row, outcome, world, question)


@settings(max_examples=60)
@given(worlds(), rules())
def test_a_log_tells_all_of_the_policy_that_wrote_it_but_what_ways_failed(
    world: SmallWorld, rule: ThresholdRule
) -> None:
    table, tapes = world.collect(world.plan(rule))
    walked = walked_by(world, as_logged(world, table, tapes, rule), rule)
    for row, question in enumerate(tapes):
        failed = question in world.fruitless or any(
            said.fails for (asked, _, _), said in world.told.items() if asked == question
        )
        assert failed or not walked.unknown[row]


def told(*said: Said) -> SmallWorld:
    """One question of a ladder of two with passages: small, small with them, large, large with them."""
    keys = [("q0", name, book) for name in LADDER[:2] for book in (False, True)]
    return SmallWorld(LADDER[:2], True, 1, ("q0",), dict(zip(keys, said, strict=True)))


UNSURE, SURE, DOWN = Said((0.2,), (False,)), Said((0.9,), (False,)), Said((0.9,), (False,), fails=True)
BOTH_WAYS = ThresholdRule(answer_at=0.8, otherwise=(Action.RETRIEVE, Action.ESCALATE))


def ends(world: SmallWorld, rule: ThresholdRule = BOTH_WAYS) -> tuple[int, str]:
    table, _ = world.collect(world.plan(rule))
    walked = walked_by(world, table, rule)
    return int(walked.end[0]), walked.stages[walked.stage[0]]


def test_retrieval_that_failed_is_not_tried_again_further_on() -> None:
    assert ends(told(UNSURE, UNSURE, UNSURE, SURE)) == (ANSWERED, "middle/with_passages/tier0")
    assert ends(told(UNSURE, DOWN, UNSURE, SURE)) == (ABSTAINED, "middle/closed_book/tier0")
    assert ends(told(UNSURE, DOWN, UNSURE, SURE), BOTH_WAYS.model_copy(update={"otherwise": ANY_WAY[4]})) == (
        ANSWERED,
        "middle/with_passages/tier0",
    )


def test_a_ladder_whose_first_rung_was_never_seen_ends_nowhere() -> None:
    world = told(UNSURE, UNSURE, SURE, SURE)
    table, _ = world.collect(world.plan(BOTH_WAYS))
    walked = walk(Terrain.of(table, believed(table), ("large", "middle"), 1), BOTH_WAYS)
    assert walked.end.tolist() == [UNKNOWN]
    assert (walked.stage.tolist(), walked.answered.any()) == ([-1], False)


def test_the_ways_from_a_round() -> None:
    assert opened(LADDER, ("small", False), Action.RETRIEVE) == ("small", True)
    assert opened(LADDER, ("small", True), Action.RETRIEVE) is None
    assert opened(LADDER, ("small", True), Action.ESCALATE) == ("middle", False)
    assert opened(LADDER, ("large", False), Action.ESCALATE) is None


def test_where_memory_is_on_trial_ways_go_by_what_was_learned_of_the_drafts_stage() -> None:
    """As in the pipeline: the likelier answer is held against the threshold, the ways on are those of the round."""
    n = 3
    draft, memory = (np.array(values) for values in ([0.2, 0.2, 0.6], [0.5, 0.95, 0.1]))
    own = confident(Stage("small", True), draft, np.zeros(n), np.zeros(n))
    beside = replace(own.column, stage=Stage("small", True, memory=True), correct=np.ones(n))
    large = confident(Stage("large"), np.full(n, 0.99), np.ones(n), np.zeros(n))
    closed = confident(Stage("small"), np.zeros(n), np.zeros(n), np.zeros(n))
    columns = [closed.column, own.column, beside, large.column]
    none = np.full(n, "", dtype=object)
    stages = {column.stage.key: column for column in columns}
    table = Table(none, none, none, np.ones(n), ("told",), stages, True)
    nobody = np.zeros(n, np.bool_)
    p = dict(zip(stages, (closed.p, draft, memory, large.p), strict=True))
    terrain = Terrain.of(table, {key: (each, nobody) for key, each in p.items()}, ("small", "large"), 1)
    retrieve = {Stage("small").key: {"retrieve": Way(cost=((0.5, 0.0),))}}
    onward = {Stage("small", True).key: {"escalate:large": Way(cost=((0.5, 0.01),))}}
    ways = Ways(wrong=1.0, abstain=0.1, stages=retrieve | onward)
    rule = ExpectedCostRule(wrong=1.0, abstain=0.1)
    walked = walk(terrain.looking_ahead(table, ways), rule)
    ends = [walked.stages[place] for place in walked.stage]
    assert ends == ["large/closed_book/tier0", "small/with_passages/tier0", "large/closed_book/tier0"]
    assert walked.correct.tolist() == [1.0, 1.0, 1.0]
