"""Recorded answers of real models as evidence: rows of a folder's JSON lines, read by gate's own sources and signals.

What the recording holds is put in as the fact it is (the draft, its samples, a stated confidence …); what can be
computed from that with no call (meanings, similarities …) is gathered by the sources that gate runs in service. Fields
that tell the label (references, grades of other answers, human ratings) are never looked at.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.drivers import Recording, ThreadedDriver, World
from gate.embedders import HashedNgrams
from gate.errors import EvidenceUnavailable, UpstreamError
from gate.evidence import (
    AnswerVectorsSource,
    Asked,
    Cautious,
    Draft,
    Meanings,
    MeaningsSource,
    Passages,
    PTrue,
    Samples,
    SecondOpinion,
    SimilaritiesSource,
    StatedLinguistic,
    StatedTwoStage,
)
from gate.evidence.comparison import Comparison, likeness
from gate.evidence.p_true import Options
from gate.evidence.stated import level_in
from gate.pipeline import measure
from gate.ports import Evidence, Fact, Missing, Profile, Round
from gate.signals import SIGNALS
from gate.types import Cost, Generation, Passage, Question, SignalVector, TokenLogprob

FEWEST = 100
"""A set with fewer answers, or with fewer than ten right or wrong ones, says too little."""
MOST = 1500
"""Of a larger set, questions are drawn until it has about as many answers."""
FREE = Cost()
EMBEDDER = HashedNgrams("hashed")
COMPUTED = (
    MeaningsSource(judge="numeric"),
    SimilaritiesSource(kind="jaccard"),
    AnswerVectorsSource(embedder="hashed"),
)
"""The sources that need no call, in order."""
SAME = Comparison()
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """One recorded answer and what the signals read off it."""

    id: str
    """Its set and its place there: recordings number their rows anew for each prompt."""
    question: str | None
    question_id: str
    """Answers to the same question share it."""
    dataset: str
    upstream: str
    answer: str
    samples: tuple[str, ...]
    sample_logprobs: tuple[float, ...] | None
    logprob: float | None
    """Of the whole answer."""
    vector: SignalVector
    scalars: Mapping[str, float]
    """Numbers that the recording holds and gate has no signal for: a control."""
    correct: bool


@dataclass(frozen=True)
class Set:
    """The answers of one upstream in one file whose labels were made in one way."""

    name: str
    file: str
    answers: tuple[Answered, ...]


@dataclass(frozen=True)
class Group:
    """The rows of a set, before anything is read off them."""

    name: str
    file: str
    rows: tuple[Row, ...]

    @property
    def first_sample_is_the_draft(self) -> bool:
        """Some recordings keep the answer's own log-probability as its one sample."""
        sampled = [row for row in self.rows if row.get("samples")]
        own = [row for row in sampled if row["samples"][0].get("logprob_sum") is not None and len(row["samples"]) <= 2]
        same = [row for row in own if row.get("answer") in (None, row["samples"][0].get("text"))]
        return bool(sampled) and len(same) >= 0.99 * len(sampled)

    def read(self) -> Set:
        driver = ThreadedDriver(World({}, embedders={"hashed": EMBEDDER}))
        try:
            made = tuple(_answered(self, place, row, driver) for place, row in enumerate(self.rows))
            return Set(self.name, self.file, made)
        finally:
            driver.close()


def groups_of(
    folder: Path, wanted: Sequence[str] = (), some: Callable[[Sequence[Row]], Sequence[Row]] | None = None
) -> Iterator[Group | str]:
    """The sets of a folder, file by file; for what cannot be used, the reason in a sentence.

    ``some`` chooses which rows of a set are kept.
    """
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        file = path.name.split(".")[0]
        if not wanted or file in wanted:
            yield from _groups_of(file, list(rows_of(path)), some or _some)


def rows_of(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line) if line.strip() else None
            if isinstance(row, dict):
                yield row


QUESTIONS_ALONE = {
    "answerable": lambda extra: bool(extra["answerable"]),
    "ambiguous": lambda extra: not extra["ambiguous"],
}
"""Labels of the question itself, by the field that holds them: "right" is one that can be answered as it is."""


