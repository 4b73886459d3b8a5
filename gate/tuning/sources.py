"""Where tuning takes its questions from: a collection, which can judge any policy over it, or a decision log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from gate.calibration.logistic import LogisticCalibrator
from gate.errors import ConfigError, StaleCalibrator
from gate.pipeline import Plan
from gate.policy import Policy, PolicyFile
from gate.tuning.certification import Counted, Weighted
from gate.tuning.collection import Collected, Collection
from gate.tuning.decision_log import UNCHECKED, Audit, LogTable, logged, records
from gate.tuning.fitting import confidences
from gate.tuning.judging import judge
from gate.tuning.observing import labelled, observed, stages_of
from gate.tuning.search import Structure, structures
from gate.tuning.splits import Shares
from gate.tuning.table import Bools, Table
from gate.tuning.variants import Variant, variants
from gate.tuning.walk import Terrain, walk
from gate.types import Action


class Source(Protocol):
    """Labelled questions and what was seen of them."""

    @property
    def where(self) -> str:
        """Its name in messages."""
        ...

    @property
    def shares(self) -> Shares:
        """How its questions are split."""
        ...

    def variants(self, policy: Policy, plan: Plan) -> Sequence[Variant]:
        """The choices of evidence that can be judged from it."""
        ...

    def structures(self, policy: Policy) -> Sequence[Structure]:
        """The ladders and orders of ways that can be judged from it."""
        ...

    def table(self, plan: Plan) -> Table:
        """The fit split, as the plan's stages saw it."""
        ...

    def examined(self, split: str) -> Iterator[Collected]:
        """The labelled questions of a split with all replies, where they are there."""
        ...

    def as_it_ran(self, file: PolicyFile, plan: Plan) -> LogisticCalibrator | None:
        """The calibrator that decided when this was recorded, where only what it decided can be told."""
        ...

    def counted(self, policy: Policy, plan: Plan, calibrator: LogisticCalibrator) -> Counted:
        """What the whole policy does with the certify split. What cannot be told counts as answered and wrong."""
        ...

    def left_out(self) -> str:
        """What of it could not be used, in words; empty where all could."""
        ...


HELD = 2_000
"""Questions of a split that are kept in memory between one policy and the next, at most; more are read again."""


@dataclass(slots=True)
class CollectionSource:
    """Every variant and structure, by running the pipeline on the replies."""

    collection: Collection
    shares: Shares
    thresholds_only: bool = False
    """Whether evidence, ladder and routes stay as they are."""
    _held: dict[str, tuple[Collected, ...]] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        return str(self.collection.path)

    def variants(self, policy: Policy, plan: Plan) -> Sequence[Variant]:
        return [Variant("as it is", policy)] if self.thresholds_only else list(variants(policy, plan))

    def structures(self, policy: Policy) -> Sequence[Structure]:
        if self.thresholds_only:
            return [_own_structure(policy)]
        routes, least = policy.routes, policy.rule.closed_book_at
        return list(
            structures(
                policy.ladder,
                retrieve=routes.retrieve is not None,
                escalate=routes.escalate,
                closed_book_at=least,
            )
        )

    def table(self, plan: Plan) -> Table:
        return observed(self.examined("fit"), plan)

    def as_it_ran(self, file: PolicyFile, plan: Plan) -> LogisticCalibrator | None:
        return None

    def counted(self, policy: Policy, plan: Plan, calibrator: LogisticCalibrator) -> Counted:
        asked = answered = wrong = unknown = 0
        money = 0.0
        for one in judge(plan, self.examined("certify")):
            asked += 1
            answered += one.outcome is None or one.outcome.answered
            wrong += one.wrong
            unknown += one.wrong and one.correct is None
            money += one.outcome.cost.money if one.outcome else 0.0
        return Counted(asked, answered, wrong, money / max(1, asked), unknown)

    def examined(self, split: str) -> Iterator[Collected]:
        """Every policy is run on them: those of a small split are read once."""
        if split in self._held:
            yield from self._held[split]
            return
        first: list[Collected] = []
        for row in labelled(self.collection):
            if self.shares.of(row.example) == split:
                if len(first) <= HELD:
                    first.append(row)
                yield row
        if len(first) <= HELD:
            self._held[split] = tuple(first)

    def left_out(self) -> str:
        asked, done = self.collection.count()
        without = done - sum(1 for _ in labelled(self.collection))
        said = [f"{asked - done} questions were not collected"] if asked > done else []
        return "; ".join([*said, *([f"{without} were not graded"] if without else [])])


