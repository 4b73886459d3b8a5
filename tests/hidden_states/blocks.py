"""Blocks of made-up numbers, for tests that need internal states of a model they do not run."""

from __future__ import annotations

import math

import numpy as np

from gate.hidden_states.block import Block, packed
from gate.hidden_states.layout import Layout
from gate.types import InternalStates

LAYOUT = Layout(depth=4, width=8, layers=(2, 4))
MODEL = "0123456789abcdef"


def block(seed: int = 0, *, layout: Layout = LAYOUT, model: str = MODEL, **parts: object) -> Block:
    """Small random numbers; ``parts`` sets whole parts of them to a value or an array."""
    rng = np.random.default_rng(seed)
    pieces = []
    for name, shape in layout.block_parts.items():
        made = rng.normal(size=shape)
        if name in parts:
            made = np.broadcast_to(np.asarray(parts[name], dtype=np.float32), shape)
        pieces.append(np.asarray(made, dtype=np.float32).ravel())
    return Block(layout, model, 3, np.concatenate(pieces))


def states(seed: int = 0, **options: object) -> InternalStates:
    return packed(block(seed, **options))  # type: ignore[arg-type]


def numbers_of(layout: Layout) -> int:
    return sum(math.prod(shape) for shape in layout.block_parts.values())
