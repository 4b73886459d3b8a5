"""A model small enough to be worked out by hand, as vLLM's are built, and what numpy makes of its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gate.hidden_states.layout import KEY_TOKENS, Floats, Layout
from gate.hidden_states.rows import Head, rows
from gate.pocket.states import tensors
from gate.pocket.weights import Size

EPSILON = 1e-5


class Tiny(torch.nn.Module):
    """A final norm and a head: all that is used of a model but its states."""

    def __init__(self, weight: Floats, scale: Floats) -> None:
        super().__init__()
        words, width = weight.shape
        self.model = torch.nn.Module()
        self.model.norm = torch.nn.RMSNorm(width, eps=EPSILON)
        self.model.norm.weight.data = torch.tensor(scale)
        self.lm_head = torch.nn.Linear(width, words, bias=False)
        self.lm_head.weight.data = torch.tensor(weight)
        self.requires_grad_(False)
        self.after: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits

    def compute_logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.after(self.lm_head(states))

    @property
    def head(self) -> Head:
        """The same for numpy."""
        return Head(
            self.lm_head.weight.detach().float().numpy(), self.model.norm.weight.detach().float().numpy(), EPSILON
        )


def random_model(width: int, words: int, seed: int = 0) -> Tiny:
    generator = np.random.default_rng(seed)
    weight = generator.standard_normal((words, width)).astype(np.float32) * 0.3
    return Tiny(weight, (1 + 0.2 * generator.standard_normal(width)).astype(np.float32))


def pocket_model(size: Size) -> Tiny:
    """The head and the final norm of a pocket model."""
    weights = tensors(size)
    return Tiny(weights["model.embed_tokens.weight"], weights["model.norm.weight"])


def random_states(layout: Layout, rows: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Streams [rows, layers, width], and the stream after the last block [rows, width]."""
    generator = np.random.default_rng(seed)
    streams = generator.standard_normal((rows, len(layout.layers), layout.width)).astype(np.float32) * 3
    if layout.layers[-1] == layout.depth:
        return streams, streams[:, -1]
    return streams, generator.standard_normal((rows, layout.width)).astype(np.float32) * 3


def every_row(layout: Layout, streams: Floats, last: Floats, head: Head, targets: Any = None) -> Floats:
    """What numpy makes of each row as if it were among the first `KEY_TOKENS`: no row depends on another."""
    parts = [slice(at, at + KEY_TOKENS) for at in range(0, len(last), KEY_TOKENS)]
    return np.concatenate(
        [rows(layout, streams[p], last[p], head, None if targets is None else targets[p]) for p in parts]
    )
