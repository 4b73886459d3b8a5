"""Reading inside the pocket model: the internal states of one answer, as `gate.hidden_states` defines them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gate.hidden_states.block import Block, identity, pooled
from gate.hidden_states.layout import Floats, Layout
from gate.hidden_states.rows import Head, attention_to, rows
from gate.pocket.model import PocketModel
from gate.pocket.weights import Size, folder

_EPSILON = 1e-5
_FINAL_NORM = "model.norm.weight"
_HEAD = "model.embed_tokens.weight"
"""The head is the embeddings, turned round."""


def read(
    model: PocketModel,
    prompt: Sequence[int],
    answer: Sequence[int],
    *,
    given: bool = False,
    passages: Sequence[int] = (),
) -> Block:
    """What the model holds of an answer.

    ``answer`` is all that was generated after the ``prompt``, its end included; with ``given`` it is what stands there,
    all of it text. ``passages`` are places of the prompt whose tokens are passages. Raises ValueError for an answer of
    which no token was taken in, and `UpstreamError` beyond the context length.
    """
    taken = [*prompt, *answer] if given else [*prompt, *answer[:-1]]
    before = len(prompt) - 1
    seen = model.inside(taken)
    layout, head, name = reading(model.size)
    streams = seen.states[:, before:].transpose(1, 0, 2)
    follow = np.array([*taken[before + 1 :], -1], dtype=np.int64) if given else None
    made = rows(layout, streams[:, layout.layers], streams[:, -1], head, follow)
    if not passages:
        return pooled(layout, name, made)
    upper = seen.attention[len(seen.attention) // 2 :, before:-1]
    return pooled(layout, name, made, attention_to(upper[..., passages].mean(axis=0)))


@cache
def reading(size: Size) -> tuple[Layout, Head, str]:
    """How this model is read, with its identity."""
    held = tensors(size)
    norms = {key: value for key, value in held.items() if value.ndim == 1}
    depth = sum(key.endswith("input_layernorm.weight") for key in held)
    width = held[_FINAL_NORM].shape[0]
    head = Head(held[_HEAD], held[_FINAL_NORM], _EPSILON)
    return Layout.at(depth, width), head, identity(depth, width, norms)


def places_of(texts: Sequence[str], asked: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Which tokens of what was ``asked`` belong to these texts; ``offsets`` are the tokens' characters in it."""
    marked: NDArray[np.bool_] = np.zeros(len(asked) + 1, dtype=np.bool_)
    for text in texts:
        at = asked.find(text) if text else -1
        if at >= 0:
            marked[at : at + len(text)] = True
    return [place for place, (start, end) in enumerate(offsets) if marked[start:end].any()]


def tensors(size: Size) -> dict[str, Floats]:
    """The weights by their Hugging Face names, out of ``model.safetensors``. All of them are stored as float16."""
    content = (folder(size) / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    listed = json.loads(content[8:start])
    return {
        name: np.frombuffer(content, "<f2", math.prod(entry["shape"]), start + entry["data_offsets"][0])
        .reshape(entry["shape"])
        .astype(np.float32)
        for name, entry in listed.items()
        if name != "__metadata__"
    }
