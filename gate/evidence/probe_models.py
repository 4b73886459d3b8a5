"""The small models behind probes, with numpy alone: what each reads of a block, and the log-odds it makes of that.

Every array has a leading side p: one model fitted on all questions, and one for each fold that never saw its questions.
Values are standardised and held to `CLIP` deviations, so a block unlike all that were fitted on cannot speak louder
than the strangest of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gate.hidden_states.block import Block
from gate.hidden_states.layout import ATTENTION, LENS, POOLS, STABILITY, Layout

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
CLIP = 5.0
_SHARE = {"centre": "p g q", "gain": "p g q", "intercepts": "p"}


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """``x . weights + intercept`` of standardised values x [g, q], with g = 1."""

    SHAPES: ClassVar[Mapping[str, str]] = {**_SHARE, "weights": "p g q"}
    """Every array with the names of its sides."""

    centre: Floats
    gain: Floats
    """1 / standard deviation; 0 where a value never changed: nothing was learned about it."""
    intercepts: Floats
    weights: Floats

    def log_odds(self, part: int, values: Floats) -> float:
        """By the model of one part, of what `features` gave, [g, q]."""
        x = standardised(values, self.centre[part], self.gain[part])
        return float((x * self.weights[part]).sum() + self.intercepts[part])


@dataclass(frozen=True, slots=True, eq=False)
class EncoderProbe:
    """The mean over m small networks: see `codes`. g layers of q values, k and z units."""

    SHAPES: ClassVar[Mapping[str, str]] = {
        **_SHARE,
        "shared": "p m q k",
        "shared_bias": "p m k",
        "joint": "p m j z",
        "joint_bias": "p m z",
        "heads": "p m z",
    }
    """Every array with the names of its sides; j = g k."""

    centre: Floats
    gain: Floats
    intercepts: Floats
    shared: Floats
    shared_bias: Floats
    joint: Floats
    joint_bias: Floats
    heads: Floats
    """What a code adds to the log-odds of a member, divided by m."""

    def log_odds(self, part: int, values: Floats) -> float:
        """By the model of one part, of what `features` gave, [g, q]."""
        x = standardised(values, self.centre[part], self.gain[part])[None]
        own = (self.shared[part], self.shared_bias[part], self.joint[part], self.joint_bias[part])
        made = (codes(x, *member)[1][0] @ head for *member, head in zip(*own, self.heads[part], strict=True))
        return float(sum(made) + self.intercepts[part])


Probe = LinearProbe | EncoderProbe
KINDS: Mapping[str, type[LinearProbe] | type[EncoderProbe]] = {
    "linear": LinearProbe,
    "contrastive": EncoderProbe,
    "stability": EncoderProbe,
    "semantic_entropy": LinearProbe,
    "certain_error": LinearProbe,
    "attention": LinearProbe,
}
"""All probes by name. What each is fitted to is in `gate.tuning.probes`."""


def arrays(probe: Probe) -> dict[str, Floats]:
    return {name: getattr(probe, name) for name in probe.SHAPES}


def joined(parts: Sequence[Probe]) -> Probe:
    """One probe of all the parts of others, in order."""
    return type(parts[0])(
        **{name: np.concatenate([arrays(part)[name] for part in parts]).astype(np.float32) for name in parts[0].SHAPES}
    )


def features(name: str, block: Block) -> Floats | None:
    """What a probe reads of a block, [g, q]; None where it is not there. Raises ValueError for states not finite.

    ``linear`` and ``certain_error`` read all pooled states and the scales, ``contrastive`` the same layer by layer,
    ``semantic_entropy`` the states before the answer and at its last token. ``stability`` reads what CCPS and the logit
    lens tell of its tokens. A token that no push flips has the radius `gate.hidden_states.rows.FURTHEST` there, when
    fitting as when answering: the published code has 20 in the one and 0 in the other. ``attention`` reads how the
    passages were looked at, where there were any and the model shows it.
    """
    if name == "attention":
        return block.attention[None] if np.isfinite(block.attention).all() else None
    if name == "stability":
        told = np.concatenate([block.stability.ravel(), block.lens.ravel()])[None]
        return told if np.isfinite(told).all() else None
    if not (np.isfinite(block.states).all() and np.isfinite(block.scales).all()):
        raise ValueError("the internal states hold numbers that are not finite")
    if name == "semantic_entropy":
        return block.states[:, [POOLS.index("last"), POOLS.index("before")]].reshape(1, -1)
    by_layer = np.hstack([block.states.reshape(len(block.states), -1), block.scales[:, None]])
    return by_layer if name == "contrastive" else by_layer.reshape(1, -1)


def sides_of(name: str, layout: Layout) -> tuple[int, int]:
    """(g, q): the shape of `features` for a layout."""
    n = len(layout.layers)
    match name:
        case "attention":
            return 1, len(ATTENTION)
        case "stability":
            return 1, 2 * len(STABILITY) + 2 * n * len(LENS)
        case "semantic_entropy":
            return 1, n * 2 * layout.places
        case "contrastive":
            return n, len(POOLS) * layout.places + 1
    return 1, n * (len(POOLS) * layout.places + 1)


def standardised(
    values: npt.NDArray[np.floating], centre: npt.NDArray[np.floating], gain: npt.NDArray[np.floating]
) -> Array:
    """Any number of values [..., g, q] in deviations from the mean, within `CLIP`."""
    return np.asarray(np.clip((values.astype(np.float64) - centre) * gain, -CLIP, CLIP))


def codes(
    x: Array,
    shared: npt.NDArray[np.floating],
    shared_bias: npt.NDArray[np.floating],
    joint: npt.NDArray[np.floating],
    joint_bias: npt.NDArray[np.floating],
) -> tuple[Array, Array]:
    """Of standardised values [n, g, q]: what each layer says, [n, g, k], and the codes [n, z], within -1 and 1.

    One map for all layers, ``elu(x shared + bias)``; then all layers together, ``tanh(concat joint + bias)``.
    """
    layers = elu(x @ shared + shared_bias)
    return layers, np.tanh(layers.reshape(len(x), -1) @ joint + joint_bias)


def elu(u: Array) -> Array:
    return np.asarray(np.where(u > 0, u, np.expm1(np.minimum(u, 0.0))))
