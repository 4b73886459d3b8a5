"""CPU time of one decision with ten samples: everything gate computes of it, and what it shares with uqlm."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from gate.drivers import Recording, ThreadedDriver, World
from gate.embedders import HashedNgrams
from gate.evidence import (
    AnswerVectorsSource,
    Asked,
    Draft,
    MeaningsSource,
    Samples,
    SimilaritiesSource,
)
from gate.pipeline import measure
from gate.ports import Evidence, EvidenceSource, Profile, Round, Signal
from gate.signals import SIGNALS
from gate.types import Cost, Generation, Question, SignalVector, TokenLogprob
from tests.benchmarks import peer_environment

DECISIONS, SAMPLES, TOKENS, ALTERNATIVES = 200, 10, 30, 5
SHARED = {
    "vote_share": "uqlm.exact_match",
    "token_logprob_sum": "uqlm.sequence_probability",
    "token_logprob_mean": "uqlm.normalized_probability",
    "token_logprob_min": "uqlm.min_probability",
}
"""Signals that are the same quantity as a scorer of uqlm's, or a monotone function of it."""
TEXT = "the river flows past Lagos and Abeokuta into a lagoon which sailors from Portugal named in 1472 for its lakes"
WORDS = TEXT.split()
ASKED = Question.from_text("Which lagoon did Portuguese sailors name in 1472, and which river flows into it?")
FREE = Cost()
Scene = tuple[Generation, tuple[Generation, ...]]
"""A draft and its samples."""


def decision_cost(*, peers: bool) -> dict[str, float]:
    """Milliseconds of CPU a decision, medians over the decisions; with the share of uqlm's for what both compute."""
    scenes, others = _scenes(0), _scenes(1)  # texts of their own: what one measurement folded, the next must fold too
    everything: Sequence[EvidenceSource] = (
        MeaningsSource(),
        SimilaritiesSource(),
        AnswerVectorsSource(embedder="hashed"),
    )
    common = tuple(signal for signal in SIGNALS if signal.name in SHARED)
    made = {
        f"all {len(SIGNALS)} signals, {_told(scenes[0], everything)} of them with a value": _median(
            scenes, everything, SIGNALS
        ),
        "what uqlm shares": _median(others, (MeaningsSource(),), common),
    }
    if peers:
        rows = [_row(place, *scene) for place, scene in enumerate(scenes)]
        spent = [row["cpu_seconds"] for row in peer_environment.score(rows)]
        theirs = statistics.median(1000 * sum(row[name] for name in SHARED.values()) for row in spent)
        made |= {"the same by uqlm": theirs, "uqlm / gate": theirs / made["what uqlm shares"]}
    return made


def _scenes(seed: int) -> list[Scene]:
    rng = random.Random(seed)
    return [(_answer(rng), tuple(_answer(rng) for _ in range(SAMPLES))) for _ in range(DECISIONS)]


def _answer(rng: random.Random) -> Generation:
    """Thirty tokens; a third of the answers are alike."""
    words = WORDS[:TOKENS] if rng.random() < 1 / 3 else rng.sample(WORDS, len(WORDS))
    tokens = tuple(_token(rng, f" {word}") for word in (words * 2)[:TOKENS])
    return Generation("".join(token.token for token in tokens).strip(), tokens=tokens)


def _token(rng: random.Random, text: str) -> TokenLogprob:
    p = rng.uniform(0.3, 0.99)
    rest = [(1 - p) * share for share in (0.5, 0.25, 0.12, 0.06)]
    top = ((text, math.log(p)), *((f" other{i}", math.log(q)) for i, q in enumerate(rest)))
    return TokenLogprob(text, math.log(p), top[:ALTERNATIVES])


def _median(scenes: Sequence[Scene], sources: Sequence[EvidenceSource], signals: Sequence[Signal]) -> float:
    driver = _driver()
    try:
        for scene in scenes[:10]:
            _decide(driver, scene, sources, signals)
        decide = partial(_decide, driver, sources=sources, signals=signals)
        return statistics.median(_timed(partial(decide, scene)) for scene in scenes)
    finally:
        driver.close()


def _told(scene: Scene, sources: Sequence[EvidenceSource]) -> int:
    """How many signals have a value."""
    driver = _driver()
    try:
        return sum(reading.value is not None for reading in _decide(driver, scene, sources, SIGNALS).readings)
    finally:
        driver.close()


def _driver() -> ThreadedDriver:
    return ThreadedDriver(World({}, embedders={"hashed": HashedNgrams("hashed")}))


def _decide(
    driver: ThreadedDriver, scene: Scene, sources: Sequence[EvidenceSource], signals: Sequence[Signal]
) -> SignalVector:
    round_ = Round(0, ASKED, "main", Profile(), ASKED.messages)
    facts = (Draft(FREE, scene[0], ""), Asked(FREE, ASKED), Samples(FREE, scene[1]))
    evidence = Evidence({type(fact): fact for fact in facts})
    for source in sources:
        evidence = evidence.having(driver.run(source.gather(round_, evidence), Recording()))
    return measure(tuple(signals), evidence)


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def _row(place: int, draft: Generation, samples: tuple[Generation, ...]) -> dict[str, object]:
    return {
        "id": str(place),
        "question": ASKED.text,
        "answer": draft.text,
        "samples": [sample.text for sample in samples],
        "sample_logprobs": [[token.logprob for token in sample.tokens or ()] for sample in samples],
        "answer_logprobs": [token.logprob for token in draft.tokens or ()],
    }
