"""Opening what a policy is tuned on, with the limit that its labels allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError
from gate.tuning.audits import read_audits
from gate.tuning.bounds import judged_by, trusted
from gate.tuning.certification import Bound
from gate.tuning.collection import Collection, is_collection
from gate.tuning.grade import has_sample, measured_judge
from gate.tuning.grading.model import ModelGrader
from gate.tuning.observing import labelled
from gate.tuning.sources import CollectionSource, LogSource, Source
from gate.tuning.splits import Shares, split_by

_TRIES = "tries"
"""How often policies were tuned on a collection: of many tries, one passes by luck."""
_OPEN = "nobody (open: wrong where let through)"


@dataclass(frozen=True, slots=True)
class Opened:
    source: Source
    bound: Bound
    labels: str
    """Who said what is right, for the certificate."""


@contextmanager
def opened(
    path: Path, labels: Path | None, shares: Shares | None, *, thresholds_only: bool = False, trust: bool = False
) -> Iterator[Opened]:
    """A collection, or a decision log with a table of labels. Raises `ConfigError` for what is neither.

    ``trust`` takes a model's labels for the truth, where nobody measured how far they are. A collection keeps the
    ``shares`` it was first split by: what one policy was fitted on must not judge another.
    """
    if is_collection(path):
        if labels:
            raise ConfigError(
                "a collection holds its labels: put these in with 'gate grade --labels'", where=str(labels)
            )
        with Collection.open(path) as collection:
            bound, said = labels_of(collection, trust=trust)
            tries = int(collection.meta.get(_TRIES, "0")) + 1
            collection.remember(**{_TRIES: str(tries)})
            said += f"; try {tries} on these questions" if tries > 1 else ""
            yield Opened(CollectionSource(collection, split_by(collection, shares), thresholds_only), bound, said)
        return
    if labels is None:
        raise ConfigError("a decision log says nothing of what was right: give labels with --labels", where=str(path))
    audits = read_audits(labels)
    uneven = len({audit.probability for audit in audits.values()}) > 1
    said = f"{len(audits)} decisions audited{', with unequal chances' if uneven else ''}"
    yield Opened(LogSource(path, audits, shares or Shares()), trusted, said)


def labels_of(collection: Collection, *, trust: bool) -> tuple[Bound, str]:
    """Which limit goes with a collection's labels, and who gave them. Raises `ConfigError` where it has none.

    Where people labelled a random sample, labels are believed as far as that says they may be.

    A model's labels are not believed without one: a promise that holds by a lenient judge holds for nobody. Those of
    other graders compare texts with references, and are taken as they are.
    """
    by = _graders(collection)
    if not by.keys() - {_OPEN}:
        raise ConfigError("no answer has a label: run 'gate grade'", where=str(collection.path))
    said = ", ".join(f"{count} by {grader}" for grader, count in by.items())
    judge = measured_judge(collection)
    if has_sample(collection) and judge.wrong + judge.right:
        counted = f"of a random sample it accepts {judge.wrong_accepted} of {judge.wrong} wrong answers and rejects "
        return judged_by(judge), f"{said}; {counted}{judge.right_rejected} of {judge.right} right ones"
    if ModelGrader.name in by and not trust:
        raise ConfigError(
            "a model labelled these answers, and nobody knows how often it errs: draw some for people to label with "
            "'gate grade COLLECTION --sample 200 --export sample.csv', fill in 'correct', and read them back with "
            "--labels sample.csv; or take its word for it with --trust-judge",
            where=str(collection.path),
        )
    return trusted, f"{said}, whose errors nobody counted" if ModelGrader.name in by else said


def _graders(collection: Collection) -> Mapping[str, int]:
    by: Counter[str] = Counter()
    for row in labelled(collection):
        answers = (row.labels[answer] for answer in set(row.answers.values()) if answer in row.labels)
        by.update("people" if label.human else label.grader for label in answers if label.correct is not None)
        by[_OPEN] += sum(
            (label := row.labels.get(answer)) is None or label.correct is None for answer in set(row.answers.values())
        )
    return +by
