"""Fit the small networks of `gate.evidence.probe_models.EncoderProbe`: losses with their slopes by hand, and Adam.

Right answers are to lie near each other in the space of codes, and away from wrong ones, and a linear head tells them
apart. Two ways to bring that about:

* *supervised contrastive* (Khosla et al. 2020; over layers as InternalInspector does): cross-entropy of the head plus
  `CONTRAST` times the SupCon loss of the codes, in one.
* *max-margin contrastive* (Hadsell et al. 2006; as CCPS does): first the codes alone, then the head with all the rest.

A model is the mean of `MEMBERS` networks. Each leaves out another quarter of its questions and stops where the loss on
that quarter was least (early stopping), so together they learn from all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.calibration.probabilities import sigmoid
from gate.evidence.probe_models import codes
from gate.tuning.regression import log_losses

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MEMBERS = 4
CONTRAST = 0.3
TEMPERATURE = 0.2
MARGIN = 1.0
_EPOCHS = 80
_PATIENCE = 10
"""Epochs without a lesser loss on the quarter left out before it ends."""
_BATCH = 128
_RATE = 3e-3
_DECAY = 0.05
"""Of weights, apart from the slope (AdamW; Loshchilov and Hutter 2019)."""
_MOMENTA = (0.9, 0.999)
_SHORTEST = 1e-8


@dataclass(frozen=True, slots=True)
class Recipe:
    """How large a network is and how it is fitted."""

    layer_units: int
    """k."""
    code_units: int
    """z."""
    contrast: float = 0.0
    """Weight of the SupCon loss beside the cross-entropy."""
    pre_training: int = 0
    """Epochs of the max-margin loss alone, before the head."""


BY_LAYER = Recipe(layer_units=32, code_units=16, contrast=CONTRAST)
"""For ``contrastive``."""
BY_MARGIN = Recipe(layer_units=16, code_units=8, pre_training=10)
"""For ``stability``."""


@dataclass(frozen=True, slots=True)
class Network:
    """One member, as in `EncoderProbe`."""

    shared: Array
    """[q, k]."""
    shared_bias: Array
    """[k]."""
    joint: Array
    """[g k, z]."""
    joint_bias: Array
    """[z]."""
    head: Array
    """[z]."""
    intercept: Array
    """[]."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, sides: tuple[int, int], recipe: Recipe, intercept: float) -> Network:
        """To begin with: random maps that keep lengths, and a head that says nothing."""
        (g, q), k, z = sides, recipe.layer_units, recipe.code_units
        return cls(
            rng.normal(size=(q, k)) / np.sqrt(q),
            np.zeros(k),
            rng.normal(size=(g * k, z)) / np.sqrt(g * k),
            np.zeros(z),
            np.zeros(z),
            np.array(intercept),
        )

    def arrays(self) -> tuple[Array, ...]:
        return (self.shared, self.shared_bias, self.joint, self.joint_bias, self.head, self.intercept)

    def log_odds(self, x: Array) -> Array:
        """[n] of standardised values [n, g, q]."""
        coded = codes(x, self.shared, self.shared_bias, self.joint, self.joint_bias)[1]
        return np.asarray(coded @ self.head + self.intercept)


def fit(x: Array, correct: Array, left_out: Bools, recipe: Recipe, seed: int) -> Network:
    """A network of standardised values [n, g, q], stopped by the loss on those ``left_out`` [n].

    The same for the same arguments.
    """
    rng = np.random.default_rng(seed)
    seen, labels, held, truth = x[~left_out], correct[~left_out], x[left_out], correct[left_out]
    rate = (labels.sum() + 0.5) / (len(labels) + 1)
    network = Network.drawn(rng, (x.shape[1], x.shape[2]), recipe, float(np.log(rate / (1 - rate))))
    adam = _Adam(network)
    for _ in range(recipe.pre_training):
        for batch in _batches(rng, len(seen)):
            network = adam.step(network, slopes(network, seen[batch], labels[batch], margin_objective)[1])
    objective = head_objective(recipe.contrast)
    best, least, since = network, np.inf, 0
    for _ in range(_EPOCHS):
        for batch in _batches(rng, len(seen)):
            network = adam.step(network, slopes(network, seen[batch], labels[batch], objective)[1])
        loss = float(log_losses(network.log_odds(held), truth).mean())
        best, least, since = (network, loss, 0) if loss < least else (best, least, since + 1)
        if since > _PATIENCE:
            break
    return best


# --- losses ------------------------------------------------------------------------------------------------------

Objective = Callable[[Array, Array, Array], tuple[float, Array, Array]]
"""Of codes [n, z], log-odds [n] and labels [n]: the loss, and its slopes by the codes and by the log-odds."""


def head_objective(contrast: float) -> Objective:
    """Mean cross-entropy of the head, plus ``contrast`` times `supervised_contrastive`."""

    def objective(coded: Array, logits: Array, correct: Array) -> tuple[float, Array, Array]:
        loss = float(log_losses(logits, correct).mean())
        to_logits = (sigmoid(logits) - correct) / len(correct)
        if not contrast:
            return loss, np.zeros_like(coded), to_logits
        apart, to_codes = supervised_contrastive(coded, correct)
        return loss + contrast * apart, contrast * to_codes, to_logits

    return objective


