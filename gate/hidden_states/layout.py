"""Which layers are read, what a row and a block of features hold, and the projection that keeps them small.

Change anything here and `VERSION` must change: numbers of another version are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
VERSION = 1
DEPTHS = (0.4, 0.5, 0.6, 1.0)
"""Depths read unless told otherwise, as shares of all blocks: the middle says most, the last what comes out."""
MOST_LAYERS = 8
PROJECTED = 252
"""Numbers that states are projected to, at most: 256 less what does not part evenly into layers and pools."""
POOLS = ("mean", "last", "before")
"""States of an answer: the mean over its tokens, at its last token, at the token before it."""
LENS = ("divergence", "surprisal", "agreement")
"""What a layer foretells, read through the final norm and the head: see `gate.hidden_states.rows.lens`."""
STABILITY = (
    "log_probability",
    "probability",
    "logit",
    "top_probability",
    "top_logit",
    "entropy",
    "logit_margin",
    "probability_margin",
    "logit_norm",
    "logit_deviation",
    "state_norm",
    "is_top",
    "gradient_norm",
    "flip_radius",
    "perturbation_energy",
)
"""Of one foretold token: see `gate.hidden_states.rows.stability`."""
ATTENTION = ("mass", "coverage", "focus", "spread")
"""How the answer looked at the passages: see `gate.hidden_states.rows.attention_to`."""
KEY_TOKENS = 4
"""Tokens of an answer, its first, of which lens and stability are worked out: each costs products with the head."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is read of a model of ``depth`` blocks and a residual stream ``width`` wide.

    ``layers`` are ascending: i is the stream after block i, counted from 1, and the last one is before the final norm.
    Raises ValueError for layers the model does not have.
    """

    depth: int
    width: int
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.layers or len(self.layers) > MOST_LAYERS or list(self.layers) != sorted(set(self.layers)):
            raise ValueError(f"layers must be 1 to {MOST_LAYERS} ascending numbers, not {list(self.layers)}")
        if self.layers[0] < 1 or self.layers[-1] > self.depth:
            raise ValueError(f"the model has the layers 1 to {self.depth}, not {list(self.layers)}")
        if self.width < 1:
            raise ValueError("the width of a residual stream is at least 1")

    @classmethod
    def at(cls, depth: int, width: int, shares: Sequence[float] = DEPTHS) -> Layout:
        """Of the layers nearest to shares of the depth; fewer where two shares fall on one layer."""
        return cls(depth, width, tuple(sorted({max(1, int(share * depth + 0.5)) for share in shares})))

    @property
    def places(self) -> int:
        """Numbers that one pooled state of one layer is projected to."""
        return min(self.width, PROJECTED // (len(self.layers) * len(POOLS)))

    @property
    def row_parts(self) -> dict[str, int]:
        """Names and lengths of what a row holds, in order."""
        n = len(self.layers)
        return {"states": n * self.places, "scales": n, "lens": n * len(LENS), "stability": len(STABILITY)}

    @property
    def row_length(self) -> int:
        return sum(self.row_parts.values())

    @property
    def block_parts(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what a block holds, in order."""
        n = len(self.layers)
        return {
            "states": (n, len(POOLS), self.places),
            "scales": (n,),
            "lens": (2, n, len(LENS)),
            "stability": (2, len(STABILITY)),
            "attention": (len(ATTENTION),),
        }

    def projections(self) -> Floats:
        """[layers, width, places]: the same for everyone, with nothing to be stored or fitted."""
        return np.stack([_projection(layer, self.width, self.places) for layer in self.layers])


@lru_cache(maxsize=64)
def _projection(layer: int, width: int, places: int) -> Floats:
    """[width, places] of ±1/sqrt(places) by the bits of a hash: keeps lengths and angles (Achlioptas 2003).

    The identity where nothing need be left out. Bits of a hash are the same on every machine and in every version of
    numpy; a random generator's are not.
    """
    if places == width:
        return np.eye(width, dtype=np.float32)
    label = f"gate hidden states {VERSION}: layer {layer}, {width} to {places}"
    stream = hashlib.shake_256(label.encode()).digest((width * places + 7) // 8)
    signs = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))[: width * places].astype(np.float32) * 2 - 1
    made = np.asarray((signs / np.sqrt(places)).reshape(width, places), dtype=np.float32)
    made.flags.writeable = False
    return made
