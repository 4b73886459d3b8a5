"""Tables from a collection: every policy over what was collected sees what it would have seen live, by replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gate.drivers import Recording, ReplayDriver
from gate.evidence import ClosedBook
from gate.full_evidence import Seen, full_evidence
from gate.pipeline import Plan, stages
from gate.tuning.collection import Collected, Collection
from gate.tuning.table import Row, Table, TableMaker
from gate.types import Action, Budget, Stage


def observed(collected: Iterable[Collected], plan: Plan) -> Table:
    """What each stage of the plan saw of each question.

    Raises `ReplayGap` where the plan asks for evidence that was not collected.
    """
    maker = TableMaker(tuple(signal.name for signal in plan.signals), stages_of(plan))
    for one in collected:
        seen = seen_of(plan, one)
        maker.add(Row(one.example.id, one.example.segment, seen, [one.correct(each.draft) for each in seen]))
    return maker.made()


def seen_of(plan: Plan, collected: Collected) -> tuple[Seen, ...]:
    """Full evidence again, from the replies."""
    free = replace(plan, budget=Budget(), frozen=None)
    return ReplayDriver(collected.tape, plan.prices).run(full_evidence(free, collected.example.asked), Recording())


def labelled(collection: Collection) -> Iterator[Collected]:
    """The questions of which somebody looked at a draft.

    Those that a grader left open are among them: they are the hard ones, and leaving them out would flatter. An answer
    to them that is let through counts as wrong until somebody says otherwise.
    """
    return (row for row in collection.collected() if any(each in row.labels for each in row.answers.values()))


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """Every stage that the plan's routes lead to, in the order in which questions come to them."""
    rungs = plan.ladder if Action.ESCALATE in plan.routes else plan.ladder[:1]
    asks_memory = (tier for tier, held in enumerate(plan.tiers) if any(s.provides is ClosedBook for s in held))
    memory = next(asks_memory, None) if plan.arbitrate else None
    passages = Action.RETRIEVE in plan.routes
    return stages(rungs, passages=passages, tiers=len(plan.tiers), memory_from=memory)
