"""Labelling the answers of a collection: by a grader, by people, and with a list of labels that look wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gate.calibration.labels import suspects
from gate.drivers import AsyncDriver, Recording, World
from gate.errors import ConfigError, EvidenceUnavailable, GateError, UnknownName, UpstreamError, first_of
from gate.evidence.citations import MARKER, without_markers
from gate.guarantees.label_noise import JudgeError
from gate.pipeline import Plan
from gate.pocket.world import unit_hash
from gate.tuning.collection import Collected, Collection, Label
from gate.tuning.conversations import digest
from gate.tuning.fitting import fit_table
from gate.tuning.grading.applying import AnyGrader, graded
from gate.tuning.grading.model import ModelGrader
from gate.tuning.judge_error import judge_error
from gate.tuning.label_files import LabelRow
from gate.tuning.observing import labelled, observed
from gate.types import Cost, Stage

_READING = Stage("", passages=True).round_key
LOGGED = "log"
"""Grader of labels that came with the questions."""


@dataclass(frozen=True, slots=True)
class GradeReport:
    """How the answers of a collection are labelled now."""

    answers: int
    right: int
    wrong: int
    open: int
    """That no grader could tell, and no person has labelled."""
    by_people: int
    failed: int
    """That a judge could not be asked about in this run."""
    why: str
    """Why the first of them could not."""
    cost: Cost
    """Of this run."""


async def grade(
    collection: Collection,
    by: AnyGrader,
    world: World,
    *,
    again: bool = False,
    first: bool = False,
    concurrency: int = 8,
    progress: Callable[[], None] = lambda: None,
) -> GradeReport:
    """Grade every answer that has no grade of this grader yet, or all ``again``. Labels are kept as they come.

    As the ``first`` it leaves alone what any grader has graded: another's work may have been paid for.

    Raises `UnknownName` where the grader asks an upstream that is not in the world.
    """
    if isinstance(by, ModelGrader) and by.upstream not in world.upstreams:
        raise UnknownName("upstream", by.upstream, world.upstreams)
    driver, cost, failures = AsyncDriver(world), Cost(), list[str]()
    todo = _ungraded(collection, None if first else by.name, again=again)

    async def work() -> None:
        nonlocal cost
        for row, answer in todo:  # shared: each answer is taken by one worker
            label, paid = await _label(driver, by, row, answer)
            cost += paid
            if isinstance(label, str):
                failures.append(label)
            else:
                collection.label({(row.example.id, answer): label})
            progress()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency if isinstance(by, ModelGrader) else 1):
                group.create_task(work())
    except* GateError as errors:
        raise first_of(errors) from None
    finally:
        await driver.aclose()
    return _report(collection, failures, cost)


async def _label(driver: AsyncDriver, by: AnyGrader, row: Collected, answer: str) -> tuple[Label | str, Cost]:
    """The label and what it cost; the reason where there is none."""
    example = row.example
    try:
        flow = graded(by, example.question, uncited(row, answer), example.references)
        reply = await driver.run(flow, Recording())
    except (UpstreamError, EvidenceUnavailable) as error:
        return str(error), error.cost or Cost()
    return Label(reply.value.correct, by.name, reply.value.reason), reply.cost


def uncited(row: Collected, answer: str) -> str:
    """The answer without the numbers of passages that it cites, where it was given with passages to read.

    They are no part of it, unless a reference holds such a number too.
    """
    reading = {text for key, text in row.answers.items() if key.endswith(_READING)}
    if answer not in reading or any(MARKER.search(reference) for reference in row.example.references):
        return answer
    return without_markers(answer)


def _ungraded(collection: Collection, grader: str | None, *, again: bool) -> Iterator[tuple[Collected, str]]:
    """Answers without a grade of this grader, or of any."""
    for row in collection.collected():
        _take_logged(collection, row)
        held = collection.labels_of(row.example.id, human=False)
        for answer in dict.fromkeys(row.answers.values()):
            if again or answer not in held or grader not in (None, held[answer].grader):
                yield row, answer


def _take_logged(collection: Collection, row: Collected) -> None:
    """A label that came with the question is a person's, but not the last word: another person's stays."""
    example = row.example
    if example.logged_answer is not None and example.logged_correct is not None:
        held = collection.labels_of(example.id, human=True).get(example.logged_answer)
        if held is not None and held.grader != LOGGED:
            return
        label = Label(example.logged_correct, LOGGED, human=True)
        collection.label({(example.id, example.logged_answer): label})


def _report(collection: Collection, failures: list[str], cost: Cost) -> GradeReport:
    answers = right = wrong = people = 0
    for row in collection.collected():
        for answer in set(row.answers.values()):
            label = row.labels.get(answer)
            answers += 1
            right += label is not None and label.correct is True
            wrong += label is not None and label.correct is False
            people += label is not None and label.human
    return GradeReport(
        answers, right, wrong, answers - right - wrong, people, len(failures), next(iter(failures), ""), cost
    )


# --- people ------------------------------------------------------------------------------------------------------


def take_labels(collection: Collection, labels: dict[tuple[str, str], bool], rows: dict[tuple[str, str], str]) -> int:
    """Put in labels that people gave; returns how many say otherwise than the label that was there.

    ``rows`` holds who said so, by the same keys. A label that stands as a grader gave it, under that grader's name, is
    nobody's: whoever agrees with it says so by a name. Else a file that nobody looked at would speak for the grader.
    Raises `ConfigError` for an answer that the collection does not have.
    """
    known = {
        (row.example.id, answer): row.labels.get(answer)
        for row in collection.collected()
        for answer in row.answers.values()
    }
    strangers = [id_ for id_, answer in labels if (id_, answer) not in known]
    if strangers:
        raise ConfigError(
            f"{len(strangers)} labels are of answers that are not in this collection, the first of the question "
            f"{strangers[0]!r}: was the answer's text changed?",
            where=str(collection.path),
        )
    given: dict[tuple[str, str], Label] = {}
    changed = 0
    for key, correct in labels.items():
        held, who = known[key], rows.get(key, "")
        by_grader = held is not None and who == held.grader
        if held is not None and held.correct is not None and held.correct != correct:
            changed += 1
        elif by_grader and held is not None and held.correct is not None:
            continue
        given[key] = Label(correct, "person" if by_grader or not who else who, human=True)
    collection.label(given)
    return changed


def draw_sample(collection: Collection, count: int) -> list[LabelRow]:
    """Graded answers for people to label unseen, so that the grader's errors can be counted. Which is kept.

    Each answer is as likely as any other, which those that people pick themselves are not: a judge looks best on what
    it is doubted on. A sample that was drawn before grows; it is never drawn anew. Where answers came since, those join
    it that would have been in it, for else it would be of the older ones alone.
    """
    rows = [row for row in label_rows(collection) if row.grader]
    rows.sort(key=lambda row: unit_hash(digest([row.id, row.answer]), "sample"))
    held = _sampled(collection)
    reach = max((place for place, row in enumerate(rows, 1) if (row.id, row.answer) in held), default=0)
    drawn = rows[: max(count, reach)]
    collection.remember(sample=json.dumps([[row.id, row.answer] for row in drawn]))
    return [dataclasses.replace(row, correct=None, grader="", note="") for row in drawn]


def _sampled(collection: Collection) -> set[tuple[str, str]]:
    held = collection.meta.get("sample")
    return {(id_, answer) for id_, answer in json.loads(held)} if held else set()


def measured_judge(collection: Collection) -> JudgeError:
    """How the graders did on the answers that were drawn for people and that people labelled.

    Without a sample it is counted on whatever people labelled, which says less: see `draw_sample`.
    """
    sampled = _sampled(collection)
    judged: dict[tuple[str, str], bool | None] = {}
    human: dict[tuple[str, str], bool | None] = {}
    for row in collection.collected():
        id_ = row.example.id
        judged |= {(id_, a): label.correct for a, label in collection.labels_of(id_, human=False).items()}
        human |= {(id_, a): label.correct for a, label in collection.labels_of(id_, human=True).items()}
    if sampled:
        judged = {key: label for key, label in judged.items() if key in sampled}
    return judge_error(judged, human)


def has_sample(collection: Collection) -> bool:
    """Whether answers were drawn for people to label."""
    return bool(_sampled(collection))


# --- suspects ----------------------------------------------------------------------------------------------------


def label_rows(collection: Collection) -> Iterator[LabelRow]:
    """Every answer with its label, for people to look through."""
    for row in collection.collected():
        yield from _rows(row, {})


def suspect_rows(collection: Collection, plan: Plan) -> list[LabelRow]:
    """Answers whose label does not fit what the signals say, and those no grader could tell; the likeliest first.

    Confident learning (Northcutt et al. 2021): a calibrator that has not seen the question is surer of the other label
    than it is on average of answers that bear it. Raises `ConfigError` where there are too few labels to tell.
    """
    table = observed(labelled(collection), plan)
    found: dict[tuple[str, str], float] = {}
    try:
        unseen = fit_table(table, {signal.name: signal.bounds for signal in plan.signals}, everyone=True).unseen
    except ValueError as error:
        raise ConfigError(f"too few labels to tell which look wrong: {error}", where=str(collection.path)) from error
    judged = {key: column for key, column in table.stages.items() if not column.stage.memory}
    for key, column in {column.stage.round_key: (key, column) for key, column in judged.items()}.values():
        known = np.flatnonzero(column.there & ~np.isnan(column.correct))
        ranked = suspects(unseen[key][0][known], column.correct[known] == 1.0)
        for place, likely in zip(ranked.indices, ranked.score, strict=True):
            at = str(table.ids[known[place]]), column.stage.round_key
            found[at] = max(found.get(at, 0.0), 1.0 - float(likely))
    rows = [listed for row in collection.collected() for listed in _rows(row, found)]
    doubtful = [row for row in rows if row.suspicion is not None or row.correct is None]
    return sorted(doubtful, key=lambda row: (row.correct is not None, -(row.suspicion or 0.0)))


def _rows(row: Collected, doubts: dict[tuple[str, str], float]) -> Iterator[LabelRow]:
    example = row.example
    for answer in dict.fromkeys(row.answers.values()):
        label = row.labels.get(answer)
        rounds = [key for key, text in row.answers.items() if text == answer]
        said = [doubts[example.id, key] for key in rounds if (example.id, key) in doubts]
        yield LabelRow(
            id=example.id,
            answer=answer,
            question=example.question.text,
            references=example.references,
            correct=label.correct if label else None,
            grader=label.grader if label else "",
            suspicion=max(said, default=None),
            note=label.reason if label else "",
        )
