"""Measure what stopping sampling early costs, on recorded answers of real models with six or more samples each.

    python -m tests.benchmarks.routing.adaptive --data FOLDER

The samples of a row come in their recorded order, from gate's own ``samples`` source asking for them; the labelled
answer is the one on trial, and confidence is gate's ``vote_posterior``. For each set: AURC when all samples are drawn,
and for each way to draw fewer what AURC that adds (95 % interval of a paired bootstrap over questions) at which mean
share of the samples, and for how many answers the draft's share is on the same side of .5, and of .9, as with all.
Beside it the same for a logistic regression on share and number of votes, fitted on the other
half of the questions. ``chosen`` takes, for each half of the questions, the way that does best on the other half with
at most half of the samples. Prints a table in Markdown; aim: at most .005 more at no more than half the samples.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.calibration.metrics import aurc
from gate.effects import Flow, Generate, Reply, Together
from gate.evidence import Draft, Meanings, SamplesSource
from gate.evidence.meanings import normalize
from gate.ports import Evidence, Profile, Round
from gate.rules.sampling_stop import majority_is_clear
from gate.signals.agreement import VotePosterior
from gate.types import Cost, Generation, Generations, Question
from tests.benchmarks.recorded import question_of, rows_of

FILES = ("mot_cascade", "uq_nlg_demo", "disagreement_based_abstention")
FEWEST_SAMPLES, FEWEST_ROWS, MOST_SAMPLES = 6, 200, 32
AIM, HALF = 0.005, 0.5
RESAMPLES = 200
Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ASKED = Question.from_text("recorded")
ROUND = Round(0, ASKED, "recorded", Profile(n=MOST_SAMPLES), ASKED.messages)


@dataclass(frozen=True)
class Row:
    question: str
    answers: tuple[str, ...]
    """Of the samples, normalised, each as its place among the different ones; 0 is the answer on trial."""
    right: bool


@dataclass(frozen=True)
class Way:
    """A way to draw at most a part of the samples: as the ``samples`` source does, or until the majority is clear."""

    name: str
    part: float = 1.0
    options: tuple[tuple[str, Any], ...] = ()
    majority: bool = False

    def votes(self, answers: tuple[str, ...]) -> tuple[int, int]:
        """How many of how many samples agree with the answer on trial when this way stops."""
        return _votes(self, answers if self.majority else tuple("0" if a == "0" else "1" for a in answers))


def stops(name: str, kind: str, share: float, part: float = 1.0) -> Way:
    return Way(name, part, (("stop", kind), ("share", share), ("batch", 1)))


ALL = Way("all")
SHOWN = (
    Way("the first half", 0.5),
    Way("majority clear (adaptive consistency)", majority=True),
    stops("draft's share clear of .5", "unlikely_to_change", 0.5),
    stops("draft's share clear of .8", "unlikely_to_change", 0.8),
    stops("can no longer change, .5", "can_no_longer_change", 0.5),
    stops("can no longer change, .9", "can_no_longer_change", 0.9),
)
CHOICES = (
    Way("the first half", 0.5),
    *(
        stops(f"{kind} {share}, at most {part:.0%}", kind, share, part)
        for kind in ("can_no_longer_change", "unlikely_to_change")
        for share in (0.5, 0.7, 0.8, 0.9, 0.97)
        for part in (0.5, 0.6, 0.7, 0.8, 1.0)
    ),
)
"""What ``chosen`` chooses from: options that a policy may set."""


@lru_cache(maxsize=200_000)
def _votes(way: Way, answers: tuple[str, ...]) -> tuple[int, int]:
    most = max(2, math.floor(way.part * len(answers) + 1e-9))
    if way.majority:
        drawn = 2
        while drawn < most and not majority_is_clear(Counter(answers[:drawn]).values()):
            drawn += 1
    else:
        source = SamplesSource.model_validate({"n": most, **dict(way.options)})
        drawn = _asked_for(source.gather(ROUND, DRAFTED), iter(answers))
    return answers[:drawn].count("0"), drawn


DRAFTED = Evidence().having(Draft(Cost(), Generation("0"), "recorded"))


def _asked_for(flow: Flow[Any], samples: Iterator[str]) -> int:
    """How many samples a source has asked for in the end, given the recorded ones in turn."""

    def perform(flow: Flow[Any]) -> Any:
        reply: Any = None
        while True:
            try:
                effect = flow.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Together):
                reply = tuple(perform(each) for each in effect.flows)
            elif isinstance(effect, Generate):
                reply = Reply(Generations(tuple(Generation(next(samples)) for _ in range(effect.n))), Cost(calls=1))

    return int(perform(flow).asked)


# --- what is recorded --------------------------------------------------------------------------------------------


def sets_of(folder: Path) -> dict[str, list[Row]]:
    """The labelled rows with enough samples, by file, model and data set of one kind of question.

    Some recordings end in their own first samples once more; those are left out.
    """
    recorded: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for file in FILES:
        for path in sorted(folder.glob(f"{file}.jsonl*")):
            for row in rows_of(path):
                model = str(row.get("model")).rpartition("/")[2]
                kind = f" / {row['dataset']}" if file == "mot_cascade" else ""
                if (read := _row(row)) is not None:
                    prompt = str((row.get("extra") or {}).get("prompt"))
                    recorded[f"{file} / {model}{kind}", prompt, len(read.answers)].append(read)
    sets: dict[str, list[Row]] = defaultdict(list)
    for (name, _, n), rows in recorded.items():
        different = without_repeats(rows, n)
        if different >= FEWEST_SAMPLES:
            sets[name] += [replace(row, answers=row.answers[:different]) for row in rows]
    return {name: rows for name, rows in sets.items() if len(rows) >= FEWEST_ROWS}


def without_repeats(rows: Sequence[Row], n: int) -> int:
    """After how many of ``n`` samples the first ones come again, in most of the rows whose samples differ; else n."""
    varied = [row.answers for row in rows if len(set(row.answers)) > 1]
    for period in range(-(-n // 2), n - 1):
        again = sum(answers[period:] == answers[: n - period] for answers in varied)
        if varied and again > 0.7 * len(varied):
            return period
    return n


def _row(row: Mapping[str, Any]) -> Row | None:
    # a greedy sample is the answer on trial once more
    said = [str(s.get("text") or "") for s in row.get("samples") or () if s.get("temperature") != 0.0]
    if not isinstance(row.get("correct"), bool) or not row.get("answer") or len(said) < FEWEST_SAMPLES:
        return None
    forms = [normalize(str(row["answer"])), *(normalize(text) for text in said[:MOST_SAMPLES])]
    places = {form: str(place) for place, form in enumerate(dict.fromkeys(forms))}
    return Row(question_of(row), tuple(places[form] for form in forms[1:]), row["correct"])


# --- how well each way does --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """What one way leaves of a set: votes for the answer on trial, votes drawn, and those there are; [n] each."""

    agreeing: Array
    drawn: Array
    there: Array

    @property
    def confidence(self) -> Array:
        read = (_posterior(int(k), int(m)) for k, m in zip(self.agreeing, self.drawn, strict=True))
        return np.array(list(read))

    def same_side(self, other: Drawn, share: float) -> float:
        """For how many the share of agreeing votes is on the same side of ``share``."""
        one, two = (each.agreeing >= share * each.drawn - 1e-9 for each in (self, other))
        return float((one == two).mean())

    @property
    def used(self) -> Array:
        return self.drawn / self.there


@lru_cache(maxsize=2000)
def _posterior(agreeing: int, drawn: int) -> float:
    labels = (0,) * agreeing + (1,) * (drawn - agreeing)
    value = VotePosterior().measure(Evidence().having(Meanings(Cost(), 0, labels, asked=drawn)))
    assert isinstance(value, float)
    return value


def drawn_by(way: Way, rows: Sequence[Row]) -> Drawn:
    votes = np.array([way.votes(row.answers) for row in rows], dtype=float)
    return Drawn(votes[:, 0], votes[:, 1], np.array([float(len(row.answers)) for row in rows]))


def logistic(drawn: Drawn, right: Bools, first: Bools) -> Array:
    """P(right) from share and number of votes, each half by what the other half of the questions teaches."""
    share = drawn.agreeing / drawn.drawn
    logit = np.log((drawn.agreeing + 1) / (drawn.drawn - drawn.agreeing + 1))
    columns = np.column_stack([np.ones(len(share)), share, logit, np.log(drawn.drawn), share * np.log(drawn.drawn)])
    p = np.empty(len(share))
    for half in (first, ~first):
        p[half] = 1 / (1 + np.exp(-columns[half] @ _fitted(columns[~half], right[~half])))
    return p


def _fitted(columns: Array, right: Bools, ridge: float = 1.0) -> Array:
    """Weights of a logistic regression, by Newton's method; the first column, the intercept, is not shrunk."""
    weights, shrink = np.zeros(columns.shape[1]), ridge * np.eye(columns.shape[1])
    shrink[0, 0] = 1e-9
    for _ in range(30):
        p = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (p - right) + shrink @ weights
        weights = weights - np.linalg.solve(columns.T @ (columns * (p * (1 - p))[:, None]) + shrink, slope)
    return np.asarray(weights)