@dataclass(slots=True)
class LogSource:
    """The policy as it ran, with other thresholds and another calibrator: more a log cannot tell."""

    path: Path
    audits: Mapping[str, Audit]
    shares: Shares
    _read: LogTable | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        return str(self.path)

    def variants(self, policy: Policy, plan: Plan) -> Sequence[Variant]:
        return [Variant("as logged", policy)]

    def structures(self, policy: Policy) -> Sequence[Structure]:
        return [_own_structure(policy)]

    def table(self, plan: Plan) -> Table:
        return self._log(plan).table.of_split("fit")

    def examined(self, split: str) -> Iterator[Collected]:
        return iter(())  # a log keeps no states

    def as_it_ran(self, file: PolicyFile, plan: Plan) -> LogisticCalibrator | None:
        """The policy's own, if it has one: by another, answers come in another order, and most ways were not gone."""
        path = file.path.parent / file.policy.calibrator
        if not path.is_file():
            return None
        calibrator = LogisticCalibrator.load(path)
        try:
            calibrator.check(tuple(signal.name for signal in plan.signals), stages_of(plan))
        except StaleCalibrator:
            return None
        return calibrator

    def counted(self, policy: Policy, plan: Plan, calibrator: LogisticCalibrator) -> Counted:
        table = self._log(plan).table.of_split("certify")
        terrain = Terrain.of(table, confidences(calibrator.stages, table), policy.ladder, len(policy.tiers))
        walked = walk(terrain.looking_ahead(table, calibrator.ways), policy.rule)
        unknown = walked.unknown | (walked.answered & np.isnan(walked.correct))
        wrong = unknown | (walked.answered & (walked.correct == 0.0))
        out = walked.answered | unknown
        chances = {audit.probability for audit in self.audits.values()}
        uneven = len(chances) > 1 or bool((table.weights != table.weights[:1]).any())
        return Counted(
            asked=len(table),
            answered=int(out.sum()),
            wrong=int(wrong.sum()),
            money=float(np.average(walked.costs["money"], weights=table.weights)) if len(table) else 0.0,
            unknown=int(unknown.sum()),
            weighted=Weighted(wrong, out, table.weights, min(chances)) if uneven else None,
        )

    def left_out(self) -> str:
        if self._read is None:
            return ""
        said = [f"{count} decisions: {reason}" for reason, count in self._read.left_out.items()]
        if not self._audited(self._read).all():
            said.append("no abstention was audited: policies that would answer those are taken to answer them wrongly")
        return "; ".join(said)

    def _log(self, plan: Plan) -> LogTable:
        """The audited decisions.

        Where no abstention was audited although there are some, they are all there, without a label: else a policy
        that answers more than was answered would be judged by the answers of the one that did not.
        """
        if self._read is None:
            read = logged(records(self.path), plan, self.audits, shares=self.shares, audited_only=True, held_back=True)
            audited = self._audited(read)
            if not audited.any():
                why = "; ".join(f"{count} decisions: {reason}" for reason, count in read.left_out.items())
                said = f"none of the {len(self.audits)} labels can be used: {why or 'the log is empty'}"
                raise ConfigError(said, where=self.where)
            if (audited & np.isin(read.recorded, (Action.ABSTAIN, Action.CLARIFY))).any():
                others = Counter(read.left_out) + Counter({UNCHECKED: int((~audited).sum())})
                read = LogTable(read.table.where(audited), read.recorded[audited], others)
            self._read = read
        return self._read

    def _audited(self, read: LogTable) -> Bools:
        return np.array([id_ in self.audits for id_ in read.table.ids], dtype=np.bool_)


def _own_structure(policy: Policy) -> Structure:
    closed = set()
    if policy.routes.retrieve is None:
        closed.add(Action.RETRIEVE)
    if not policy.routes.escalate or len(policy.ladder) < 2:
        closed.add(Action.ESCALATE)
    ways = tuple(way for way in policy.rule.otherwise if way not in closed)
    return Structure(policy.ladder, ways, policy.rule.closed_book_at)
