"""The numbers of rows, with torch, on the device of a served model: those of `gate.hidden_states.rows`.

Few operations on all rows of a step at once: on small models it is their number that costs, not their size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_reduce

from gate.engine_plugin.guard import guarded
from gate.hidden_states.layout import LENS, STABILITY, Layout
from gate.hidden_states.rows import FURTHEST, RADIUS, STEPS

_SHORTEST = 1e-9
_MOST_LOGITS = 2**25
"""Held at a time for lens and stability, 134 MB each of some copies: more rows are worked out in turns."""
_SAME = 0.02
"""Relative difference up to which two ways to the same logits are the same: half precision rounds."""
_NORMS = ("norm", "norm_f", "final_layernorm")
"""Attributes of vLLM's models that hold the norm after the last block."""


@dataclass(frozen=True, slots=True)
class Head:
    """What makes a distribution of a state, and of which tokens this worker holds the weights."""

    norm: Callable[[torch.Tensor], torch.Tensor]
    logits: Callable[[torch.Tensor], torch.Tensor]
    """States after the norm, [n, width], to logits, [n, words], on every worker."""
    weight: torch.Tensor | None
    """[words held here, width], where the logits are the product with it and nothing else."""
    words: slice
    """Those of ``weight``."""
    vocabulary: int
    """How many words there are on all workers."""
    shared: bool
    """Whether other workers hold other words."""


def head_of(owner: Any, width: int) -> Head | None:
    """Of a vLLM model once its weights are there; None where states cannot be read through it.

    Its weight is used where the product with it is what the model computes: not behind a soft cap, a scale or a bias,
    nor where it is quantised.
    """
    inner = owner.model
    norm = next((getattr(inner, name) for name in _NORMS if hasattr(inner, name)), None)
    if norm is None:
        return None
    shared = get_tensor_model_parallel_world_size() > 1
    parameter = next(inner.parameters())
    generator = torch.Generator().manual_seed(0)
    trial = torch.randn(2, width, generator=generator) * torch.tensor([[1.0], [100.0]])  # far out a soft cap shows
    trial = trial.to(device=parameter.device, dtype=parameter.dtype)
    made = owner.compute_logits(trial)
    if made is None:  # gathered on one worker alone
        return None
    weight, words = _weight_of(owner, made.shape[-1])
    if weight is not None:
        product = torch.nn.functional.linear(trial.to(weight.dtype), weight).float()
        held = made[:, words].float()
        if not bool(((product - held).norm(dim=-1) <= _SAME * held.norm(dim=-1)).all()):
            weight = None
    return Head(norm, owner.compute_logits, weight, words, made.shape[-1], shared)


def _weight_of(owner: Any, words: int) -> tuple[torch.Tensor | None, slice]:
    weight = getattr(getattr(owner, "lm_head", None), "weight", None)
    if weight is None or weight.ndim != 2 or not weight.is_floating_point():
        return None, slice(0, 0)
    held = getattr(owner.lm_head, "shard_indices", None)
    first = held.org_vocab_start_index if held is not None else 0
    last = min(held.org_vocab_end_index if held is not None else len(weight), words)
    if not 0 <= last - first <= len(weight):
        return None, slice(0, 0)
    return weight.detach()[: last - first], slice(first, last)


