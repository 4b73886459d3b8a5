"""Small reference pools for tests: questions of two topics, one of which the upstreams mostly know."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

from gate.embedders import HashedNgrams
from gate.evidence.reference_pool import ReferencePool
from gate.tuning.reference_pool import Encoder, LabelledAnswer, fit

ENCODER = Encoder.of(HashedNgrams("hashed"))
SECOND = Encoder.of(HashedNgrams("second", 64))
_SOUNDS = ("la", "go", "mi", "ter", "ka", "bu", "sen", "do", "ri", "pol", "va", "nu")


def named(chance: random.Random) -> str:
    return "".join(chance.choice(_SOUNDS) for _ in range(3)).capitalize()


def answers(n: int, *, seed: int = 0, upstreams: tuple[str, ...] = ("small", "large")) -> list[LabelledAnswer]:
    """Every upstream's answers to ``n`` questions: right nine times of ten on places, one of ten on chemistry."""
    chance = random.Random(seed)
    names: dict[str, None] = {}
    while len(names) < n:
        names[named(chance)] = None
    rows = []
    for number, name in enumerate(names):
        place = number % 2 == 0
        question = f"In which country is the city of {name}?" if place else f"What does {name} melt at?"
        for upstream in upstreams:
            correct = chance.random() < (0.9 if place else 0.1)
            rows.append(LabelledAnswer(question, "Nigeria" if place else "300 degrees", upstream, correct))
    return rows


@cache
def two_topics() -> ReferencePool:
    """Of ``small`` and ``large``, with vectors of a second embedder."""
    return fit(answers(120), ENCODER, SECOND)


@cache
def two_topics_file() -> str:
    path = Path(tempfile.mkdtemp()) / "pool.npz"
    two_topics().save(path)
    return str(path)
