"""What a policy does with every question of a collection: the pipeline itself, run on the recorded replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from gate.drivers import Recording, ReplayDriver
from gate.errors import ConfigError, ReplayGap, UnknownName, UpstreamError
from gate.full_evidence import draft_key
from gate.pipeline import Plan, answer
from gate.tuning.collection import Collected, Collection
from gate.tuning.judgements import JudgedRow, Judgements, judgements_of
from gate.tuning.observing import labelled
from gate.tuning.splits import WITH_TESTS, read_shares
from gate.types import Outcome

SPLITS = ("test", "certify", "fit", "all")
_AT_ONCE = 200
"""Outcomes held with their text."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One question under a policy."""

    collected: Collected
    outcome: Outcome | None
    """None where it cannot be told from what was collected."""
    gap: str = ""
    """Why not."""

    @property
    def draft(self) -> str | None:
        """The text the last confidence is about: the answer, or what would have been one."""
        return self.collected.answers.get(draft_key(self.outcome.decision.stage)) if self.outcome else None

    @property
    def correct(self) -> bool | None:
        return None if self.draft is None else self.collected.correct(self.draft)

    @property
    def wrong(self) -> bool:
        """Whether an answer went out that is not known to be right. What cannot be told counts as one."""
        return self.outcome is None or (self.outcome.answered and self.correct is not True)


def judge(plan: Plan, collected: Iterable[Collected]) -> Iterator[Judged]:
    """Every question's outcome, one at a time."""
    for one in collected:
        try:
            outcome = ReplayDriver(one.tape, plan.prices).run(answer(plan, one.example.asked), Recording())
        except (ReplayGap, UpstreamError) as error:
            yield Judged(one, None, str(error))
        else:
            yield Judged(one, outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy did with questions, and those it cannot be told of."""

    judgements: Judgements
    gaps: tuple[tuple[str, str], ...]
    """Id and reason."""


def verdict(plan: Plan, collected: Iterable[Collected], *, noted: Callable[[Judged], None] = lambda _: None) -> Verdict:
    """Judge every question; those whose evidence was not collected are left out and listed.

    ``noted`` sees each with its text, of which the verdict keeps none.
    """
    gaps: list[tuple[str, str]] = []
    signals = tuple(signal.name for signal in plan.signals)
    rows, parts = _rows(plan, _noting(judge(plan, collected), noted), gaps), list[Judgements]()
    while part := list(islice(rows, _AT_ONCE)):
        parts.append(judgements_of(part, signals))
    return Verdict(Judgements.joined(parts or [judgements_of((), signals)]), tuple(gaps))


def _noting(judged: Iterable[Judged], noted: Callable[[Judged], None]) -> Iterator[Judged]:
    for one in judged:
        noted(one)
        yield one


def _rows(plan: Plan, judged: Iterable[Judged], gaps: list[tuple[str, str]]) -> Iterator[JudgedRow]:
    """Those that can be told; the others are put among the gaps."""
    for one in judged:
        example = one.collected.example
        if one.outcome is None:
            gaps.append((example.id, one.gap))
            continue
        first = one.collected.answers.get(plan.opening(example.asked).stage(0).round_key)
        right = None if first is None else one.collected.correct(first)
        yield JudgedRow(example.id, example.segment, one.outcome, one.correct, right)


# --- questions to judge on ---------------------------------------------------------------------------------------


def chosen_split(collection: Collection, wanted: str) -> str:
    """The split that is wanted; if none is named, ``test``, or ``certify`` where no question is kept for tests.

    Raises `ConfigError` for a split that is unknown, or has no label.
    """
    if wanted and wanted not in SPLITS:
        raise UnknownName("split", wanted, SPLITS)
    for split in (wanted,) if wanted else ("test", "certify"):
        if next(questions_of(collection, split), None) is not None:
            return split
    if next(labelled(collection), None) is None:
        raise ConfigError("no answer has a label: run 'gate grade'", where=str(collection.path))
    named = repr(wanted) if wanted else "test or certify"
    raise ConfigError(
        f"no labelled question is in the split {named}: name another with --split, or all", where=str(collection.path)
    )


def questions_of(collection: Collection, split: str) -> Iterator[Collected]:
    """The labelled questions of a split, or of ``all``."""
    shares = read_shares(collection) or WITH_TESTS
    return (row for row in labelled(collection) if split in ("all", shares.of(row.example)))