class Reader:
    """Makes numbers of the states of some rows of one model."""

    def __init__(self, layout: Layout, head: Callable[[], Head | None], device: torch.device) -> None:
        self.fault = ""
        self._layout = layout
        self._head = self._found(head)
        self._own = layout.layers[-1] == layout.depth
        """Whether the last layer read is what the logits are made of."""
        self._projections = torch.from_numpy(layout.projections() * layout.width**0.5).to(device)
        self._radii = torch.linspace(RADIUS / STEPS, RADIUS, STEPS, device=device)[None, :, None]
        shares = torch.full((STEPS,), 1 / STEPS, device=device)
        shares[-1] /= 2
        self._shares = shares

    @property
    def vocabulary(self) -> int:
        """How many words a target can be one of; 0 where the head is not used."""
        return 0 if self._head is None else self._head.vocabulary

    @guarded
    def _found(self, head: Callable[[], Head | None]) -> Head | None:
        return head()

    def states(self, streams: torch.Tensor) -> torch.Tensor:
        """[n, states and scales of a row] of the streams [n, layers, width]."""
        by_layer = streams.float().transpose(0, 1)
        lengths = torch.linalg.vector_norm(by_layer, dim=-1, keepdim=True).clamp_min_(1e-6 * self._layout.width**0.5)
        projected = torch.bmm(by_layer / lengths, self._projections)
        scales = lengths[..., 0].t().div(self._layout.width**0.5).log()
        return torch.cat([projected.transpose(0, 1).flatten(1), scales], dim=1)

    def told(self, streams: torch.Tensor, final: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """[n, lens and stability of a row] of streams and of final states [n, width], which are after the norm.

        ``targets`` [n]: the token that follows each, or -1 for the likeliest; None: all the likeliest.
        All nan where the head cannot be used, or once its use has failed.
        """
        made = self._told_in_turns(self._head, streams, final, targets) if self._head is not None else None
        if made is None:
            numbers = len(self._layout.layers) * len(LENS) + len(STABILITY)
            made = torch.full((len(final), numbers), torch.nan, dtype=torch.float32, device=final.device)
        return made

    @guarded
    def _told_in_turns(
        self, head: Head, streams: torch.Tensor, final: torch.Tensor, targets: torch.Tensor | None
    ) -> torch.Tensor:
        most = max(1, _MOST_LOGITS // (head.vocabulary * (len(self._layout.layers) + STEPS)))
        if len(final) <= most:
            return self._told(head, streams, final, targets)
        turns = [slice(at, at + most) for at in range(0, len(final), most)]
        return torch.cat(
            [self._told(head, streams[t], final[t], None if targets is None else targets[t]) for t in turns]
        )

    def _told(
        self, head: Head, streams: torch.Tensor, final: torch.Tensor, targets: torch.Tensor | None
    ) -> torch.Tensor:
        n, layers = len(final), len(self._layout.layers)
        lower = streams[:, :-1] if self._own else streams
        normed = head.norm(lower.reshape(-1, lower.shape[-1])).view(lower.shape)
        every = torch.cat([normed, final[:, None]], dim=1)
        logits = head.logits(every.view(-1, every.shape[-1])).float().view(n, every.shape[1], -1)
        log_q = torch.log_softmax(logits, dim=-1)
        own = logits[:, -1]
        tops, likeliest = own.topk(2, dim=-1)
        wanted = likeliest[:, 0] if targets is None else torch.where(targets >= 0, targets, likeliest[:, 0])
        chosen = log_q.gather(2, wanted[:, None, None].expand(-1, every.shape[1], 1))[..., 0]
        p = log_q[:, -1].exp()
        cross = -torch.linalg.vecdot(log_q, p[:, None])
        agreement = (chosen >= log_q.amax(dim=-1)).float()
        lens = torch.stack([cross, -chosen, agreement], dim=-1)[:, :layers]
        at_target = own.gather(1, wanted[:, None])
        top_shares = (tops - (at_target - chosen[:, -1:])).exp()
        centred = own - own.mean(dim=-1, keepdim=True)
        columns = [
            chosen[:, -1],
            chosen[:, -1].exp(),
            at_target[:, 0],
            top_shares[:, 0],
            tops[:, 0],
            cross[:, -1],
            tops[:, 0] - tops[:, 1],
            top_shares[:, 0] - top_shares[:, 1],
            torch.linalg.vector_norm(own, dim=-1),
            torch.linalg.vector_norm(centred, dim=-1) / own.shape[-1] ** 0.5,
            torch.linalg.vector_norm(final, dim=-1, dtype=torch.float32),
            agreement[:, -1],
            *self._pushed(head, own, p, wanted, at_target, chosen[:, -1:]),
        ]
        return torch.cat([lens.flatten(1), torch.stack(columns, dim=1)], dim=1)

    def _pushed(
        self,
        head: Head,
        logits: torch.Tensor,
        p: torch.Tensor,
        wanted: torch.Tensor,
        at_target: torch.Tensor,
        log_p: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Length of the gradient, flip radius and perturbation energy, [n] each. ``p`` [n, words] is used up."""
        if head.weight is None:
            unknown = torch.full_like(at_target[:, 0], torch.nan)
            return unknown, unknown, unknown
        at = wanted[:, None]
        error = p.scatter_(1, at, 0.0)
        error = error.scatter_(1, at, -error.sum(dim=-1, keepdim=True))  # p - 1, also where p is all but 1
        gradient = (error[:, head.words].to(head.weight.dtype) @ head.weight).float()
        if head.shared:
            gradient = tensor_model_parallel_all_reduce(gradient)
        length = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
        direction = torch.where(length > _SHORTEST, gradient / length.clamp_min(_SHORTEST), 0)
        push = head.logits(direction.to(head.weight.dtype)).float()
        pushed = torch.log_softmax(torch.addcmul(logits[:, None], self._radii, push[:, None]), dim=-1)
        after = pushed.gather(2, at[:, None].expand(-1, STEPS, 1))[..., 0]
        energy = (log_p - after).clamp_min_(0) @ self._shares
        closing = (push - push.gather(1, at)).clamp_min_(1e-12)  # what does not close in is far away
        radius = (at_target - logits).div_(closing).scatter_(1, at, FURTHEST)
        flip = radius.amin(dim=-1).clamp_(0.0, FURTHEST)
        return length[:, 0], flip, energy