def _groups_of(file: str, rows: Sequence[Row], some: Callable[[Sequence[Row]], Sequence[Row]]) -> Iterator[Group | str]:
    yield from _answers_of(file, rows, some)
    for name, good in QUESTIONS_ALONE.items():
        alone = [
            {**row, "correct": good(_extra(row)), "answer": None, "samples": [], "verbalized": None}
            for row in rows
            if _extra(row).get(name) in (True, False, 0, 1)
        ]
        if alone:
            yield Group(f"{file} / question {name}?", file, tuple(some(alone)))


def _answers_of(
    file: str, rows: Sequence[Row], some: Callable[[Sequence[Row]], Sequence[Row]]
) -> Iterator[Group | str]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if isinstance(row.get("correct"), bool) and row.get("answer") != "":
            groups[str(row.get("model") or "?"), str(_extra(row).get("label_source") or "")].append(row)
    if not groups:
        yield f"{file}: no labelled answers"
    for (model, _), group in sorted(groups.items()):
        datasets = "+".join(sorted({str(row.get("dataset") or file) for row in group}))
        several = sum(other == model for other, _ in groups) > 1
        name = f"{file} / {model.rpartition('/')[2]}" + (f" / {datasets}" if several else "")
        right = sum(row["correct"] for row in group)
        if len(group) < FEWEST or min(right, len(group) - right) < 10:
            yield f"{name}: {len(group)} answers, {right} of them right: too few to tell"
        else:
            yield Group(name, file, tuple(some(group)))


