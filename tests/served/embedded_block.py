"""What the embedded pocket model gives of an answer: what a served one must agree with."""

from __future__ import annotations

from collections.abc import Sequence

from gate.hidden_states.block import Block
from gate.pocket.model import END, PocketModel
from gate.pocket.states import read
from gate.pocket.weights import Size


def embedded_block(size: Size, prompt: Sequence[int], answer: Sequence[int], *, given: bool = False) -> Block:
    """Of an answer whose tokens in ``answer`` the model took in after the ``prompt``.

    ``given``: the answer stood there already, so each row foretells the token that follows.
    """
    return read(PocketModel.load(size), prompt, answer if given else [*answer, END], given=given)
