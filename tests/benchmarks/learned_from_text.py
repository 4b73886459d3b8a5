"""What questions teach: the signals of a reference pool fitted on some answers, read for those and for others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gate.evidence import Neighbours
from gate.ports import Evidence, Missing
from gate.signals import SIGNALS
from gate.tuning.reference_pool import Encoder, LabelledAnswer, facts_of, fit
from tests.benchmarks.recorded import EMBEDDER, Answered

_FROM_NEIGHBOURS = tuple(signal for signal in SIGNALS if Neighbours in signal.needs)
LEARNED = tuple(signal.name for signal in _FROM_NEIGHBOURS)
Array = npt.NDArray[np.float64]


def learn(train: Sequence[Answered], test: Sequence[Answered]) -> tuple[Array, Array]:
    """Readings for both, [answers, LEARNED]; those of ``train`` are out of fold. All missing without question texts."""
    if any(answer.question is None for answer in (*train, *test)):
        return _nothing(train), _nothing(test)
    encoder = Encoder.of(EMBEDDER)
    try:
        pool = fit([_labelled(answer) for answer in train], encoder)
    except ValueError:  # too few questions, or all of one kind
        return _nothing(train), _nothing(test)
    seen, unseen = (_read(facts_of(pool, [_labelled(a) for a in answers], encoder)) for answers in (train, test))
    return seen, unseen


def _labelled(answer: Answered) -> LabelledAnswer:
    return LabelledAnswer(answer.question or "", answer.answer, answer.upstream, answer.correct)


def _nothing(answers: Sequence[Answered]) -> Array:
    return np.full((len(answers), len(LEARNED)), np.nan)


def _read(facts: Sequence[Neighbours | Missing]) -> Array:
    made = np.full((len(facts), len(LEARNED)), np.nan)
    for place, fact in enumerate(facts):
        if isinstance(fact, Neighbours):
            said = [signal.measure(Evidence().having(fact)) for signal in _FROM_NEIGHBOURS]
            made[place] = [value if isinstance(value, float) else np.nan for value in said]
    return made