def _some(rows: Sequence[Row]) -> Sequence[Row]:
    """At most about MOST rows, by whole questions, in their order."""
    questions = list(dict.fromkeys(map(question_of, rows)))
    if len(rows) <= MOST:
        return rows
    kept = set(random.Random(0).sample(questions, len(questions) * MOST // len(rows)))
    return [row for row in rows if question_of(row) in kept]


def _extra(row: Row) -> Row:
    extra = row.get("extra")
    return extra if isinstance(extra, dict) else {}


# --- one row -----------------------------------------------------------------------------------------------------


def _answered(group: Group, place: int, row: Row, driver: ThreadedDriver) -> Answered:
    samples, own = list(row.get("samples") or ()), None
    if group.first_sample_is_the_draft and samples:
        own = samples.pop(0)
    samples = [s for s in samples if s.get("temperature") != 0.0]  # a greedy sample is the draft once more
    draft, drawn = _draft(row, own), tuple(_sample(sample) for sample in samples)
    question = _question(row)
    evidence = Evidence({type(fact): fact for fact in _facts(row, question, draft, drawn)})
    asked = Question.from_text(question or "")
    round_ = Round(0, asked, "recorded", Profile(), asked.messages)
    for source in COMPUTED:
        try:
            fact = driver.run(source.gather(round_, evidence), Recording())
        except (EvidenceUnavailable, UpstreamError) as error:
            evidence = evidence.lacking(source.provides, str(error))
        else:
            evidence = evidence if source.provides in evidence.facts else evidence.having(fact)
    logprobs = [sample.get("logprob_sum") for sample in samples]
    known = tuple(float(value) for value in logprobs if isinstance(value, int | float))
    return Answered(
        id=f"{group.name} {place}",
        question=question,
        question_id=_question_id(row, question),
        dataset=str(row.get("dataset") or group.file),
        upstream=str(row.get("model") or "?"),
        answer=draft.text,
        samples=tuple(g.text for g in drawn),
        sample_logprobs=known if len(known) == len(samples) and known else None,
        logprob=draft.tokens[0].logprob if draft.tokens else None,
        vector=measure(SIGNALS, evidence),
        scalars=dict(_scalars(_extra(row))),
        correct=row["correct"],
    )


def _question(row: Row) -> str | None:
    text, choices = row.get("question"), _extra(row).get("choices")
    if not isinstance(text, str) or not text.strip():
        return None
    return text if not isinstance(choices, list) else "\n".join([text, *map(str, choices)])


def question_of(row: Row) -> str:
    """What tells a row's question from others: its text, else its place or id."""
    return _question_id(row, _question(row))


def _question_id(row: Row, question: str | None) -> str:
    if question is not None:
        return question
    place = _extra(row).get("q_index")
    return str(row.get("id")) if place is None else f"{row.get('dataset')} {place}"


def _draft(row: Row, own: Row | None) -> Generation:
    """The answer on trial; a log-probability of the whole of it counts as one token's."""
    text = str(row["answer"] if row.get("answer") is not None else (own or {}).get("text") or "(not recorded)")
    extra = _extra(row)
    if own is not None and own.get("logprob_sum") is not None:
        return Generation(text, tokens=(TokenLogprob(text, float(own["logprob_sum"])),))
    options = extra.get("mean_option_probs")
    if isinstance(options, list) and len(text) == 1 and 0 <= ord(text) - ord("A") < len(options):
        top = tuple((chr(ord("A") + i), math.log(max(1e-12, float(p)))) for i, p in enumerate(options))
        return Generation(text, tokens=(TokenLogprob(text, top[ord(text) - ord("A")][1], top),))
    return Generation(text)


def _sample(sample: Row) -> Generation:
    text, logprob = str(sample.get("text") or ""), sample.get("logprob_sum")
    return Generation(text, tokens=None if logprob is None else (TokenLogprob(text, min(0.0, float(logprob))),))


def _facts(row: Row, question: str | None, draft: Generation, drawn: tuple[Generation, ...]) -> Iterator[Fact]:
    extra = _extra(row)
    yield Draft(FREE, draft, str(row.get("model") or ""))
    if question is not None:
        yield Asked(FREE, Question.from_text(question))
    if drawn:
        yield Samples(FREE, drawn)
    if isinstance(row.get("context"), str) and row["context"].strip():
        yield Passages(FREE, (Passage("context", row["context"]),))
    yield from _stated(row, extra)
    yield from _others(extra, draft)
    frequency = extra.get("frequency_score")
    if isinstance(frequency, int | float):  # of five samples: those that say it minus those that deny it
        says = round(frequency) + 5
        yield Meanings(FREE, 0, (0,) * says + (1,) * (10 - says))


def _stated(row: Row, extra: Row) -> Iterator[Fact]:
    """What the model said of its own certainty."""
    logprob, verify = extra.get("conf_logprob"), extra.get("ays_self_verify")
    none_said = Missing("not recorded")
    if extra.get("conf_kind") == "p_true_logprob" and isinstance(logprob, int | float):
        true = Options(math.exp(min(0.0, logprob)), max(1e-12, -math.expm1(min(0.0, logprob))))
        yield PTrue(FREE, true, (), none_said)
    elif verify in (0, 1):
        yield PTrue(FREE, none_said, (bool(verify),), none_said)
    elif isinstance(row.get("verbalized"), int | float):
        yield StatedTwoStage(FREE, float(row["verbalized"]))
    if isinstance(extra.get("verbalized_qual"), str):
        yield StatedLinguistic(FREE, level_in(extra["verbalized_qual"]))


def _others(extra: Row, draft: Generation) -> Iterator[Fact]:
    """Another answer to the same question that a gateway could have had: with passages to read, or in own steps."""
    regimes = extra.get("regimes") if isinstance(extra.get("regimes"), dict) else {}
    other = regimes.get("one_retrieval") or regimes.get("model_generated")
    second = other.get("answer") if isinstance(other, dict) else extra.get("second_model_answer")
    if isinstance(second, str):
        yield SecondOpinion(FREE, *_compared(second, draft), "other")
    if isinstance(extra.get("ic_idk_answer"), str):
        yield Cautious(FREE, *_compared(extra["ic_idk_answer"], draft))


def _compared(text: str, draft: Generation) -> tuple[Generation, bool, float]:
    other = Generation(text)
    return other, SAME.same(other, draft), likeness(other, draft)


def _scalars(extra: Row) -> Iterator[tuple[str, float]]:
    for name, value in (extra.get("features") or {}).items():
        if isinstance(value, float) and math.isfinite(value):
            yield name, value
