"""The scheduler's side of reading: which rows are wanted in a step, and the block of an answer once it ends.

Needs neither torch nor vLLM. Everything is held by request, and dropped when it ends: in the step after its reply went
out, or when it was aborted.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gate.engine_plugin.asking import FIELD, Opening
from gate.hidden_states.block import packed, pooled
from gate.hidden_states.layout import KEY_TOKENS, Floats, Layout

MOST_ROWS = 16_384
"""Of one answer: what is longer is not read (8 MB with four layers)."""
MOST_FAMILIES = 1024
"""Requests for several answers whose blocks are held, for the reply that goes out with the last of them."""
_CHILD = re.compile(r"(\d+)_(.+)", re.DOTALL)
"""How vLLM names a request for one of several answers: its index, and the name of the request they are of."""


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one answer that one step computes."""

    request: str
    start: int
    """Which of the answer's rows the first one is."""
    slots: tuple[int, ...]
    """Where in the paged cache the tokens of the rows lie: it tells them apart in a batch."""
    targets: tuple[int, ...]
    """Of those among the first `KEY_TOKENS` rows: the token that follows, or -1 for the likeliest."""


@dataclass(slots=True)
class _Answer:
    opening: Opening
    blocks: list[int] = field(default_factory=list)
    """Of the paged cache, in the order of the request's tokens."""
    rows: dict[int, Floats] = field(default_factory=dict)
    missing: str = ""
    end: int = 0
    """Position behind its last row, once it has ended."""
    reply: dict[str, Any] = field(default_factory=dict)
    """What vLLM sends: it is filled after vLLM took it, and before it is sent."""


class Collector:
    """All answers under way that are to be read."""

    def __init__(self, block_size: int) -> None:
        """``block_size``: tokens in a block of the paged cache."""
        self._block_size = block_size
        self._answers: dict[str, _Answer] = {}
        self._ended: list[str] = []
        self._families: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, request: str) -> bool:
        return request in self._answers

    def open(self, request: str, wanted: Opening) -> None:
        self._answers[request] = _Answer(wanted, missing=wanted.missing)

    def place(self, request: str, blocks: Sequence[int], *, anew: bool) -> None:
        """Blocks of the cache that a request got: beside those it had, or ``anew``."""
        answer = self._answers[request]
        answer.blocks = [*([] if anew else answer.blocks), *blocks]

    def span(self, request: str, start: int, tokens: int) -> Span | None:
        """The rows among the tokens at ``start`` and after that a step computes; None when there are none."""
        answer = self._answers[request]
        first, end = answer.opening.first, answer.opening.end
        low = max(start, first)
        high = start + tokens if end is None else min(start + tokens, end)
        if answer.missing or low >= high:
            return None
        if high - first > MOST_ROWS:
            answer.missing = f"the answer has more than {MOST_ROWS} tokens"
            answer.rows.clear()
            return None
        size = self._block_size
        slots = tuple(answer.blocks[at // size] * size + at % size for at in range(low, high))
        keys = range(low - first, min(high - first, KEY_TOKENS))
        following = answer.opening.following
        targets = tuple(following[row] if row < len(following) else -1 for row in keys)
        return Span(request, low - first, slots, targets)

    def add(self, request: str, start: int, rows: Floats) -> None:
        """Rows of an answer, ``start`` the first. They may come twice, after a preemption, and behind its end."""
        answer = self._answers.get(request)
        if answer is not None and not answer.missing:
            answer.rows.update(enumerate(rows, start))

    def refuse(self, requests: Iterable[str], reason: str) -> None:
        for request in requests:
            if request in self._answers:
                self._answers[request].missing = reason
                self._answers[request].rows.clear()

    def end(self, request: str, tokens: int) -> dict[str, Any]:
        """What to send with the reply of a request that ended with so many tokens: `settle` fills it."""
        answer = self._answers[request]
        answer.end = tokens - 1 if answer.opening.end is None else answer.opening.end
        self._ended.append(request)
        answer.reply[FIELD] = self._joined(request, {"missing": "what was read did not come"})
        return answer.reply

    def settle(self, layout: Layout, model: str) -> None:
        """Fill the replies of answers that ended, and forget them: all their rows have come."""
        for request in self._ended:
            answer = self._answers.pop(request)
            answer.reply[FIELD] = self._joined(request, _block(answer, layout, model))
        self._ended.clear()

    def drop(self, request: str) -> None:
        """Forget a request that nobody waits for any more."""
        self._answers.pop(request, None)

    def without(self, request: str, reason: str) -> dict[str, Any]:
        """What to send with the reply of a request of which nothing was read, which is forgotten."""
        self.drop(request)
        return {FIELD: self._joined(request, {"missing": reason})}

    def _joined(self, request: str, block: dict[str, Any]) -> dict[str, Any]:
        """Blocks by choice of all answers to one request so far, with this one: only the last reply of them goes out.

        A name is one request's: vLLM makes every one unlike all others.
        """
        child = _CHILD.fullmatch(request)
        if child is None:
            return {"0": block}
        index, parent = child.groups()
        family = self._families.setdefault(parent, {})
        self._families.move_to_end(parent)
        while len(self._families) > MOST_FAMILIES:
            self._families.popitem(last=False)
        family[index] = block
        return family


def _block(answer: _Answer, layout: Layout, model: str) -> dict[str, Any]:
    """A block as JSON holds it, or why there is none."""
    wanted = range(answer.end - answer.opening.first)
    if answer.missing:
        return {"missing": answer.missing}
    if lost := [row for row in wanted if row not in answer.rows]:
        return {"missing": f"row {lost[0]} of {len(wanted)} was not read"}
    try:
        rows = (
            np.stack([answer.rows[row] for row in wanted]) if wanted else np.empty((0, layout.row_length), np.float32)
        )
        states = rows[:, : layout.row_parts["states"] + layout.row_parts["scales"]]
        if not np.isfinite(states).all():
            return {"missing": "a state of the model is not a finite number"}
        return asdict(packed(pooled(layout, model, rows)))
    except ValueError as error:
        return {"missing": str(error)}
