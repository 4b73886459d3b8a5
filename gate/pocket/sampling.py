"""Choose the next token from logits: greedy, temperature, nucleus; one random stream a row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate. Log-probabilities are always those of the raw model, whatever the temperature."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    """None: as much as the context has room for."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_logprobs: int | None = None
    """Alternatives a token, at most 20; None = no log-probabilities at all."""

    def broken_rules(self) -> list[str]:
        """What is out of range, in words for the caller; empty when all is well."""
        rules = (
            ("n must be at least 1", self.n >= 1),
            ("temperature must be a number from 0 up", math.isfinite(self.temperature) and self.temperature >= 0),
            ("top_p must be above 0 and at most 1", 0 < self.top_p <= 1),
            ("max_tokens must be at least 1", self.max_tokens is None or self.max_tokens >= 1),
            ("a stop string must not be empty", all(self.stop)),
            (f"top_logprobs must be 0 to {TOP_LOGPROBS}", 0 <= (self.top_logprobs or 0) <= TOP_LOGPROBS),
        )
        return [rule for rule, kept in rules if not kept]


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Natural log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # type: ignore[no-any-return]


def streams(seed: int | None, rows: int) -> list[np.random.Generator]:
    """One independent generator a row. Row i's numbers depend on the seed and i alone; no seed means fresh entropy."""
    root = np.random.SeedSequence(None if seed is None else seed % 2**64)
    return [np.random.Generator(np.random.PCG64(child)) for child in root.spawn(rows)]


def nucleus(probabilities: Floats, top_p: float) -> Floats:
    """Zero all but the fewest most likely tokens whose probabilities reach ``top_p`` (Holtzman et al. 2020).

    ``probabilities``: [rows, vocabulary]. The most likely token always stays. Not renormalised.
    """
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=-1)
    before = np.cumsum(ordered, axis=-1) - ordered
    kept = np.where(before < top_p, ordered, 0.0)
    kept[:, 0] = ordered[:, 0]
    chosen = np.zeros_like(kept)
    np.put_along_axis(chosen, order, kept, axis=-1)
    return chosen


def choose(logits: Floats, temperature: float, top_p: float, draws: list[np.random.Generator]) -> Ints:
    """The next token of each row. ``logits``: [rows, vocabulary]; -inf marks what may not be chosen.

    Temperature 0 takes the most likely one. Else one uniform number a row is looked up in the cumulative distribution.
    """
    if temperature == 0:
        return logits.argmax(axis=-1)  # type: ignore[no-any-return]
    below = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):  # a temperature near 0 sends all but the best to -inf, as it should
        probabilities: Floats = np.exp(log_softmax(below / temperature))
    if top_p < 1:
        probabilities = nucleus(probabilities, top_p)
    cumulative = np.cumsum(probabilities, axis=-1)
    uniform = np.array([draw.random() for draw in draws])[:, None] * cumulative[:, -1:]
    # The first place where the sum exceeds the draw: never one of probability zero, as the sum does not rise there.
    return (cumulative > uniform).argmax(axis=-1)  # type: ignore[no-any-return]
