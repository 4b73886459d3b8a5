"""Blocks of a small made-up model for tests of probes, in which being right shows, or does not."""

from __future__ import annotations

import numpy as np

from gate.evidence.probe_models import KINDS, LinearProbe, Probe, sides_of
from gate.evidence.probes import Name, Probes, RoundProbes
from gate.evidence.reference_pool import question_key
from gate.hidden_states.block import Block
from gate.hidden_states.layout import Layout

LAYOUT = Layout(4, 6, (2, 4))
MODEL = "0123456789abcdef"
SIZE = sum(int(np.prod(shape)) for shape in LAYOUT.block_parts.values())
ROUND = "small/closed_book"


def block(numbers: np.ndarray | float = 0.0, *, layout: Layout = LAYOUT, model: str = MODEL) -> Block:
    """Of all the numbers of a block, or one for each."""
    size = sum(int(np.prod(shape)) for shape in layout.block_parts.values())
    return Block(layout, model, 3, np.broadcast_to(np.asarray(numbers, dtype=np.float32), size).copy())


def telling(rng: np.random.Generator, shown: float, at: str) -> Block:
    """Noise of deviation 1, with ``shown`` added to the first two values of one part of a block."""
    made = block(rng.normal(size=SIZE))
    getattr(made, at).ravel()[:2] += shown  # a part is a view of the numbers
    return made


def levels(*level: float) -> Probes:
    """Fitted on the questions ``q0`` to ``q4``, one in each fold. Part p says ``level[p]`` of any block."""
    keys = np.array([question_key(f"q{fold}") for fold in range(5)], dtype=np.uint64)
    return Probes(keys, np.arange(5, dtype=np.int8), {ROUND: RoundProbes(MODEL, LAYOUT, {"linear": flat(*level)})})


def flat(*level: float) -> LinearProbe:
    nothing = np.zeros((6, *sides_of("linear", LAYOUT)), dtype=np.float32)
    return LinearProbe(nothing, nothing, np.array(level, dtype=np.float32), nothing)


def drawn(rng: np.random.Generator, name: Name) -> Probe:
    """A probe of random numbers."""
    g, q = sides_of(name, LAYOUT)
    sides = {"p": 6, "g": g, "q": q, "m": 2, "k": 3, "j": 3 * g, "z": 2}
    shapes = {array: [sides[side] for side in named.split()] for array, named in KINDS[name].SHAPES.items()}
    return KINDS[name](**{array: np.abs(rng.normal(size=shape)).astype(np.float32) for array, shape in shapes.items()})
