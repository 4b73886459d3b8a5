"""A collection out of a decision log: the questions for which a server gathered all evidence and people said what was
right.

Nothing is asked again: what was replied is in the log. What people labelled is one draft of each question. What they
hold to be right, the draft or what they wrote instead, is the question's reference, by which 'gate grade' labels the
drafts of the other stages; without one these stay open, and count as wrong where a policy lets them through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from gate.errors import ConfigError, ReplayGap, UpstreamError
from gate.full_evidence import draft_key
from gate.gateway import Gateway
from gate.log.address import place
from gate.log.exporting import Evidenced, evidenced, least_audit
from gate.log.jsonl import record_of
from gate.log.kept import Sought
from gate.pocket.world import unit_hash
from gate.traces import TraceRecord
from gate.tuning.collect import check_same
from gate.tuning.collection import Collected, Collection, Label
from gate.tuning.examples import Example
from gate.tuning.observing import seen_of
from gate.types import Cost

UNLABELLED = "nobody has labelled it yet"
NOT_DRAWN = "it was not drawn for a check"
VOLUNTEERED = "only users told of it: nobody has reviewed it yet"
NO_TEXT = "it was kept without text"
THINNED = "it was likelier to be drawn than others: taken as often as these"
REPEATED = "the same question stands in an earlier one"
_SHARE = 2.0**-32


@dataclass(slots=True)
class Taken:
    """What became of the decisions that have full evidence."""

    questions: int = 0
    """Taken, in this run or before."""
    right: int = 0
    wrong: int = 0
    unclear: int = 0
    """Of which a person said that it cannot be told."""
    without_reference: int = 0
    """Wrong or unclear, and nobody said what would have been right."""
    left_out: dict[str, int] = field(default_factory=dict)
    """By reason."""


def take(log: Engine, gateway: Gateway, collection: Collection, sought: Sought, *, even: bool = False) -> Taken:
    """Put the labelled questions of a policy into a collection, and labels that came since into those that are there.

    Only decisions that were drawn for a check and reviewed are taken, and where they were drawn with different chances,
    those with a larger one only as often as those with the least: a collection has no weights. ``even``: all that are
    labelled alike. Decisions that the policy's evidence cannot be told of are left out.

    Raises `ConfigError` where the collection is of another policy, where one upstream gave answers of several models,
    and where there is nothing to take; `GateError` where the log cannot be read.
    """
    check_same(gateway, collection)
    taking = _Taking(gateway, collection, None if even else least_audit(log, sought), even)
    left_out = taking.taken.left_out
    for one in evidenced(log, sought):
        reason = taking.add(one)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not taking.taken.questions:
        why = "; ".join(f"{reason} ({count})" for reason, count in left_out.items())
        none = "no decision of it has full evidence: serve with --full-evidence and --keep text"
        said = f"none of its decisions with full evidence can be used: {why}" if why else none
        raise ConfigError(said, where=place(log.url))
    return taking.taken


@dataclass(slots=True)
class _Taking:
    gateway: Gateway
    collection: Collection
    least: float | None
    even: bool
    taken: Taken = field(default_factory=Taken)
    _models: dict[str, str] = field(default_factory=dict)

    def add(self, one: Evidenced) -> str:
        """The reason why it cannot be taken, or ""."""
        if reason := self._passed_over(one):
            return reason
        record = record_of(one.trace, f"decision {one.id}")
        if record.question is None:
            return NO_TEXT
        self._check_models(record)
        question = dataclasses.replace(record.question, passages=())
        example = Example(record.id, question, passages=record.question.passages)
        try:
            seen = seen_of(self.gateway.plan, Collected(0, example, record.tape, {}, {}))
        except (ReplayGap, UpstreamError) as error:
            return str(error)
        answers = {draft_key(each.stage): each.draft for each in seen}
        steps = [step.decision.stage for step in record.steps]
        labelled = answers.get(steps[0].round_key if one.mode == "observe" else draft_key(steps[-1]))
        if one.answer in answers.values():
            labelled = one.answer
        elif labelled != "":  # a model that declined drafted nothing: what is kept then is what it said instead
            return "its labelled draft is of no stage of this policy"
        return self._put(one, record, dataclasses.replace(example, references=_right(one, labelled)), answers, labelled)

    def _passed_over(self, one: Evidenced) -> str:
        if one.audit is None and not self.even:
            return NOT_DRAWN
        if one.label is None:
            return UNLABELLED
        if one.label.source != "review" and not self.even:
            return VOLUNTEERED
        if self.least is not None and one.audit is not None:
            return THINNED if unit_hash(one.id, "thinned") * _SHARE >= self.least / one.audit else ""
        return ""

    def _check_models(self, record: TraceRecord) -> None:
        """What is tuned on the answers of two models promises nothing about either."""
        for entry in record.tape:
            said = entry.generations.model if entry.generations else ""
            if said and self._models.setdefault(entry.to, said) != said:
                both = f"{self._models[entry.to]!r} and {said!r}"
                raise ConfigError(f"the upstream {entry.to!r} gave answers of {both}: take those of one, with --since")

    def _put(
        self, one: Evidenced, record: TraceRecord, example: Example, answers: Mapping[str, str], labelled: str
    ) -> str:
        if self.collection.add([example]).repeated:
            return REPEATED
        if (at := self.collection.place_todo(example.id)) is not None:
            cost = sum((entry.cost for entry in record.tape), Cost())
            self.collection.finish(at, record.tape, answers, cost)
        assert one.label is not None  # noqa: S101 - others are passed over
        correct = one.label.correct
        self.collection.label({(example.id, labelled): Label(correct, one.label.by or "person", human=True)})
        self._count(correct, example)
        return ""

    def _count(self, correct: bool | None, example: Example) -> None:
        taken = self.taken
        taken.questions += 1
        taken.right += correct is True
        taken.wrong += correct is False
        taken.unclear += correct is None
        taken.without_reference += not example.references


def _right(one: Evidenced, labelled: str) -> tuple[str, ...]:
    """What is right, as far as the label says."""
    said = one.label.answer.strip() if one.label else ""
    agreed = labelled.strip() if one.label and one.label.correct else ""
    return tuple(dict.fromkeys(filter(None, (said, agreed))))
