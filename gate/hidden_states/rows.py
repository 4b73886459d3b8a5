"""The numbers of a row, with numpy. `gate.engine_plugin.readings` has the same ones with torch; a test compares them.

All are of a token the row foretells, its *target*: the token that follows where an answer is read that stands there
already, else the likeliest one, which a greedy answer takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.hidden_states.layout import KEY_TOKENS, LENS, STABILITY, Floats, Layout

Ints = npt.NDArray[np.int64]
RADIUS, STEPS = 20.0, 5
"""How far, and in how many steps, a state is pushed for the perturbation energy."""
FURTHEST = 100.0
"""The most a flip radius counts: what needs a push so long does not flip."""
_SHORTEST = 1e-9
"""A gradient shorter than this has no direction."""
COVERAGE_POWER = 6
"""The exponent of the coverage penalty in the published code."""


@dataclass(frozen=True, slots=True)
class Head:
    """What makes a distribution of a state: the final RMSNorm, ``scale`` [width], and the ``weight`` [words, width]."""

    weight: Floats
    scale: Floats
    epsilon: float

    def normed(self, states: Floats) -> Floats:
        """[..., width]."""
        mean = np.square(states).mean(axis=-1, keepdims=True)
        return np.asarray(states / np.sqrt(mean + self.epsilon) * self.scale, dtype=np.float32)

    def logits(self, normed: Floats) -> Floats:
        """[..., words]."""
        return np.asarray(normed @ self.weight.T, dtype=np.float32)


def rows(layout: Layout, states: Floats, last: Floats, head: Head, targets: Ints | None = None) -> Floats:
    """[rows, layout.row_length] of the residual stream at those rows.

    ``states`` is [rows, layers, width], ``last`` [rows, width] the stream after the last block, before the final norm.
    ``targets`` [rows] holds the token that follows each, or -1 for the likeliest; None: all the likeliest.
    Lens and stability of rows beyond the first `KEY_TOKENS` are nan.
    """
    made = np.full((len(states), layout.row_length), np.nan, dtype=np.float32)
    scales = np.sqrt(np.square(states).mean(axis=-1) + 1e-12)
    projected = np.einsum("rlw,lwp->rlp", states / scales[..., None], layout.projections())
    ends = np.cumsum(list(layout.row_parts.values()))
    made[:, : ends[0]] = projected.reshape(len(states), -1)
    made[:, ends[0] : ends[1]] = np.log(scales)
    some = slice(0, KEY_TOKENS)
    final = head.normed(last[some])
    logits = head.logits(final)
    wanted = logits.argmax(axis=-1)
    if targets is not None:
        wanted = np.where(targets[some] >= 0, targets[some], wanted)
    each = head.logits(head.normed(states[some]))
    made[some, ends[1] : ends[2]] = lens(each, logits, wanted).reshape(len(final), -1)
    made[some, ends[2] :] = stability(final, logits, wanted, head.weight)
    return made


def log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


def lens(each: Floats, final: Floats, targets: Ints) -> Floats:
    """[rows, layers, 3] of logits by layer, [rows, layers, words], and final ones, [rows, words].

    How far the residual stream has come to what it ends in (the logit lens; as a sign of uncertainty in "Uncovering
    Uncertainty in Transformer Inference"): the cross-entropy ``-sum_v P_final(v) log q_l(v)`` in nats, ``-log q_l`` of
    the target, and whether the target is the layer's likeliest token.
    """
    log_q = log_softmax(each)
    divergence = -np.einsum("rv,rlv->rl", np.exp(log_softmax(final)), log_q)
    at = np.broadcast_to(targets[:, None, None], (*each.shape[:2], 1))
    surprisal = -np.take_along_axis(log_q, at, axis=-1)[..., 0]
    agreement = each.argmax(axis=-1) == targets[:, None]
    assert len(LENS) == 3  # noqa: S101
    return np.stack([divergence, surprisal, agreement.astype(np.float32)], axis=-1).astype(np.float32)


def stability(states: Floats, logits: Floats, targets: Ints, weight: Floats) -> Floats:
    """[rows, 15], as `STABILITY` names them, of final states [rows, width] after the norm, and their logits.

    How fast a token's probability breaks when its state is pushed along the gradient that most lowers it (CCPS):
    ``g = W^T (softmax - onehot)``. The head is linear, so a push of length r changes the logits by ``r W g/||g||``:
    the flip radius is exact, not read off a grid, and 0 where the target is not the likeliest token to begin with.
    The perturbation energy is ``1/S sum_k (f_{k-1} + f_k) / 2`` with ``f_k = max(0, log p - log p_k)`` at a radius of
    ``20 k / S``, S = 5.
    """
    at = targets[:, None]

    def chosen(values: Floats) -> Floats:
        return np.take_along_axis(values, at, axis=-1)

    log_p = log_softmax(logits)
    p = np.exp(log_p)
    highest = np.sort(np.partition(logits, -2, axis=-1)[:, -2:], axis=-1)
    likeliest = np.exp(highest - highest[:, 1:] + log_p.max(axis=-1, keepdims=True))
    error = p.copy()
    np.put_along_axis(error, at, 0, axis=-1)
    np.put_along_axis(error, at, -error.sum(axis=-1, keepdims=True), axis=-1)  # p - 1, also where p is all but 1
    gradient = error @ weight
    length = np.linalg.norm(gradient, axis=-1, keepdims=True)
    push = (gradient / np.maximum(length, _SHORTEST)) @ weight.T
    push = np.where(length > _SHORTEST, push, 0)
    pushed = logits[:, None] + np.linspace(RADIUS / STEPS, RADIUS, STEPS, dtype=np.float32)[:, None] * push[:, None]
    drop = np.maximum(0, chosen(log_p) - np.take_along_axis(log_softmax(pushed), at[:, None], axis=-1)[..., 0])
    energy = (drop.sum(axis=-1) - drop[:, -1] / 2) / STEPS
    columns = [
        chosen(log_p)[:, 0],
        chosen(p)[:, 0],
        chosen(logits)[:, 0],
        likeliest[:, 1],
        highest[:, 1],
        -np.where(p > 0, p * log_p, 0).sum(axis=-1),
        highest[:, 1] - highest[:, 0],
        likeliest[:, 1] - likeliest[:, 0],
        np.linalg.norm(logits, axis=-1),
        logits.std(axis=-1),
        np.linalg.norm(states, axis=-1),
        (logits.argmax(axis=-1) == targets).astype(np.float32),
        length[:, 0],
        _flip_radius(logits, push, at),
        energy,
    ]
    assert len(columns) == len(STABILITY)  # noqa: S101
    return np.stack(columns, axis=-1).astype(np.float32)


def _flip_radius(logits: Floats, push: Floats, at: Ints) -> Floats:
    """[rows]: the least r at which ``logits + r push`` has another likeliest token than the target."""
    ahead = np.take_along_axis(logits, at, axis=-1) - logits
    closing = push - np.take_along_axis(push, at, axis=-1)
    radius = np.where((closing > 0) | (ahead < 0), ahead / np.maximum(closing, 1e-12), FURTHEST)
    np.put_along_axis(radius, at, FURTHEST, axis=-1)
    return np.asarray(np.clip(radius.min(axis=-1), 0.0, FURTHEST), dtype=np.float32)


def attention_to(weights: Floats) -> Floats:
    """[4], as `ATTENTION` names them, of attention [rows, columns] that an answer's tokens paid to passages' tokens.

    ``mass``: the mean share of a token's attention that went to the passages. The rest looks at how that share was
    spread, every row made to sum to 1 (Rikters and Fishel 2017): ``coverage`` is the mean of
    ``-ln(1 + |1 - sum_i a_ij|^6)`` over the passages' tokens j, ``focus`` minus the mean entropy of a row, ``spread``
    the same of a column. Nan where nothing was looked at.
    """
    sums = weights.sum(axis=1, keepdims=True)
    looking = weights[sums[:, 0] > 0] / sums[sums[:, 0] > 0]
    if not looking.size:
        return np.full(4, np.nan, dtype=np.float32)
    seen = looking.sum(axis=0)
    coverage = -np.log1p(np.abs(1 - seen) ** COVERAGE_POWER).mean()
    back = looking[:, seen > 0] / seen[seen > 0]
    return np.array([sums.mean(), coverage, -_entropy(looking).mean(), -_entropy(back.T).mean()], dtype=np.float32)


def _entropy(distributions: Floats) -> Floats:
    """[rows], in nats."""
    logs = np.log(np.where(distributions > 0, distributions, 1))
    return np.asarray(-(distributions * logs).sum(axis=-1), dtype=np.float32)
