"""Tables from a collection: every policy over what was collected sees what it would have seen live, by replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gate.drivers import Recording, ReplayDriver
from gate.pipeline import Plan
from gate.tuning.collection import Collected, Collection, question_key
from gate.tuning.full_evidence import Seen, full_evidence
from gate.tuning.splits import Shares
from gate.tuning.table import Row, Table, TableMaker
from gate.types import Budget, Stage


def observed(collection: Collection, plan: Plan, shares: Shares) -> Table:
    """What each stage of the plan saw of each question that has a label.

    Raises `ReplayGap` where the plan asks for evidence that was not collected.
    """
    maker = TableMaker(tuple(signal.name for signal in plan.signals), stages_of(plan))
    for row in rows(collection, plan, shares):
        maker.add(row)
    return maker.made()


def rows(collection: Collection, plan: Plan, shares: Shares) -> Iterator[Row]:
    for collected in collection.collected():
        if any(label.correct is not None for label in collected.labels.values()):
            seen = seen_of(plan, collected)
            example = collected.example
            split = example.split or shares.split(question_key(example))
            yield Row(example.id, example.segment, split, seen, [collected.correct(each.draft) for each in seen])


def seen_of(plan: Plan, collected: Collected) -> tuple[Seen, ...]:
    """Full evidence again, from the replies."""
    free = replace(plan, budget=Budget(), frozen=None)
    return ReplayDriver(collected.tape, plan.prices).run(full_evidence(free, collected.example.question), Recording())


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """Every stage, in the order in which questions come to them."""
    tiers = range(len(plan.tiers))
    return tuple(Stage(name, passages, tier) for name in plan.ladder for passages in (False, True) for tier in tiers)