def chosen(rows: Sequence[Row], right: Bools, first: Bools, everything: Drawn) -> Drawn:
    """Each half of the questions by the choice that does best on the other half with half of the samples."""
    made = [drawn_by(way, rows) for way in CHOICES]
    agreeing, drawn = np.empty(len(rows)), np.empty(len(rows))
    for half in (first, ~first):
        taught = ~half
        able = [each for each in made if each.used[taught].mean() <= HALF + 1e-9]
        best = min(able, key=lambda each: _aurc(each.confidence[taught], right[taught]))
        agreeing[half], drawn[half] = best.agreeing[half], best.drawn[half]
    return Drawn(agreeing, drawn, everything.there)


def _aurc(confidence: Array, right: Bools) -> float:
    value = aurc(confidence, right)
    assert value is not None
    return value


def interval(one: Array, other: Array, right: Bools, questions: npt.NDArray[np.intp]) -> tuple[float, float]:
    """95 % of the difference in AURC, one less the other, over resampled questions."""
    random = np.random.default_rng(0)
    order = np.argsort(questions, kind="stable")
    of = np.split(order, np.flatnonzero(np.diff(questions[order])) + 1)
    gaps = []
    for _ in range(RESAMPLES):
        taken = np.concatenate([of[place] for place in random.integers(0, len(of), len(of))])
        gaps.append(_aurc(one[taken], right[taken]) - _aurc(other[taken], right[taken]))
    low, high = np.quantile(gaps, (0.025, 0.975))
    return float(low), float(high)