def margin_objective(coded: Array, logits: Array, correct: Array) -> tuple[float, Array, Array]:
    """`max_margin` of the codes alone."""
    return *max_margin(coded, correct), np.zeros_like(logits)


def supervised_contrastive(coded: Array, correct: Array, temperature: float = TEMPERATURE) -> tuple[float, Array]:
    """SupCon of codes [n, z] made to unit length u, and its slopes [n, z].

    The mean over i of ``-1/|P(i)| sum_{j in P(i)} log(exp(u_i.u_j/T) / sum_{k != i} exp(u_i.u_k/T))``, P(i) being the
    others with the label of i. One whose label no other has is left out.
    """
    lengths = np.maximum(np.linalg.norm(coded, axis=1, keepdims=True), _SHORTEST)
    units = coded / lengths
    likeness = units @ units.T / temperature
    others = ~np.eye(len(coded), dtype=np.bool_)
    alike = (correct[:, None] == correct) & others
    counts = alike.sum(axis=1, keepdims=True)
    share = alike / np.maximum(counts, 1)
    powers = np.exp(likeness - 1 / temperature) * others  # 1 / T is the most a likeness can be
    sums = powers.sum(axis=1, keepdims=True)
    anchors = (counts > 0) / max(1, int((counts > 0).sum()))
    losses = np.log(np.maximum(sums, 1e-300)) + 1 / temperature - (share * likeness).sum(axis=1, keepdims=True)
    to_likeness = anchors * (powers / np.maximum(sums, 1e-300) - share)
    to_units = (to_likeness + to_likeness.T) @ units / temperature
    to_codes = (to_units - units * (units * to_units).sum(axis=1, keepdims=True)) / lengths
    return float((anchors * losses).sum()), to_codes


def max_margin(coded: Array, correct: Array) -> tuple[float, Array]:
    """The mean over pairs of codes [n, z] at distance d, and its slopes [n, z].

    A pair costs ``d^2`` with the same label, ``max(0, 1 - d)^2`` with another.
    """
    squares = (coded**2).sum(axis=1)
    distances = np.sqrt(np.maximum(0.0, squares[:, None] + squares - 2 * coded @ coded.T))
    same, gaps = correct[:, None] == correct, np.maximum(0.0, MARGIN - distances)
    pairs = max(1, len(coded) * (len(coded) - 1))
    costs = np.where(same, distances**2, gaps**2)
    np.fill_diagonal(costs, 0.0)
    pull = np.where(same, 1.0, -gaps / np.maximum(distances, _SHORTEST))
    np.fill_diagonal(pull, 0.0)
    return float(costs.sum() / pairs), 4 / pairs * (pull.sum(axis=1, keepdims=True) * coded - pull @ coded)


# --- slopes and steps --------------------------------------------------------------------------------------------


def slopes(network: Network, x: Array, correct: Array, objective: Objective) -> tuple[float, Network]:
    """The loss of standardised values [n, g, q], and its slope by everything in the network."""
    layers, coded = codes(x, network.shared, network.shared_bias, network.joint, network.joint_bias)
    loss, to_codes, to_logits = objective(coded, coded @ network.head + network.intercept, correct)
    inner = (to_codes + to_logits[:, None] * network.head) * (1 - coded**2)  # of tanh
    to_layers = (inner @ network.joint.T).reshape(layers.shape) * np.where(layers > 0, 1.0, layers + 1)  # of elu
    flat = to_layers.reshape(-1, to_layers.shape[-1])
    return loss, Network(
        x.reshape(-1, x.shape[-1]).T @ flat,
        flat.sum(axis=0),
        layers.reshape(len(x), -1).T @ inner,
        inner.sum(axis=0),
        coded.T @ to_logits,
        np.array(to_logits.sum()),
    )


class _Adam:
    """Adam with decay of the weights apart from the slope; biases do not decay."""

    def __init__(self, network: Network) -> None:
        self._means = [np.zeros_like(array) for array in network.arrays()]
        self._squares = [np.zeros_like(array) for array in network.arrays()]
        self._steps = 0

    def step(self, network: Network, slope: Network) -> Network:
        self._steps += 1
        rate = _RATE * np.sqrt(1 - _MOMENTA[1] ** self._steps) / (1 - _MOMENTA[0] ** self._steps)
        moved = []
        for array, towards, mean, square in zip(
            network.arrays(), slope.arrays(), self._means, self._squares, strict=True
        ):
            mean += (1 - _MOMENTA[0]) * (towards - mean)
            square += (1 - _MOMENTA[1]) * (towards**2 - square)
            kept = 1 - _RATE * _DECAY if array.ndim == 2 else 1.0
            moved.append(np.asarray(kept * array - rate * mean / (np.sqrt(square) + 1e-8)))
        return Network(*moved)


def _batches(rng: np.random.Generator, n: int) -> list[npt.NDArray[np.intp]]:
    """All of n in a new order, in parts of about `_BATCH`."""
    return np.array_split(rng.permutation(n), max(1, round(n / _BATCH)))
