"""A block: all that is read for one answer, pooled from its rows, and how it is written, checked and read again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gate.hidden_states.layout import ATTENTION, STABILITY, VERSION, Floats, Layout
from gate.types import InternalStates

NOTHING_READ = "the model took in no token of the answer: it ended at once, or may have no more than one"
"""Of an answer too short to read, not of a server that gives nothing."""
STOPPED = "no internal states came: servers send none of an answer that ends at one of the caller's stop strings"
"""Of a request that no server sends states for, not of a server that gives none."""
_SHORTEST_ANSWER = 2
"""Rows: the token before the answer, and one of it."""


@dataclass(frozen=True, eq=False)
class Block:
    """What was read for one answer, as arrays. What could not be worked out is nan."""

    layout: Layout
    model: str
    """The identity of the weights: see `identity`."""
    answer_tokens: int
    """Tokens of the answer that were taken in: m."""
    numbers: Floats
    """[sum of all parts]."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Block):
            return NotImplemented
        same = (self.layout, self.model, self.answer_tokens) == (other.layout, other.model, other.answer_tokens)
        return same and np.array_equal(self.numbers, other.numbers, equal_nan=True)

    def __hash__(self) -> int:
        return hash((self.layout, self.model, self.answer_tokens))

    def _part(self, name: str) -> Floats:
        start = 0
        for part, shape in self.layout.block_parts.items():
            if part == name:
                return self.numbers[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        raise KeyError(name)

    @cached_property
    def states(self) -> Floats:
        """[layers, pools, places]: direction of the residual stream, projected."""
        return self._part("states")

    @cached_property
    def scales(self) -> Floats:
        """[layers]: mean log of the root mean square of the stream at the answer's tokens."""
        return self._part("scales")

    @cached_property
    def lens(self) -> Floats:
        """[2, layers, 3]: the mean over tokens, and at the least likely one."""
        return self._part("lens")

    @cached_property
    def stability(self) -> Floats:
        """[2, 15]: the mean over tokens, and at the least likely one."""
        return self._part("stability")

    @cached_property
    def attention(self) -> Floats:
        """[4]."""
        return self._part("attention")


def pooled(layout: Layout, model: str, rows: Floats, attention: Floats | None = None) -> Block:
    """The block of an answer from its rows [m + 1, layout.row_length]. Raises ValueError for an answer without one."""
    if rows.ndim != 2 or rows.shape[1] != layout.row_length:
        raise ValueError(f"rows must be [m + 1, {layout.row_length}], got {rows.shape}")
    if len(rows) < _SHORTEST_ANSWER:
        raise ValueError(NOTHING_READ)
    ends = np.cumsum(list(layout.row_parts.values()))
    n = len(layout.layers)
    states = rows[:, : ends[0]].reshape(-1, n, layout.places)
    told = rows[:-1, ends[1] :]
    told = told[~np.isnan(told[:, n * 3])] if np.isnan(told).any() else told
    if len(told):
        weakest = told[told[:, n * 3 + STABILITY.index("log_probability")].argmin()]
        average = told.mean(axis=0, dtype=np.float64)
    else:  # this server does not work them out
        weakest = average = np.full(ends[3] - ends[1], np.nan)
    cut = int(ends[2] - ends[1])
    parts = [
        np.stack([states[1:].mean(axis=0), states[-1], states[0]], axis=1).ravel(),
        rows[1:, ends[0] : ends[1]].mean(axis=0),
        average[:cut],
        weakest[:cut],
        average[cut:],
        weakest[cut:],
        np.full(len(ATTENTION), np.nan) if attention is None else attention,
    ]
    return Block(layout, model, len(rows) - 1, np.concatenate(parts).astype(np.float32))


def packed(block: Block) -> InternalStates:
    """For a reply, a log or a collection: half-precision numbers, about 1 kB with four layers."""
    numbers = np.where(np.isinf(block.numbers), np.nan, block.numbers)  # what is infinite was not worked out
    half = np.clip(numbers, -65504, 65504).astype("<f2")
    made = InternalStates(
        version=VERSION,
        model=block.model,
        depth=block.layout.depth,
        width=block.layout.width,
        layers=block.layout.layers,
        answer_tokens=block.answer_tokens,
        features=base64.b64encode(half.tobytes()).decode("ascii"),
        digest="",
    )
    return _signed(made)


def unpacked(states: InternalStates) -> Block:
    """The block again. Raises ValueError, saying what is wrong, for one that is not as it was written."""
    if states.version != VERSION:
        raise ValueError(f"internal states are of version {states.version}, and this gate reads version {VERSION}")
    if _signed(states).digest != states.digest:
        raise ValueError("internal states are not as they were written: their digest differs")
    layout = Layout(states.depth, states.width, states.layers)
    try:
        content = base64.b64decode(states.features, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("internal states are no base64") from error
    expected = sum(math.prod(shape) for shape in layout.block_parts.values())
    if len(content) != 2 * expected:
        raise ValueError(f"internal states hold {len(content) // 2} numbers, not {expected}")
    numbers = np.frombuffer(content, dtype="<f2").astype(np.float32)
    block = Block(layout, states.model, states.answer_tokens, numbers)
    if states.answer_tokens < 1 or not np.isfinite(np.r_[block.states.ravel(), block.scales]).all():
        raise ValueError("internal states hold no state")
    if np.isinf(numbers).any():
        raise ValueError("internal states hold a number that is infinite")
    return block


def _signed(states: InternalStates) -> InternalStates:
    """With the digest of everything else: it shows what was cut off or changed on the way, not who wrote it."""
    said = (states.version, states.model, states.depth, states.width, *states.layers, states.answer_tokens)
    text = "\0".join((*map(str, said), states.features))
    return replace(states, digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16])


def identity(depth: int, width: int, norms: dict[str, Floats]) -> str:
    """Which weights these are, by their norms [width] under their Hugging Face names: 16 hex digits.

    Norms are whole on every worker and seldom quantised, and hardly any training leaves all of them as they were;
    an adapter (LoRA) does. They are rounded to bfloat16 first, so that one model has one identity in every precision.
    """
    digest = hashlib.sha256(f"{depth} {width}".encode())
    for name in sorted(norms):
        bits = np.ascontiguousarray(norms[name], dtype=np.float32).view(np.uint32).astype(np.uint64)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        digest.update(f"{name}\0".encode() + rounded.tobytes())
    return digest.hexdigest()[:16]