# --- the table ---------------------------------------------------------------------------------------------------


def measured(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a set."""
    right = np.array([row.right for row in rows])
    known = {question: place for place, question in enumerate(sorted({row.question for row in rows}))}
    questions = np.array([known[row.question] for row in rows])
    first = np.isin(questions, np.random.default_rng(0).permutation(len(known))[: len(known) // 2])
    everything = drawn_by(ALL, rows)
    best, fitted = everything.confidence, logistic(everything, right, first)
    ways = [(way.name, drawn_by(way, rows)) for way in SHOWN]
    ways.append(("chosen", chosen(rows, right, first, everything)))
    base = _aurc(best, right)
    middle = float(np.median(everything.there))
    yield f"| {name} (n {len(rows)}) | all, {middle:.0f} | {base:.4f} | 100% | | {_aurc(fitted, right):.4f} | |"
    for said, drawn in ways:
        more, used = _aurc(drawn.confidence, right) - base, float(drawn.used.mean())
        low, high = interval(drawn.confidence, best, right, questions)
        also = _aurc(logistic(drawn, right, first), right) - _aurc(fitted, right)
        met = "yes" if more <= AIM and used <= HALF + 1e-9 else ""
        sides = " / ".join(f"{drawn.same_side(everything, share):.0%}" for share in (0.5, 0.9))
        yield f"| | {said} | {more:+.4f} ({low:+.3f} to {high:+.3f}) | {used:.0%} | {sides} | {also:+.4f} | {met} |"


HEADS = (
    "set",
    "samples drawn",
    "AURC, added",
    "of all samples",
    "same side of .5 / .9",
    "logistic: AURC, added",
    "met",
)


def table(folder: Path) -> Iterator[str]:
    """All lines; one that says so where the folder holds none of the sets."""
    sets = sets_of(folder)
    if not sets:
        yield f"skipped: {folder} holds none of {', '.join(FILES)}"
        return
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    for name, rows in sets.items():
        yield from measured(name, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of recorded answers")
    for line in table(parser.parse_args().data):
        print(line, flush=True)


if __name__ == "__main__":
    main()
