"""What the internal states of the pocket model add to its token probabilities and to ten samples.

Every fact of the fit and the test split is asked of both sizes, closed book and with a passage, and all evidence is
kept. Probes and calibrators are fitted on the fit split by the code that tunes policies; the test split judges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import yaml

from gate.assemble import assemble
from gate.calibration.calibration_error import expected_calibration_error
from gate.calibration.high_certainty import certain_above, high_certainty_wrong
from gate.calibration.metrics import aurc, auroc
from gate.calibration.probabilities import probabilities
from gate.calibration.significance import paired_bootstrap
from gate.calibration.unfitted import Unfitted
from gate.evidence.probes import PROBES, Probes
from gate.pipeline import Plan
from gate.pocket.world import Fact, facts
from gate.policy import read
from gate.signals import SIGNALS
from gate.signals.internal import INTERNAL_SIGNALS
from gate.tuning.collect import collect
from gate.tuning.collection import Collected, Collection
from gate.tuning.examples import Example
from gate.tuning.fit import Readings, fit
from gate.tuning.grade import grade
from gate.tuning.grading.exact import ExactGrader
from gate.tuning.internal_states import probe_examples
from gate.tuning.observing import labelled, observed
from gate.tuning.probes import ProbeExample, fit_probes
from gate.tuning.table import Table
from gate.types import Question, Stage

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
SAMPLES = 10
FALSE_ALARMS = 0.05
TOKENS = ("token_logprob_sum", "token_logprob_min", "token_margin_min", "token_negentropy_mean")
SAMPLED = ("vote_share", "semantic_concentration", "semantic_concentration_weighted", "draft_lexical_similarity")
INTERNAL = tuple(signal.name for signal in INTERNAL_SIGNALS)
CERTAINTY = "token_answer_first_probability"
QUOTED = ("passage_score", "question_in_passages", "answer_in_passages")
"""What the text says of the passages; missing closed book."""
SETS: Mapping[str, tuple[str, ...]] = {
    "tokens": TOKENS,
    f"{SAMPLES} samples": SAMPLED,
    f"tokens + {SAMPLES} samples": (*TOKENS, *SAMPLED),
    f"tokens + {SAMPLES} samples + passages": (*TOKENS, *SAMPLED, *QUOTED),
    "internal states": INTERNAL,
    "tokens + internal states": (*TOKENS, *INTERNAL),
    "all": (*TOKENS, *SAMPLED, *QUOTED, *INTERNAL),
}


@dataclass(frozen=True)
class Line:
    """One signal, or several under one calibrator, on the test split."""

    name: str
    auroc: float
    aurc: float
    ece: float
    caught: float | None
    """Share of the wrong answers the model was certain of that are among the least sure, with 5 % false alarms."""
    tokens: float
    """Generated for a question."""
    p: Array
    correct: Bools


@dataclass(frozen=True)
class Measured:
    """One model, with or without a passage."""

    stage: str
    learned: int
    judged: int
    accuracy: float
    certain_wrong: int
    lines: tuple[Line, ...]

    def line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)

    def gain(self, one: str, other: str) -> str:
        """The difference in AUROC, with a 95 % interval over questions."""
        a, b = self.line(one), self.line(other)
        found = paired_bootstrap(lambda p, y: auroc(p, y), a.p, b.p, a.correct)
        return "-" if found is None else f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


@dataclass(frozen=True)
class World:
    """The questions of both splits with everything that was gathered."""

    plan: Plan
    fit: tuple[Collected, ...]
    test: tuple[Collected, ...]
    facts: Mapping[str, Fact]
    examples: tuple[ProbeExample, ...]
    probes: Probes


def policy(folder: Path) -> Path:
    made = {
        "name": "internal",
        "promise": {"max_error": 0.05},
        "upstreams": {size: {"kind": "pocket", "model": size} for size in ("small", "large")},
        "ladder": ["small", "large"],
        "tiers": [["draft", "question", "passages", "hidden_states"], ["samples", "meanings"]],
        "evidence": {"samples": {"n": SAMPLES, "temperature": 1.0, "seed": 7}},
        "signals": list(dict.fromkeys((*TOKENS, *SAMPLED, *QUOTED, *INTERNAL, CERTAINTY))),
        "calibrator": "none.json",
        "rule": {"answer_at": 0.9},
        "routes": {"retrieve": {"retriever": "world", "prompt": "pocket_with_passages", "k": 1}, "escalate": True},
        "retrievers": {"world": {"kind": "pocket_world"}},
        "budget": {"calls": 200},
    }
    path = folder / "internal.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
    return path


@contextmanager
def world(limit: int | None = None) -> Iterator[World]:
    """Ask everything, fit the probes. ``limit``: only so many facts of each split."""
    with TemporaryDirectory() as folder:
        file = read(policy(Path(folder)))
        gateway = assemble(file, Unfitted())
        chosen = [fact for split in ("fit", "test") for fact in [f for f in facts() if f.split == split][:limit]]
        with Collection.create(Path(folder) / "all.collection") as collection:
            collection.add(
                Example(fact.key, Question.from_text(fact.question), (fact.answer,), fact.relation, fact.split)
                for fact in chosen
            )
            asyncio.run(collect(gateway, collection))
            asyncio.run(grade(collection, ExactGrader(), gateway.world))
            rows = tuple(labelled(collection))
        by_key = {fact.key: fact for fact in chosen}
        learning, judging = (
            tuple(row for row in rows if by_key[row.example.id].split == split) for split in ("fit", "test")
        )
        examples = tuple(probe_examples(learning, gateway.plan))
        probes = fit_probes(examples)
        if probes is None:
            raise SystemExit("too few answers to fit a probe on")
        plan = assemble(file, Unfitted(), probes).plan
        yield World(plan, learning, judging, by_key, examples, probes)


def measured(found: World) -> list[Measured]:
    learning, judging = observed(found.fit, found.plan), observed(found.test, found.plan)
    stages = [Stage(size, passages, 1) for passages in (False, True) for size in ("small", "large")]
    return [_measured(stage, learning, judging) for stage in stages]


def _measured(stage: Stage, learning: Table, judging: Table) -> Measured:
    names = learning.signals
    taught, told = (_readings(table, stage) for table in (learning, judging))
    correct = told.correct.astype(bool)
    certainty = told.values[:, names.index(CERTAINTY)].astype(np.float64)
    taught_certainty = taught.values[:, names.index(CERTAINTY)].astype(np.float64)
    above = certain_above(taught_certainty, taught.correct.astype(bool))
    slice_ = high_certainty_wrong(certainty, correct, above if above is not None else 1.0)
    singly = {name: (name,) for name in (*TOKENS, *SAMPLED, *QUOTED, *INTERNAL)}
    lines = []
    for name, chosen in {**singly, **SETS}.items():
        if name.endswith("passages") and not stage.passages:
            continue
        p = _confidence(names, chosen, taught, told)
        if p is not None:
            cost = _tokens(judging, stage, any(each in SAMPLED for each in chosen))
            lines.append(_line(name, p, correct, slice_, cost))
    return Measured(stage.round_key, len(taught), len(told), float(correct.mean()), int(slice_.sum()), tuple(lines))


def _readings(table: Table, stage: Stage) -> Readings:
    column = table.stages[stage.key]
    there = column.there & ~np.isnan(column.correct) & column.answerable
    return Readings(column.values[there], column.correct[there], np.flatnonzero(there))


def _tokens(table: Table, stage: Stage, sampled: bool) -> float:
    """Mean tokens generated for a question, those of the prompt with them: what each request is billed."""
    parts = [table.stages[Stage(stage.upstream, stage.passages, tier).key] for tier in ((0, 1) if sampled else (0,))]
    return float(sum(part.costs["tokens"][part.there].mean() for part in parts))


def _confidence(names: Sequence[str], chosen: Sequence[str], taught: Readings, told: Readings) -> Array | None:
    """p on the test split by a calibrator over these signals; None where they are missing from all it learns from."""
    places = [names.index(name) for name in chosen if not np.isnan(taught.values[:, names.index(name)]).all()]
    if not places:
        return None
    kept = [names[place] for place in places]
    learned = Readings(taught.values[:, places], taught.correct, taught.questions)
    ranges = {signal.name: signal.bounds for signal in SIGNALS if signal.name in kept}
    return probabilities(fit(learned, kept, ranges), told.values[:, places])[0]


def _line(name: str, p: Array, correct: Bools, slice_: Bools, tokens: float) -> Line:
    ranked, area = auroc(p, correct), aurc(p, correct)
    alarm = np.quantile(p[correct], FALSE_ALARMS)
    caught = float((p[slice_] < alarm).mean()) if slice_.any() else None
    error = expected_calibration_error(p, correct)
    nan = float("nan")
    return Line(
        name,
        nan if ranked is None else ranked,
        nan if area is None else area,
        nan if error is None else error,
        caught,
        tokens,
        p,
        correct,
    )


# --- transfer ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transfer:
    """A probe on facts about places of one kind, by one that learned from the other kind or from its own."""

    round_key: str
    about: str
    judged: int
    probe: str
    own: float | None
    other: float | None
    """AUROC. ``own`` learned from as many facts of the kind it is judged on as there are."""


def transfers(found: World) -> list[Transfer]:
    """Facts about cities ask for the country they lie in; those about countries for capital, currency and so on."""
    judged = list(probe_examples(found.test, found.plan))
    cities = {fact.question: fact.relation == "country" for fact in found.facts.values()}
    made = []
    for about, is_city in (("cities", True), ("countries", False)):
        own = fit_probes([one for one in found.examples if cities[one.question] is is_city])
        other = fit_probes([one for one in found.examples if cities[one.question] is not is_city])
        rows = [one for one in judged if cities[one.question] is is_city]
        for key in found.probes.rounds:
            here = [one for one in rows if one.round_key == key]
            made += [
                Transfer(key, about, len(here), name, _ranked(own, name, here), _ranked(other, name, here))
                for name in PROBES
            ]
    return made


def _ranked(probes: Probes | None, name: str, rows: Sequence[ProbeExample]) -> float | None:
    if probes is None or not rows or rows[0].round_key not in probes.rounds:
        return None
    read = [probes.read(one.round_key, one.question, one.block).get(name) for one in rows]
    known = [(value, one.correct) for value, one in zip(read, rows, strict=True) if value is not None]
    return auroc([value for value, _ in known], [right for _, right in known]) if known else None
