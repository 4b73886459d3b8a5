"""What travels between scheduler and workers in a step: which rows are wanted, and the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata, KVConnectorWorkerMetadata

from gate.engine_plugin.collecting import Span
from gate.hidden_states.layout import KEY_TOKENS, Floats


@dataclass
class WantedRows(KVConnectorMetadata):
    """Scheduler to workers: the rows of one step."""

    spans: list[Span] = field(default_factory=list)


class ReadRows(KVConnectorWorkerMetadata):
    """Workers to scheduler: the rows of one step, or why there are none.

    On a GPU the copy to host memory may still be under way: it is waited for when the rows are used or pickled, which
    is after the step's tokens have come.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        told: int,
        model: str = "",
        numbers: torch.Tensor | None = None,
        arrived: torch.cuda.Event | None = None,
        fault: str = "",
    ) -> None:
        self.requests = [(span.request, span.start, len(span.slots)) for span in spans]
        self.model = model
        """The identity of the weights."""
        self.fault = fault
        self._told = told
        """Numbers of a row that only the first `KEY_TOKENS` rows have; they are the last ones."""
        self._numbers = numbers
        """States of all those first rows, states of all other rows, then what only the first ones have."""
        self._arrived = arrived

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_numbers": self._host(), "_arrived": None}

    def _host(self) -> Any:
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        return self._numbers.numpy() if isinstance(self._numbers, torch.Tensor) else self._numbers

    def rows(self) -> Iterator[tuple[str, int, Floats]]:
        """Request, number of the first of some rows of it, and these [n, numbers of a row]."""
        numbers = self._host()
        if numbers is None:
            return
        keys = [min(max(0, KEY_TOKENS - start), count) for _, start, count in self.requests]
        total, first = sum(count for _, _, count in self.requests), sum(keys)
        cut = len(numbers) - first * self._told
        states = numbers[:cut].reshape(total, -1)
        table = np.full((total, states.shape[1] + self._told), np.nan, dtype=np.float32)
        table[:, : states.shape[1]] = states
        table[:first, states.shape[1] :] = numbers[cut:].reshape(first, self._told)
        key, other = 0, first
        for (request, start, count), some in zip(self.requests, keys, strict=True):
            if some:
                yield request, start, table[key : key + some]
            if some < count:
                yield request, start + some, table[other : other + count - some]
            key, other = key + some, other + count - some

    def aggregate(self, other: KVConnectorWorkerMetadata) -> KVConnectorWorkerMetadata:
        """Every worker of a step has the same rows, and only the first one ships them."""
        return self

    def __bool__(self) -> bool:
        return bool(self.requests)
